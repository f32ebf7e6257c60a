"""When time can first move whom is found by statements: they leave out nobody for whom the clock has an instant, and are never later."""

from collections.abc import Callable
from datetime import datetime
from random import Random
from uuid import UUID

import pytest

from services.tagging.domain.conditions import AttributeTest, Condition, Delivered, InFlow, Reachable
from services.tagging.domain.conditions.change import next_change
from services.tagging.domain.conditions.dimensions import OF_MEMBERSHIP
from services.tagging.read_models import directory, moving, segments
from tests.tagging.stories import conditions, everybody, kept_nowhere, story
from tests.tagging.world import TENANT, ZONE, World

PEOPLE = 25


def moved(world: World, condition: Condition, at: datetime) -> dict[UUID, datetime]:
    with world.engine.connect() as rows:
        found = segments.Sets(rows, TENANT, at=at).moving(condition.leaves())
        return {it.id: found[it.ordinal] for it in directory.by_ordinal(rows, TENANT, found)}


def late(
    world: World, seed: int, count: int = 150, wanted: Callable[[Condition], bool] = kept_nowhere
) -> tuple[list[str], int, int]:
    """The conditions for which the statements leave somebody out or are late, of so many at random; of how many pairs with a customer
    the clock has an instant, and how many are spared."""
    random = Random(seed)
    it = story(random, PEOPLE)
    world.tell(*it.messages)
    customers, wrong, moving, spared = everybody(world, ZONE), [], 0, 0
    for condition in conditions(random, count, wanted):
        at = random.choice(it.instants)
        found = moved(world, condition, at)
        for id, one in customers.items():
            due = next_change(condition, one, at)
            moving += due is not None
            if due is not None and (id not in found or found[id] > due):
                wrong.append(f"{condition} of {id} at {at}: {found.get(id)}, not {due}")
        spared += len(customers.keys() - found)
    return wrong, moving, spared


def of_dealings(condition: Condition) -> bool:
    """Whether it speaks of nothing but messages, flows, channels, membership and points."""
    return all(
        isinstance(it, Delivered | InFlow | Reachable) or (isinstance(it, AttributeTest) and it.key in OF_MEMBERSHIP)
        for it in condition.leaves()
    )


def test_nobody_is_left_out_whom_time_can_move_and_none_is_late(world: World) -> None:
    wrong, _, spared = late(world, 1)
    assert wrong == []
    assert spared > PEOPLE


def test_dealings_move_nobody_but_whom_they_are_to_come_for_or_leave_the_window_of(world: World) -> None:
    wrong, moving, spared = late(world, 3, 120, of_dealings)
    assert wrong == []
    assert moving > 10 * PEOPLE
    assert spared > 40 * PEOPLE


def test_statements_that_pass_over_dealings_to_come_are_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving.Moving, "at", lambda it, first, coming: it.moves(first) if first else None)
    wrong, _, _ = late(world, 3, 40, of_dealings)
    assert wrong


def test_a_statement_that_forgets_what_leaves_a_window_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_start", lambda window, when: when.at)
    wrong, _, _ = late(world, 2)
    assert wrong
