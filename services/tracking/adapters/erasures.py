"""The rows behind events of people who are to be forgotten: which erasures are under way, and removing what they are about.

Nothing is removed before every event that was accepted when the erasure began has been resolved: identity refuses to name a
node for those that come later, and for those that it is asked about from then on.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa

from chassis.postgres import driver_cursor, reading
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
_LOCK: Final = (
    "SELECT case_id, removed FROM erasures WHERE tenant = %s AND case_id = ANY(%s) ORDER BY case_id FOR UPDATE"
)
_NOTE: Final = (
    "UPDATE erasures e SET removed = v.removed FROM unnest(%s::uuid[], %s::jsonb[]) AS v(case_id, removed)"
    " WHERE e.tenant = %s AND e.case_id = v.case_id"
)
_ACCEPTED: Final = (
    "DELETE FROM accepted a USING behaviours b WHERE b.tenant = %s AND b.node = ANY(%s)"
    " AND (a.position, a.received_at) = (b.position, b.received_at) RETURNING b.node, a.payload"
)
_COUNTED: Final = "WITH gone AS ({removal}) SELECT node, count(*) FROM gone GROUP BY node"
_BY_NODE: Final = {
    table: _COUNTED.format(removal=f"DELETE FROM {table} WHERE tenant = %s AND node = ANY(%s) RETURNING node")  # noqa: S608
    for table in ("behaviours", "node_orders")
}
_TIMERS: Final = _COUNTED.format(
    removal="DELETE FROM timers WHERE tenant = %s AND payload ->> 'node' = ANY(%s)"
    " RETURNING (payload ->> 'node')::uuid AS node"
)
_OF_MANY: Final = (
    "UPDATE timers SET payload = payload || jsonb_build_object('nodes', (payload -> 'nodes') - %s::text[])"
    " WHERE tenant = %s AND (payload -> 'nodes') ?| %s::text[]"
)
_BOARDS: Final = "SELECT quote_ident(schema) FROM projections WHERE name = 'boards'"
_NUMBERED: Final = "UPDATE {schema}.board_nodes SET node = gen_random_uuid() WHERE tenant = %s AND node = ANY(%s) RETURNING old.node, 1"
_SUSPECTS: Final = "SELECT number, payload FROM {table} WHERE tenant = %s"
_SHOWING: Final = " AND EXISTS (SELECT FROM unnest(%s::bytea[]) AS v WHERE position(v IN payload) > 0)"
_FEW: Final = 20
"""Looking for so many values is quicker where the payloads are; for more, reading each of them once is."""
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
    with reading(engine) as rows, driver_cursor(rows) as cursor:
        return [OpenErasure(*it) for it in cursor.execute(_DUE).fetchall()]


def remove(engine: sa.Engine, found: Iterable[OpenErasure]) -> dict[UUID, dict[str, int]]:
    """Remove every row about these people, those of a tenant at once; by case, how many there were by table, with what an
    interrupted try had removed."""
    by_tenant: dict[str, dict[UUID, Sequence[UUID]]] = {}
    for it in found:
        by_tenant.setdefault(it.tenant, {})[it.case_id] = it.nodes
    removed: dict[UUID, dict[str, int]] = {}
    for tenant, cases in by_tenant.items():
        with engine.begin() as rows, driver_cursor(rows) as cursor:
            removed |= _Removal(cursor, tenant, cases).all()
    return removed


class _Removal:
    """The removal of some erasures of one tenant, as far as they are open still."""

    def __init__(self, cursor: Any, tenant: str, cases: Mapping[UUID, Sequence[UUID]]) -> None:
        self._cursor = cursor
        self._tenant = tenant
        locked = cursor.execute(_LOCK, [tenant, list(cases)]).fetchall()
        self._removed: dict[UUID, Counter[str]] = {case: Counter(counts) for case, counts in locked}
        self._case_of = {node: case for case in self._removed for node in cases[case]}
        self._shown: dict[Shown, UUID] = {}

    def all(self) -> dict[UUID, dict[str, int]]:
        """Remove the rows, and note with each erasure how many those were."""
        if not self._removed:
            return {}
        cursor, who = self._cursor, [self._tenant, list(self._case_of)]
        self._accepted(cursor.execute(_ACCEPTED, who).fetchall())
        for table, statement in _BY_NODE.items():
            self._count(table, cursor.execute(statement, who).fetchall())
        named = [str(node) for node in self._case_of]
        self._count("timers", cursor.execute(_TIMERS, [self._tenant, named]).fetchall())
        cursor.execute(_OF_MANY, [named, self._tenant, named])
        for (schema,) in cursor.execute(_BOARDS).fetchall():  # boards keep their numbers, of somebody whom nobody knows
            self._count("board_nodes", cursor.execute(_NUMBERED.format(schema=schema).encode(), who).fetchall())
        for table in ("quarantine", "conflicts"):
            self._aside(table)
        notes = [orjson.dumps(it).decode() for it in self._removed.values()]
        cursor.execute(_NOTE, [list(self._removed), notes, self._tenant])
        return {case: dict(counts) for case, counts in self._removed.items()}

    def _accepted(self, found: Sequence[tuple[UUID, bytes]]) -> None:
        """Note what was accepted of whom, and the identifiers that it showed."""
        self._count("accepted", [(node, 1) for node, _ in found])
        for node, payload in found:
            for one in _identifiers(bytes(payload)):
                self._shown.setdefault(one, self._case_of[node])

    def _aside(self, table: str) -> None:
        """Events put aside have no node: those go that show an identifier which the person's own events showed."""
        guilty: list[int] = []
        for number, payload in self._suspects(table) if self._shown else ():
            cases = [self._shown[it] for it in _identifiers(bytes(payload)) if it in self._shown]
            if cases:
                guilty.append(number)
                self._removed[cases[0]][table] += 1
        if guilty:
            self._cursor.execute(_ASIDE.format(table=table), [self._tenant, guilty])
        self._count(table, ())

    def _suspects(self, table: str) -> Iterable[tuple[int, bytes]]:
        """Numbers and payloads of events put aside that may be about these people."""
        values = sorted({value.encode() for _, _, value in self._shown})
        statement = _SUSPECTS.format(table=table)
        if len(values) > _FEW:
            found: Iterable[tuple[int, bytes]] = self._cursor.stream(statement, [self._tenant])
        else:
            found = self._cursor.execute(statement + _SHOWING, [self._tenant, values]).fetchall()
        return found

    def _count(self, table: str, by_node: Iterable[tuple[UUID, int]]) -> None:
        for counts in self._removed.values():
            counts[table] += 0
        for node, count in by_node:
            self._removed[self._case_of[node]][table] += count


def _identifiers(payload: bytes) -> Iterable[Shown]:
    event = behaviour_pb2.TrackedEvent.FromString(payload)
    return [(it.namespace, it.scope, it.value) for it in event.identifiers]
