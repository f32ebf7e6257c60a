"""Conversions: which orders count for which unit, whatever order the facts come in."""

import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
import sqlalchemy as sa

from chassis.envelope import Incoming
from services.campaigns.domain.conversion import Conversion, tallies
from tests.campaigns.memory import MemoryTables
from tests.campaigns.test_delivery import units_of
from tests.campaigns.world import DESIGN, START, World, customer, people

DAY = timedelta(days=1)


@pytest.fixture
def broadcast(world: World) -> UUID:
    return world.dispatched()


def who(world: World, *variants: str) -> list[str]:
    """The keys of the units of these variants."""
    found = units_of(world, *variants)
    return [key for unit, key in people(200) if unit in found]


def conversions(world: World, broadcast: UUID) -> dict[UUID, tuple[UUID, str, Decimal]]:
    world.settle()
    return world.credited(broadcast)


def test_an_order_of_any_assigned_unit_in_the_window_counts(world: World, broadcast: UUID) -> None:
    for variant in ("holdout", "A", "B", "remainder"):
        key = who(world, variant)[0]
        world.tell(world.paid(key, f"order {variant}", START + DAY))
        assert conversions(world, broadcast)[customer(f"order {variant}")] == (customer(key), variant, Decimal(20))


def test_an_order_of_nobody_assigned_does_not_count(world: World, broadcast: UUID) -> None:
    control = next(key for unit, key in people(200) if unit not in units_of(world, *DESIGN.ranges))
    world.tell(world.paid(control, "o1", START + DAY), world.paid("a stranger", "o2", START + DAY))
    assert conversions(world, broadcast) == {}


@pytest.mark.parametrize(
    ("after", "counts"),
    [(-1, False), (0, True), (7 * 86_400 - 1, True), (7 * 86_400, False)],
)
def test_the_window_is_half_open(world: World, broadcast: UUID, after: int, counts: bool) -> None:
    world.tell(world.paid(who(world, "A")[0], "o", START + timedelta(seconds=after)))
    assert bool(conversions(world, broadcast)) is counts


def test_a_late_order_counts_until_the_result_is_final(world: World, broadcast: UUID) -> None:  # AC-126
    key = who(world, "A")[0]
    final = START + 14 * DAY
    world.tell(world.paid(key, "late", START + DAY, recorded=final - timedelta(seconds=1)))
    world.tell(world.paid(key, "too late", START + DAY, recorded=final))
    assert list(conversions(world, broadcast)) == [customer("late")]


def test_a_refund_before_the_result_is_final_takes_the_conversion_back(world: World, broadcast: UUID) -> None:
    key = who(world, "A")[0]
    world.tell(world.paid(key, "o", START + DAY))
    assert len(conversions(world, broadcast)) == 1
    world.tell(world.refunded(key, "o", START + 2 * DAY, net="5.00"))
    assert conversions(world, broadcast)[customer("o")][2] == Decimal(5)
    world.tell(world.refunded(key, "o", START + 10 * DAY, net="0.00"))
    assert conversions(world, broadcast) == {}


def test_a_refund_after_the_result_is_final_changes_nothing(world: World, broadcast: UUID) -> None:
    key = who(world, "A")[0]
    world.tell(world.paid(key, "o", START + DAY))
    world.tell(world.refunded(key, "o", START + 14 * DAY, net="0.00"))
    assert len(conversions(world, broadcast)) == 1


def test_the_same_message_again_changes_nothing(world: World, broadcast: UUID) -> None:
    message = world.paid(who(world, "A")[0], "o", START + DAY)
    world.tell(message)
    world.settle()
    world.tell(message, message)
    world.settle()
    assert len(world.events(Conversion.Recorded)) == 1
    assert world.events(Conversion.Adjusted) == []


def test_an_order_told_before_the_units_are_assigned_counts(world: World) -> None:
    id = world.started()
    key = who(world, "A")[0]
    world.tell(world.paid(key, "o", START + DAY))
    assert customer("o") in conversions(world, id)


def test_an_order_of_a_node_that_joins_a_unit_later_counts(world: World, broadcast: UUID) -> None:
    key = who(world, "B")[0]
    world.tell(world.paid("second device", "o", START + DAY))
    assert conversions(world, broadcast) == {}
    world.tell(world.merged(key, "second device", START + 2 * DAY))
    assert conversions(world, broadcast)[customer("o")][:2] == (customer(key), "B")


def test_a_unit_that_is_merged_into_somebody_else_keeps_its_assignment(world: World, broadcast: UUID) -> None:
    key = who(world, "B")[0]
    world.tell(world.paid("the survivor", "o", START + DAY))
    world.tell(world.merged("the survivor", key, START + 2 * DAY))
    assert conversions(world, broadcast)[customer("o")][:2] == (customer(key), "B")


def test_the_latest_word_of_identity_stands_in_whatever_order_it_comes(world: World, broadcast: UUID) -> None:
    key = who(world, "B")[0]
    first = world.merged("middle", "device", START)
    second = world.merged(key, "middle", START, nodes=["device"])
    world.tell(second)
    world.tell(first)
    world.tell(world.paid("device", "o", START + DAY))
    assert conversions(world, broadcast)[customer("o")][:2] == (customer(key), "B")


def test_two_units_that_become_one_convert_once_for_the_survivor(world: World, broadcast: UUID) -> None:
    survivor, loser = who(world, "A")[:2]
    world.tell(world.paid(survivor, "o1", START + DAY), world.paid(loser, "o2", START + DAY))
    assert {it[0] for it in conversions(world, broadcast).values()} == {customer(survivor), customer(loser)}
    world.tell(world.merged(survivor, loser, START + 2 * DAY))
    assert {it[0] for it in conversions(world, broadcast).values()} == {customer(survivor)}


def test_after_an_unmerge_orders_count_for_whoever_their_node_is(world: World, broadcast: UUID) -> None:
    survivor, loser = who(world, "A")[:2]
    world.tell(world.paid(survivor, "o1", START + DAY), world.paid(loser, "o2", START + DAY))
    world.tell(world.merged(survivor, loser, START + 2 * DAY), world.paid(loser, "o3", START + 2 * DAY))
    assert {it[0] for it in conversions(world, broadcast).values()} == {customer(survivor)}
    world.tell(world.unmerged(survivor, loser, START + 3 * DAY), world.paid(loser, "o4", START + 4 * DAY))
    assert {order: it[0] for order, it in conversions(world, broadcast).items()} == {
        customer("o1"): customer(survivor),
        customer("o2"): customer(loser),
        customer("o3"): customer(loser),
        customer("o4"): customer(loser),
    }


def test_orders_of_a_survivor_who_is_no_unit_stop_counting_when_the_unit_leaves(world: World, broadcast: UUID) -> None:
    key = who(world, "B")[0]
    world.tell(world.paid("the survivor", "o", START + DAY), world.merged("the survivor", key, START + 2 * DAY))
    assert list(conversions(world, broadcast)) == [customer("o")]
    world.tell(world.unmerged("the survivor", key, START + 3 * DAY))
    assert conversions(world, broadcast) == {}


def test_an_unmerge_inside_a_merged_customer_takes_only_its_own_nodes_along(world: World, broadcast: UUID) -> None:
    key = who(world, "B")[0]
    paid = [world.paid(it, f"o of {it}", START + DAY) for it in (key, "middle", "device")]
    merges = [world.merged("middle", "device", START), world.merged(key, "middle", START, nodes=["device"])]
    world.tell(*paid, *merges)
    assert len(conversions(world, broadcast)) == 3
    world.tell(world.unmerged("middle", "device", START + 2 * DAY))
    assert conversions(world, broadcast).keys() == {customer(f"o of {key}"), customer("o of middle")}
    world.tell(world.unmerged(key, "middle", START + 3 * DAY))
    assert conversions(world, broadcast).keys() == {customer(f"o of {key}")}


def test_an_unmerge_told_before_its_merge_stands(world: World, broadcast: UUID) -> None:
    survivor, loser = who(world, "A")[:2]
    merge = world.merged(survivor, loser, START)
    unmerge = world.unmerged(survivor, loser, START + DAY)
    world.tell(world.paid(loser, "o", START + DAY))
    world.tell(unmerge)
    world.tell(merge)
    world.tell(unmerge)
    assert conversions(world, broadcast)[customer("o")][0] == customer(loser)
    world.tell(world.merged(survivor, loser, START + 2 * DAY))
    assert conversions(world, broadcast)[customer("o")][0] == customer(survivor)


def test_an_unmerge_after_the_result_is_final_changes_nothing(world: World, broadcast: UUID) -> None:
    survivor, loser = who(world, "A")[:2]
    world.tell(world.paid(loser, "o", START + DAY), world.merged(survivor, loser, START + 2 * DAY))
    assert conversions(world, broadcast)[customer("o")][0] == customer(survivor)
    world.tell(world.unmerged(survivor, loser, START + 14 * DAY))
    assert conversions(world, broadcast)[customer("o")][0] == customer(survivor)


def test_moves_told_in_any_order_and_again_end_in_the_same_nodes(postgres_world: World) -> None:
    world, chance = postgres_world, random.Random(5)
    for seed in range(50):
        a, b, c, d = (f"{name} of {seed}" for name in "abcd")
        messages = [
            world.merged(b, c, START),
            world.merged(a, b, START, nodes=[c]),
            world.unmerged(b, c, START),
            world.merged(d, a, START, nodes=[b]),
            world.merged(d, c, START),
            world.unmerged(a, b, START),
            world.merged(b, d, START, nodes=[a, c]),
            world.unmerged(d, c, START),
        ]
        told = chance.sample(messages, len(messages))
        world.tell(*told[:3])
        world.tell(*told[3:])
        world.tell(*chance.sample(messages, 2))
        with world.bus.store.transaction() as transaction:
            nodes = [customer(it) for it in (a, b, c, d)]
            found = dict(tuple(it) for it in transaction.rows.execute(_NODES, {"nodes": nodes}))
            moves = transaction.rows.execute(_MOVES, {"nodes": nodes}).scalar()
        assert found == dict(zip(nodes, (customer(it) for it in (b, b, c, b)), strict=True))
        assert moves == 12


_NODES = sa.text("SELECT node, customer FROM nodes WHERE node = ANY(:nodes)")
_MOVES = sa.text("SELECT count(*) FROM node_moves WHERE node = ANY(:nodes)")


def shuffled(world: World, seed: int) -> list[Incoming]:
    """One set of facts about some units, their devices and merges, in an order of its own."""
    units = [key for _, key in people(40)]
    messages = [
        world.paid(key, f"{key}/{n}", START + n * DAY, net=f"{10 + n}.50") for key in units for n in (-1, 1, 3, 8)
    ]
    messages += [world.refunded(key, f"{key}/1", START + 2 * DAY, net="0.00") for key in units[::3]]
    messages += [world.paid(f"device {key}", f"device {key}/2", START + 2 * DAY) for key in units[::4]]
    messages += [world.merged(key, f"device {key}", START + 2 * DAY) for key in units[::4]]
    messages += [world.merged(units[i], units[i + 1], START + 4 * DAY) for i in (0, 10, 20)]
    messages += [world.unmerged(units[i], units[i + 1], START + 5 * DAY) for i in (10, 20)]
    messages += [world.merged(units[12], units[11], START + 6 * DAY)]
    messages += [world.unmerged(key, f"device {key}", START + 6 * DAY) for key in units[::8]]
    random.Random(seed).shuffle(messages)
    return messages


def told(world: World, seed: int) -> dict[UUID, tuple[UUID, str, Decimal]]:
    """The conversions after these facts, cut into batches anywhere, some of them before the units are assigned."""
    messages, cuts = shuffled(world, seed), random.Random(seed + 1000)
    id = world.started()
    early = cuts.randrange(len(messages))
    world.tell(*messages[:early])
    while early < len(messages):
        world.settle()
        size = cuts.randrange(1, 60)
        world.tell(*messages[early : early + size])
        early += size
    return conversions(world, id)


def test_facts_in_random_order_give_the_same_conversions(new_world: Callable[[], World]) -> None:  # 0.6
    expected = told(new_world(), 0)
    assert len(expected) > 40
    for seed in range(1, 50):
        assert told(new_world(), seed) == expected


def test_negative_control_crediting_by_arrival_alone_depends_on_the_order(
    new_world: Callable[[], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryTables, "move", MemoryTables.move_without_asking)
    monkeypatch.setattr(MemoryTables, "recall", lambda self, units: None)
    assert len({tuple(sorted(told(new_world(), seed))) for seed in range(5)}) > 1


def test_tallies_count_persons_once_and_leave_crossovers_out() -> None:
    a, b, c, d, e = (customer(it) for it in "abcde")
    found = tallies(
        {"A": [a, b, c], "B": [d, e]},
        {b: a, c: d},
        [(a, Decimal(10), "USD"), (b, Decimal(5), "USD"), (d, Decimal(7), "USD"), (e, Decimal(0), "USD")],
    )
    assert (found["A"].assigned, found["A"].converted, found["A"].crossed_over) == (2, 1, 1)
    assert found["A"].revenue == {"USD": Decimal(15)}
    assert (found["B"].assigned, found["B"].converted, found["B"].crossed_over) == (1, 0, 1)


def test_tallies_leave_out_whoever_crossed_over_by_a_merge_that_was_taken_back() -> None:
    a, b, c = (customer(it) for it in "abc")
    orders = [(a, Decimal(10), "USD"), (b, Decimal(5), "USD")]
    found = tallies({"A": [a, c], "B": [b]}, {}, orders, marked=[a, b])
    assert (found["A"].assigned, found["A"].converted, found["A"].crossed_over) == (1, 0, 1)
    assert (found["B"].assigned, found["B"].converted, found["B"].crossed_over) == (0, 0, 1)
