"""Databases for tests: one of each kind is made and migrated in a test session, the others are copies of it.

A copy takes a twentieth of the time that migrating takes, and holds the same tables, rights and functions.
"""

from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from chassis.migrations import migrate_now
from deploy.local.postgres import OWNER, WRITER, Database, Postgres


class Databases:
    """The databases of one server; close it at the end."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._numbers = count(1)
        self._originals: dict[Path | str, Database] = {}
        self._admin = psycopg.connect(server.dsn("postgres", "postgres"), autocommit=True)

    def empty(self, name: str) -> Database:
        """One without tables, called `name` and a number."""
        if "empty" not in self._originals:
            self._originals["empty"] = self._server.create_database("original_empty")
        return self._copy(self._originals["empty"], name)

    def migrated(self, name: str, migrations: Path | None) -> Database:
        """One with the tables of the chassis and, from a folder of Alembic, those of a service."""
        kind = migrations or "chassis"
        if kind not in self._originals:
            made = self._server.create_database(f"original_{len(self._originals)}")
            migrate_now(made.owner_dsn, migrations)
            self._originals[kind] = made
        return self._copy(self._originals[kind], name)

    def drop(self, database: Database) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def close(self) -> None:
        self._admin.close()

    def _copy(self, original: Database, name: str) -> Database:
        copy = self._server.database(f"{name}_{next(self._numbers)}")
        names = {"copy": sql.Identifier(copy.name), "original": sql.Identifier(original.name)}
        for statement in (_COPY, _GRANT):  # what is granted on a database itself is no part of the copy
            self._admin.execute(statement.format(owner=sql.Identifier(OWNER), writer=sql.Identifier(WRITER), **names))
        return copy


_COPY = sql.SQL("CREATE DATABASE {copy} OWNER {owner} TEMPLATE {original} STRATEGY file_copy")
_GRANT = sql.SQL("GRANT CREATE ON DATABASE {copy} TO {writer}")
