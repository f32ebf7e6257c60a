"""A page of a trail says of its rows what the whole trail says, and touches little more than itself."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest
import sqlalchemy as sa

from chassis.read_models import ReadModels
from deploy.local.postgres import Database
from services.tracking.domain.trail import Behaviour, Trail, TrailEntry
from services.tracking.domain.trail_page import Before, page_entries
from services.tracking.read_models import trail
from services.tracking.read_models.trail import Stretch, trail_page
from tests.tracking.touches import NOON

NODES = [UUID(int=it) for it in (1, 2, 3)]
KINDS = ["content_viewed", "content_viewed", "content_engaged", "content_left", "checkin", "store_visited"]

COLUMNS = (
    "message_id", "source_key", "event_type", "category", "node", "occurred_at", "received_at", "channel", "app", "page",
    "content_id", "page_view_id", "properties",
)  # fmt: skip
OTHERS = ("late", "code_key", "delivery_id", "share_id", "staff_code")
INSERT = (
    f"INSERT INTO behaviours (position, tenant, {', '.join((*COLUMNS, *OTHERS))})"
    f" VALUES (%s, 'acme', {', '.join(['%s'] * len(COLUMNS))}, false, '', '', '', '')"
)


def happened(dice: Random, count: int) -> list[Behaviour]:
    """Much at the same instants, views of few contents close together, and page views that are told of again and again."""
    found = []
    for number in range(count):
        at = NOON + timedelta(
            seconds=dice.randrange(0, 40_000, 5) if dice.random() < 0.7 else dice.randrange(3) * 3_000
        )
        kind = dice.choice(KINDS)
        page_view = f"pv{dice.randrange(count // 4)}" if kind.startswith("content") else ""
        properties = {
            "content_engaged": {"active_buckets": dice.randrange(40), "wall_ms": dice.randrange(400_000)},
            "content_left": {"duration_ms": dice.randrange(400_000)},
        }.get(kind, {})
        found.append(
            Behaviour(
                message_id=f"{dice.choice(['a', 'B', 'é', '茶', 'Z', '_'])}{number}",
                source_key=dice.choice(["h5", "OA"]),
                event_type=kind,
                category="I",
                node=dice.choice(NODES),
                occurred_at=at,
                received_at=at + timedelta(seconds=dice.randrange(2)),
                channel=dice.choice(["", "h5"]),
                app=dice.choice(["", "wx1", "wx2"]),
                page="",
                content_id=dice.choice(["A", "B", "C", "茶"]) if page_view else "",
                page_view_id=page_view,
                properties=orjson.dumps(properties).decode(),
            )
        )
    return found


def stored(tables: Database, behaviours: Sequence[Behaviour]) -> None:
    with psycopg.connect(tables.writer_dsn) as rows, rows.cursor() as cursor:
        cursor.executemany(INSERT.encode(), [(number, *astuple(it)) for number, it in enumerate(behaviours, 1)])


@pytest.fixture
def read_models(tables: Database) -> Iterator[ReadModels]:
    found = ReadModels(tables.reader_dsn)
    yield found
    found.close()


def paged(read_models: ReadModels, nodes: Sequence[UUID], stretch: Stretch, size: int) -> list[TrailEntry]:
    """A stretch, page after page."""
    found: list[TrailEntry] = []
    while page := read_models.query_now(partial(trail_page, nodes=nodes, stretch=stretch, limit=size), "acme"):
        found += page
        stretch = Stretch(stretch.start, stretch.end, page[-1].behaviour.place)
    return found


def expected(
    behaviours: Sequence[Behaviour], nodes: Sequence[UUID], start: datetime | None, end: datetime | None
) -> list[TrailEntry]:
    return [
        it
        for it in Trail(it for it in behaviours if it.node in nodes).entries()
        if (start is None or it.behaviour.occurred_at >= start) and (end is None or it.behaviour.occurred_at < end)
    ]


def test_pages_say_what_the_whole_trail_says(tables: Database, read_models: ReadModels) -> None:
    dice = Random(46)
    behaviours = happened(dice, 600)
    stored(tables, behaviours)
    instants = [None, *(it.occurred_at for it in behaviours)]
    for size in (1000, 97, 30, 30, 30, 11, 11, 11):
        nodes = dice.sample(NODES, dice.randrange(1, 4))
        start, end = dice.choice(instants[:1] * 300 + instants), dice.choice(instants[:1] * 300 + instants)
        assert paged(read_models, nodes, Stretch(start, end), size) == expected(behaviours, nodes, start, end)


def test_a_trail_of_nobody_has_no_pages(read_models: ReadModels) -> None:
    assert paged(read_models, NODES, Stretch(), 10) == []
    assert not read_models.query_now(lambda rows: trail.is_there_any(rows, NODES), "acme")


def test_control_without_what_came_before_a_page_is_another() -> None:
    behaviours = sorted(happened(Random(3), 200), key=lambda it: it.place)
    whole = Trail(behaviours).entries()
    assert page_entries(behaviours, behaviours, Before()) == whole
    assert page_entries(behaviours[100:], behaviours, Before()) != whole[100:]


OTHERS_TOO = b"""
INSERT INTO behaviours SELECT (b).* FROM (
    SELECT jsonb_populate_record(b, jsonb_build_object('node', md5(n::text)::uuid, 'position', position + n * 10000,
        'page_view_id', CASE WHEN page_view_id <> '' THEN page_view_id || '/' || n ELSE '' END)) AS b
    FROM behaviours b, generate_series(1, 4) n
) others
"""
"""Four more people, each of whom did all of it."""


@pytest.fixture
def plans(tables: Database, read_models: ReadModels) -> list[dict[str, Any]]:
    """How PostgreSQL reads the first page of one of many long trails."""
    dice = Random(5)
    behaviours = happened(dice, 4_000)
    stored(tables, behaviours)
    with psycopg.connect(tables.writer_dsn, autocommit=True) as writer:
        writer.execute(OTHERS_TOO)
    with psycopg.connect(tables.owner_dsn, autocommit=True) as owner:
        owner.execute(b"ANALYZE behaviours")
    return read_models.query_now(lambda rows: asked_of(rows, Stretch()), "acme")


def asked_of(rows: sa.Connection, stretch: Stretch) -> list[dict[str, Any]]:
    """The executed plan of each query for a page of 20."""
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(rows, "before_cursor_execute", note)
    trail_page(rows, NODES[:1], stretch, 20)
    sa.event.remove(rows, "before_cursor_execute", note)
    explained = [
        rows.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar()
        for statement, parameters in asked
    ]
    return [it[0]["Plan"] for it in explained if it]


def read_by(plan: dict[str, Any]) -> int:
    """The rows of the table that a plan has looked at."""
    mine = plan.get("Relation Name") == "behaviours"
    looked = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"] if mine else 0
    return int(looked) + sum(map(read_by, plan.get("Plans", ())))


def test_the_first_page_of_a_long_trail_touches_only_what_it_needs(plans: list[dict[str, Any]]) -> None:
    assert len(plans) == 2
    assert sum(map(read_by, plans)) < 400, "of more than a thousand behaviours of this one and 20,000 of all"
