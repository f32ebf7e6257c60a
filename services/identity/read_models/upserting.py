"""Rows of read models by their keys, many in one statement, whatever is in them."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from functools import cache
from typing import Any, TypeAlias
from uuid import UUID

import sqlalchemy as sa

Key: TypeAlias = tuple[str, UUID]
"""A tenant and an id: the primary key of all tables here."""


def load(rows: sa.Connection, table: sa.Table, keys: Collection[Key]) -> dict[Key, dict[str, Any]]:
    """The rows of `keys`, as far as there are any; the primary key of `table` is the tenant and one id."""
    if not keys:
        return {}
    tenant, id = table.primary_key.columns
    wanted = (
        sa.func.unnest(
            sa.cast([it for it, _ in keys], sa.ARRAY(sa.Text)), sa.cast([it for _, it in keys], sa.ARRAY(sa.Uuid))
        )
        .table_valued("tenant", "id", name="wanted")
        .render_derived()
    )
    query = sa.select(table).join(wanted, (tenant == wanted.c.tenant) & (id == wanted.c.id))
    return {(it[tenant.name], it[id.name]): dict(it) for it in rows.execute(query).mappings()}


def upsert(rows: sa.Connection, table: sa.Table, found: Iterable[Mapping[str, Any]]) -> None:
    """Write whole rows; one that is there already is replaced."""
    content = json.dumps(list(found), default=_as_text)
    if content != "[]":
        rows.execute(_upsertion(table), {"rows": content})


@cache
def _upsertion(table: sa.Table) -> sa.TextClause:
    keys = [it.name for it in table.primary_key]
    rest = ", ".join(f"{it.name} = excluded.{it.name}" for it in table.columns if it.name not in keys)
    return sa.text(
        f"INSERT INTO {table.name} SELECT * FROM jsonb_populate_recordset(NULL::{table.name}, CAST(:rows AS jsonb))"  # noqa: S608
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {rest}"
    )


def _as_text(value: object) -> str:
    match value:
        case datetime() | date():
            return value.isoformat()
        case bytes():
            return "\\x" + value.hex()
        case UUID():
            return str(value)
    raise TypeError(f"a row cannot hold a {type(value).__name__}")
