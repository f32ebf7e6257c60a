"""Builds of read models: each in a schema of its own, so that a new one can grow beside the one that serves.

The table `projections` has a row per build: what it is a build of, how far it is, and whether it is the live one.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, cast

import sqlalchemy as sa
from psycopg.sql import SQL, Identifier

from chassis.postgres import WITHOUT_WAITING, driver_cursor

Source = Literal["events", "inbox"]
"""What a projection is made of: the service's own events, or messages of others that were kept."""

DDL: Final = (
    (
        "CREATE TABLE IF NOT EXISTS projections ("
        " build int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, version int NOT NULL, source text NOT NULL,"
        " schema text NOT NULL, position bigint NOT NULL DEFAULT 0, live boolean NOT NULL, retired_at timestamptz)"
    ),
    "CREATE UNIQUE INDEX IF NOT EXISTS projections_live ON projections (name) WHERE live",
)

_COLUMNS: Final = "build, name, version, source, schema, position, live"
_LIVE: Final = sa.text(f"SELECT {_COLUMNS} FROM projections WHERE name = :name AND live")  # noqa: S608
_LIVE_LOCKED: Final = sa.text(f"SELECT {_COLUMNS} FROM projections WHERE name = :name AND live FOR UPDATE")  # noqa: S608
_INSERT: Final = sa.text(
    "INSERT INTO projections (name, version, source, schema, live) VALUES (:name, :version, :source, '', :live) RETURNING build"
)
_NAME: Final = sa.text("UPDATE projections SET schema = :schema WHERE build = :build")
_MOVE: Final = "UPDATE public.projections SET position = %s WHERE build = ANY(%s) AND position = %s AND live = %s"
_MOVE_WITHOUT_WAITING: Final = f"{_MOVE} RETURNING {WITHOUT_WAITING}"
_RETIRE: Final = sa.text("UPDATE public.projections SET live = false, retired_at = now() WHERE name = :name AND live")
_PROMOTE: Final = sa.text("UPDATE public.projections SET live = true WHERE build = :build")
_DROPPABLE: Final = sa.text(
    "SELECT build, schema FROM projections WHERE NOT live AND retired_at < now() - make_interval(secs => :seconds)"
)
_UNFINISHED: Final = sa.text(
    "SELECT build, schema FROM projections WHERE name = :name AND NOT live AND retired_at IS NULL"
)


class BuildMoved(Exception):
    """Somebody else moved this build, or it is no longer live."""


class Projection(Protocol):
    """How one read model is made of a log.

    `tables` have no schema and each has a column `tenant`. `apply` gets the next entries of its source, in order and each once, and
    a connection whose search path is the schema of the build; it must depend on nothing else.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def tables(self) -> sa.MetaData: ...

    @property
    def source(self) -> str:
        """ "events" (the service's own), "inbox" (kept messages of others), or a log of the service's own by its name."""
        ...

    def apply(self, items: Sequence[Any], rows: sa.Connection) -> None: ...


@dataclass(frozen=True, slots=True)
class Build:
    """One build as the table has it."""

    build: int
    name: str
    version: int
    source: str
    schema: str
    position: int
    live: bool

    def at(self, position: int) -> "Build":
        return Build(self.build, self.name, self.version, self.source, self.schema, position, self.live)


def live_build(rows: sa.Connection, name: str, *, lock: bool = False) -> Build | None:
    """The build that serves."""
    found = rows.execute(_LIVE_LOCKED if lock else _LIVE, {"name": name}).one_or_none()
    return Build(*found) if found else None


def create(rows: sa.Connection, projection: Projection, *, live: bool) -> Build:
    """Make the schema and the empty tables of a new build."""
    version = projection.version
    parameters = {"name": projection.name, "version": version, "source": projection.source, "live": live}
    number = rows.scalar(_INSERT, parameters)
    schema = f"{projection.name[:40]}_v{version}_b{number}"
    rows.execute(_NAME, {"schema": schema, "build": number})
    quoted = _quoted(rows, schema)
    rows.execute(sa.text(f"CREATE SCHEMA {quoted}"))
    rows.execute(sa.text(f"GRANT USAGE ON SCHEMA {quoted} TO scrm_reader"))
    there = rows.execution_options(schema_translate_map={None: schema})
    projection.tables.create_all(there, checkfirst=False)
    rows.execution_options(schema_translate_map={})
    for table in projection.tables.sorted_tables:
        if "tenant" not in table.c:
            raise ValueError(f"table {table.name} of {projection.name} has no column tenant")
        for statement in row_security(f"{quoted}.{_quoted(rows, table.name)}"):
            rows.execute(sa.text(statement))
    return Build(int(number or 0), projection.name, version, projection.source, schema, 0, live)


def row_security(table: str) -> list[str]:
    """The statements by which the reader's role sees of `table` only the rows of the tenant it works for."""
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY tenant ON {table} TO scrm_reader USING (tenant = current_setting('scrm.tenant', true))",
        f"GRANT SELECT ON {table} TO scrm_reader",
    ]


def advance(rows: sa.Connection, build: Build, projection: Projection, items: Sequence[Any], position: int) -> Build:
    """Apply the entries up to `position` in the transaction of `rows`; BuildMoved if the build is not as we knew it."""
    return advance_all(rows, [(build, projection)], items, position)[0]


def advance_all(
    rows: sa.Connection,
    together: Sequence[tuple[Build, Projection]],
    items: Sequence[Any],
    position: int,
    *,
    waits: bool = True,
) -> list[Build]:
    """`advance` for builds that are at the same place, in one transaction; BuildMoved if one is not as we knew it.

    A commit that does not `wait` for the disk may be undone by a crash, rows and position alike.
    """
    _move(rows, [build for build, _ in together], position, waits)
    for build, projection in together:
        projection.apply(items, cast(sa.Connection, _InSchema(rows, build.schema)))
    return [build.at(position) for build, _ in together]


def _move(rows: sa.Connection, together: Sequence[Build], position: int, waits: bool) -> None:
    first, numbers = together[0], [it.build for it in together]
    move = _MOVE if waits else _MOVE_WITHOUT_WAITING
    moved = driver_cursor(rows).execute(move, [position, numbers, first.position, first.live], prepare=True)
    if moved.rowcount != len(together):
        raise BuildMoved(f"not all of {', '.join(it.schema for it in together)} are still at {first.position}")


class _InSchema:
    """A connection that goes to the schema of a read model when that first uses it: most batches have nothing for most of them."""

    __slots__ = ("_is_used", "_rows", "_schema")

    def __init__(self, rows: sa.Connection, schema: str) -> None:
        self._rows = rows
        self._schema = schema
        self._is_used = False

    def __getattr__(self, name: str) -> Any:
        if not self._is_used:
            self._is_used = True
            driver_cursor(self._rows).execute(SQL("SET LOCAL search_path TO {}").format(Identifier(self._schema)))
        return getattr(self._rows, name)


def promote(rows: sa.Connection, build: Build) -> None:
    """Let `build` serve instead of the one that did."""
    rows.execute(_RETIRE, {"name": build.name})
    rows.execute(_PROMOTE, {"build": build.build})


def drop_retired(engine: sa.Engine, after_seconds: float) -> None:
    """Remove the builds that stopped serving so long ago that no query can still be reading them."""
    with engine.begin() as rows:
        found = rows.execute(_DROPPABLE, {"seconds": after_seconds}).all()
        for it in found:
            _drop(rows, it.build, it.schema)


def drop_unfinished(rows: sa.Connection, name: str) -> None:
    """Remove what an interrupted rebuild left behind."""
    for it in rows.execute(_UNFINISHED, {"name": name}).all():
        _drop(rows, it.build, it.schema)


def canonical_hash(engine: sa.Engine, projection: Projection) -> str:
    """SHA-256 over every row of every table of the live build, in the order of primary keys, in a stable rendering."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as rows, rows.begin():
        build = live_build(rows, projection.name)
        if build is None:
            raise LookupError(f"{projection.name} has no live build")
        for setting in ("TimeZone = 'UTC'", "DateStyle = 'ISO, YMD'", "extra_float_digits = 1", "bytea_output = 'hex'"):
            rows.execute(sa.text(f"SET LOCAL {setting}"))
        digest = hashlib.sha256()
        for table in sorted(projection.tables.tables.values(), key=lambda it: it.name):
            _digest(rows, build.schema, table, digest.update)
        return digest.hexdigest()


def _digest(rows: sa.Connection, schema: str, table: sa.Table, update: Callable[[bytes], None]) -> None:
    update(f"\x1e{table.name}\x1f{','.join(it.name for it in table.columns)}\n".encode())
    keys = ", ".join(f'{_quoted(rows, it.name)}::text COLLATE "C"' for it in table.primary_key) or 't::text COLLATE "C"'
    columns = ", ".join(_quoted(rows, it.name) for it in table.columns)
    where = f"{_quoted(rows, schema)}.{_quoted(rows, table.name)}"
    query = sa.text(f"SELECT ROW({columns})::text FROM {where} AS t ORDER BY {keys}")  # noqa: S608
    for chunk in rows.execution_options(yield_per=5000).scalars(query).partitions():
        update("\n".join(chunk).encode() + b"\n")


def _drop(rows: sa.Connection, build: int, schema: str) -> None:
    rows.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
    rows.execute(sa.text(f"DROP SCHEMA IF EXISTS {_quoted(rows, schema)} CASCADE"))
    rows.execute(sa.text("DELETE FROM projections WHERE build = :build"), {"build": build})


def _quoted(rows: sa.Connection, name: str) -> str:
    return rows.dialect.identifier_preparer.quote_identifier(name)
