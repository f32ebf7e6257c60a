"""The order book in PostgreSQL: facts about orders while they are observed, and who waits for crediting."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor
from services.campaigns.adapters.flow_book import forget_in_flows
from services.campaigns.adapters.permission_book import forget_permissions
from services.campaigns.application.policies import NodeMoved
from services.campaigns.domain.crediting import Candidate, OrderFact, Window

_OPEN = (
    "INSERT INTO windows (tenant, broadcast, opens, closes, final) VALUES (%s, %s, %s, %s, %s)"
    " ON CONFLICT (tenant, broadcast) DO UPDATE"
    " SET opens = excluded.opens, closes = excluded.closes, final = excluded.final"
)
_CLOSE = "DELETE FROM windows WHERE tenant = %s AND broadcast = %s"
_WINDOWS = "SELECT broadcast, opens, closes, final FROM windows WHERE tenant = %s AND final > %s"
_RECALL = (
    "INSERT INTO credits_due (tenant, order_id, cause_at)"
    " SELECT tenant, order_id, min(recorded_at) FROM order_facts WHERE tenant = %(tenant)s"
    " AND node IN ("
    "   SELECT unnest(%(units)s::uuid[])"
    "   UNION SELECT sibling.node FROM nodes mine"
    "   JOIN nodes sibling ON sibling.tenant = mine.tenant AND sibling.customer = mine.customer"
    "   WHERE mine.tenant = %(tenant)s AND mine.node = ANY(%(units)s)"
    "   UNION SELECT customer FROM nodes WHERE tenant = %(tenant)s AND node = ANY(%(units)s)"
    "   UNION SELECT node FROM nodes WHERE tenant = %(tenant)s AND customer = ANY(%(units)s))"
    " GROUP BY tenant, order_id ORDER BY order_id"
    " ON CONFLICT (tenant, order_id)"
    " DO UPDATE SET cause_at = least(credits_due.cause_at, excluded.cause_at)"
)
_DUE = "SELECT order_id, cause_at FROM credits_due WHERE tenant = %s ORDER BY order_id LIMIT %s FOR UPDATE"
_SETTLED = "DELETE FROM credits_due WHERE tenant = %s AND order_id = ANY(%s)"
_FACTS = (
    "SELECT order_id, position, node, paid_at, net, currency, recorded_at"
    " FROM order_facts WHERE tenant = %s AND order_id = ANY(%s)"
)
_CANDIDATES = (
    "WITH mine AS ("
    "   SELECT node, customer AS person FROM nodes"
    "   WHERE tenant = %(tenant)s AND customer = ANY(%(persons)s)"
    "   UNION SELECT p, p FROM unnest(%(persons)s::uuid[]) AS p)"
    " SELECT a.broadcast, a.customer, a.variant, mine.person"
    " FROM mine JOIN assignments a ON a.tenant = %(tenant)s AND a.customer = mine.node"
)
_SPANS = "SELECT tenant, opens, final FROM windows WHERE final > %s"
_KEEP = (
    "INSERT INTO order_facts"
    " (tenant, order_id, position, node, paid_at, net, currency, recorded_at) SELECT * FROM"
    " unnest(%s::text[], %s::uuid[], %s::bigint[], %s::uuid[], %s::timestamptz[],"
    " %s::numeric[], %s::text[], %s::timestamptz[]) ON CONFLICT DO NOTHING"
)
_ASK = (
    "INSERT INTO credits_due (tenant, order_id, cause_at)"
    " SELECT tenant, order_id, min(cause_at) FROM"
    " unnest(%s::text[], %s::uuid[], %s::timestamptz[]) AS f(tenant, order_id, cause_at)"
    " GROUP BY tenant, order_id ORDER BY tenant, order_id ON CONFLICT (tenant, order_id)"
    " DO UPDATE SET cause_at = least(credits_due.cause_at, excluded.cause_at)"
)
_BEFORE = (
    "SELECT m.tenant, coalesce(n.customer, m.node), m.at"
    " FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[]) AS m(tenant, node, at)"
    " LEFT JOIN nodes n ON n.tenant = m.tenant AND n.node = m.node"
)
_NOTE = (
    "INSERT INTO node_moves (tenant, node, customer, position, at) SELECT * FROM"
    " unnest(%s::text[], %s::uuid[], %s::uuid[], %s::bigint[], %s::timestamptz[]) ON CONFLICT DO NOTHING"
)
_MOVE = (
    "INSERT INTO nodes (tenant, node, customer, position) SELECT DISTINCT ON (tenant, node) * FROM"
    " unnest(%s::text[], %s::uuid[], %s::uuid[], %s::bigint[]) AS m(tenant, node, customer, position)"
    " ORDER BY tenant, node, position DESC ON CONFLICT (tenant, node) DO UPDATE"
    " SET customer = excluded.customer, position = excluded.position"
    " WHERE nodes.position < excluded.position"
)
_ASK_MOVED = (
    "INSERT INTO credits_due (tenant, order_id, cause_at)"
    " SELECT f.tenant, f.order_id, min(m.at)"
    " FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[]) AS m(tenant, customer, at)"
    " JOIN LATERAL (SELECT node FROM nodes n WHERE n.tenant = m.tenant AND n.customer = m.customer"
    "   UNION SELECT m.customer) AS its ON true"
    " JOIN order_facts f ON f.tenant = m.tenant AND f.node = its.node"
    " GROUP BY f.tenant, f.order_id ORDER BY f.tenant, f.order_id"
    " ON CONFLICT (tenant, order_id)"
    " DO UPDATE SET cause_at = least(credits_due.cause_at, excluded.cause_at)"
)
_ERASED = "SELECT node FROM erased_nodes WHERE tenant = %s AND node = ANY(%s)"
_MARK = "INSERT INTO erased_nodes (tenant, node, ref) SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[]) ON CONFLICT DO NOTHING"
_RENAMED = {
    "assignments": ("customer",),
    "recipients": ("customer", "unit"),
    "nodes": ("node", "customer"),
    "node_moves": ("node", "customer"),
    "order_facts": ("node",),
}
"""Where nodes are, by table."""
_RENAME = (
    "UPDATE {table} t SET {column} = r.ref FROM unnest(%s::uuid[], %s::uuid[]) AS r(node, ref)"
    " WHERE t.tenant = %s AND t.{column} = r.node"
)
_EMPTY = (
    "UPDATE captured_messages t SET customer = r.ref, body = '' FROM unnest(%s::uuid[], %s::uuid[]) AS r(node, ref)"
    " WHERE t.tenant = %s AND t.customer = r.node"
)


class SqlOrderBook:
    """The order book of one tenant in the transaction of `rows`."""

    def __init__(self, rows: sa.Connection, tenant: str) -> None:
        self._rows = rows
        self._tenant = tenant

    def open(self, window: Window) -> None:
        row = [window.broadcast, window.opens, window.closes, window.final]
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_OPEN, [self._tenant, *row])

    def close(self, broadcast: UUID) -> None:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_CLOSE, [self._tenant, broadcast])

    def recall(self, units: Collection[UUID]) -> None:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_RECALL, {"tenant": self._tenant, "units": list(units)})

    def due(self, limit: int) -> dict[UUID, datetime]:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_DUE, [self._tenant, limit])
            return {order: cause_at for order, cause_at in cursor.fetchall()}  # noqa: C416 - typed

    def facts(self, orders: Collection[UUID]) -> list[OrderFact]:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_FACTS, [self._tenant, list(orders)])
            return [OrderFact(*it) for it in cursor.fetchall()]

    def windows(self, since: datetime) -> list[Window]:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_WINDOWS, [self._tenant, since])
            return [Window(*it) for it in cursor.fetchall()]

    def candidates(self, persons: Collection[UUID]) -> list[Candidate]:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_CANDIDATES, {"tenant": self._tenant, "persons": list(persons)})
            return [Candidate(*it) for it in cursor.fetchall()]

    def settled(self, orders: Collection[UUID]) -> None:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_SETTLED, [self._tenant, list(orders)])


class SqlIntake:
    """Where facts of all tenants arrive, in the transaction of `rows`."""

    def __init__(self, rows: sa.Connection) -> None:
        self._rows = rows

    def spans(self, since: datetime) -> dict[str, list[tuple[datetime, datetime]]]:
        spans: dict[str, list[tuple[datetime, datetime]]] = {}
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_SPANS, [since])
            for tenant, opens, final in cursor.fetchall():
                spans.setdefault(tenant, []).append((opens, final))
        return spans

    def keep(self, facts: Sequence[tuple[str, OrderFact]]) -> None:
        table = columns(
            (tenant, f.order, f.position, f.node, f.paid_at, f.net, f.currency, f.recorded_at) for tenant, f in facts
        )
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_KEEP, table)
            cursor.execute(_ASK, [table[0], table[1], table[7]])

    def move(self, moves: Sequence[NodeMoved]) -> None:
        table = columns((it.tenant, it.node, it.customer, it.position, it.at) for it in moves)
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_BEFORE, [table[0], table[1], table[4]])
            concerned = [*cursor.fetchall(), *((it.tenant, it.customer, it.at) for it in moves)]
            cursor.execute(_NOTE, table)
            cursor.execute(_MOVE, table[:4])
            cursor.execute(_ASK_MOVED, columns(dict.fromkeys(concerned)))

    def erased(self, tenant: str, nodes: Collection[UUID]) -> set[UUID]:
        return erased_nodes(self._rows, tenant, nodes)

    def erase(self, tenant: str, refs: Mapping[UUID, UUID]) -> dict[str, int]:
        pairs = [list(refs), list(refs.values())]
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_MARK, [tenant, *pairs])
            removed = {"captured_messages": cursor.execute(_EMPTY, [*pairs, tenant]).rowcount}
            for table, its in _RENAMED.items():
                renames = (_RENAME.format(table=table, column=it).encode() for it in its)
                removed[table] = max(cursor.execute(it, [*pairs, tenant]).rowcount for it in renames)
        return removed | forget_in_flows(self._rows, tenant, refs) | forget_permissions(self._rows, tenant, refs)


def erased_nodes(rows: sa.Connection, tenant: str, nodes: Collection[UUID]) -> set[UUID]:
    """Those of `nodes` of which nothing may be heard any more."""
    if not nodes:
        return set()
    with driver_cursor(rows) as cursor:
        cursor.execute(_ERASED, [tenant, list(nodes)])
        return {it[0] for it in cursor.fetchall()}
