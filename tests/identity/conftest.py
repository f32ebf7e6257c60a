"""The stores on which the tests of identity run."""

from collections.abc import Iterator

import psycopg
import pytest

from chassis.event_store import MemoryEventStore, PostgresEventStore
from chassis.log import EventStore
from chassis.migrations import migrate_now
from deploy.local.postgres import Database, Postgres
from tests.identity.brand import MIGRATIONS, Brand


@pytest.fixture(scope="session")
def _tables(postgres: Postgres) -> Iterator[Database]:
    made = postgres.create_database("identity_tests")
    migrate_now(made.owner_dsn, MIGRATIONS)
    yield made
    postgres.drop_database(made.name)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[EventStore]:
    """An empty one; on PostgreSQL the tables are made once, because that takes longer than most tests."""
    if request.param == "memory":
        yield MemoryEventStore()
        return
    yield request.getfixturevalue("postgres_store")


@pytest.fixture
def postgres_store(_tables: Database) -> Iterator[EventStore]:
    """An empty one on PostgreSQL."""
    with psycopg.connect(_tables.owner_dsn) as owner:
        owner.execute("TRUNCATE stored_events, receipts, data_keys, timers, uncredited_orders RESTART IDENTITY")
    store = PostgresEventStore(_tables.writer_dsn)
    yield store
    store.close()


@pytest.fixture
def postgres_brand(postgres_store: EventStore) -> Brand:
    return Brand(postgres_store)


@pytest.fixture
def reader_dsn(_tables: Database) -> str:
    """How those who answer callers reach the same database."""
    return _tables.reader_dsn


@pytest.fixture
def brand(store: EventStore) -> Brand:
    """On both stores."""
    return Brand(store)
