"""Erased nodes: nothing of them is in any table, whatever is told of them before or after."""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from scrm.identity.v1 import events_pb2 as pb
from services.identity.read_models.profile.told import execute, tables, uuid

erased: Final = sa.Table(
    "told_erased",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
)

_PUT: Final = (
    "INSERT INTO told_erased (tenant, node) SELECT * FROM unnest(%s::text[], %s::uuid[]) ON CONFLICT DO NOTHING"
)
_AMONG: Final = sa.text(
    "SELECT tenant, node FROM told_erased WHERE (tenant, node) IN"
    " (SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:nodes AS uuid[])))"
)
_BY_NODE: Final = (
    "timeline",
    "told_orders",
    "told_lots",
    "told_conversions",
    "told_shares",
    "told_visits",
    "told_groups",
)
_BY_CUSTOMER: Final = ("told_tags", "told_layers", "told_members", "told_debts")
_DELETES: Final = tuple(
    f"DELETE FROM {table} t USING unnest(%s::text[], %s::uuid[]) AS gone(tenant, node)"  # noqa: S608
    f" WHERE (t.tenant, t.{column}) = (gone.tenant, gone.node)"
    for column, named in (("node", _BY_NODE), ("customer", _BY_CUSTOMER))
    for table in named
)

Key = tuple[str, UUID]


class Erased:
    """Whom a batch says to be erased, and of whom it speaks."""

    def __init__(self) -> None:
        self._new: set[Key] = set()
        self._spoken_of: set[Key] = set()

    def take(self, tenant: str, key: str, message: Any) -> None:
        """`key` is by what the message was published in order: a node or customer it is about."""
        if isinstance(message, pb.CustomerErased):
            self._new.update((tenant, uuid(it)) for it in message.node_ids)
        else:
            self._spoken_of.add((tenant, uuid(key)))

    def write(self, rows: sa.Connection) -> None:
        """After all other tables."""
        execute(rows, _PUT, sorted(self._new))
        gone = sorted(self._new | _among(rows, self._spoken_of))
        for statement in _DELETES:
            execute(rows, statement, gone)


def _among(rows: sa.Connection, keys: Collection[Key]) -> set[Key]:
    if not keys:
        return set()
    found = rows.execute(_AMONG, {"tenants": [it[0] for it in keys], "nodes": [it[1] for it in keys]})
    return {(it.tenant, it.node) for it in found}
