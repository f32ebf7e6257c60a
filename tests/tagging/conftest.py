"""Worlds for the tests of tagging."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import services.tagging
from deploy.local.credentials import Credentials
from tests.conftest import Migrated
from tests.tagging.calling import Serve, serving
from tests.tagging.world import ZONE, World

MIGRATIONS = Path(services.tagging.__file__).parent / "migrations"

Worlds = Callable[..., World]


@pytest.fixture
def worlds(migrated: Migrated) -> Iterator[Worlds]:
    """`worlds()` makes a world on a database of its own."""
    made: list[World] = []

    def make(zone: str = ZONE) -> World:
        made.append(World(migrated("tagging", MIGRATIONS), zone))
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
