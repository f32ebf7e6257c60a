"""Rebuilding while the service is read and written."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.settings_commands import UpdateTenantSettings
from services.tagging.domain.conditions import HasTag, that
from services.tagging.domain.segments import Definition
from services.tagging.read_models import bitmaps, rule_states
from services.tagging.read_models.rebuild import rebuild
from services.tagging.read_models.schema import DERIVED, RESULTS, WAITING
from tests.tagging.world import START, TENANT, World, behaved, created, merged, paid, person


def owls(world: World, count: int, first: int = 0) -> None:
    """Let `count` people read on five nights."""
    people = [person(n) for n in range(first, first + count)]
    nights = [START + timedelta(days=day, hours=16) for day in range(5)]
    world.tell(*(created(it) for it in people), *(behaved(it, at) for at in nights for it in people))


def seen(rows: sa.Connection) -> tuple[int, int]:
    """Two figures out of different tables that must go together."""
    name = bitmaps.of_tag("night_owl")
    return len(bitmaps.load(rows, TENANT, (name,))[name]), rule_states.ever(rows, TENANT, "night_owl")


def test_who_reads_during_a_rebuild_sees_all_of_it_or_nothing(world: World) -> None:
    world.clock.set(START + timedelta(days=6))
    owls(world, 30)
    with world.engine.begin() as rows:
        for table in ("bitmaps", "rule_states", "visits"):
            rows.execute(sa.text(f"DELETE FROM {table}"))
    found = []
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(rebuild, world.engine, world.store)
        while not running.done():
            found.append(world.read_models.query_now(seen, TENANT))
    drift = running.result()
    found.append(world.read_models.query_now(seen, TENANT))
    assert drift["rule_states"].added == 30
    assert set(found) == {(0, 0), (30, 30)}
    assert world.rebuild() == {}


def test_facts_go_on_arriving_during_a_rebuild(world: World) -> None:
    world.clock.set(START + timedelta(days=6))
    world.define("owls", Definition(condition=that(HasTag("night_owl"))))
    owls(world, 30)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(rebuild, world.engine, world.store)
        first = 100
        while not running.done():
            owls(world, 3, first)
            world.tell(merged(person(first), person(first + 1)), paid(person(first), first, START, 100))
            first += 3
    assert not any(any(it) for it in running.result().values())
    assert world.rebuild() == {}


def test_another_zone_reviews_everybody_page_by_page(world: World) -> None:
    world.clock.set(START + timedelta(days=6))
    owls(world, 20)
    assert len(world.tagged("night_owl")) == 20
    world.do(UpdateTenantSettings("UTC", "USD"))  # it was afternoon
    assert world.fire() > 0
    assert world.tagged("night_owl") == set()
    assert world.rows("SELECT count(*) FROM rule_states") == [(0,)]
    assert world.rebuild() == {}


def test_equal_sets_are_packed_alike_however_they_came_about() -> None:
    run = BitMap(range(5))
    run.run_optimize()
    left = run - BitMap((0, 4))
    assert left.get_statistics()["n_run_containers"] == 1  # the negative control: an array holds as much in as little
    assert bitmaps.pack(left) == bitmaps.pack(BitMap((1, 2, 3)))


def test_the_migrations_make_the_tables_that_the_code_describes(world: World) -> None:
    described = {
        (table.name, column.name, column.nullable)
        for tables in (DERIVED, RESULTS, WAITING)
        for table in tables.tables.values()
        for column in table.columns
    }
    there = world.rows(
        "SELECT table_name, column_name, is_nullable = 'YES' FROM information_schema.columns"
        " WHERE table_schema = 'public'"
    )
    ours = {it[0] for it in described}
    assert {it for it in there if it[0] in ours} == described
