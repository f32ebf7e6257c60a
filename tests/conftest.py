"""What all tests share: a real PostgreSQL and NATS per test session, fresh databases, tokens, and the one event loop."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pytest_timeout import timeout_timer  # type: ignore[import-untyped]

from deploy.local.broker import NatsServer
from deploy.local.credentials import Credentials
from deploy.local.postgres import EMPTY_CLUSTER, Database, Postgres
from tests.databases import Databases
from tests.places import place
from tests.scheduling import ByStack, longest_first
from tests.time_limit import Watch

DatabaseFactory = Callable[[str], Database]
Migrated = Callable[[str, Path | None], Database]

_WITHOUT_WAITING = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_wal_size": "256MB"}
"""What only a machine that loses power would miss; what is about durability starts a server of its own."""

_WATCH = Watch(timeout_timer)

_LITTLE_GARBAGE = 20_000
"""Objects made more than freed, before they are looked through for garbage; with the 700 of Python that was a quarter of some tests."""

# httpx looks for it with every request, and to look in vain through all folders takes longer than the request.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # None is how Python is told that there is none


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: to look through it for garbage again and again takes longer than some of the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(_LITTLE_GARBAGE)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    if settings.method != "thread":
        return None
    _WATCH.begin(item, settings)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer() -> None:
    _WATCH.finish()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: each worker waits now and then, for a disk or for what it has started."""
    return (os.cpu_count() or 1) + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStack:
    return ByStack(config, log)


@pytest.fixture(scope="session")
def state_dir() -> Iterator[Path]:
    """Where the servers of this test session keep what they store, and their logs."""
    with place("tests") as folder:
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _empty_cluster(state_dir: Path) -> Iterator[None]:
    """The files of PostgreSQL servers are made once, for the tests of a worker and all that they start."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(EMPTY_CLUSTER, str(state_dir / "empty_cluster"))
        yield


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """An empty one for the servers of one test."""
    with place("test") as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres(state_dir: Path) -> Iterator[Postgres]:
    """A running server; a test that kills or restarts it starts one of its own instead."""
    server = Postgres(state_dir / "postgres", settings=_WITHOUT_WAITING)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def nats_server(state_dir: Path) -> Iterator[NatsServer]:
    """A running server with JetStream; a test that kills or restarts it starts one of its own instead."""
    server = NatsServer(state_dir / "nats")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Iterator[Databases]:
    found = Databases(postgres)
    yield found
    found.close()


@pytest.fixture
def _dropped_after(databases: Databases) -> Iterator[list[Database]]:
    made: list[Database] = []
    yield made
    for one in made:
        databases.drop(one)


@pytest.fixture
def database(databases: Databases, _dropped_after: list[Database]) -> DatabaseFactory:
    """`database("identity")` makes an empty database of that name and a number; it is dropped after the test."""

    def make(name: str) -> Database:
        _dropped_after.append(databases.empty(name))
        return _dropped_after[-1]

    return make


@pytest.fixture
def migrated(databases: Databases, _dropped_after: list[Database]) -> Migrated:
    """`migrated("identity", MIGRATIONS)` makes one with all tables, those of the chassis alone where there are no migrations."""

    def make(name: str, migrations: Path | None) -> Database:
        _dropped_after.append(databases.migrated(name, migrations))
        return _dropped_after[-1]

    return make


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """A key pair of this test session: `.mint(tenant, scopes)` makes tokens, `.jwks` is the file to verify them by."""
    return Credentials.in_folder(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The one event loop of the test process, on uvloop: `loop.run_until_complete(coroutine)`.

    grpc.aio serves one loop per process (https://github.com/grpc/grpc/issues/25364), so every test that needs a loop runs its
    coroutines on this one and closes what it opened. Tests stay ordinary functions; no plugin is involved.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner.get_loop()
