"""The role `schema`: a process waits until the database has what its version needs, and not for what a newer version added."""

import psycopg
import pytest

from chassis import schema
from chassis.migrations import migrate_now, missing_in
from deploy.local.contracts import ROOT
from deploy.local.postgres import Database
from tests.conftest import DatabaseFactory

MIGRATIONS = ROOT / "services" / "identity" / "migrations"


@pytest.fixture
def made(database: DatabaseFactory) -> Database:
    return database("gate")


def test_an_empty_database_lacks_the_tables_of_the_chassis(made: Database) -> None:
    missing = missing_in(made.writer_dsn, None)

    assert missing is not None
    assert "stored_events" in missing


def test_the_tables_the_gate_knows_are_those_that_are_made(made: Database) -> None:
    migrate_now(made.owner_dsn, None)

    with psycopg.connect(made.owner_dsn) as connection:
        found = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert found == schema.TABLES
    assert missing_in(made.writer_dsn, None) is None


def test_the_tables_of_the_chassis_alone_do_not_open_the_gate_of_a_service(made: Database) -> None:
    migrate_now(made.owner_dsn, None)

    assert missing_in(made.writer_dsn, MIGRATIONS) is not None


def test_after_the_migration_the_gate_is_open(made: Database) -> None:
    migrate_now(made.owner_dsn, MIGRATIONS)

    assert missing_in(made.writer_dsn, MIGRATIONS) is None


@pytest.mark.parametrize(("revision", "opens"), [("0001", False), ("9999_of_a_newer_version", True)])
def test_an_older_revision_closes_it_and_a_newer_one_does_not(made: Database, revision: str, opens: bool) -> None:
    migrate_now(made.owner_dsn, MIGRATIONS)
    with psycopg.connect(made.owner_dsn) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [revision])

    assert (missing_in(made.writer_dsn, MIGRATIONS) is None) is opens


def test_nobody_needs_the_rights_of_the_owner_to_ask(made: Database) -> None:
    migrate_now(made.owner_dsn, MIGRATIONS)

    assert made.writer_dsn != made.owner_dsn
    assert missing_in(made.writer_dsn, MIGRATIONS) is None
