"""Segments that are found anew by the hour or day (spec TG-6): nothing in between, all of it then, and the rest of the rules hold."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pyroaring import BitMap

from scrm.tagging.v1 import condition_service_pb2 as conditions_pb
from scrm.tagging.v1 import events_pb2 as pb
from scrm.tagging.v1 import segment_pb2
from services.tagging.adapters.condition_wire import condition_message
from services.tagging.application.published_events import publish
from services.tagging.application.segment_commands import ArchiveSegment, UpdateSegment
from services.tagging.application.tag_rule_commands import ActivateRule, DefineRule
from services.tagging.application.taxonomy_commands import CreateTag
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import (
    Comparison,
    Condition,
    EventTest,
    Figure,
    Happening,
    InSegment,
    Operator,
    SetOperation,
    SetOperator,
    Universe,
    all_of,
    last_days,
    no,
    that,
)
from services.tagging.domain.errors import ListNotRefreshed
from services.tagging.domain.evaluations import Recomputation, RuleEvaluation
from services.tagging.domain.memberships import MembershipCause, MembershipChange
from services.tagging.domain.refresh import REALTIME, Pace, Refresh
from services.tagging.domain.segments import Definition
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.taxonomy import preset_id
from services.tagging.read_models import audiences, live_segments
from services.tagging.read_models.live_segments import LiveSegments, Touched
from tests.tagging import random_conditions
from tests.tagging.calling import Caller, Serve
from tests.tagging.conftest import Worlds
from tests.tagging.stories import by_holding, conditions, kept_nowhere, story
from tests.tagging.test_erasure import erasing
from tests.tagging.world import TENANT, ZONE, World, behaved, created, merged, person, unmerged

A, B, C, D = (person(name) for name in "ABCD")
HOURLY, DAILY = Refresh(Pace.HOURLY), Refresh(Pace.DAILY)


def local(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2025, month, day, hour, minute, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def came_in(days: int) -> Condition:
    return that(EventTest(Happening(), Figure.COUNT, Comparison.with_plain(Operator.GE, 1), last_days(days)))


def came(world: World, who: UUID, at: datetime) -> None:
    world.tell(behaved(who, at))
    world.fire()


def of(condition: Condition) -> Definition:
    return Definition(condition=condition)


def inside(*segments: UUID) -> Condition:
    return all_of(*(that(InSegment(it)) for it in segments))


def recomputed(world: World, segment: UUID) -> list[int]:
    """The sizes that were told of a segment as it was found anew."""
    found = (it.event for it in world.events(Recomputation.Completed))
    return [it.size for it in found if isinstance(it, Recomputation.Completed) and it.segment == segment]


@pytest.fixture(params=[1000, 0], ids=["one by one", "by statements"])
def crowd(world: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """Four customers on 4 June, 12:10, of whom A has come; looked at by their histories, and by statements on all."""
    monkeypatch.setattr(live_segments, "_MANY", request.param)
    world.at(local(6, 4, 12, 10))
    world.tell(*map(created, (A, B, C, D)))
    came(world, A, local(6, 4, 12))
    return world


def test_an_hourly_segment_is_found_anew_as_the_hour_begins_and_stays_as_it_is_in_between(crowd: World) -> None:
    hourly = crowd.define("hourly", of(came_in(7)), refresh=HOURLY)
    assert crowd.members(hourly) == {A}
    came(crowd, B, local(6, 4, 12, 5))
    crowd.at(local(6, 4, 13) - timedelta(seconds=1))
    assert crowd.members(hourly) == {A}
    crowd.at(local(6, 4, 13))
    assert crowd.members(hourly) == {A, B}
    entry = crowd.events(MembershipChange.Happened)[-1].event
    assert isinstance(entry, MembershipChange.Happened)
    assert (entry.cause, entry.entered, entry.at) == (MembershipCause.TIME, (B,), local(6, 4, 13))
    crowd.at(local(6, 4, 14))
    assert recomputed(crowd, hourly) == [2, 2]  # told, whether or not anybody came or went
    message = publish(crowd.events(Recomputation.Completed)[-1])
    assert isinstance(message, pb.SegmentRecomputed)
    assert (message.segment_id, message.version, message.size, message.took_ms) == (str(hourly), 1, 2, 0)
    assert crowd.rebuild() == {}


def test_a_daily_segment_loses_whoever_time_takes_from_it_as_the_day_begins(crowd: World) -> None:
    daily = crowd.define("daily", of(no(came_in(7))), refresh=DAILY)
    assert crowd.members(daily) == {B, C, D}
    came(crowd, B, local(6, 4, 12, 5))
    crowd.at(local(6, 5))
    assert crowd.members(daily) == {C, D}
    crowd.at(local(6, 11) - timedelta(seconds=1))
    assert crowd.members(daily) == {C, D}
    crowd.at(local(6, 11))
    assert crowd.members(daily) == {A, B, C, D}
    assert crowd.rows("SELECT count(*) FROM segment_dues") == [(0,)]
    assert crowd.rebuild() == {}


def test_no_fact_concerns_a_segment_with_a_pace(crowd: World) -> None:
    for name, refresh in (("hourly", HOURLY), ("live", REALTIME)):
        crowd.define(name, of(came_in(7)), refresh=refresh)
    with crowd.engine.connect() as rows:
        by_name = {it.listing.name: it for it in LiveSegments().of(rows, TENANT)}
    for touched, expected in (
        (Touched({"events": BitMap([1]), "event:content_viewed": BitMap([1])}), {"live"}),
        (Touched(everything=BitMap([1])), {"live"}),
        (Touched(everything=BitMap([1]), moved=BitMap([1])), {"live", "hourly"}),
    ):
        assert {name for name, it in by_name.items() if touched.concerns(it)} == expected


def test_segments_made_of_one_another_are_right_once_their_parts_are_found_anew(crowd: World) -> None:
    """Whatever the order they were made in: what others are made of comes first."""
    part = crowd.define("part", of(came_in(7)))
    above = crowd.define("above", of(all_of(inside(part), came_in(30))), refresh=HOURLY)
    crowd.do(UpdateSegment(part, of(came_in(7)), None, HOURLY))
    live = crowd.define("live", of(all_of(inside(above), came_in(30))))
    everybody = crowd.define("everybody", of(no(that(InSegment(part)))))
    derived = crowd.define(
        "derived",
        Definition(operation=SetOperation(SetOperator.DIFFERENCE, (inside(everybody), inside(live)))),
        refresh=HOURLY,
    )
    came(crowd, B, local(6, 4, 12, 5))
    assert [crowd.members(it) for it in (part, above, live, derived)] == [{A}, {A}, {A}, {B, C, D}]
    crowd.at(local(6, 4, 13, 1))
    assert [crowd.members(it) for it in (part, above, live, derived)] == [{A, B}, {A, B}, {A, B}, {C, D}]
    assert crowd.members(everybody) == {C, D}
    assert crowd.rebuild() == {}


def test_whoever_is_merged_or_erased_is_out_of_a_segment_at_once_whatever_its_pace(crowd: World) -> None:
    daily = crowd.define("daily", of(came_in(7)), refresh=DAILY)
    live = crowd.define("live", of(inside(daily)))
    came(crowd, C, local(6, 4, 12, 5))
    crowd.tell(merged(B, A))
    assert (crowd.members(daily), crowd.members(live)) == ({B}, {B})
    crowd.tell(unmerged(B, A))
    assert (crowd.members(daily), crowd.members(live)) == ({A}, {A})
    causes = [it.event.cause for it in crowd.events(MembershipChange.Happened)][-2:]  # type: ignore[attr-defined]
    assert causes == [MembershipCause.MERGE] * 2
    crowd.at(local(6, 5))
    assert crowd.members(daily) == {A, C}
    crowd.tell(erasing(A))
    assert (crowd.members(daily), crowd.members(live)) == ({C}, {C})
    assert crowd.rebuild() == {}


def test_the_pace_of_a_segment_can_be_changed_and_ends_with_it(crowd: World) -> None:
    it = crowd.define("it", of(came_in(7)), refresh=DAILY)
    came(crowd, B, local(6, 4, 12, 5))
    crowd.do(UpdateSegment(it, of(came_in(8)), None))  # found anew, at the same pace
    assert crowd.members(it) == {A, B}
    came(crowd, C, local(6, 4, 12, 6))
    assert crowd.members(it) == {A, B}
    assert crowd.do(UpdateSegment(it, of(came_in(8)), None, REALTIME)).segment.revision == 3
    assert crowd.members(it) == {A, B, C}
    came(crowd, D, local(6, 4, 12, 7))
    crowd.at(local(6, 12))
    assert crowd.members(it) == set()
    assert recomputed(crowd, it) == []
    crowd.do(UpdateSegment(it, of(came_in(30)), None, HOURLY))
    crowd.do(ArchiveSegment(it, None))
    crowd.at(local(6, 13))
    assert recomputed(crowd, it) == []
    assert crowd.rebuild() == {}


@pytest.mark.parametrize(("seed", "many"), [(200, 1000), (201, 3)])
def test_whenever_a_segment_is_found_anew_it_holds_whom_the_domain_says(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch, seed: int, many: int
) -> None:
    """Facts come late and in any order, customers are merged and told apart again. Every night finds the sets of rules that follow
    all of it right."""
    monkeypatch.setattr(live_segments, "_MANY", many)
    monkeypatch.setattr(audiences, "_PAGE", min(many, 500))
    random = Random(seed)
    zone = random.choice(random_conditions.ZONES)
    world, calendar, it = worlds(zone), Calendar.of(zone), story(random, 8)
    asked = conditions(random, 8, lambda one: kept_nowhere(one) and random_conditions.savable(one))
    defined = [(one, random.choice((HOURLY, DAILY))) for one in asked]
    found = {world.define(f"s{n}", of(one), Universe.ALL, refresh=pace): n for n, (one, pace) in enumerate(defined)}
    for n, one in enumerate(asked[:3]):
        custom = preset_id(TENANT, "Custom")
        world.do(CreateTag(TagDefinition(f"t{n}", f"t{n}", custom, ValueMode.FLAG, TagKind.RULE, manual_allowed=False)))
        world.do(DefineRule(f"t{n}", [("", one)]))
        world.do(ActivateRule(f"t{n}"))

    def check(now: datetime) -> None:
        world.at(now)
        for segment, (condition, pace) in ((id, defined[n]) for id, n in found.items()):
            if pace.reached(calendar, now) == now:
                assert world.members(segment) == by_holding(world, condition, now, zone), (condition, now)

    start, end = min(it.instants) - timedelta(days=8), max(it.instants) + timedelta(days=3)
    batches = [it.messages[n : n + 40] for n in range(0, len(it.messages), 40)]
    for number, batch in enumerate(batches):
        check((HOURLY, DAILY)[number % 2].reached(calendar, start + (end - start) * number / len(batches)))
        world.tell(*batch)
    check(DAILY.reached(calendar, end + timedelta(hours=7)))
    nights = [it.event for it in world.events(RuleEvaluation.Completed)]
    assert len(nights) > 3 * len(batches) / 2
    assert not any(it.drift for it in nights if isinstance(it, RuleEvaluation.Completed))
    assert world.rebuild() == {}


def test_a_segment_is_told_to_be_found_anew_once_however_many_came(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_segments, "_MOST_IN_AN_EVENT", 2)
    world.tell(*(created(person(n)) for n in range(5)))
    world.define("everybody", of(no(came_in(7))))
    moves = [publish(it) for it in world.events(MembershipChange.Happened)]
    kinds = [type(one) for some in moves if isinstance(some, list) for one in some]
    assert kinds == [*[pb.SegmentEntered] * 5, pb.SegmentRecomputed]


def test_a_list_is_not_found_anew(world: World) -> None:
    with pytest.raises(ListNotRefreshed):
        world.define("list", refresh=HOURLY)
    listed = world.define("list")
    with pytest.raises(ListNotRefreshed):
        world.do(UpdateSegment(listed, Definition(), None, DAILY))


def test_paces_are_said_over_grpc_and_an_explanation_says_when_the_next_look_is(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.clock.set(local(6, 4, 12, 10))
        world.tell(created(A))
        condition = condition_message(came_in(7))
        made: dict[str, Any] = {"definition": segment_pb2.SegmentDefinition(dynamic=condition)}
        hourly = segment_pb2.REFRESH_HOURLY
        it = (await caller.call("CreateSegment", display_name="it", refresh=hourly, **made)).segment
        assert it.refresh == hourly
        again = await caller.call("UpdateSegment", segment_id=it.segment_id, **made)
        assert again.segment == it
        assert (await caller.call("GetSegment", segment_id=it.segment_id)).segment == it
        world.tell(behaved(A, local(6, 4, 12)))
        told: conditions_pb.ExplainMembershipResponse = await caller.call(
            "ExplainMembership", customer_id=str(A), segment_id=it.segment_id
        )
        assert (told.member, told.differs) == (False, True)
        assert told.change_time.ToDatetime(UTC) == local(6, 4, 13)
        plain = segment_pb2.SegmentDefinition(static=segment_pb2.StaticList())
        refused = await caller.refused("CreateSegment", display_name="list", refresh=hourly, definition=plain)
        assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "LIST_NOT_REFRESHED")

    serve(check)
