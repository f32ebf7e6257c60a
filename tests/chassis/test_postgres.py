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


def test_a_transaction_that_is_given_up_keeps_what_is_prepared(engine: sa.Engine) -> None:
    for _ in range(3):
        with engine.connect() as rows:
            found = _ask(rows)
    assert found == [(1,)]
    with engine.connect() as rows, pytest.raises(sa.exc.DBAPIError):
        rows.execute(sa.text("SELECT 1 / 0"))
    with engine.connect() as rows:
        assert _ask(rows) == [(1,)]


def test_what_was_prepared_in_a_transaction_that_is_given_up_may_be_asked_again(engine: sa.Engine) -> None:
    asked = "SELECT count(*) FROM shelf"
    for number in range(3):
        with engine.connect() as rows, driver_cursor(rows) as cursor:
            cursor.execute(f"CREATE TABLE shelf AS SELECT generate_series(1, {number})".encode())
            assert cursor.execute(asked, prepare=True).fetchone() == (number,)
            cursor.connection.rollback()
            with pytest.raises(psycopg.errors.UndefinedTable):
                cursor.execute(asked, prepare=True)


def test_a_lost_connection_is_replaced(engine: sa.Engine) -> None:
    with engine.connect() as rows:
        number = rows.scalar(sa.text("SELECT pg_backend_pid()"))
        with pytest.raises(sa.exc.OperationalError):
            rows.execute(sa.text("SELECT pg_terminate_backend(:number)"), {"number": number})
    with engine.connect() as rows:
        assert rows.scalar(sa.text("SELECT pg_backend_pid()")) != number


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
        assert not there._is_used
        assert there.execute(sa.text("SHOW search_path")).scalar() == "shelf" != before
        assert there._is_used


def test_an_array_arrives_as_it_was_sent_and_texts_may_stand_for_ids(engine: sa.Engine) -> None:
    id, now, nobody = UUID(int=7), datetime(1997, 1, 1, 0, 0, 0, 1, tzinfo=UTC), [None]
    sent = [
        [id, None],
        [now, None],
        [b"\x00\\", None],
        nobody,
        [],
        ["a,{}", None],
        [1, 2**40],
        [id, id],
        [-1, 2**31, None],
    ]
    asked = (
        "SELECT %s::uuid[], %s::timestamptz[], %s::bytea[], %s::uuid[], %s::uuid[], %s::text[], %s::bigint[], %s::uuid[],"
        " %s::bigint[]"
    )
    with reading(engine) as rows, driver_cursor(rows) as cursor:
        assert cursor.execute(asked, sent).fetchall() == [tuple(sent)]
        assert cursor.execute("SELECT %s = ANY(%s)", [id, [str(id)]]).fetchall() == [(True,)]


@pytest.mark.parametrize(
    "texts",
    [
        [""],
        ["a", "b c"],
        ["NULL", None, "null"],
        ['say "so"', "back\\slash", "{,}"],
        ['","', "a"],
        ["\\"],
        ['"'],
        ["\n", "\u1680\u3000", "王"],
        ['{"a": "b\\n"}', None],
    ],
)
def test_texts_arrive_as_they_were_sent(engine: sa.Engine, texts: list[str | None]) -> None:
    with reading(engine) as rows, driver_cursor(rows) as cursor:
        assert cursor.execute("SELECT %s::text[], %b::text[]", [texts, texts]).fetchall() == [(texts, texts)]


def test_numbers_arrive_as_they_were_sent_and_are_of_a_type_that_holds_them_all(engine: sa.Engine) -> None:
    asked = "SELECT pg_typeof(%s)::text, pg_typeof(%s)::text, pg_typeof(%s)::text"
    with reading(engine) as rows, driver_cursor(rows) as cursor:
        sent = [[1, -(2**15)], [-(2**31), 2**31 - 1], [0, -(2**63)]]
        assert cursor.execute(asked, sent).fetchone() == ("smallint[]", "integer[]", "bigint[]")
        assert cursor.execute("SELECT %s, %s, %s", sent).fetchone() == tuple(sent)
        assert cursor.execute("SELECT %s::numeric[]", [[2**63, 1]]).fetchone() == ([2**63, 1],)


def test_a_text_that_postgresql_cannot_hold_is_refused(engine: sa.Engine) -> None:
    with reading(engine) as rows, driver_cursor(rows) as cursor, pytest.raises(psycopg.DataError):
        cursor.execute("SELECT %s::text[]", [["a\0b"]])


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
