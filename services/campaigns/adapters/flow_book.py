"""The tables of flows in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor
from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.flow_ports import Entry, Held, Listener, OpenSend
from services.campaigns.domain.flow_definition import Fact, FactKind

_LISTENERS: Final = "SELECT flow, kind, key, after_seconds, starts FROM flow_listeners WHERE tenant = %s"
_UNLISTEN: Final = "DELETE FROM flow_listeners WHERE tenant = %s AND flow = %s AND starts"
_LISTEN: Final = (
    "INSERT INTO flow_listeners (tenant, flow, kind, key, after_seconds, starts) SELECT %s, %s, * FROM"
    " unnest(%s::text[], %s::text[], %s::int[], %s::bool[]) ON CONFLICT DO NOTHING"
)
_HELD: Final = (
    "SELECT e.instance, e.flow, e.node, e.customer, e.entry_key, e.ended_at,"
    " coalesce(h.customer, e.customer), coalesce(o.customer, e.node) FROM flow_entries e"
    " LEFT JOIN nodes h ON h.tenant = e.tenant AND h.node = e.customer"
    " LEFT JOIN nodes o ON o.tenant = e.tenant AND o.node = e.node"
    " WHERE e.tenant = %(tenant)s AND "
)
_OF_PERSONS: Final = (
    "WITH its AS (SELECT unnest(%(persons)s::uuid[]) AS node UNION"
    " SELECT node FROM nodes WHERE tenant = %(tenant)s AND customer = ANY(%(persons)s)) "
)
_THEIRS: Final = (
    "e.instance IN (SELECT f.instance FROM its JOIN flow_entries f ON f.tenant = %(tenant)s AND f.customer = its.node UNION"
    " SELECT f.instance FROM its JOIN flow_entries f ON f.tenant = %(tenant)s AND f.node = its.node)"
)
_ENTRIES: Final = _OF_PERSONS + _HELD + _THEIRS
_RUNNING: Final = _HELD + "e.ended_at IS NULL AND e.customer = ANY(%(persons)s) ORDER BY e.instance"
_NAMED: Final = (
    "SELECT instance, flow, node, customer, entry_key, ended_at FROM flow_entries"
    " WHERE tenant = %s AND (node = ANY(%s) OR customer = ANY(%s))"
)
KEEP: Final = (
    "INSERT INTO flow_entries (tenant, instance, flow, node, customer, entry_key, ended_at) SELECT e.* FROM"
    " unnest(%s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[])"
    " AS e(tenant, instance, flow, node, customer, entry_key, ended_at)"
    " WHERE NOT EXISTS (SELECT FROM erased_nodes g WHERE g.tenant = e.tenant AND g.node IN (e.node, e.customer))"
    " ON CONFLICT (tenant, instance) DO UPDATE SET customer = excluded.customer, ended_at = excluded.ended_at"
)
PLAN: Final = (
    "INSERT INTO flow_sends (tenant, delivery, flow, instance, step) SELECT * FROM"
    " unnest(%s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[]) ON CONFLICT DO NOTHING"
)
_RESERVE: Final = (
    "UPDATE flow_sends SET lease_until = %s WHERE tenant = %s AND delivery IN ("
    "SELECT delivery FROM flow_sends WHERE tenant = %s AND lease_until IS NULL"
    " ORDER BY delivery LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING delivery, flow, instance, step"
)
_LAPSED: Final = "SELECT delivery, flow, instance, step FROM flow_sends WHERE tenant = %s AND lease_until <= %s"
_CLOSE: Final = "DELETE FROM flow_sends WHERE tenant = %s AND delivery = ANY(%s)"
_BOUGHT: Final = (
    "SELECT node FROM buyers WHERE tenant = %(tenant)s AND node = ANY(%(persons)s) UNION"
    " SELECT n.customer FROM nodes n JOIN buyers b ON b.tenant = n.tenant AND b.node = n.node"
    " WHERE n.tenant = %(tenant)s AND n.customer = ANY(%(persons)s)"
)
_BUYERS: Final = "INSERT INTO buyers (tenant, node) SELECT %s, unnest(%s::uuid[]) ON CONFLICT DO NOTHING"
_VISITORS: Final = "INSERT INTO visitors (tenant, customer) SELECT %s, unnest(%s::uuid[]) ON CONFLICT DO NOTHING"
_KNOWN: Final = "DELETE FROM visitors WHERE tenant = %s AND customer = ANY(%s)"
_FORGET: Final = {
    "flow_sends": (
        "DELETE FROM flow_sends s USING flow_entries e WHERE s.tenant = %s AND e.tenant = s.tenant"
        " AND e.instance = s.instance AND (e.node = ANY(%s) OR e.customer = ANY(%s))"
    ),
    "flow_entries": "DELETE FROM flow_entries WHERE tenant = %s AND (node = ANY(%s) OR customer = ANY(%s))",
    "buyers": "DELETE FROM buyers WHERE tenant = %s AND (node = ANY(%s) OR node = ANY(%s))",
    "visitors": "DELETE FROM visitors WHERE tenant = %s AND (customer = ANY(%s) OR customer = ANY(%s))",
}


class SqlFlowBook:
    """The tables of the tenant of `work`; what is kept or planned is written with its events, for a whole batch at once."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self._tenant = work.context.tenant

    def listeners(self) -> Sequence[Listener]:
        with driver_cursor(self._work.reading) as cursor:
            cursor.execute(_LISTENERS, [self._tenant], prepare=True)
            return [
                Listener(flow, Fact(FactKind(kind), key, after), starts)
                for flow, kind, key, after, starts in cursor.fetchall()
            ]

    def listen(self, flow: UUID, trigger: Fact | None, heeds: Iterable[Fact]) -> None:
        facts = [(it.kind, it.key, it.after_seconds, False) for it in heeds]
        if trigger is not None:
            facts.append((trigger.kind, trigger.key, trigger.after_seconds, True))
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(_UNLISTEN, [self._tenant, flow])
            if facts:
                cursor.execute(_LISTEN, [self._tenant, flow, *columns(facts)])

    def entries(self, persons: Collection[UUID]) -> list[Held]:
        return self._held(_ENTRIES, persons)

    def running(self, customers: Collection[UUID]) -> list[Held]:
        return self._held(_RUNNING, customers)

    def named(self, nodes: Collection[UUID]) -> list[Entry]:
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(_NAMED, [self._tenant, list(nodes), list(nodes)])
            return [Entry(*it) for it in cursor.fetchall()]

    def keep(self, entry: Entry) -> None:
        row = (entry.instance, entry.flow, entry.node, entry.customer, entry.entry_key, entry.ended_at)
        self._work.insert(KEEP, (self._tenant, entry.instance), (self._tenant, *row))

    def plan(self, send: OpenSend) -> None:
        row = (self._tenant, send.delivery, send.flow, send.instance, send.step)
        self._work.insert(PLAN, (self._tenant, send.delivery), row)

    def reserve(self, limit: int, lease_until: datetime) -> list[OpenSend]:
        return self._sends(_RESERVE, [lease_until, self._tenant, self._tenant, limit])

    def lapsed(self, now: datetime) -> list[OpenSend]:
        return self._sends(_LAPSED, [self._tenant, now])

    def close(self, deliveries: Collection[UUID]) -> None:
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(_CLOSE, [self._tenant, list(deliveries)])

    def bought(self, persons: Collection[UUID]) -> set[UUID]:
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(_BOUGHT, {"tenant": self._tenant, "persons": list(persons)})
            return {it[0] for it in cursor.fetchall()}

    def note_buyers(self, nodes: Collection[UUID]) -> None:
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(_BUYERS, [self._tenant, sorted(nodes)], prepare=True)

    def note_visitors(self, anonymous: Collection[UUID], known: Collection[UUID]) -> None:
        with driver_cursor(self._work.rows) as cursor:
            if anonymous:
                cursor.execute(_VISITORS, [self._tenant, sorted(anonymous)], prepare=True)
            if known:
                cursor.execute(_KNOWN, [self._tenant, sorted(known)], prepare=True)

    def _held(self, query: str, persons: Collection[UUID]) -> list[Held]:
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(query.encode(), {"tenant": self._tenant, "persons": list(persons)}, prepare=True)
            return [Held(Entry(*it[:6]), it[6], it[7]) for it in cursor.fetchall()]

    def _sends(self, query: str, parameters: Sequence[Any]) -> list[OpenSend]:
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(query.encode(), parameters)
            return [OpenSend(*it) for it in cursor.fetchall()]


def forget_in_flows(rows: sa.Connection, tenant: str, nodes: Collection[UUID]) -> dict[str, int]:
    """Remove what flows know of `nodes`; rows by table."""
    whose = [tenant, list(nodes), list(nodes)]
    with driver_cursor(rows) as cursor:
        return {table: cursor.execute(it.encode(), whose).rowcount for table, it in _FORGET.items()}
