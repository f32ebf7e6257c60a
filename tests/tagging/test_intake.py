"""Facts from other services: what they do to the directory, to tags and to sets, in whatever order they come."""

from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.message import Message

from chassis.envelope import UnreadableMessage
from services.tagging.application.settings_commands import UpdateTenantSettings
from services.tagging.application.tag_commands import AssignTags
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import HasTag, no, that
from services.tagging.domain.models import Window
from services.tagging.domain.rules import RULES, follow
from services.tagging.domain.segments import Definition
from services.tagging.domain.sessions import Visit, sessions
from services.tagging.domain.tags import Cause, CustomerTags
from services.tagging.read_models import purchases, rule_states, visits
from tests.tagging import reference
from tests.tagging.world import (
    START,
    TENANT,
    ZONE,
    World,
    became_known,
    behaved,
    created,
    merged,
    paid,
    person,
    refunded,
    revised,
)

A, B, C, D = (person(name) for name in "ABCD")


def night(day: int, hour: int = 23) -> datetime:
    """An hour of a night of June 2025 in Shanghai."""
    return datetime(2025, 6, day, hour, 30, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def five_nights(who: object = A) -> list[Message]:
    return [behaved(who, night(day)) for day in range(1, 6)]  # type: ignore[arg-type]


def test_the_fifth_night_session_makes_a_night_owl_and_says_why(world: World) -> None:
    world.clock.set(night(5))
    world.tell(created(A), *five_nights()[:4])
    assert world.tags(A) == set()
    world.tell(five_nights()[4])
    assert world.tags(A) == {"night_owl"}
    (recorded,) = world.events(CustomerTags.Assigned)
    event = recorded.event
    assert isinstance(event, CustomerTags.Assigned)
    assert event.assignment.cause is Cause.EVENT
    assert event.assignment.at == night(5)
    assert event.assignment.evidence is not None
    assert event.assignment.evidence.matching == 5


def test_the_tag_goes_by_timer_at_the_instant_the_third_last_night_leaves_the_window(world: World) -> None:
    world.clock.set(night(5))
    world.tell(created(A), *five_nights())
    goes = Calendar.of(ZONE).midnight(date(2025, 7, 3).toordinal())  # nights 4 and 5 are left
    world.at(goes - timedelta(microseconds=1))
    assert world.tags(A) == {"night_owl"}
    world.at(goes)
    assert world.tags(A) == set()
    (recorded,) = world.events(CustomerTags.Removed)
    event = recorded.event
    assert isinstance(event, CustomerTags.Removed)
    assert (event.cause, event.at) == (Cause.TIME, goes)
    assert world.rows("SELECT count(*) FROM timers") == [(0,)]
    with world.engine.connect() as rows:
        assert rule_states.ever(rows, TENANT, "night_owl") == 1


def test_a_tag_that_time_alone_brings_comes_by_timer(world: World) -> None:
    days = [behaved(A, night(1) - timedelta(days=20 - n, hours=10)) for n in range(6)]
    world.clock.set(night(5))
    world.tell(created(A), *days, *five_nights())
    assert world.tags(A) == set()  # 5 of 11
    world.at(night(12))
    assert world.tags(A) == {"night_owl"}


def test_whoever_a_behaviour_names_before_identity_does_is_a_customer(world: World) -> None:
    world.clock.set(night(5))
    world.tell(*five_nights())
    assert world.tags(A) == {"night_owl"}
    assert world.rows("SELECT known, assignment_key FROM nodes") == [(False, str(A))]
    world.tell(created(A, known=False, key="k"))
    world.tell(became_known(A, "cdnow:1"))
    assert world.rows("SELECT ordinal, known, assignment_key FROM nodes") == [(0, True, "cdnow:1")]


def test_a_merge_evaluates_the_union_of_facts_and_leaves_nothing_with_the_loser(world: World) -> None:
    world.clock.set(night(6))
    owls = world.define("owls", Definition(condition=that(HasTag("night_owl"))))
    world.tell(created(A), created(B), *five_nights()[:3], *five_nights(B)[3:])
    assert world.tags(A) == world.tags(B) == set()
    world.tell(merged(A, B))
    assert world.tags(B) == world.tags(A) == {"night_owl"}
    (recorded,) = world.events(CustomerTags.Assigned)
    event = recorded.event
    assert isinstance(event, CustomerTags.Assigned)
    assert (event.customer, event.assignment.cause) == (A, Cause.MERGE)
    assert world.members(owls) == {A}


def test_tags_of_the_merged_go_to_the_survivor_and_its_own_are_removed(world: World) -> None:
    world.clock.set(night(6))
    owls = world.define("owls", Definition(condition=that(HasTag("night_owl"))))
    others = world.define("others", Definition(condition=no(that(HasTag("vip")))))
    listed = world.listed("list")
    world.tell(created(A), created(B), *five_nights(B))
    world.do(AssignTags(B, [("vip", "gold")]))
    assert world.members(owls) == {B}
    assert world.members(others) == {A}
    world.tell(merged(A, B))
    assert world.tags(A) == {"night_owl", "vip"}
    assert world.members(owls) == {A}
    assert world.members(others) == set()
    assert world.members(listed) == set()
    gone = [it.event for it in world.events(CustomerTags.Removed)]
    assert {(it.customer, it.tag, it.cause) for it in gone if isinstance(it, CustomerTags.Removed)} == {
        (B, "vip", Cause.MERGE),
        (B, "night_owl", Cause.MERGE),
    }
    assert world.rows("SELECT count(*) FROM timers") == [(1,)]
    assert world.rebuild() == {}


def state_of(world: World, tenant: str) -> str:
    """All that is kept about the customers of a tenant but ordinals, which go by arrival."""
    kept = {
        "nodes": "node, customer, parent, known, assignment_key",
        "visits": "node, family, started_at, ended_at, utc_offset",
        "purchases": "node, order_id, paid_at, net",
        "rule_states": "customer, assigned, first_at, next_change",
        "timers": "kind, key, due_at",
    }
    return "\n".join(
        f"{table}: {world.rows(f'SELECT {columns} FROM {table} WHERE tenant = {tenant!r} ORDER BY {columns}')}"
        for table, columns in kept.items()
    )


def test_merges_in_any_order_end_in_the_same_customers(world: World) -> None:
    messages: list[Message] = [created(A), created(B, known=False), created(C, known=False), created(D)]
    messages += [merged(A, B), merged(A, C), merged(D, A), *five_nights(C)]
    world.clock.set(night(6))
    found = set()
    for seed in range(8):
        tenant = f"tenant{seed}"
        world.do(UpdateTenantSettings(ZONE, "USD"), tenant)
        world.tell(*Random(seed).sample(messages, len(messages)), tenant=tenant, batch=1 + seed % 5)
        world.fire()
        assert world.tags(B, tenant) == {"night_owl"}
        found.add(state_of(world, tenant))
    assert len(found) == 1
    assert world.rebuild() == {}


def test_1000_facts_in_20_orders_end_in_the_same_state(world: World) -> None:
    random = Random(7)
    people = [person(n) for n in range(5)]
    messages: list[Message] = [created(it, known=n == 0) for n, it in enumerate(people)]
    messages += [merged(people[0], it) for it in people[3:]]
    for n in range(330):
        who = random.choice(people)
        messages.append(paid(who, n, reference.random_instant(random), n))
    for who in people[:1] + people[2:]:
        messages += [behaved(who, it.start, channel=it.family, offset=it.offset) for it in histories(random, 160)]
    messages += [behaved(people[1], night(1) - timedelta(days=60 - n)) for n in range(20)]
    world.clock.set(night(1) - timedelta(days=40))
    found, tags = set(), set()
    for seed in range(20):
        tenant = f"tenant{seed}"
        world.do(UpdateTenantSettings(ZONE, "USD"), tenant)
        random.shuffle(messages)
        world.tell(*messages, tenant=tenant, batch=random.choice((100, 350, 1000)))
        world.fire()
        found.add(state_of(world, tenant))
        tags.add(str([sorted(world.tags(it, tenant)) for it in people]))
    assert len(found) == 1
    assert len(tags) == 1
    assert "night_owl" in tags.pop()


def histories(random: Random, least: int) -> list[Visit]:
    events: list[Visit] = []
    while len(events) < least:
        events += reference.random_history(random)
    return events


def test_many_histories_agree_with_the_naive_evaluator_as_the_clock_jumps(world: World) -> None:
    random = Random(5)
    people = {person(n): reference.random_history(random) for n in range(60)}
    facts = [(it.start, who, it) for who, events in people.items() for it in events]
    now, owls = START, 0
    while now < reference.START + timedelta(days=130):
        before, now = now, now + timedelta(hours=random.randint(1, 500))
        world.at(now)
        fresh = [it for it in facts if before < it[0] <= now]
        random.shuffle(fresh)  # as late and out of order as can be within the jump
        world.tell(*(behaved(who, it.start, channel=it.family, offset=it.offset) for _, who, it in fresh), batch=100)
        expected = {who for who, events in people.items() if reference.night_owl(events, ZoneInfo(ZONE), now).now}
        assert world.tagged("night_owl") == expected
        assert all((world.tags(who) == {"night_owl"}) for who in expected)
        owls += len(expected)
    assert owls > 15
    assert world.rebuild() == {}


def test_a_rebuild_finds_nothing_to_change_and_mends_what_was_broken(world: World) -> None:
    world.clock.set(night(6))
    world.tell(created(A), created(B), created(C, known=False), *five_nights(), *five_nights(B)[:2], merged(A, C))
    world.define("owls", Definition(condition=that(HasTag("night_owl"))))
    world.listed("list", A, B)
    world.do(AssignTags(B, [("vip", "")]))
    world.tell(paid(A, 1, night(1), 1000), refunded(A, 1, "r", night(2), 300), tenant="other")
    before = world.fingerprint()
    assert world.rebuild() == {}
    assert world.fingerprint() == before
    with world.engine.begin() as rows:
        rows.exec_driver_sql("DELETE FROM bitmaps WHERE starts_with(name, 'tag:')")
        rows.exec_driver_sql("UPDATE visits SET ended_at = ended_at + interval '1 s'")
        rows.exec_driver_sql("DELETE FROM static_members")
    assert world.fingerprint() != before  # the negative control of the fingerprint
    assert world.rebuild().keys() == {"bitmaps", "visits", "static_members"}
    assert world.fingerprint() == before


def test_a_damaged_message_changes_nothing(world: World) -> None:
    before = world.fingerprint()
    good, bad = world.incoming(created(A)), world.incoming(created(B))
    with pytest.raises(UnreadableMessage):
        world.absorb([good, bad._replace(payload=b"\xff\xff")])
    assert world.fingerprint() == before


def test_ac_29_orders_of_a_day_are_one_occasion_and_refunds_count_from_their_instant(world: World) -> None:
    noon = night(2, 12)
    world.clock.set(night(20))
    world.tell(created(A), paid(A, 1, noon, 1200), paid(A, 2, noon, 7700), paid(A, 3, noon, 0))

    def bought(day: int) -> list[tuple[int, ...]]:
        window = Window.before(date(2025, 6, day), 0, Calendar.of(ZONE), world.clock.now())
        with world.engine.connect() as rows:
            return [tuple(it) for it in purchases.bought(rows, TENANT, window, ZONE, "USD")]

    assert bought(10) == [(0, 8, 1, 8900)]
    assert bought(2) == []
    world.tell(refunded(A, 2, "r1", night(5), 7700), refunded(A, 2, "r1", night(5), 7700))
    assert bought(10) == [(0, 8, 1, 1200)]
    assert bought(5) == [(0, 3, 1, 8900)]
    world.tell(refunded(A, 1, "r2", night(6), 1200))
    assert bought(10) == []


def test_a_corrected_payment_replaces_the_one_before_and_keeps_its_refunds(world: World) -> None:
    world.clock.set(night(20))
    world.tell(created(A), paid(A, 1, night(1), 10_000), refunded(A, 1, "r", night(2), 1000))
    world.tell(revised(A, 1, 2, night(1), 4000), revised(A, 1, 1, night(1), 7000))  # after the refund: 50.00 before
    assert world.rows("SELECT revision, net FROM purchases") == [(2, 5000)]
    world.tell(paid(B, 2, night(1), 100), refunded(B, 2, "r", night(2), 40), revised(B, 2, 1, night(1), 160))
    assert world.rows("SELECT revision, net FROM purchases WHERE revision = 1") == [(1, 200)]


def test_what_is_kept_of_behaviours_is_enough_to_decide_again(world: World) -> None:
    world.clock.set(night(6))
    world.tell(created(A), *five_nights(), behaved(A, night(5), kind="order_reviewed"))
    with world.engine.connect() as rows:
        kept = visits.of_customers(rows, TENANT, (A,))[A]
    assert len(kept) == 5
    assert follow(RULES[0], sessions(kept), Calendar.of(ZONE), world.clock.now()).assigned
