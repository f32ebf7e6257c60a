"""Whom time can move is found by one statement for each leaf: it leaves out nobody for whom the clock has an instant."""

from datetime import datetime
from random import Random

import pytest

from services.tagging.domain.conditions import Condition
from services.tagging.domain.conditions.change import next_change
from services.tagging.read_models import directory, moving, segments
from tests.tagging.stories import conditions, everybody, story
from tests.tagging.world import TENANT, ZONE, World

PEOPLE = 25


def moved(world: World, condition: Condition, at: datetime) -> set[object]:
    with world.engine.connect() as rows:
        found = segments.Sets(rows, TENANT, at=at).moving(condition.leaves())
        return {it.id for it in directory.by_ordinal(rows, TENANT, found)}


def left_out(world: World, seed: int, count: int = 150) -> tuple[list[str], int]:
    """The conditions for which the statement leaves somebody out, of so many at random; and how many pairs it spares the clock."""
    random = Random(seed)
    it = story(random, PEOPLE)
    world.tell(*it.messages)
    customers, wrong, spared = everybody(world, ZONE), [], 0
    for condition in conditions(random, count):
        at = random.choice(it.instants)
        found = moved(world, condition, at)
        wrong += [
            f"{condition} of {id} at {at}"
            for id, one in customers.items()
            if id not in found and next_change(condition, one, at)
        ]
        spared += len(customers.keys() - found)
    return wrong, spared


def test_nobody_is_left_out_whom_time_can_move(world: World) -> None:
    wrong, spared = left_out(world, 1)
    assert wrong == []
    assert spared > PEOPLE


def test_a_statement_that_forgets_what_leaves_a_window_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_start", lambda window, when: when.at)
    wrong, _ = left_out(world, 2)
    assert wrong
