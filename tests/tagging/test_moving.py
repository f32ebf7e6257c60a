"""When time can first move whom is found by statements: they leave out nobody for whom the clock has an instant, and are never later."""

from datetime import datetime
from random import Random
from uuid import UUID

import pytest

from services.tagging.domain.conditions import Condition
from services.tagging.domain.conditions.change import next_change
from services.tagging.read_models import directory, moving, segments
from tests.tagging.stories import conditions, everybody, story
from tests.tagging.world import TENANT, ZONE, World

PEOPLE = 25


def moved(world: World, condition: Condition, at: datetime) -> dict[UUID, datetime]:
    with world.engine.connect() as rows:
        found = segments.Sets(rows, TENANT, at=at).moving(condition.leaves())
        return {it.id: found[it.ordinal] for it in directory.by_ordinal(rows, TENANT, found)}


def late(world: World, seed: int, count: int = 150) -> tuple[list[str], int]:
    """The conditions for which the statements leave somebody out or are late, of so many at random; and how many pairs are spared."""
    random = Random(seed)
    it = story(random, PEOPLE)
    world.tell(*it.messages)
    customers, wrong, spared = everybody(world, ZONE), [], 0
    for condition in conditions(random, count):
        at = random.choice(it.instants)
        found = moved(world, condition, at)
        for id, one in customers.items():
            due = next_change(condition, one, at)
            if due is not None and (id not in found or found[id] > due):
                wrong.append(f"{condition} of {id} at {at}: {found.get(id)}, not {due}")
        spared += len(customers.keys() - found)
    return wrong, spared


def test_nobody_is_left_out_whom_time_can_move_and_none_is_late(world: World) -> None:
    wrong, spared = late(world, 1)
    assert wrong == []
    assert spared > PEOPLE


def test_a_statement_that_forgets_what_leaves_a_window_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_start", lambda window, when: when.at)
    wrong, _ = late(world, 2)
    assert wrong
