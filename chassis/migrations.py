"""The role `migrate`: the tables of the chassis, then those that the migrations of the service make."""

from pathlib import Path

import sqlalchemy as sa
import structlog

from chassis import schema
from chassis.postgres import create_engine
from chassis.settings import ChassisSettings
from chassis.telemetry import configure_logs

_log = structlog.get_logger(__name__)


def migrate(service: str, migrations: Path | None) -> None:
    """Bring the database that the environment names to the newest revision."""
    settings = ChassisSettings.from_environment(service)
    configure_logs(service, settings.log_level)
    migrate_now(settings.owner_database_url, migrations)
    _log.info("service.migrated")


def migrate_now(owner_dsn: str, migrations: Path | None) -> None:
    """The same for one database; `migrations` is a folder of Alembic whose env.py takes the connection from us."""
    schema.create(owner_dsn)
    if migrations is None:
        return
    from alembic import command
    from alembic.config import Config

    engine = create_engine(owner_dsn, pool_size=1)
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('scrm.migrate'))"))  # one at a time
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
