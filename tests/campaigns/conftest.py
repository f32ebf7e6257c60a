"""The worlds of the campaign tests: one in memory, one on PostgreSQL; `world` is both, in turn."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.event_store import PostgresEventStore
from chassis.testing import memory_bus
from deploy.local.postgres import Database
from services.campaigns.adapters.flow_book import SqlFlowBook
from services.campaigns.adapters.order_book import SqlIntake, SqlOrderBook
from services.campaigns.adapters.permission_book import SqlPermissionBook
from services.campaigns.adapters.roster import SqlRoster
from services.campaigns.adapters.work_list import SqlWorkList
from services.campaigns.application.commands import Tables
from services.campaigns.application.handlers import handlers
from tests.campaigns.flow_memory import MemoryFlowBook
from tests.campaigns.memory import MemoryTables
from tests.campaigns.permission_memory import MemoryPermissions
from tests.campaigns.world import START, TENANT, World
from tests.conftest import Migrated

MIGRATIONS = Path(__file__).parents[2] / "services" / "campaigns" / "migrations"


@pytest.fixture
def campaigns_database(migrated: Migrated) -> Database:
    """A database with the tables of the chassis and of campaigns."""
    return migrated("campaigns", MIGRATIONS)


@pytest.fixture
def new_world(loop: asyncio.AbstractEventLoop) -> Iterator[Callable[[], World]]:
    """Makes worlds in memory."""
    made: list[World] = []

    def create() -> World:
        tables, clock = MemoryTables(TENANT), ReplayClock(START)
        book, permissions = MemoryFlowBook(tables), MemoryPermissions(tables)
        tables.forget = (book.forget, permissions.forget)
        every = Tables(lambda work: tables, lambda work: tables, lambda work: book, lambda work: permissions)
        bus = memory_bus(handlers(every), clock)
        bus.start()
        made.append(World(bus, clock, tables, lambda work: tables, every, loop))
        return made[-1]

    yield create
    for it in made:
        it.bus.stop()


@pytest.fixture
def memory_world(new_world: Callable[[], World]) -> World:
    return new_world()


@pytest.fixture
def postgres_world(campaigns_database: Database, loop: asyncio.AbstractEventLoop) -> Iterator[World]:
    store, clock = PostgresEventStore(campaigns_database.writer_dsn), ReplayClock(START)
    tables = Tables(
        lambda work: SqlRoster(work.rows, work.context.tenant),
        lambda work: SqlOrderBook(work.rows, work.context.tenant),
        SqlFlowBook,
        lambda work: SqlPermissionBook(work.rows, work.context.tenant),
    )
    bus = CommandBus(store, clock, handlers(tables))
    bus.start()
    yield World(bus, clock, SqlWorkList(store.engine), lambda work: SqlIntake(work.rows), tables, loop)
    bus.stop()
    store.close()


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found
