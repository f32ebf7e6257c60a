"""Connections: what they have prepared outlives reading; a read model's connection goes to its schema only when it is used."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from chassis.builds import _InSchema
from chassis.postgres import create_engine, driver_cursor, reading
from tests.conftest import DatabaseFactory


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
