"""Merges that are taken back: both sides are what they would be without the merge, in whatever order it is told."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.message import Message

from scrm.tagging.v1 import events_pb2, tag_pb2
from services.tagging.application import dealing_messages
from services.tagging.application.fact_messages import EVENTS, READERS
from services.tagging.application.model_commands import DefineModel, KeepModelRun
from services.tagging.application.published_events import publish
from services.tagging.application.segment_commands import MemberChange, UpdateStaticMembers
from services.tagging.application.settings_commands import UpdateTenantSettings
from services.tagging.application.tag_commands import AssignTags, RemoveTags
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import Condition, HasTag, RfmScores, Universe, any_of, no, that
from services.tagging.domain.model_schedules import NIGHTLY
from services.tagging.domain.models import RfmModel, Window, model_id
from services.tagging.domain.rfm_params import RfmParams
from services.tagging.domain.rules import RULE_TAGS, Evidence
from services.tagging.domain.segments import Definition
from services.tagging.domain.tags import CustomerTags
from services.tagging.read_models import bitmaps, directory, purchases
from tests.tagging.world import (
    TENANT,
    ZONE,
    World,
    became_known,
    behaved,
    created,
    merge_id,
    merged,
    paid,
    person,
    unmerged,
)

A, B, C, D = PEOPLE = tuple(person(name) for name in "ABCD")


def night(day: int) -> datetime:
    """Half past eleven in Shanghai, in June 2025."""
    return datetime(2025, 6, day, 23, 30, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def nights(who: UUID, *days: int) -> list[Message]:
    return [behaved(who, night(day)) for day in days]


def state_of(world: World, tenant: str = TENANT, *, explained: bool = True) -> str:
    """All that is kept about the customers of a tenant, but ordinals, which go by arrival, and what made a tag come.

    Not `explained`: also without since when a rule tag is there and why, which a late fact does not change.
    """
    kept = {
        "nodes": "node, customer, parent, known, assignment_key",
        "visits": "node, family, started_at, ended_at, utc_offset",
        "purchases": "node, order_id, paid_at, net",
        "rule_states": "customer, assigned, first_at, next_change",
        "timers": "kind, key, due_at",
        "tag_holders": "tag, node",
    }
    lines = [
        f"{table}: {world.rows(f'SELECT {columns} FROM {table} WHERE tenant = {tenant!r} ORDER BY {columns}')}"
        for table, columns in kept.items()
    ]
    people = sorted(it[0] for it in world.rows(f"SELECT node FROM nodes WHERE tenant = {tenant!r}"))
    for who in people:
        for tag, it in sorted(world.assignments(who, tenant).items()):
            why = (it.at, it.evidence) if explained or tag not in RULE_TAGS else ()
            lines.append(f"{tag}: {(it.value, it.node, it.source, *why)}")
    return "\n".join([*lines, *(f"{name}: {sorted(members)}" for name, members in sorted(sets_of(world, tenant)))])


def sets_of(world: World, tenant: str) -> Iterable[tuple[str, set[UUID]]]:
    """Every set of customers that is kept, under a name without ids."""
    segments = world.rows(f"SELECT segment, name FROM segments WHERE tenant = {tenant!r}")
    readable = {bitmaps.of_segment(segment): name for segment, name in segments}
    names = [it[0] for it in world.rows(f"SELECT DISTINCT name FROM bitmaps WHERE tenant = {tenant!r}")]
    with world.engine.connect() as rows:
        for name, members in bitmaps.load(rows, tenant, names).items():
            yield readable.get(name, name), {it.id for it in directory.by_ordinal(rows, tenant, members)}


def prepared(world: World, *tenants: str) -> None:
    """Two known customers, two anonymous ones, tags by hand, lists and conditions, before anything is merged."""
    start, tenants = world.clock.now(), tenants or (TENANT,)
    for tenant in tenants:
        world.do(UpdateTenantSettings(ZONE, "USD"), tenant)
        people = (created(A), created(B, known=False), created(C, key="cdnow:3"), created(D, known=False))
        world.tell(*people, tenant=tenant)
        for name, definition in CONDITIONS.items():
            world.define(name, Definition(condition=definition), Universe.ALL, tenant=tenant)
        world.listed("first", A, C, tenant=tenant)
        world.listed("second", B, tenant=tenant)
    for n, (who, tags) in enumerate(BY_HAND):
        world.at(start + timedelta(microseconds=n))
        for tenant in tenants:
            world.do(AssignTags(who, tags), tenant)


CONDITIONS: Mapping[str, Condition] = {
    "owls": that(HasTag("night_owl")),
    "others": any_of(no(that(HasTag("vip"))), that(HasTag("city"))),
}
BY_HAND = (
    (A, [("vip", "silver")]),
    (B, [("vip", "gold"), ("city", "Shanghai")]),
    (C, [("city", "Xi'an")]),
)
FACTS: Sequence[Message] = (
    *nights(A, 1, 2, 3),
    *nights(B, 3, 4, 5),
    *nights(C, 1, 2, 3, 4, 5),
    *(behaved(D, night(day), channel="web") for day in (1, 6)),
    paid(A, 1, night(1), 1000),
    paid(B, 2, night(2), 2000),
    paid(B, 3, night(3), 500),
    paid(C, 4, night(3), 700),
)


def bought(world: World, tenant: str = TENANT) -> dict[UUID, tuple[int, int]]:
    """Occasions and net of every customer who bought something."""
    window = Window.before(date(2025, 6, 10), 0, Calendar.of(ZONE), night(20))
    with world.engine.connect() as rows:
        found = purchases.bought(rows, tenant, window, ZONE, "USD")
        ids = {it.ordinal: it.id for it in directory.by_ordinal(rows, tenant, [it.customer for it in found])}
    return {ids[it.customer]: (it.frequency, it.monetary) for it in found}


def customers(world: World, tenant: str = TENANT) -> dict[UUID, UUID]:
    with world.engine.connect() as rows:
        return {node: it.id for node, it in directory.canonical(rows, tenant, PEOPLE).items()}


def kept_set(world: World, name: str, tenant: str = TENANT) -> set[UUID]:
    return dict(sets_of(world, tenant)).get(name, set())


def test_after_an_unmerge_everything_is_as_if_there_had_been_no_merge(world: World) -> None:
    prepared(world, TENANT, "never")
    world.clock.set(night(7))
    world.tell(*FACTS)
    world.tell(*FACTS, tenant="never")
    never = state_of(world, "never")
    assert state_of(world) == never  # the negative control: the same facts, the same state
    for survivor, loser in ((A, B), (B, A), (A, C), (C, B), (D, C)):
        world.tell(merged(survivor, loser))
        assert state_of(world) != never
        world.tell(unmerged(survivor, loser))
        assert state_of(world) == never
    assert bought(world) == bought(world, "never") == {A: (1, 1000), B: (2, 2500), C: (1, 700)}
    assert world.rebuild() == {}


def test_rule_tags_of_both_sides_follow_their_own_facts_again(world: World) -> None:
    prepared(world)
    world.clock.set(night(7))
    world.tell(*FACTS, merged(A, B))
    assert world.tagged("night_owl") == {A, C}  # six nights together
    assert kept_set(world, "owls") == {A, C}
    assert bought(world)[A] == (3, 3500)
    world.tell(unmerged(A, B))
    assert world.tagged("night_owl") == {C}
    assert kept_set(world, "owls") == {C}
    assert world.rows(f"SELECT customer FROM rule_states WHERE customer <> '{C}'") == []
    assert world.rows(f"SELECT key FROM timers WHERE key <> 'night_owl:{C}'") == []
    world.tell(merged(A, C))
    assert world.tagged("night_owl") == {A}
    world.tell(unmerged(A, C))
    assert world.tagged("night_owl") == {C}
    assert world.assignments(C)["night_owl"].at == night(5)
    assert world.rebuild() == {}


def test_who_has_a_rule_tag_only_by_the_facts_of_another_loses_it_when_that_one_leaves(world: World) -> None:
    prepared(world)
    world.clock.set(night(7))
    world.tell(*nights(B, 1, 2, 3, 4, 5), merged(A, B))
    assert world.tagged("night_owl") == {A}
    world.tell(unmerged(A, B))
    assert world.tagged("night_owl") == {B}
    assert world.tags(A) == {"vip"}
    assert world.rows("SELECT customer FROM rule_states") == [(B,)]
    assert world.rows("SELECT key FROM timers") == [(f"night_owl:{B}",)]
    assert world.rebuild() == {}


def test_a_rule_tag_that_both_merged_and_alone_deserve_is_explained_by_their_own_facts_again(world: World) -> None:
    prepared(world)
    world.clock.set(night(9))
    world.tell(*nights(A, 1, 2, 3), *nights(B, 4, 5), merged(A, B), *nights(A, 6, 7))
    assert world.assignments(A)["night_owl"].at == night(5)
    world.tell(unmerged(A, B))
    alone = world.assignments(A)["night_owl"]
    assert (alone.at, alone.evidence) == (night(7), Evidence(sessions=5, matching=5, days=5))
    assert world.tagged("night_owl") == {A}
    assert world.rebuild() == {}


def test_facts_after_an_unmerge_go_to_whoever_their_node_is(world: World) -> None:
    prepared(world)
    world.clock.set(night(9))
    world.tell(merged(A, B), unmerged(A, B), *nights(A, 1, 2, 3, 4), *nights(B, 5, 6))
    assert world.tagged("night_owl") == set()
    world.tell(*nights(A, 7), paid(B, 9, night(7), 100))
    assert world.tagged("night_owl") == {A}
    assert bought(world) == {B: (1, 100)}
    assert world.rebuild() == {}


def test_each_side_regains_its_own_tags_and_those_given_since_stay_with_the_survivor(world: World) -> None:
    prepared(world)
    world.tell(merged(A, B))
    assert {tag: it.value for tag, it in world.assignments(A).items()} == {"vip": "gold", "city": "Shanghai"}
    world.clock.set(night(1))
    world.do(AssignTags(B, [("vip", "platinum"), ("size", "L"), ("city", "Shanghai")]))
    world.tell(unmerged(A, B))
    assert {tag: (it.value, it.node) for tag, it in world.assignments(A).items()} == {
        "vip": ("platinum", A),
        "size": ("L", A),
        "city": ("Shanghai", A),
    }
    assert {tag: (it.value, it.node) for tag, it in world.assignments(B).items()} == {
        "vip": ("gold", B),
        "city": ("Shanghai", B),
    }
    assert world.tagged("vip") == {A, B}
    assert world.tagged("size") == {A}
    assert world.rebuild() == {}


def test_what_a_person_took_from_a_merged_customer_does_not_come_back(world: World) -> None:
    prepared(world)
    world.tell(merged(A, B), merged(B, C))
    world.do(RemoveTags(A, ["city"]))
    segment = world.rows("SELECT segment FROM segments WHERE name = 'second'")[0][0]
    world.do(UpdateStaticMembers(segment, [MemberChange(False, A)]))
    world.tell(unmerged(A, B), unmerged(B, C))
    assert world.tagged("city") == set()
    assert {tag: it.value for tag, it in world.assignments(A).items()} == {"vip": "silver"}
    assert {tag: it.value for tag, it in world.assignments(B).items()} == {"vip": "gold"}
    assert world.tags(C) == set()
    assert kept_set(world, "second") == set()
    assert kept_set(world, "first") == {A, C}
    assert world.rebuild() == {}


def test_the_changes_of_an_unmerge_are_told_with_the_cause_merge(world: World) -> None:
    prepared(world)
    world.clock.set(night(7))
    world.tell(*FACTS, merged(A, B))
    told = len(world.store.read_log(0, 100_000))
    world.tell(unmerged(A, B))
    published = [publish(it) for it in world.store.read_log(0, 100_000)[told:]]
    changes = [it for it in published if isinstance(it, events_pb2.TagAssigned | events_pb2.TagRemoved)]
    assert {it.cause for it in changes} == {tag_pb2.TAG_CAUSE_MERGE}
    found = {(type(it).__name__, UUID(it.customer_id), it.tag_key, it.value) for it in changes}
    assert len(found) == len(changes)
    assert found == {
        ("TagRemoved", A, "night_owl", ""),
        ("TagRemoved", A, "city", "Shanghai"),
        ("TagAssigned", A, "vip", "silver"),
        ("TagAssigned", B, "vip", "gold"),
        ("TagAssigned", B, "city", "Shanghai"),
    }


def test_each_side_is_known_by_its_own_nodes(world: World) -> None:
    world.tell(created(A, known=False), created(B, known=False), created(C))
    world.tell(merged(B, C), merged(A, B))
    assert (kept_set(world, "known"), kept_set(world, "anonymous")) == ({A}, set())
    world.tell(unmerged(B, C))
    assert (kept_set(world, "known"), kept_set(world, "anonymous")) == ({C}, {A})
    world.tell(became_known(A, "k"))
    world.tell(unmerged(A, B))
    assert (kept_set(world, "known"), kept_set(world, "anonymous")) == ({A, C}, {B})
    world.tell(became_known(B, "k"))
    assert (kept_set(world, "known"), kept_set(world, "anonymous")) == ({A, B, C}, set())
    assert world.rebuild() == {}


def test_ac_7_undoing_the_upper_merge_restores_the_subtree_and_then_the_lower_one_the_rest(world: World) -> None:
    prepared(world)
    world.tell(merged(B, C), merged(A, B))
    assert customers(world) == {A: A, B: A, C: A, D: D}
    world.tell(unmerged(A, B))
    assert customers(world) == {A: A, B: B, C: B, D: D}
    assert {tag: it.value for tag, it in world.assignments(B).items()} == {"vip": "gold", "city": "Xi'an"}
    assert (kept_set(world, "first"), kept_set(world, "second")) == ({A, B}, {B})
    world.tell(unmerged(B, C))
    assert customers(world) == {A: A, B: B, C: C, D: D}
    assert (kept_set(world, "first"), kept_set(world, "second")) == ({A, C}, {B})
    assert world.assignments(B)["city"].value == "Shanghai"
    assert world.rebuild() == {}


def test_undoing_the_lower_merge_first_leaves_the_upper_one_standing(world: World) -> None:
    prepared(world)
    world.tell(merged(B, C), merged(A, B), unmerged(B, C))
    assert customers(world) == {A: A, B: A, C: C, D: D}
    assert {tag: it.value for tag, it in world.assignments(A).items()} == {"vip": "gold", "city": "Shanghai"}
    assert world.assignments(C)["city"].value == "Xi'an"
    assert (kept_set(world, "first"), kept_set(world, "second")) == ({A, C}, {A})
    world.tell(unmerged(A, B))
    assert customers(world) == {A: A, B: B, C: C, D: D}
    assert world.rebuild() == {}


@pytest.mark.parametrize("batch", [1, 10])
def test_a_merge_told_after_its_undoing_has_no_effect(world: World, batch: int) -> None:
    prepared(world)
    before, events = state_of(world), len(world.events(CustomerTags.Removed))
    world.tell(unmerged(A, B), merged(A, B), batch=batch)
    assert state_of(world) == before
    assert len(world.events(CustomerTags.Removed)) == events
    assert world.rows("SELECT undone FROM merges") == [(True,)]
    world.tell(merged(A, B, merge_id(1)))
    assert customers(world)[B] == A
    assert world.rebuild() == {}


def test_the_same_message_again_changes_nothing(world: World) -> None:
    prepared(world)
    world.clock.set(night(7))
    world.tell(*FACTS)
    for message in (merged(B, C), merged(A, B), unmerged(B, C), merged(D, C), unmerged(A, B)):
        world.tell(message)
        before, events = state_of(world), len(world.store.read_log(0, 100_000))
        world.tell(message)
        assert state_of(world) == before
        assert len(world.store.read_log(0, 100_000)) == events
    world.tell(merged(A, B), merged(B, C))  # taken back
    assert state_of(world) == before


def test_a_customer_may_be_merged_again_into_the_same_or_another(world: World) -> None:
    prepared(world)
    world.tell(merged(A, B, merge_id(1)), unmerged(A, B, merge_id(1)), merged(A, B, merge_id(2)))
    assert customers(world)[B] == A
    world.tell(unmerged(A, B, merge_id(2)), merged(C, B, merge_id(3)))
    assert customers(world)[B] == C
    assert {tag: it.value for tag, it in world.assignments(C).items()} == {"vip": "gold", "city": "Xi'an"}
    assert world.tags(A) == {"vip"}
    world.tell(unmerged(C, B, merge_id(3)), merged(B, A, merge_id(4)))
    assert customers(world) == {A: B, B: B, C: C, D: D}
    assert world.rebuild() == {}


def test_the_later_of_two_merges_stands_until_it_is_taken_back(world: World) -> None:
    prepared(world)
    world.tell(merged(C, B, merge_id(2)), merged(A, B, merge_id(1)))
    assert customers(world)[B] == C
    world.tell(unmerged(C, B, merge_id(2)))
    assert customers(world)[B] == A
    assert world.assignments(A)["city"].value == "Shanghai"
    assert world.rebuild() == {}


def test_a_merge_the_other_way_round_may_be_told_before_the_first_is_taken_back(world: World) -> None:
    prepared(world)
    messages = [merged(A, B, merge_id(1)), merged(C, A, merge_id(2)), merged(B, C, merge_id(3))]
    world.tell(*messages)  # a circle: the oldest of them must have been taken back
    assert customers(world) == {A: B, B: B, C: B, D: D}
    world.tell(unmerged(A, B, merge_id(1)))
    assert customers(world) == {A: B, B: B, C: B, D: D}
    world.tell(unmerged(C, A, merge_id(2)))
    assert customers(world) == {A: A, B: B, C: B, D: D}
    assert world.rebuild() == {}


def test_a_run_of_a_model_after_an_unmerge_has_a_row_for_each_side(world: World) -> None:
    prepared(world)
    world.clock.set(night(20))
    world.tell(*FACTS)
    world.do(DefineModel("rfm"))
    run(world)
    segment = world.define("bought", Definition(condition=that(RfmScores("rfm"))), Universe.ALL)
    assert world.members(segment) == {A, B, C}
    world.tell(merged(A, B))
    assert world.members(segment) == {A, C}
    run(world)
    world.tell(unmerged(A, B))
    assert world.members(segment) == {A, C}  # as frozen while they were one
    run(world)
    assert world.members(segment) == {A, B, C}


def run(world: World) -> None:
    window = Window.before(date(2025, 6, 10), 0, Calendar.of(ZONE), world.clock.now())
    with world.engine.connect() as rows:
        population = purchases.bought(rows, TENANT, window, ZONE, "USD")
    model = RfmModel(model_id(TENANT, "rfm"), TENANT, "rfm", RfmParams(), NIGHTLY, world.clock.now())
    world.do(KeepModelRun.of(model, window.as_of, ZONE, "USD", population, 0))


# B and C merge and part again and again, also the other way round, while B is part of A and then of D.
HISTORY: Sequence[Message] = (
    merged(B, C, merge_id(1)),
    merged(A, B, merge_id(2)),
    unmerged(B, C, merge_id(1)),
    merged(A, C, merge_id(3)),
    unmerged(A, B, merge_id(2)),
    unmerged(A, C, merge_id(3)),
    merged(C, B, merge_id(4)),
    merged(D, C, merge_id(5)),
    unmerged(C, B, merge_id(4)),
    merged(B, A, merge_id(6)),
)


def test_any_order_of_merges_unmerges_and_facts_ends_in_the_same_state(world: World) -> None:
    random = Random(11)
    messages = [*HISTORY, *FACTS, became_known(B, "key of B")]
    tenants = [f"tenant{n}" for n in range(60)]
    prepared(world, *tenants)
    world.clock.set(night(7))
    found = set()
    for tenant in tenants:
        world.tell(*messages, tenant=tenant, batch=random.choice((1, 2, 5, 40)))
        world.fire()
        found.add(state_of(world, tenant, explained=False))
        assert customers(world, tenant) == {A: B, B: B, C: D, D: D}
        random.shuffle(messages)
    assert len(found) == 1
    assert kept_set(world, "owls", tenants[-1]) == {B, D}
    assert world.tags(D, tenants[-1]) == {"night_owl", "city"}
    assert world.tags(A, tenants[-1]) == {"night_owl", "vip", "city"}
    assert world.rebuild() == {}


def test_merges_at_random_and_some_taken_back_agree_with_the_naive_definition(world: World) -> None:
    random = Random(13)
    people = [person(n) for n in range(7)]
    for n in range(60):
        tenant = f"tenant{n}"
        parent: dict[UUID, tuple[UUID, int]] = {}
        known = {it for it in people if random.random() < 0.4}
        messages: list[Message] = [created(it, known=it in known) for it in people]
        for number in range(random.randint(1, 12)):
            if parent and random.random() < 0.4:
                loser = random.choice(sorted(parent))
                survivor, its = parent.pop(loser)
                messages.append(unmerged(survivor, loser, merge_id(its)))
            else:
                roots = [it for it in people if it not in parent]
                if len(roots) > 1:
                    survivor, loser = random.sample(roots, 2)
                    parent[loser] = survivor, number
                    messages.append(merged(survivor, loser, merge_id(number)))
        expected = {}
        for node in people:
            expected[node] = node
            while expected[node] in parent:
                expected[node] = parent[expected[node]][0]
        random.shuffle(messages)
        world.tell(*messages, tenant=tenant, batch=random.choice((1, 3, 20)))
        with world.engine.connect() as rows:
            found = {node: it.id for node, it in directory.canonical(rows, tenant, people).items()}
        assert found == expected
        assert kept_set(world, "known", tenant) == {expected[it] for it in known}
        assert kept_set(world, "anonymous", tenant) == set(expected.values()) - {expected[it] for it in known}
    assert world.rebuild() == {}


def test_every_message_that_is_read_is_subscribed_to() -> None:
    assert len(EVENTS) + len(dealing_messages.EVENTS) == len(READERS)
    assert "customer_unmerged" in EVENTS
    assert "scrm.identity.v1.CustomerUnmerged" in READERS
