"""What all tests share: a real PostgreSQL and NATS per test session, fresh databases, tokens, and the one event loop."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import uvloop

from deploy.local.broker import NatsServer
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database, Postgres

DatabaseFactory = Callable[[str], Database]

_WITHOUT_WAITING = {"fsync": "off", "full_page_writes": "off"}
"""What only a machine that loses power would miss; what is about durability starts a server of its own."""


@pytest.fixture(scope="session")
def state_dir() -> Iterator[Path]:
    """Where the servers of this test session keep what they store, and their logs.

    Not below pytest's own folder: as root the servers run as another user, whom pytest shuts out whenever a session starts.
    """
    with TemporaryDirectory(prefix="scrm-tests-") as folder:
        yield Path(folder)


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
def _database_numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def database(postgres: Postgres, _database_numbers: Iterator[int]) -> Iterator[DatabaseFactory]:
    """`database("identity")` makes an empty database of that name and a number; it is dropped after the test."""
    made: list[Database] = []

    def create(name: str) -> Database:
        made.append(postgres.create_database(f"{name}_{next(_database_numbers)}"))
        return made[-1]

    yield create
    for one in made:
        postgres.drop_database(one.name)


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
