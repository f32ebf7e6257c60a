"""The benchmark of audiences in small: its population is what it says, its conditions can be published, what it counts is right."""

from collections import Counter
from random import Random

import psycopg

from bench import population
from bench.audiences import Scale
from bench.definitions import (
    ALL_PUBLISHED,
    ENTRY,
    HEAVY,
    LEAVES,
    PUBLISHED,
    WAITED,
    further,
    of_tags,
    published,
)
from chassis.clock import SystemClock
from deploy.local.postgres import Postgres
from services.tagging.domain.conditions import Condition, Limits, Universe
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.segments import Definition
from services.tagging.read_models import segments
from tests.tagging.world import World

CUSTOMERS = 500
TENANT = "bench"


def conditions() -> list[Condition]:
    return [read(it) for it in (*published(), *further(ALL_PUBLISHED - PUBLISHED), ENTRY, WAITED)]


def test_the_population_has_so_many_facts_and_its_sets_are_found_by_the_statements_of_the_product(
    world: World, postgres: Postgres
) -> None:
    with psycopg.connect(postgres.dsn(str(world.engine.url.database), "postgres"), autocommit=True) as rows:
        population.fill(rows, TENANT, CUSTOMERS, SystemClock().now())
        tables = ("behaviours", "placed_orders", "purchases", "attribute_values")
        counted = [rows.execute(f"SELECT count(*) FROM {it}".encode()).fetchone() for it in tables]
    assert sum(it[0] for it in counted if it) == CUSTOMERS * population.FACTS
    with world.engine.connect() as rows:
        sets = segments.Sets(rows, TENANT, at=SystemClock().now())
        sizes = {it: len(sets.of(Definition(condition=it), Universe.ALL)) for it in conditions()}
        assert len(sets.universe(Universe.ALL)) == CUSTOMERS
        holders = population.holders(199, CUSTOMERS)
        assert sets.of(Definition(condition=read(f'tag("{population.tag_key(199)}")')), Universe.ALL) == holders
    assert sum(size > 0 for size in sizes.values()) > 20
    assert 0 < sizes[read(HEAVY)] < CUSTOMERS // 4


def test_what_is_published_is_what_a_tenant_may_publish_and_is_of_all_kinds() -> None:
    found = conditions()
    kinds = Counter(type(leaf).__name__ for it in found for leaf in it.leaves())
    for it in found:
        Definition(condition=it).check(Limits())
    assert len(list(published())) == PUBLISHED
    assert kinds.keys() >= {"HasTag", "EventTest", "OrderTest", "Absence", "Succession", "AttributeTest"}
    assert len(list(read(of_tags(Random(1))).leaves())) == LEAVES


def test_a_scale_is_named_by_its_customers() -> None:
    assert [Scale(it).label for it in (20_000, 100_000, 1_000_000)] == ["20k", "100k", "1m"]
