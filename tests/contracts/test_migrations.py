"""A migration only adds, so that the version before goes on working while the new one is rolled out, and after a way back.

Each revision is applied to a real database by itself, and what was there before is compared with what is there after.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from alembic.script import ScriptDirectory

from chassis.migrations import _config, migrate_now, revisions
from deploy.local.contracts import ROOT
from tests.conftest import DatabaseFactory

FOLDERS = sorted((ROOT / "services").glob("*/migrations"))
CONTRACTS: frozenset[tuple[str, str]] = frozenset()
"""Revisions (service, revision) that take away what no version still in use needs, each a release after the last use."""

_COLUMNS = (
    "SELECT table_name, column_name, data_type, is_nullable = 'YES', column_default IS NOT NULL OR is_identity = 'YES'"
    " OR is_generated = 'ALWAYS' FROM information_schema.columns WHERE table_schema = 'public'"
)
_RIGHTS = (
    "SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants"
    " WHERE grantee IN ('scrm_writer', 'scrm_reader') AND table_schema = 'public'"
    " UNION SELECT grantee, table_name || '.' || column_name, privilege_type FROM information_schema.role_column_grants"
    " WHERE grantee IN ('scrm_writer', 'scrm_reader') AND table_schema = 'public'"
)


class Column(NamedTuple):
    """What matters of a column to those who use it; `fills_itself`: a row may be written without naming it."""

    kind: str
    may_be_null: bool
    fills_itself: bool


class Schema(NamedTuple):
    """The columns by table and name, and what our roles may do with tables and with their columns."""

    columns: dict[tuple[str, str], Column]
    rights: set[tuple[str, str, str]]


def schema_of(dsn: str) -> Schema:
    with psycopg.connect(dsn) as rows:
        columns = {(table, name): Column(*rest) for table, name, *rest in rows.execute(_COLUMNS)}
        return Schema(columns, set(rows.execute(_RIGHTS)))


def complaints(before: Schema, after: Schema) -> Iterator[str]:
    """What a process of the version before would stumble over."""
    tables = {table for table, _ in before.columns}
    for place, was in before.columns.items():
        now = after.columns.get(place)
        if now is None:
            yield f"{'.'.join(place)} is gone"
        elif now.kind != was.kind:
            yield f"{'.'.join(place)} was {was.kind}"
        elif was.may_be_null and not now.may_be_null and not now.fills_itself:
            yield f"{'.'.join(place)} may no longer be left out"
    for place in after.columns.keys() - before.columns.keys():
        added = after.columns[place]
        if place[0] in tables and not added.may_be_null and not added.fills_itself:
            yield f"{'.'.join(place)} may not be left out"
    yield from (f"{who} may no longer {what} {table}" for who, table, what in before.rights - after.rights)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda it: it.parent.name)
def test_every_migration_only_adds(folder: Path, database: DatabaseFactory) -> None:
    made = database(f"expand_{folder.parent.name}")
    migrate_now(made.owner_dsn, None)
    before = schema_of(made.owner_dsn)
    for revision in revisions(folder):
        migrate_now(made.owner_dsn, folder, revision)
        after = schema_of(made.owner_dsn)
        if (folder.parent.name, revision) not in CONTRACTS:
            assert list(complaints(before, after)) == [], revision
        before = after
    migrate_now(made.owner_dsn, folder)
    assert schema_of(made.owner_dsn) == before, "every start of a new version migrates again"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("ALTER TABLE parked DROP COLUMN attempts", "parked.attempts is gone"),
        ("ALTER TABLE parked RENAME COLUMN attempts TO tries", "parked.attempts is gone"),
        ("ALTER TABLE parked ALTER COLUMN reason TYPE varchar", "parked.reason was text"),
        ("ALTER TABLE parked ADD COLUMN colour text NOT NULL", "parked.colour may not be left out"),
        ("REVOKE DELETE ON parked FROM scrm_writer", "scrm_writer may no longer DELETE parked"),
        ("REVOKE UPDATE (payload) ON inbox FROM scrm_writer", "scrm_writer may no longer UPDATE inbox.payload"),
        ("ALTER TABLE parked ADD COLUMN colour text", ""),
        ("ALTER TABLE parked ADD COLUMN colour text NOT NULL DEFAULT 'red'", ""),
        ("CREATE TABLE colours (name text NOT NULL)", ""),
    ],
)
def test_what_takes_something_away_is_noticed(statement: str, found: str, database: DatabaseFactory) -> None:
    made = database("contract")
    migrate_now(made.owner_dsn, None)
    before = schema_of(made.owner_dsn)
    with psycopg.connect(made.owner_dsn) as rows:
        rows.execute(statement.encode())

    said = list(complaints(before, schema_of(made.owner_dsn)))

    assert (found in said) if found else said == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda it: it.parent.name)
def test_revisions_are_read_as_alembic_reads_them(folder: Path) -> None:
    known = ScriptDirectory.from_config(_config(folder))

    assert revisions(folder) == [it.revision for it in reversed(list(known.walk_revisions()))]
