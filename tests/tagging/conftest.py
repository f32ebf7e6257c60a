"""Worlds for the tests of tagging."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import services.tagging
from chassis.migrations import migrate_now
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from tests.tagging.calling import Serve, serving
from tests.tagging.world import ZONE, World

MIGRATIONS = Path(services.tagging.__file__).parent / "migrations"

Worlds = Callable[..., World]


@pytest.fixture
def worlds(database: Callable[[str], Database]) -> Iterator[Worlds]:
    """`worlds()` makes a world on a database of its own."""
    made: list[World] = []

    def make(zone: str = ZONE) -> World:
        fresh = database("tagging")
        migrate_now(fresh.owner_dsn, MIGRATIONS)
        with psycopg.connect(fresh.owner_dsn) as connection:  # nothing here is about crashes
            statement = sql.SQL("ALTER DATABASE {} SET synchronous_commit = off")
            connection.execute(statement.format(sql.Identifier(fresh.name)))
        made.append(World(fresh, zone))
        return made[-1]

    yield make
    for it in made:
        it.close()


@pytest.fixture
def world(worlds: Worlds) -> World:
    return worlds()


@pytest.fixture
def serve(world: World, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """`serve(check)` runs `check(caller)` against a server of `world`."""
    return serving(world, credentials, loop)
