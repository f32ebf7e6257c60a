"""What customers did on purchase paths, from behaviours and orders of all their nodes: of one customer, or of all in some time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from services.tracking.domain.missions import Mission, missions
from services.tracking.domain.path_facts import NEED_CATEGORY, PATH_TYPES, OrderFact, PathFact, path_fact
from services.tracking.domain.trail import Behaviour
from services.tracking.read_models.order_paths import order_fact

_FIELDS: Final = (
    "b.message_id, b.source_key, b.event_type, b.category, b.node, b.occurred_at, b.received_at, b.channel, b.app, b.page,"
    " b.content_id, b.page_view_id, b.properties"
)


def of_types(types: Iterable[str]) -> str:
    """The condition for behaviours `b` of these types to be about purchase paths, spelled out as the indexes have it."""
    wanted, unnamed = (", ".join(f"'{it}'" for it in some) for some in (types, sorted(NEED_CATEGORY)))
    return f"b.event_type IN ({wanted}) AND (b.event_type NOT IN ({unnamed}) OR b.properties LIKE '%\"category\"%')"


_STEPS: Final = of_types(PATH_TYPES)
_TENANT: Final = "current_setting('scrm.tenant')"
_ACTIVE: Final = f"""
WITH active AS (
  SELECT b.node FROM behaviours b
  WHERE b.tenant = {_TENANT} AND b.occurred_at >= :start AND b.occurred_at < :until AND {_STEPS}
  UNION
  SELECT o.node FROM order_paths o WHERE o.tenant = {_TENANT} AND o.placed_at >= :start AND o.placed_at < :until
), customers AS (
  SELECT DISTINCT coalesce(n.customer, a.node) AS customer FROM active a
  LEFT JOIN customer_nodes n ON n.tenant = {_TENANT} AND n.node = a.node
), people AS (
  SELECT n.customer, n.node FROM customers c JOIN customer_nodes n ON n.tenant = {_TENANT} AND n.customer = c.customer
  UNION
  SELECT customer, customer FROM customers
)
"""  # noqa: S608
_BEHAVIOURS: Final = sa.text(
    f"{_ACTIVE} SELECT p.customer, {_FIELDS} FROM people p JOIN behaviours b ON b.tenant = {_TENANT} AND b.node = p.node"  # noqa: S608
    f" WHERE {_STEPS} AND b.occurred_at < :until ORDER BY p.customer"
)
# Of each order what was known of it at that time.
_ORDERS: Final = sa.text(
    f"{_ACTIVE} SELECT p.customer, o.order_id, o.node, o.placed_at, o.lines::text,"  # noqa: S608
    " CASE WHEN o.paid_at < :until THEN o.paid_at END, o.net, CASE WHEN o.received_at < :until THEN o.received_at END,"
    " CASE WHEN o.cancelled_at < :until THEN o.cancelled_at END"
    f" FROM people p JOIN order_paths o ON o.tenant = {_TENANT} AND o.node = p.node WHERE o.placed_at < :until"
)
_STEPS_OF: Final = sa.text(
    f"SELECT {_FIELDS} FROM behaviours b WHERE b.tenant = {_TENANT} AND b.node = ANY(:nodes) AND {_STEPS}"  # noqa: S608
)
_ORDERS_OF: Final = sa.text(
    "SELECT order_id, node, placed_at, lines::text, paid_at, net, received_at, cancelled_at FROM order_paths"  # noqa: S608
    f" WHERE tenant = {_TENANT} AND node = ANY(:nodes)"
)
_CHUNK: Final = 5000


@dataclass(frozen=True, slots=True)
class CustomerMissions:
    """All missions of one customer."""

    customer: UUID
    missions: Sequence[Mission]


def missions_of(rows: sa.Connection, nodes: Sequence[UUID], now: datetime) -> list[Mission]:
    """The missions of the customer that `nodes` make."""
    steps = _steps([Behaviour(*it) for it in rows.execute(_STEPS_OF, {"nodes": list(nodes)})])
    return missions(steps, orders_of(rows, nodes), now)


def orders_of(rows: sa.Connection, nodes: Sequence[UUID]) -> list[OrderFact]:
    """The orders of the customer that `nodes` make."""
    return [order_fact(it) for it in rows.execute(_ORDERS_OF, {"nodes": list(nodes)})]


def missions_of_all(rows: sa.Connection, start: datetime, until: datetime) -> Iterator[CustomerMissions]:
    """The missions, as of `until`, of everybody who did something on a path since `start`; facts are read as they are needed."""
    span = {"start": start, "until": until}
    orders: dict[UUID, list[OrderFact]] = {}
    for customer, *order in rows.execute(_ORDERS, span).all():
        orders.setdefault(customer, []).append(order_fact(order))
    found = rows.execution_options(yield_per=_CHUNK).execute(_BEHAVIOURS, span)
    for customer, group in groupby(found, key=lambda it: it[0]):
        steps = _steps([Behaviour(*it[1:]) for it in group])
        yield CustomerMissions(customer, missions(steps, orders.pop(customer, ()), until))
    for customer, bought in orders.items():
        yield CustomerMissions(customer, missions((), bought, until))


def _steps(behaviours: Sequence[Behaviour]) -> list[PathFact]:
    return [it for it in map(path_fact, behaviours) if it is not None]
