"""Conditions: random ones on random people, across changes of the clock; every evaluator has to give the answer of every other.

Customers one at a time and the clock that says when to look again are held to the letter of the specification, a naive evaluator;
statements on whole sets, in PostgreSQL, to the customers one at a time. The conditions, people and evaluators are those of the tests;
here there are many more pairs of them, in as many processes as there are processors.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Final

import services.tagging
from chassis.migrations import migrate_now
from deploy.local.postgres import Postgres
from faults.verdict import Control, Scale, Verdict
from faults.workplace import postgres
from tests.tagging.agreement import disagreements, forgetful, hasty, late
from tests.tagging.random_conditions import ZONES
from tests.tagging.stories import PEOPLE, careless_statements, wrong_statements
from tests.tagging.world import World

PAIRS: Final = {Scale.FULL: 50_000, Scale.SMALL: 400}
"""Of a condition and a customer."""

STORIES: Final = {Scale.FULL: 8, Scale.SMALL: 1}
CONDITIONS: Final = {Scale.FULL: 160, Scale.SMALL: 40}
"""Of each story, asked of all the people in it."""

CONTROLS: Final = range(400)
_PORTION: Final = 100
_MIGRATIONS: Final = Path(services.tagging.__file__).parent / "migrations"


def run(scale: Scale) -> Verdict:
    portions = [range(first, first + _PORTION) for first in range(0, PAIRS[scale], _PORTION)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes:
        wrong = [it for found in processes.map(disagreements, portions) for it in found]
        planted = dict(processes.submit(_with_mistakes).result())
    sets = STORIES[scale] * CONDITIONS[scale] * PEOPLE
    with postgres("conditions") as server:
        by_sets = [it for number in range(STORIES[scale]) for it in _of_a_story(server, number, CONDITIONS[scale])]
        with careless_statements():
            planted["statements on sets"] = len(_of_a_story(server, STORIES[scale], 150))
    return Verdict(
        fault="conditions",
        done=f"{PAIRS[scale]:,} random pairs one at a time and {sets:,} by statements on sets",
        acknowledged=PAIRS[scale] + sets,
        lost=0,
        doubled=0,
        control=Control(
            "a mistake in each evaluator",
            ", ".join(f"{name}: {count} wrong" for name, count in planted.items()),
            fails=all(planted.values()),
        ),
        problems=[*wrong[:3], *by_sets[:3]],
        figures={"pairs that differ": len(wrong), "conditions of sets that differ": len(by_sets)},
    )


def _with_mistakes() -> Sequence[tuple[str, int]]:
    """How many of the controls differ with a mistake in each."""
    return [
        ("customers one at a time", len(disagreements(CONTROLS, one=forgetful))),
        ("the letter", len(disagreements(CONTROLS, other=hasty))),
        ("the clock", len(disagreements(CONTROLS, clock=late))),
    ]


def _of_a_story(server: Postgres, number: int, conditions: int) -> list[str]:
    """In a database of its own."""
    random = Random(number)  # noqa: S311 - the same in every run
    zone = random.choice(ZONES)
    database = server.create_database(f"conditions_{number}")
    migrate_now(database.owner_dsn, _MIGRATIONS)
    world = World(database, zone)
    try:
        return wrong_statements(world, zone, random, conditions)
    finally:
        world.close()
