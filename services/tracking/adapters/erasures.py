"""The rows behind events of people who are to be forgotten: which erasures are under way, and removing what they are about.

Nothing is removed before every event that was accepted when the erasure began has been resolved: identity refuses to name a
node for those that come later, and for those that it is asked about from then on.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa

from chassis.postgres import driver_cursor
from scrm.tracking.v1 import behaviour_pb2

_OPEN: Final = (
    "INSERT INTO erasures (tenant, case_id, nodes, accepted_head)"
    " SELECT %s, %s, %s, coalesce(max(position), 0) FROM accepted ON CONFLICT DO NOTHING"
)
_CLOSE: Final = "DELETE FROM erasures WHERE tenant = %s AND case_id = %s"
_DUE: Final = (
    "SELECT tenant, case_id, nodes FROM erasures"
    " WHERE accepted_head <= (SELECT position FROM resolver_cursor WHERE name = 'resolve') ORDER BY tenant, case_id"
)
_LOCK: Final = "SELECT removed FROM erasures WHERE tenant = %s AND case_id = %s FOR UPDATE"
_NOTE: Final = "UPDATE erasures SET removed = %s WHERE tenant = %s AND case_id = %s"
_ACCEPTED: Final = (
    "DELETE FROM accepted a USING behaviours b WHERE b.tenant = %s AND b.node = ANY(%s)"
    " AND (a.position, a.received_at) = (b.position, b.received_at) RETURNING a.payload"
)
_BEHAVIOURS: Final = "DELETE FROM behaviours WHERE tenant = %s AND node = ANY(%s)"
_NODE_ORDERS: Final = "DELETE FROM node_orders WHERE tenant = %s AND node = ANY(%s)"
_TIMERS: Final = "DELETE FROM timers WHERE tenant = %s AND payload ->> 'node' = ANY(%s)"
_OF_MANY: Final = (
    "UPDATE timers SET payload = payload || jsonb_build_object('nodes', (payload -> 'nodes') - %s::text[])"
    " WHERE tenant = %s AND (payload -> 'nodes') ?| %s::text[]"
)
_BOARDS: Final = "SELECT quote_ident(schema) FROM projections WHERE name = 'boards'"
_NUMBERED: Final = "UPDATE {schema}.board_nodes SET node = gen_random_uuid() WHERE tenant = %s AND node = ANY(%s)"
_SUSPECTS: Final = (
    "SELECT number, payload FROM {table} WHERE tenant = %s"
    " AND EXISTS (SELECT FROM unnest(%s::bytea[]) AS v WHERE position(v IN payload) > 0)"
)
_ASIDE: Final = "DELETE FROM {table} WHERE tenant = %s AND number = ANY(%s)"

Shown = tuple[str, str, str]
"""Namespace, scope and value of an identifier."""


@dataclass(frozen=True, slots=True)
class OpenErasure:
    """An erasure that can be carried out."""

    tenant: str
    case_id: UUID
    nodes: Sequence[UUID]


class SqlErasures:
    """The erasures of one tenant in the transaction of `rows`."""

    def __init__(self, rows: sa.Connection, tenant: str) -> None:
        self._rows = rows
        self._tenant = tenant

    def open(self, case_id: UUID, nodes: Collection[UUID]) -> None:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_OPEN, [self._tenant, case_id, list(nodes)])

    def close(self, case_id: UUID) -> None:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_CLOSE, [self._tenant, case_id])


def due(engine: sa.Engine) -> list[OpenErasure]:
    """The erasures of all tenants that can be carried out now."""
    with engine.connect() as rows, driver_cursor(rows) as cursor:
        return [OpenErasure(*it) for it in cursor.execute(_DUE).fetchall()]


def remove(engine: sa.Engine, it: OpenErasure) -> dict[str, int]:
    """Remove every row about the person; how many there were by table, with what an interrupted try had removed."""
    with engine.begin() as rows, driver_cursor(rows) as cursor:
        found = cursor.execute(_LOCK, [it.tenant, it.case_id]).fetchone()
        if found is None:
            return {}
        who = [it.tenant, list(it.nodes)]
        payloads = [bytes(payload) for (payload,) in cursor.execute(_ACCEPTED, who).fetchall()]
        removed = Counter(found[0])
        removed["accepted"] += len(payloads)
        removed["behaviours"] += cursor.execute(_BEHAVIOURS, who).rowcount
        removed["node_orders"] += cursor.execute(_NODE_ORDERS, who).rowcount
        named = [str(node) for node in it.nodes]
        removed["timers"] += cursor.execute(_TIMERS, [it.tenant, named]).rowcount
        cursor.execute(_OF_MANY, [named, it.tenant, named])
        for (schema,) in cursor.execute(_BOARDS).fetchall():  # boards keep their numbers, of somebody whom nobody knows
            removed["board_nodes"] += cursor.execute(_NUMBERED.format(schema=schema).encode(), who).rowcount
        shown = {one for payload in payloads for one in _identifiers(payload)}
        for table in ("quarantine", "conflicts"):
            removed[table] += _remove_aside(cursor, table, it.tenant, shown)
        cursor.execute(_NOTE, [orjson.dumps(removed).decode(), it.tenant, it.case_id])
        return dict(removed)


def _remove_aside(cursor: Any, table: str, tenant: str, shown: set[Shown]) -> int:
    """Events put aside have no node: those go that show an identifier which the person's own events showed."""
    if not shown:
        return 0
    values = sorted({value.encode() for _, _, value in shown})
    suspects = cursor.execute(_SUSPECTS.format(table=table), [tenant, values]).fetchall()
    guilty = [number for number, payload in suspects if not shown.isdisjoint(_identifiers(bytes(payload)))]
    if guilty:
        cursor.execute(_ASIDE.format(table=table), [tenant, guilty])
    return len(guilty)


def _identifiers(payload: bytes) -> Iterable[Shown]:
    event = behaviour_pb2.TrackedEvent.FromString(payload)
    return [(it.namespace, it.scope, it.value) for it in event.identifiers]
