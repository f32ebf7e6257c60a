"""Where a fault happens: a folder of its own, of which only the logs stay, and a bare database for those that need no service."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from chassis import schema
from deploy.local.contracts import ROOT
from deploy.local.postgres import Database, Postgres

KEPT = ROOT / "build" / "faults"


@contextmanager
def workplace(fault: str) -> Iterator[Path]:
    """An empty folder; its logs are kept in build/faults/<fault>."""
    with TemporaryDirectory(prefix=f"scrm-faults-{fault}-") as name:
        folder = Path(name)
        try:
            yield folder
        finally:
            if (folder / "logs").exists():
                shutil.copytree(folder / "logs", KEPT / fault, dirs_exist_ok=True)


@contextmanager
def postgres(fault: str, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A server of its own."""
    with workplace(fault) as folder:
        server = Postgres(folder / "postgres", settings=settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def with_chassis(server: Postgres, name: str) -> Database:
    """A new database with the tables of the chassis."""
    database = server.create_database(name)
    schema.create(database.owner_dsn)
    return database
