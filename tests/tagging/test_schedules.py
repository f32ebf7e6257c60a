"""Rules with a schedule, rules for a time, and the look at everybody each night (spec TG-5)."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from pyroaring import BitMap

from scrm.tagging.v1 import events_pb2 as pb
from scrm.tagging.v1 import segment_pb2, tag_pb2
from scrm.tagging.v1 import tag_service_pb2 as tags_pb
from services.tagging.adapters.refresh_watch import Drift, refresh_watch
from services.tagging.application.ports import Change
from services.tagging.application.published_events import publish
from services.tagging.application.settings_commands import UpdateTenantSettings
from services.tagging.application.tag_rule_commands import (
    ActivateRule,
    BackfillRule,
    DefineRule,
    EnableFactTag,
    PauseRule,
)
from services.tagging.application.taxonomy_commands import CreateTag
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.claims import Cause
from services.tagging.domain.conditions import (
    Comparison,
    Condition,
    EventTest,
    Figure,
    Happening,
    Operator,
    last_days,
    no,
    that,
)
from services.tagging.domain.errors import RuleNeverEffective
from services.tagging.domain.evaluations import RuleEvaluation
from services.tagging.domain.fact_tags import FactParameters
from services.tagging.domain.refresh import Pace, Refresh
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.tag_rules import Effect, segment_id
from services.tagging.domain.tags import CustomerTags
from services.tagging.domain.taxonomy import preset_id
from services.tagging.read_models import bitmaps, sql
from tests.tagging.calling import Caller, Serve
from tests.tagging.test_erasure import erasing
from tests.tagging.world import TENANT, ZONE, World, behaved, created, merged, person

A, B, C = (person(name) for name in "ABC")
AT_THREE = Refresh(Pace.DAILY, 3 * 60)
NEW_YORK = Calendar(ZoneInfo("America/New_York"))


def local(month: int, day: int, hour: int = 12, minute: int = 0, zone: str = ZONE) -> datetime:
    return datetime(2025, month, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def tell(world: World, *messages: object) -> None:
    world.tell(*messages)  # type: ignore[arg-type]
    world.fire()


def came(world: World, who: UUID, days: Iterable[int], month: int = 6) -> None:
    tell(world, *(behaved(who, local(month, day)) for day in days))


def visits(least: int) -> Condition:
    return that(EventTest(Happening(), Figure.COUNT, Comparison.with_plain(Operator.GE, least), last_days(30)))


def rule(world: World, tag: str, **more: Any) -> None:
    """A rule in force for those who came three times in 30 days."""
    flag = TagDefinition(tag, tag, preset_id(TENANT, "Custom"), ValueMode.FLAG, TagKind.RULE, manual_allowed=False)
    world.do(CreateTag(flag))
    again(world, tag, **more)


def again(world: World, tag: str, least: int = 3, **more: Any) -> None:
    world.do(DefineRule(tag, [("", visits(least))], **more))
    world.do(ActivateRule(tag))
    world.fire()


def evaluated(world: World) -> list[tuple[int, int, int]]:
    """What looking at everybody came to each time: who came to have the tag, who ceased to, who was in a wrong set."""
    found = (it.event for it in world.events(RuleEvaluation.Completed))
    return [(it.entered, it.exited, it.drift) for it in found if isinstance(it, RuleEvaluation.Completed)]


@pytest.fixture
def crowd(world: World) -> World:
    """Three customers on 4 June, 12:00."""
    world.at(local(6, 4))
    tell(world, created(A), created(B), created(C))
    return world


def test_a_rule_with_a_time_changes_its_tags_at_that_time_only(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular", schedule=AT_THREE, exit=no(visits(2)))
    assert crowd.tagged("regular") == set()  # from its first time on
    crowd.at(local(6, 5, 3) - timedelta(seconds=1))
    assert crowd.tagged("regular") == set()
    crowd.at(local(6, 5, 3))
    assert crowd.tagged("regular") == {A}
    (given,) = [it.event for it in crowd.events(CustomerTags.Assigned)]
    assert isinstance(given, CustomerTags.Assigned)
    assert (given.cause, given.assignment.source) == (Cause.TIME, "RULE:regular")
    came(crowd, B, (2, 3, 4))
    crowd.at(local(6, 5, 23))
    assert crowd.tagged("regular") == {A}
    crowd.at(local(6, 6, 3))
    assert crowd.tagged("regular") == {A, B}
    for now in (local(7, 1, 3), local(7, 2, 0)):  # of A only one is left, by midnight
        crowd.at(now)
        assert crowd.tagged("regular") == {A, B}
    crowd.at(local(7, 2, 3))
    assert crowd.tagged("regular") == {B}
    assert [it for it in evaluated(crowd) if it != (0, 0, 0)] == [(1, 0, 0), (1, 0, 0), (0, 1, 0)]
    assert crowd.rebuild() == {}


def test_what_looking_at_everybody_came_to_is_published(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular")
    (event,) = crowd.events(RuleEvaluation.Completed)
    message = publish(event)
    assert isinstance(message, pb.RuleEvaluated)
    assert (message.tag_key, message.version, message.entered, message.exited) == ("regular", 1, 1, 0)
    assert (message.drift, message.took_ms) == (0, 0)


def test_a_rule_with_a_schedule_waits_when_it_is_changed_and_is_looked_at_when_asked_for(crowd: World) -> None:
    came(crowd, A, (1, 2))
    rule(crowd, "regular", schedule=Refresh(Pace.DAILY))
    crowd.at(local(6, 5, 0))
    again(crowd, "regular", 2, schedule=Refresh(Pace.DAILY))
    assert crowd.tagged("regular") == set()
    crowd.do(BackfillRule("regular"))
    crowd.fire()
    assert crowd.tagged("regular") == {A}
    came(crowd, B, (1, 2))
    crowd.do(PauseRule("regular"))
    crowd.at(local(6, 7))
    assert crowd.tagged("regular") == {A}
    crowd.do(ActivateRule("regular"))
    crowd.at(local(6, 8, 0))
    assert crowd.tagged("regular") == {A, B}
    assert crowd.rebuild() == {}


def test_a_rule_with_a_schedule_lets_go_of_whoever_is_merged_or_erased_at_once(crowd: World) -> None:
    for who in (A, B, C):
        came(crowd, who, (1, 2, 3))
    rule(crowd, "regular", schedule=AT_THREE)
    crowd.at(local(6, 5, 3))
    assert crowd.tagged("regular") == {A, B, C}
    tell(crowd, merged(A, B))
    assert crowd.tagged("regular") == {A, C}
    tell(crowd, erasing(C))
    assert crowd.tagged("regular") == {A}
    assert crowd.members(segment_id(TENANT, "regular", "")) == {A}
    crowd.at(local(6, 6, 3))
    assert crowd.tagged("regular") == {A}
    assert crowd.rebuild() == {}


def test_a_tag_that_is_held_goes_at_a_time_of_the_schedule(crowd: World) -> None:
    rule(crowd, "regular", schedule=AT_THREE, min_hold_days=40)
    came(crowd, A, (1, 2, 3))
    crowd.at(local(6, 5, 9))  # looked at six hours late
    assert crowd.tagged("regular") == {A}
    for now in (local(7, 4, 3), local(7, 15, 9)):  # 40 days later it is 9 o'clock
        crowd.at(now)
        assert crowd.tagged("regular") == {A}
    crowd.at(local(7, 16, 3))
    assert crowd.tagged("regular") == set()


def test_a_rule_means_nobody_before_it_begins_and_once_it_has_ended(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular", min_hold_days=30, effect=Effect(local(6, 10), local(6, 20)))
    assert crowd.tagged("regular") == set()
    crowd.at(local(6, 10) - timedelta(seconds=1))
    assert crowd.tagged("regular") == set()
    crowd.at(local(6, 10))
    assert crowd.tagged("regular") == {A}
    came(crowd, B, (7, 8, 9))
    assert crowd.tagged("regular") == {A, B}
    crowd.at(local(6, 20))
    assert crowd.tagged("regular") == set()
    came(crowd, C, (17, 18, 19))
    crowd.at(local(6, 22))
    assert crowd.tagged("regular") == set()
    assert crowd.rebuild() == {}
    with pytest.raises(RuleNeverEffective):
        again(crowd, "regular", effect=Effect(local(6, 10), local(6, 10)))


def test_a_rule_with_a_schedule_begins_with_its_next_time_and_ends_at_once(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular", schedule=AT_THREE, effect=Effect(local(6, 10), local(6, 20)))
    for now, who in (
        (local(6, 10, 3), set()),
        (local(6, 10), set()),
        (local(6, 11, 3), {A}),
        (local(6, 20), set()),
        (local(6, 21, 3), set()),
    ):
        crowd.at(now)
        assert crowd.tagged("regular") == who


def test_another_version_forgets_when_the_one_before_was_to_end(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular", effect=Effect(end=local(6, 10)))
    again(crowd, "regular")
    crowd.at(local(6, 11))
    assert crowd.tagged("regular") == {A}


def test_the_schedule_goes_by_the_clock_of_the_brand_when_it_moves(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular", schedule=AT_THREE)
    crowd.do(UpdateTenantSettings("America/New_York", "USD"))
    crowd.fire()
    crowd.at(local(6, 4, 3, zone="America/New_York") - timedelta(seconds=1))  # it is midnight there as the clock moves
    assert crowd.tagged("regular") == set()
    crowd.at(local(6, 4, 3, zone="America/New_York"))
    assert crowd.tagged("regular") == {A}


def test_nights_change_nothing_when_all_is_well(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular")
    crowd.do(EnableFactTag("visit_freq_30d", FactParameters()))
    crowd.fire()
    before = evaluated(crowd)
    given = len(crowd.events(CustomerTags.Assigned))
    crowd.at(local(6, 6, 3))
    assert evaluated(crowd) == [*before, (0, 0, 0), (0, 0, 0)]
    assert len(crowd.events(CustomerTags.Assigned)) == given
    crowd.at(local(7, 3, 3))  # late, with three days to catch up with: whoever is due is not in a wrong set
    assert not any(drift for _, _, drift in evaluated(crowd))
    assert crowd.rebuild() == {}


def disturb(world: World, tag: str, *, add: Iterable[int] = (), remove: Iterable[int] = ()) -> None:
    """Let somebody be in a wrong set, as a mistake would."""
    name = bitmaps.of_segment(segment_id(TENANT, tag, ""))
    with world.engine.begin() as rows:
        bitmaps.change(rows, TENANT, {name: Change(BitMap(add), BitMap(remove))})


def ordinals(world: World, *who: UUID) -> list[int]:
    with world.engine.connect() as rows:
        return [n for (n,) in sql.fetch(rows, "SELECT ordinal FROM nodes WHERE node = ANY(%s)", list(who))]


def test_a_night_finds_whoever_is_in_a_wrong_set_and_puts_it_right(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular")
    disturb(crowd, "regular", add=ordinals(crowd, B, C), remove=ordinals(crowd, A))
    crowd.at(local(6, 5, 3))
    assert evaluated(crowd)[-1] == (0, 0, 3)  # nobody had been tagged for it yet
    assert crowd.members(segment_id(TENANT, "regular", "")) == {A}
    assert crowd.tagged("regular") == {A}
    assert [it for it in crowd.rebuild() if it == "bitmaps"] == []


def test_the_loop_counts_who_was_in_a_wrong_set(crowd: World) -> None:
    came(crowd, A, (1, 2, 3))
    rule(crowd, "regular")
    disturb(crowd, "regular", add=ordinals(crowd, B))
    crowd.clock.set(local(6, 5, 3))
    registry = CollectorRegistry()
    watch = refresh_watch(crowd.bus, crowd.read_models, crowd.engine, crowd.clock, Drift(registry))

    async def all_of_it() -> None:
        while await watch.step():
            pass

    crowd.bus.start()
    try:
        asyncio.run(all_of_it())
    finally:
        crowd.bus.stop()
    crowd.fire()
    assert (watch.done, registry.get_sample_value("scrm_tagging_drift_total")) == (1, 1.0)
    assert evaluated(crowd)[-1] == (0, 0, 1)


def test_rules_of_before_get_their_nights_with_the_migration(crowd: World) -> None:
    rule(crowd, "regular")
    with crowd.engine.begin() as rows:
        (kept,) = rows.execute(sa.text("DELETE FROM timers WHERE kind = 'refresh_sets' RETURNING key, payload"))
        rows.execute(sa.text(import_module("services.tagging.migrations.versions.0012_nights").RULES))
        (found,) = rows.execute(sa.text("SELECT key, payload FROM timers WHERE kind = 'refresh_sets'"))
    assert (found.key, found.payload) == (kept.key, kept.payload)


@pytest.mark.parametrize(
    ("month", "day", "minute", "hours"),
    [(3, 9, 2 * 60 + 30, 24), (11, 2, 90, 24), (3, 9, 180, 23), (11, 2, 180, 25)],
)
def test_a_daily_time_comes_once_on_a_day_on_which_the_clock_is_changed(
    month: int, day: int, minute: int, hours: int
) -> None:
    """At 02:30 the clock shows 03:30, an hour of the day before later; 01:30 is there twice, and counts the first time."""
    daily = Refresh(Pace.DAILY, minute)
    before = daily.following(NEW_YORK, local(month, day - 1, 0, zone="America/New_York"))
    at = daily.following(NEW_YORK, before)
    after = daily.following(NEW_YORK, at)
    assert [NEW_YORK.day(it) - NEW_YORK.day(before) for it in (before, at, after)] == [0, 1, 2]
    assert at - before == timedelta(hours=hours)
    assert daily.reached(NEW_YORK, at) == at
    assert daily.reached(NEW_YORK, at + timedelta(microseconds=1)) == after


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        ("Asia/Kolkata", datetime(2025, 6, 1, tzinfo=UTC), 48),
        ("America/New_York", datetime(2025, 3, 9, tzinfo=UTC), 48),
        ("Australia/Lord_Howe", datetime(2025, 10, 4, 3, tzinfo=UTC), 48),
        ("Australia/Lord_Howe", datetime(2025, 4, 5, 3, tzinfo=UTC), 47),
    ],
)
def test_hours_begin_by_the_local_clock_also_where_it_is_half_an_hour_off(
    zone: str, start: datetime, hours: int
) -> None:
    """In two days. On Lord Howe 02:00 becomes 02:30 in spring and 01:30 in autumn: no hour begins then, and the days have half an
    hour less and more."""
    calendar, at, found = Calendar(ZoneInfo(zone)), start, 0
    while (at := Refresh(Pace.HOURLY).following(calendar, at)) <= start + timedelta(hours=48):
        assert at.astimezone(calendar.zone).minute == 0
        found += 1
    assert found == hours


def test_schedules_and_times_are_said_over_grpc(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        category = (await caller.call("ListCategories", tenant=TENANT)).categories[0].category_id
        await caller.call(
            "CreateTag",
            tag_key="regular",
            display_name="Regular",
            category_id=category,
            value_mode=tag_pb2.TAG_VALUE_MODE_FLAG,
            kind=tag_pb2.TAG_KIND_RULE,
        )
        enter = segment_pb2.Condition(tag=segment_pb2.HasTag(tag_key="vip"))
        said: dict[str, Any] = {"tag_key": "regular", "enter": enter}
        at: dict[str, Any] = {"schedule": tag_pb2.RULE_SCHEDULE_AT, "schedule_time": "23:05"}
        made = (
            await caller.call("CreateRuleTag", **said, **at, effective_from=local(6, 1), effective_to=local(7, 1))
        ).rule
        assert (made.schedule, made.schedule_time) == (tag_pb2.RULE_SCHEDULE_AT, "23:05")
        assert made.effective_to.ToDatetime(UTC) == local(7, 1)
        assert (await caller.call("GetRuleTag", tag_key="regular")).rule == made
        plain = (await caller.call("CreateRuleTag", **said)).rule
        assert (plain.schedule, plain.schedule_time, plain.HasField("effective_from")) == (
            tag_pb2.RULE_SCHEDULE_EVENT,
            "",
            False,
        )
        daily = (await caller.call("CreateRuleTag", **said, schedule=tag_pb2.RULE_SCHEDULE_DAILY)).rule
        assert daily.schedule == tag_pb2.RULE_SCHEDULE_DAILY
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"schedule": tag_pb2.RULE_SCHEDULE_AT}, "FIELD_REQUIRED"),
            ({"schedule_time": "03:00"}, "BAD_FORMAT"),
            ({"effective_from": local(7, 1), "effective_to": local(6, 1)}, "RULE_NEVER_EFFECTIVE"),
        ]
        for wrong, reason in refusals:
            assert (await caller.refused("CreateRuleTag", **said, **wrong)).reason == reason
        caller.world.tell(created(A))
        (verdict,) = (await caller.call("PreviewRule", tag_key="regular", customer_ids=[str(A), str(B)])).verdicts
        assert (verdict.customer_id, verdict.tagged, verdict.meant) == (str(A), False, False)
        await caller.call("ArchiveTag", tag_key="regular")
        assert (await caller.call("GetRuleTag", tag_key="regular")).rule.status == tags_pb.RULE_STATUS_ARCHIVED
        assert (await caller.refused("ActivateRule", tag_key="regular")).reason == "TAG_NOT_ACTIVE"

    serve(check)
