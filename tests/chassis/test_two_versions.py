"""Two versions of a service, the newer with one revision more: in which order they may start, and both on one database."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chassis.migrations import migrate_now
from deploy.local.broker import NatsServer
from deploy.local.contracts import ROOT
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from tests.chassis.test_service import EchoProcess, forget_streams
from tests.conftest import DatabaseFactory

EXPAND = {
    "0001": "CREATE TABLE tins (name text PRIMARY KEY)",
    "0002": "ALTER TABLE tins ADD COLUMN origin text",
}
REVISION = """
from alembic import op

revision = "{revision}"
down_revision = {before}


def upgrade() -> None:
    op.execute({statement!r})
"""


def version(folder: Path, newest: str) -> Path:
    """The migrations of a version, up to its `newest` revision."""
    (folder / "versions").mkdir(parents=True)
    shutil.copy(ROOT / "services" / "identity" / "migrations" / "env.py", folder)
    before = None
    for revision, statement in EXPAND.items():
        if revision <= newest:
            script = REVISION.format(revision=revision, before=repr(before), statement=statement)
            (folder / "versions" / f"{revision}.py").write_text(script)
            before = revision
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return version(tmp_path / "old", "0001")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return version(tmp_path / "new", "0002")


Start = Callable[[Database, Path], EchoProcess]


@pytest.fixture
def process(
    nats_server: NatsServer, credentials: Credentials, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> Iterator[Start]:
    """Makes processes of the version with these migrations; all are killed at the end."""
    made: list[EchoProcess] = []

    def make(on: Database, migrations: Path) -> EchoProcess:
        made.append(EchoProcess(on, nats_server, credentials, tmp_path, ECHO_MIGRATIONS=str(migrations)))
        return made[-1]

    yield make
    for it in made:
        if it.child:
            it.child.kill()
    loop.run_until_complete(forget_streams(nats_server))


@pytest.mark.parametrize("role", ["serve", "relay", "rebuild"])
def test_the_newer_refuses_to_work_on_the_tables_of_the_older(
    role: str, database: DatabaseFactory, process: Start, old: Path, new: Path
) -> None:
    place = database("versions")
    migrate_now(place.owner_dsn, old)
    newer = process(place, new)

    assert newer.once(role) == 1

    assert "the database is older than this version: it lacks revision 0002" in newer.log.read_text()


def test_nobody_works_on_an_empty_database(database: DatabaseFactory, process: Start, old: Path) -> None:
    older = process(database("versions"), old)

    assert older.once("serve") == 1

    assert "it lacks tables" in older.log.read_text()


def test_the_older_goes_on_beside_the_newer_on_the_tables_of_the_newer(
    database: DatabaseFactory, process: Start, loop: asyncio.AbstractEventLoop, old: Path, new: Path
) -> None:
    place = database("versions")
    migrate_now(place.owner_dsn, old)
    before, after, back = process(place, old), process(place, new), process(place, old)

    async def pour(at: EchoProcess) -> str:
        async with at.calls() as calls:
            return await calls.say("tea")

    async def scenario() -> list[str]:
        before.run("all")
        poured = [await pour(before)]
        migrate_now(place.owner_dsn, new)
        after.run("all")
        poured += [await pour(after), await pour(before)]
        assert before.child
        before.child.stop()
        back.run("all")  # a way back: the older starts on the tables of the newer
        return [*poured, await pour(back), await pour(after)]

    assert loop.run_until_complete(scenario()) == ["1", "2", "3", "4", "5"]
