"""The data keys of the vault in PostgreSQL, and those that are still wrapped by an old key of the tenant."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.commands import UnitOfWork
from chassis.postgres import columns, driver_cursor
from services.identity.application.vault import KeyWrap, WrappedKey

REWRAPPED_AT_ONCE: Final = 1_000

_READ: Final = sa.text(
    "SELECT node, wrapped_by, wrapped FROM data_keys WHERE tenant = :tenant AND node = ANY(CAST(:nodes AS uuid[]))"
)
_DESTROY: Final = sa.text(
    "INSERT INTO data_keys AS k (tenant, node, wrapped_by, made_at, destroyed_at)"
    " SELECT :tenant, node, '', :at, :at FROM unnest(CAST(:nodes AS uuid[])) AS n(node)"
    " ON CONFLICT (tenant, node) DO UPDATE SET wrapped = NULL, destroyed_at = excluded.destroyed_at"
    " WHERE k.wrapped IS NOT NULL"
)
_OLD: Final = sa.text(
    "SELECT tenant, node, wrapped_by, wrapped FROM data_keys"
    " WHERE wrapped IS NOT NULL AND (tenant, node) > (:tenant, CAST(:node AS uuid))"
    " ORDER BY tenant, node LIMIT :limit FOR UPDATE"
)
_REWRAP: Final = (
    "UPDATE data_keys k SET wrapped_by = v.wrapped_by, wrapped = v.wrapped"
    " FROM unnest(%b::text[], %b::uuid[], %b::text[], %b::bytea[]) AS v(tenant, node, wrapped_by, wrapped)"
    " WHERE (k.tenant, k.node) = (v.tenant, v.node)"
)


class SqlKeyTable:
    """The KeyTable of one unit of work. Keys are inserted by the unit of work itself."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work

    def read(self, nodes: Collection[UUID]) -> Mapping[UUID, WrappedKey]:
        return read_keys(self._work.reading, self._work.context.tenant, nodes)

    def destroy(self, nodes: Collection[UUID], at: datetime) -> None:
        parameters = {"tenant": self._work.context.tenant, "nodes": list(nodes), "at": at}
        self._work.rows.execute(_DESTROY, parameters)


def read_keys(rows: sa.Connection, tenant: str, nodes: Collection[UUID]) -> dict[UUID, WrappedKey]:
    """The keys of those of `nodes` that have one, or had."""
    found = rows.execute(_READ, {"tenant": tenant, "nodes": list(nodes)})
    return {it.node: WrappedKey(it.wrapped_by, it.wrapped) for it in found}


def rewrap(engine: sa.Engine, wrap: KeyWrap) -> int:
    """Wrap every data key by the newest key of its tenant; how many were not. Values stay as they are.

    Each thousand commits by itself: an interrupted run is simply run again.
    """
    tenant, node, changed = "", UUID(int=0), 0
    while True:
        with engine.begin() as rows:
            found = rows.execute(_OLD, {"tenant": tenant, "node": node, "limit": REWRAPPED_AT_ONCE}).all()
            if not found:
                return changed
            old = [it for it in found if not wrap.is_newest(it.tenant, WrappedKey(it.wrapped_by, it.wrapped))]
            if old:
                driver_cursor(rows).execute(_REWRAP, columns([_rewrapped(wrap, it) for it in old]))
        tenant, node, changed = found[-1].tenant, found[-1].node, changed + len(old)


def _rewrapped(wrap: KeyWrap, row: sa.Row[tuple[str, UUID, str, bytes]]) -> tuple[str, UUID, str, bytes | None]:
    key = wrap.unwrap(row.tenant, row.node, WrappedKey(row.wrapped_by, row.wrapped))
    assert key is not None  # noqa: S101 - the query leaves destroyed ones out
    new = wrap.wrap(row.tenant, row.node, key)
    return row.tenant, row.node, new.wrapped_by, new.wrapped
