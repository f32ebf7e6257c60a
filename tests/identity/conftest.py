"""The stores on which the tests of identity run."""

from collections.abc import Iterator

import psycopg
import pytest

from chassis.event_store import MemoryEventStore, PostgresEventStore
from chassis.log import EventStore
from chassis.schema import create
from deploy.local.postgres import Database, Postgres
from tests.identity.brand import Brand


@pytest.fixture(scope="session")
def _tables(postgres: Postgres) -> Iterator[Database]:
    made = postgres.create_database("identity_tests")
    create(made.owner_dsn)
    yield made
    postgres.drop_database(made.name)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[EventStore]:
    """An empty one; on PostgreSQL the tables are made once, because that takes longer than most tests."""
    if request.param == "memory":
        yield MemoryEventStore()
        return
    tables: Database = request.getfixturevalue("_tables")
    with psycopg.connect(tables.owner_dsn) as owner:
        owner.execute("TRUNCATE stored_events, receipts RESTART IDENTITY")
    postgres = PostgresEventStore(tables.writer_dsn)
    yield postgres
    postgres.close()


@pytest.fixture
def brand(store: EventStore) -> Brand:
    """On both stores."""
    return Brand(store)
