"""The roles `migrate` and `schema`: make the tables of the chassis and of the service, and wait until somebody has.

Versions of a service run side by side while it is rolled out, on one database. So a migration only adds what the version before can
live with (expand), and what nobody needs any more goes a version later (contract). A process newer than the tables refuses to start.
"""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import sqlalchemy as sa
import structlog

from chassis import schema
from chassis.postgres import create_engine
from chassis.settings import ChassisSettings
from chassis.telemetry import configure_logs

if TYPE_CHECKING:
    from alembic.config import Config

GATE_POLL_SECONDS: Final = 1.0
_ALL_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"

_log = structlog.get_logger(__name__)


def migrate(service: str, migrations: Path | None) -> None:
    """Bring the database that the environment names to the newest revision."""
    settings = ChassisSettings.from_environment(service)
    configure_logs(service, settings.log_level)
    migrate_now(settings.owner_database_url, migrations)
    _log.info("service.migrated")


def migrate_now(owner_dsn: str, migrations: Path | None, to: str = "head") -> None:
    """The same for one database, up to a revision; `migrations` is a folder of Alembic whose env.py takes the connection from us."""
    schema.create(owner_dsn)
    if migrations is None:
        return
    from alembic import command

    engine = create_engine(owner_dsn, pool_size=1)
    config = _config(migrations)
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('scrm.migrate'))"))  # one at a time
        config.attributes["connection"] = connection
        command.upgrade(config, to)
    engine.dispose()


def wait_for_schema(service: str, migrations: Path | None) -> None:
    """Return when the database that the environment names has all that this version of the service needs.

    Asks as the writer: nobody who waits needs the rights of the owner. A database that cannot be reached is waited for too.
    """
    settings = ChassisSettings.from_environment(service)
    configure_logs(service, settings.log_level)
    missing: str | None = ""
    while (found := _lack(settings.database_url, migrations)) is not None:
        if found != missing:
            _log.info("service.waits_for_schema", missing=found)
            missing = found
        time.sleep(GATE_POLL_SECONDS)
    _log.info("service.schema_is_there")


def require_schema(dsn: str, migrations: Path | None) -> None:
    """Raise OlderSchema unless the database has all that this version needs; one that cannot be reached is waited for."""
    while (found := _lack(dsn, migrations)) == _UNREACHABLE:
        time.sleep(GATE_POLL_SECONDS)
    if found is not None:
        raise OlderSchema(f"the database is older than this version: it lacks {found}, which `migrate` makes")


class OlderSchema(Exception):
    """A process is newer than the tables it would work on."""


_UNREACHABLE: Final = "a server that answers"


def _lack(dsn: str, migrations: Path | None) -> str | None:
    try:
        return missing_in(dsn, migrations)
    except psycopg.OperationalError:
        return _UNREACHABLE


def missing_in(dsn: str, migrations: Path | None) -> str | None:
    """What the database lacks for this version: tables of the chassis or a revision of the service; None if nothing.

    A revision that this version does not know is of a newer one, which has kept all that this one needs: migrations expand first
    and contract a release later.
    """
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        there = {name for (name,) in connection.execute(_ALL_TABLES)}
        if lacking := schema.TABLES - there:
            return f"tables {', '.join(sorted(lacking))}"
        if migrations is None:
            return None
        *older, head = revisions(migrations)
        if "alembic_version" not in there:
            return f"revision {head}"
        current = {revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")}
        return f"revision {head}" if not current or current <= set(older) else None


def revisions(migrations: Path) -> list[str]:
    """The revisions in a folder of Alembic, the oldest first. Read as text: Alembic takes longer to import than the question is worth."""
    after: dict[str, str] = {}
    for file in (migrations / "versions").glob("*.py"):
        named = dict(_NAMED.findall(file.read_text()))
        if "revision" in named:
            after[named["down_revision"]] = named["revision"]
    found: list[str] = []
    while (following := after.get(found[-1] if found else "None")) is not None:
        found.append(following)
    if not found or len(found) != len(after):
        raise ValueError(f"the revisions in {migrations} are no chain")
    return found


_NAMED: Final = re.compile(r"^(revision|down_revision)\b[^=\n]*= *[\"']?(\w+)", re.MULTILINE)


def _config(migrations: Path) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
