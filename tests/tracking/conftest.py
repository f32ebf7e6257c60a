"""The stores on which the tests of tracking run, and a database with its tables."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import services.tracking
from chassis.event_store import MemoryEventStore, PostgresEventStore
from chassis.log import EventStore
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from tests.conftest import Migrated
from tests.tracking.analyst import Analyst
from tests.tracking.audience import Audience
from tests.tracking.caller import AnalysisServing, Caller, answering
from tests.tracking.definitions import Studio
from tests.tracking.shop import Shop
from tests.tracking.touches import Tracking

MIGRATIONS = Path(services.tracking.__path__[0]) / "migrations"


@pytest.fixture
def tables(migrated: Migrated) -> Database:
    """An empty database of tracking."""
    return migrated("tracking", MIGRATIONS)


@pytest.fixture
def postgres_store(tables: Database) -> Iterator[PostgresEventStore]:
    store = PostgresEventStore(tables.writer_dsn)
    yield store
    store.close()


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore()
    found: PostgresEventStore = request.getfixturevalue("postgres_store")
    return found


@pytest.fixture
def shop(store: EventStore) -> Shop:
    """On both stores."""
    return Shop(store)


@pytest.fixture
def studio(store: EventStore) -> Studio:
    """On both stores."""
    return Studio(store)


@pytest.fixture
def memory_shop() -> Shop:
    """On the memory store only, for rules that do not depend on the store."""
    return Shop(MemoryEventStore())


@pytest.fixture
def tracking(postgres_store: PostgresEventStore, tables: Database) -> Tracking:
    return Tracking(postgres_store, tables.writer_dsn)


@pytest.fixture
def analyst(tables: Database, postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop) -> Iterator[Analyst]:
    found = Analyst(tables, postgres_store, loop)
    yield found
    found.read_models.close()


@pytest.fixture
def serve_analysis(analyst: Analyst, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> AnalysisServing:
    """`serve_analysis(check)` awaits `check(caller)` with the service running."""

    async def served(check: Callable[[Caller], Awaitable[None]]) -> None:
        async with answering(analyst, credentials) as caller:
            await check(caller)

    return lambda check: loop.run_until_complete(served(check))


@pytest.fixture
def audience(tracking: Tracking, tables: Database, loop: asyncio.AbstractEventLoop) -> Iterator[Audience]:
    found = Audience(tracking, tables, loop)
    yield found
    found.read_models.close()
