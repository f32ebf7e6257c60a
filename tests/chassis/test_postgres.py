"""Connections: what they have prepared outlives reading; a read model's connection goes to its schema only when it is used."""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from chassis.builds import _InSchema
from chassis.postgres import create_engine, driver_cursor, reading
from tests.conftest import DatabaseFactory


class Colour(StrEnum):
    RED = "red"


@pytest.fixture
def engine(database: DatabaseFactory) -> Iterator[sa.Engine]:
    engine = create_engine(database("connections").writer_dsn, pool_size=1)
    yield engine
    engine.dispose()


def _ask(rows: sa.Connection) -> list[tuple[Any, ...]]:
    with driver_cursor(rows) as cursor:
        return cursor.execute("SELECT count(*) FROM pg_prepared_statements", prepare=True).fetchall()


def test_reading_keeps_what_is_prepared(engine: sa.Engine) -> None:
    for _ in range(3):
        with reading(engine) as rows:
            found = _ask(rows)
    assert found == [(1,)]


def test_reading_in_a_transaction_that_is_given_up_does_not(engine: sa.Engine) -> None:
    """Why `reading` is there; once this fails, it need not be."""
    for _ in range(3):
        with engine.connect() as rows:
            rows.execute(sa.text("SELECT 1"))
            _ask(rows)
    with reading(engine) as rows:
        assert rows.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_who_writes_after_somebody_has_read_writes_in_a_transaction(engine: sa.Engine) -> None:
    with reading(engine) as rows:
        rows.execute(sa.text("SELECT 1"))
    with engine.connect() as rows:
        rows.execute(sa.text("CREATE TABLE undone ()"))
    with reading(engine) as rows:
        assert rows.scalar(sa.text("SELECT to_regclass('undone')")) is None


def test_a_read_model_goes_to_its_schema_when_it_has_something_to_say(engine: sa.Engine) -> None:
    with engine.begin() as rows:
        there = _InSchema(rows, "shelf")
        before = rows.scalar(sa.text("SHOW search_path"))
        assert not there.is_used
        assert there.execute(sa.text("SHOW search_path")).scalar() == "shelf" != before
        assert there.is_used


def test_an_array_arrives_as_it_was_sent_and_texts_may_stand_for_ids(engine: sa.Engine) -> None:
    id, now, nobody = UUID(int=7), datetime(1997, 1, 1, 0, 0, 0, 1, tzinfo=UTC), [None]
    sent = [[id, None], [now, None], [b"\x00\\", None], nobody, [], ["a,{}", None], [1, 2**40]]
    asked = "SELECT %s::uuid[], %s::timestamptz[], %s::bytea[], %s::uuid[], %s::uuid[], %s::text[], %s::bigint[]"
    with reading(engine) as rows, driver_cursor(rows) as cursor:
        assert cursor.execute(asked, sent).fetchall() == [tuple(sent)]
        assert cursor.execute("SELECT %s = ANY(%s)", [id, [str(id)]]).fetchall() == [(True,)]


def test_texts_and_ids_of_an_array_are_kept_apart_whatever_is_in_them(engine: sa.Engine) -> None:
    ids = [UUID(int=it) for it in (0, 1, 2**128 - 1)]
    texts = ["", "NULL", "null", '"', "\\", '\\"', "a,{}", " é\n", None, Colour.RED]
    nested = [["a,b", '"'], ["", None]]
    with reading(engine) as rows, driver_cursor(rows) as cursor:
        asked = "SELECT %s::text[], %s::text[], %s::uuid[], %b::uuid[], %s::uuid[], %s::boolean[]"
        sent = [texts, nested, ids, ids, [[it] for it in ids], [True, False, None]]
        assert cursor.execute(asked, sent).fetchall() == [tuple(sent)]
        assert cursor.execute("SELECT %s::jsonb[]", [['{"a": "\\""}', None]]).fetchall() == [([{"a": '"'}, None],)]
        with pytest.raises(psycopg.DataError, match="NUL"):
            cursor.execute("SELECT %s::text[]", [["a\0b"]])
