"""Live audiences: sets worked out by statements, customers looked at one by one and the domain agree, whatever came in which order."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from chassis.broker import BATCH_LIMIT
from services.tagging.application.published_events import publish
from services.tagging.application.segment_commands import (
    ArchiveSegment,
    MemberChange,
    UpdateSegment,
    UpdateStaticMembers,
)
from services.tagging.application.tag_commands import AssignTags
from services.tagging.domain.conditions import (
    AttributeTest,
    Comparison,
    HasTag,
    InSegment,
    Operator,
    OrderFigure,
    OrderTest,
    SetOperation,
    SetOperator,
    Universe,
    all_of,
    any_of,
    last_days,
    no,
    that,
)
from services.tagging.domain.errors import SegmentInUse, SegmentIsArchived
from services.tagging.domain.history import History
from services.tagging.domain.memberships import MembershipCause, MembershipChange
from services.tagging.domain.segments import Definition
from services.tagging.read_models import audiences, live_segments
from tests.tagging import random_conditions
from tests.tagging.conftest import Worlds
from tests.tagging.stories import by_holding, careless_statements, conditions, kept_nowhere, story, wrong_statements
from tests.tagging.world import (
    START,
    ZONE,
    World,
    created,
    created_at,
    knows,
    merged,
    paid,
    person,
    refunded,
)

A, B = person("A"), person("B")


def test_ac_99_visitors_are_in_no_audience_but_one_of_all(world: World) -> None:
    """Whoever writes to such an audience leaves them out: campaigns have the other half of this."""
    lives = that(AttributeTest("city", Comparison.with_plain(Operator.EQ, "Shanghai")))
    customers, visitors = {person(it) for it in range(2)}, {person(it) for it in range(2, 5)}
    for who in customers | visitors:
        world.tell(created_at(who, START, known=who in customers), knows(who, "city", "Shanghai", START))
    usual, everybody = (world.define(str(it), Definition(condition=lives), it) for it in (Universe.KNOWN, Universe.ALL))
    assert world.members(usual) == customers
    assert world.members(everybody) == customers | visitors


@pytest.mark.parametrize("seed", range(2))
def test_statements_find_whom_the_domain_says(worlds: Worlds, seed: int) -> None:
    random = Random(seed)
    zone = random.choice(random_conditions.ZONES)
    assert wrong_statements(worlds(zone), zone, random, 150) == []


def test_a_planted_mistake_is_found(worlds: Worlds) -> None:
    zone = random_conditions.ZONES[0]
    with careless_statements():
        assert wrong_statements(worlds(zone), zone, Random(0), 150)


@pytest.mark.parametrize(("seed", "many"), [(100, 1000), (101, 3), (102, 6)])
def test_live_segments_hold_whom_the_domain_says_at_every_instant(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch, seed: int, many: int
) -> None:
    """Facts come late, in any order and in small batches, while the clock goes on and timers fire; more customers than `many` are
    looked at by statements."""
    monkeypatch.setattr(live_segments, "_MANY", many)
    monkeypatch.setattr(audiences, "_PAGE", min(many, 500))
    random = Random(seed)
    zone = random.choice(random_conditions.ZONES)
    world = worlds(zone)
    it = story(random, 14)
    defined = {
        world.define(f"s{n}", Definition(condition=one), Universe.ALL): one
        for n, one in enumerate(conditions(random, 25, lambda it: kept_nowhere(it) and random_conditions.savable(it)))
    }
    start, end = min(it.instants) - timedelta(days=8), max(it.instants) + timedelta(days=3)
    batches = [it.messages[n : n + 12] for n in range(0, len(it.messages), 12)]
    for number, batch in enumerate(batches):
        world.at(start + (end - start) * number / len(batches))
        world.tell(*batch)
    for now in (end, end + timedelta(days=1, hours=7)):
        world.at(now)
        for segment, condition in defined.items():
            assert world.members(segment) == by_holding(world, condition, now, zone), (condition, now)
    assert world.rebuild() == {}


SHANGHAI = ZoneInfo(ZONE)


def local(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2025, month, day, hour, tzinfo=SHANGHAI).astimezone(UTC)


def test_ac_37_shanghai_vips_and_spenders_without_the_blacklisted(world: World) -> None:
    people = [person(n) for n in range(110)]
    world.clock.set(local(5, 1))
    world.tell(*(created_at(it, START) for it in people))
    world.tell(*(knows(it, "city", "Shanghai" if n < 100 else "Beijing", START) for n, it in enumerate(people)))
    for it in (*people[:30], people[105]):
        world.do(AssignTags(it, [("vip", "")]))
    world.tell(*(paid(it, f"o{it}", START, 100_000) for it in people[20:45]))
    blacklist = world.listed("blacklist", *people[10:13], *people[40:42])
    found = world.define(
        "AC-37",
        Definition(
            condition=all_of(
                that(AttributeTest("city", Comparison.with_plain(Operator.EQ, "Shanghai"))),
                any_of(
                    that(HasTag("vip")),
                    that(OrderTest(OrderFigure.NET, Comparison.with_plain(Operator.GE, 1000))),
                ),
                no(that(InSegment(blacklist))),
            )
        ),
    )
    assert len(world.members(found)) == 40
    world.do(UpdateStaticMembers(blacklist, [MemberChange(False, people[10])]))
    assert len(world.members(found)) == 41
    world.tell(refunded(people[44], f"o{people[44]}", "r", START, 1))
    assert len(world.members(found)) == 40
    assert world.rebuild() == {}


def test_ac_42_thirty_days_without_a_purchase_come_by_timer_alone(world: World) -> None:
    nothing = OrderTest(OrderFigure.COUNT, Comparison.with_plain(Operator.EQ, 0), last_days(30))
    world.clock.set(local(5, 31))
    world.tell(created_at(A, local(5, 31)))
    lapsed = world.define("lapsed", Definition(condition=that(nothing)))
    assert world.members(lapsed) == {A}
    world.at(local(6, 1, 10))
    world.tell(paid(A, 1, local(6, 1, 10), 900))
    assert world.members(lapsed) == set()
    world.at(local(7, 1) - timedelta(microseconds=1))
    assert world.members(lapsed) == set()
    world.at(local(7, 1))
    assert world.members(lapsed) == {A}
    moves = [it.event for it in world.events(MembershipChange.Happened)]
    assert [(it.cause, len(it.entered), it.at) for it in moves if isinstance(it, MembershipChange.Happened)] == [
        (MembershipCause.BACKFILL, 1, local(5, 31)),
        (MembershipCause.EVENT, 0, local(6, 1, 10)),
        (MembershipCause.TIME, 1, local(7, 1)),
    ]
    assert world.rows("SELECT count(*) FROM timers") == [(0,)]
    assert world.rebuild() == {}


def test_a_change_goes_through_segments_made_of_segments_and_a_merge_is_told_as_such(world: World) -> None:
    tagged = world.define("tagged", Definition(condition=that(HasTag("vip"))))
    others = world.define("others", Definition(condition=no(that(InSegment(tagged)))))
    united = world.define(
        "all", Definition(operation=SetOperation(SetOperator.UNION, (that(InSegment(tagged)), that(InSegment(others)))))
    )
    world.tell(created_at(A, START), created_at(B, START))
    world.do(AssignTags(A, [("vip", "")]))
    assert (world.members(tagged), world.members(others), world.members(united)) == ({A}, {B}, {A, B})
    world.tell(merged(B, A))
    assert (world.members(tagged), world.members(others), world.members(united)) == ({B}, set(), {B})
    last = world.rows(
        f"SELECT node, entered, cause FROM segment_changes WHERE segment = '{tagged}' ORDER BY number DESC LIMIT 2"
    )
    assert sorted(last) == sorted([(A, False, "MERGE"), (B, True, "MERGE")])
    (message,) = [it for it in world.events(MembershipChange.Happened) if getattr(it.event, "segment", None) == united][
        -1:
    ]
    published = publish(message)
    assert isinstance(published, list)
    assert [type(it).__name__ for it in published] == ["SegmentExited"]
    with pytest.raises(SegmentInUse):
        world.do(ArchiveSegment(tagged, None))
    world.do(ArchiveSegment(united, None))
    world.do(ArchiveSegment(united, None))
    assert world.members(united) == set()
    with pytest.raises(SegmentIsArchived):
        world.do(
            UpdateSegment(
                united, Definition(operation=SetOperation(SetOperator.UNION, (that(InSegment(others)),))), None
            )
        )
    assert world.rebuild() == {}


def test_an_entry_of_many_is_told_in_events_that_a_batch_of_messages_can_hold(world: World) -> None:
    everybody = [person(f"of many {n}") for n in range(BATCH_LIMIT + 200)]
    world.tell(*(created(it) for it in everybody))
    world.define("nobody's friend", Definition(condition=no(that(HasTag("vip")))))
    told = [publish(it) for it in world.events(MembershipChange.Happened)]
    messages = [it for it in told if isinstance(it, list)]
    entered = [it for them in messages for it in them if type(it).__name__ == "SegmentEntered"]
    assert len(entered) == len(everybody)
    assert max(map(len, messages)) <= BATCH_LIMIT


def test_histories_are_let_go_without_the_garbage_collector(world: World) -> None:
    """At a million customers it stopped everything for most of a second, because each history waited for it in a cycle."""
    bought = OrderTest(OrderFigure.COUNT, Comparison.with_plain(Operator.GE, 1), last_days(30))
    buyers = world.define("buyers", Definition(condition=that(bought)))
    world.tell(created_at(A, START))
    with garbage() as left:
        world.tell(paid(A, 1, START, 900))
    assert world.members(buyers) == {A}
    assert [it for it in left if isinstance(it, History)] == []
    with garbage() as left:
        in_a_cycle = [History(A)]
        in_a_cycle.append(in_a_cycle)  # type: ignore[arg-type]
        del in_a_cycle
    assert len([it for it in left if isinstance(it, History)]) == 1


@contextmanager
def garbage() -> Iterator[list[object]]:
    """What only the garbage collector can free of all that is made within."""
    left: list[object] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield left
        gc.collect()
        left += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
