"""Live audiences: sets worked out by statements, customers looked at one by one and the domain agree, whatever came in which order."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.message import Message

from chassis.broker import BATCH_LIMIT
from services.tagging.application.published_events import publish
from services.tagging.application.segment_commands import (
    ArchiveSegment,
    MemberChange,
    UpdateSegment,
    UpdateStaticMembers,
)
from services.tagging.application.tag_commands import AssignTags
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import (
    AttributeTest,
    Comparison,
    Condition,
    HasTag,
    InSegment,
    LookedUp,
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
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.errors import SegmentInUse, SegmentIsArchived
from services.tagging.domain.history import Behaviour, History, Purchase
from services.tagging.domain.memberships import MembershipCause, MembershipChange
from services.tagging.domain.segments import Definition
from services.tagging.read_models import audiences, comparison_sql, directory, live_segments, segments
from services.tagging.read_models.histories import histories
from tests.tagging import random_conditions
from tests.tagging.conftest import Worlds
from tests.tagging.world import (
    START,
    TENANT,
    ZONE,
    World,
    behaved,
    consented,
    created,
    created_at,
    guided,
    in_group,
    knows,
    merge_id,
    merged,
    paid,
    person,
    placed,
    refunded,
    unmerged,
)

A, B = person("A"), person("B")
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


class Story(NamedTuple):
    """Facts about some people, in any order, and instants to look at."""

    messages: list[Message]
    instants: list[datetime]


def told(who: UUID, it: History, number: int) -> Iterator[Message]:
    """What other services tell of a customer with this history."""
    yield created_at(who, it.created_at or EPOCH, known=it.known_since is not None)
    for place, one in enumerate(it.behaviours):
        yield behaviour(who, one, f"{number}/{place}")
    for bought in it.purchases:
        yield from purchase(who, bought)
    texts = {"city": "city", "age": "acquisition.channel", "score": "family.household_size"}
    for key, value in it.attributes.items():
        if key in texts:
            yield knows(who, texts[key], str(value), EPOCH)
    if "child" in it.attributes:
        yield knows(who, "family.has_child", "true", EPOCH)
    if "hobbies" in it.attributes:
        yield knows(who, "hobbies", '["tea", "run"]', EPOCH)
    if it.relations:
        yield guided(who, person("guide"), EPOCH, store=person("store") if "store" in it.relations else None)
    for group in it.groups:
        yield in_group(who, group, EPOCH)
    for purpose in it.consents:
        yield consented(who, purpose, "GRANTED", EPOCH)


def behaviour(who: UUID, it: Behaviour, id: str) -> Message:
    message = behaved(who, it.at, kind=it.type, channel=it.channel, offset=it.offset, **it.properties)
    message.message_id, message.category, message.content_id = id, it.category, it.content
    return message


def purchase(who: UUID, it: Purchase) -> Iterator[Message]:
    yield placed(who, str(it.order), it.at, *it.lines)
    yield paid(who, str(it.order), it.at, it.net, it.currency)


def story(random: Random, people: int) -> Story:
    """Histories of some people, merged and some of them un-merged, in any order."""
    found = [random_conditions.person(random).history for _ in range(people)]
    messages = [it for number, one in enumerate(found) for it in told(person(number), one, number)]
    for number in range(people // 4):
        survivor, loser = (person(it) for it in random.sample(range(people), 2))
        messages.append(merged(survivor, loser, merge_id(number)))
        if random.random() < 0.5:
            messages.append(unmerged(survivor, loser, merge_id(number)))
    random.shuffle(messages)
    instants = sorted(at for one in found for at in (*map(_at, one.behaviours), *map(_at, one.purchases)))
    return Story(messages, [random.choice(instants) + timedelta(hours=random.randint(0, 60)) for _ in range(3)])


def _at(it: Behaviour | Purchase) -> datetime:
    return it.at


def by_holding(world: World, condition: Condition, at: datetime, zone: str) -> set[UUID]:
    """For whom a condition holds by the domain alone; nobody is in any kept set."""
    with world.engine.connect() as rows:
        everybody = directory.by_ordinal(rows, TENANT, segments.Sets(rows, TENANT).universe(Universe.ALL))
        found = histories(rows, TENANT, [it.id for it in everybody])

    def nowhere(leaf: LookedUp) -> bool:
        return False

    return {id for id, it in found.items() if Customer.of(it, Calendar.of(zone), nowhere).holds(condition, at)}


def by_statements(world: World, condition: Condition, at: datetime) -> set[UUID]:
    with world.engine.connect() as rows:
        found = segments.Sets(rows, TENANT, at=at).of(Definition(condition=condition), Universe.ALL)
        return {it.id for it in directory.by_ordinal(rows, TENANT, found)}


def kept_nowhere(condition: Condition) -> bool:
    return not any(isinstance(it, segments.LOOKED_UP) for it in condition.leaves())


def conditions(random: Random, count: int, wanted: Callable[[Condition], bool] = kept_nowhere) -> list[Condition]:
    found = (random_conditions.condition(random) for _ in iter(int, 1))
    return [it for it, _ in zip(filter(wanted, found), range(count), strict=False)]


def test_ac_99_visitors_are_in_no_audience_but_one_of_all(world: World) -> None:
    """Whoever writes to such an audience leaves them out: campaigns have the other half of this."""
    lives = that(AttributeTest("city", Comparison.with_plain(Operator.EQ, "Shanghai")))
    customers, visitors = {person(it) for it in range(2)}, {person(it) for it in range(2, 5)}
    for who in customers | visitors:
        world.tell(created_at(who, EPOCH, known=who in customers), knows(who, "city", "Shanghai", EPOCH))
    usual, everybody = (world.define(str(it), Definition(condition=lives), it) for it in (Universe.KNOWN, Universe.ALL))
    assert world.members(usual) == customers
    assert world.members(everybody) == customers | visitors


@pytest.mark.parametrize("seed", range(2))
def test_statements_find_whom_the_domain_says(worlds: Worlds, seed: int) -> None:
    random = Random(seed)
    zone = random.choice(random_conditions.ZONES)
    world = worlds(zone)
    it = story(random, 40)
    world.tell(*it.messages)
    for condition in conditions(random, 150):
        at = random.choice(it.instants)
        assert by_statements(world, condition, at) == by_holding(world, condition, at, zone), (condition, at)


def test_a_planted_mistake_is_found(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    signs = {**comparison_sql._SIGNS, Operator.GE: ">"}
    monkeypatch.setattr(comparison_sql, "_SIGNS", signs)
    with pytest.raises(AssertionError):
        test_statements_find_whom_the_domain_says(worlds, 0)


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
