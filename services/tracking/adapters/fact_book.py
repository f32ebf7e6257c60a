"""The facts of a tenant in PostgreSQL, read from where they are truth: behaviours by node, and orders by the node they came to."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor
from services.tracking.application.ports import People
from services.tracking.domain.insights import READING_TYPES
from services.tracking.domain.path_facts import PATH_TYPES
from services.tracking.domain.trail import Behaviour
from services.tracking.read_models.histories import of_types

CART_REMOVED: Final = "cart_removed"

_FIELDS: Final = (
    "b.message_id, b.source_key, b.event_type, b.category, b.node, b.occurred_at, b.received_at, b.channel, b.app, b.page,"
    " b.content_id, b.page_view_id, b.properties"
)
_OF_NODES: Final = (
    f"SELECT {_FIELDS} FROM behaviours b WHERE b.tenant = %s AND b.node = ANY(%s) AND b.event_type = ANY(%s)"  # noqa: S608
)
_ABOUT_PATHS: Final = of_types([*PATH_TYPES, CART_REMOVED]).replace("%", "%%")
_PATH: Final = f"SELECT {_FIELDS} FROM behaviours b WHERE b.tenant = %s AND b.node = ANY(%s) AND {_ABOUT_PATHS}"  # noqa: S608
# Node by node, by the key of the table, whatever the planner believes: these are a handful of people out of everybody. What else is
# asked of their behaviours is asked outside, or it would find an index of all behaviours of that kind the shorter way.
_READERS: Final = f"""
WITH people AS (SELECT * FROM unnest(%s::uuid[], %s::uuid[]) AS p(node, customer)),
readers AS (
  SELECT DISTINCT p.customer FROM people p CROSS JOIN LATERAL (
    SELECT b.event_type, b.content_id, b.page_view_id FROM behaviours b WHERE b.tenant = %s AND b.node = p.node OFFSET 0
  ) v WHERE v.event_type = 'content_viewed' AND v.content_id <> ''
  GROUP BY p.customer, v.content_id HAVING count(DISTINCT v.page_view_id) >= %s
)
SELECT b.* FROM readers JOIN people p USING (customer) CROSS JOIN LATERAL (
  SELECT {_FIELDS} FROM behaviours b WHERE b.tenant = %s AND b.node = p.node OFFSET 0
) b WHERE b.event_type = ANY(%s)
"""  # noqa: S608
_LIVE_NODES: Final = "SELECT quote_ident(schema) FROM projections WHERE name = 'customer_nodes' AND live"
_PEOPLE: Final = (
    "SELECT n.node, n.customer FROM {schema}.customer_nodes n WHERE n.tenant = %s AND n.customer IN"
    " (SELECT customer FROM {schema}.customer_nodes WHERE tenant = %s AND node = ANY(%s)) ORDER BY n.node"
)
_ORDERS: Final = "SELECT order_id FROM node_orders WHERE tenant = %s AND node = ANY(%s)"


class SqlFactBook:
    """A `FactBook` over the transaction of `rows`, which it only reads."""

    def __init__(self, rows: sa.Connection, tenant: str) -> None:
        self._rows = rows
        self._tenant = tenant
        self._schema: str | None = None

    def people(self, nodes: Collection[UUID]) -> People:
        schema = self._schema_of_nodes()
        found = self._ask(_PEOPLE.format(schema=schema), [self._tenant, self._tenant, list(nodes)]) if schema else []
        customers = {node: node for node in nodes} | dict(found)
        members: dict[UUID, list[UUID]] = {}
        for node, customer in customers.items():
            members.setdefault(customer, []).append(node)
        return People(customers, members)

    def behaviours(self, nodes: Collection[UUID], types: Sequence[str]) -> list[Behaviour]:
        return self._behaviours(_OF_NODES, [self._tenant, list(nodes), list(types)])

    def path(self, nodes: Collection[UUID]) -> list[Behaviour]:
        return self._behaviours(_PATH, [self._tenant, list(nodes)])

    def repeat_readers(self, people: People, opens: int) -> list[Behaviour]:
        table = columns((node, customer) for customer, them in people.nodes.items() for node in them)
        return self._behaviours(_READERS, [*table, self._tenant, opens, self._tenant, list(READING_TYPES)])

    def orders(self, nodes: Collection[UUID]) -> set[UUID]:
        return {it[0] for it in self._ask(_ORDERS, [self._tenant, list(nodes)])}

    def _schema_of_nodes(self) -> str:
        """Where the live read model of nodes is; asked once, empty while there is none."""
        if self._schema is None:
            self._schema = next((it[0] for it in self._ask(_LIVE_NODES, [])), "")
        return self._schema

    def _behaviours(self, query: str, parameters: Sequence[Any]) -> list[Behaviour]:
        return [Behaviour(*it) for it in self._ask(query, parameters)]

    def _ask(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with driver_cursor(self._rows) as cursor:
            return cursor.execute(query.encode(), parameters).fetchall()
