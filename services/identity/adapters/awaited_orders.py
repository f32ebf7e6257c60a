"""Orders of which one half is known, in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.postgres import columns, driver_cursor
from services.identity.application.lead_policies import HalfOrder

_KNOWN: Final = "SELECT order_id, categories, paid_at FROM awaited_orders WHERE tenant = %s AND order_id = ANY(%s)"
_KEEP: Final = (
    "INSERT INTO awaited_orders AS a (tenant, order_id, categories, paid_at, kept_at)"
    " SELECT %(tenant)s, v.order_id, v.categories::text[], v.paid_at, %(at)s"
    " FROM unnest(%(orders)s::uuid[], %(categories)s::text[], %(paid)s::timestamptz[]) AS v(order_id, categories, paid_at)"
    " ON CONFLICT (tenant, order_id) DO UPDATE SET categories = excluded.categories, paid_at = excluded.paid_at"
)
_DROP: Final = "DELETE FROM awaited_orders WHERE tenant = %s AND order_id = ANY(%s)"
_FORGET: Final = (
    "DELETE FROM awaited_orders WHERE (tenant, order_id) IN ("
    " SELECT tenant, order_id FROM awaited_orders WHERE tenant = %s AND kept_at < %s ORDER BY kept_at LIMIT 500)"
)


class SqlAwaitedOrders:
    """The AwaitedOrders of one unit of work."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self._tenant = work.context.tenant

    def known(self, orders: Collection[UUID]) -> Mapping[UUID, HalfOrder]:
        with driver_cursor(self._work.reading) as cursor:
            found = cursor.execute(_KNOWN, [self._tenant, list(orders)]).fetchall()
        return {
            order: HalfOrder(order, None if categories is None else frozenset(categories), paid_at)
            for order, categories, paid_at in found
        }

    def keep(self, orders: Sequence[HalfOrder], at: datetime, before: datetime) -> None:
        ids, categories, paid = columns((it.order, _literal(it.categories), it.paid_at) for it in orders)
        parameters = {"tenant": self._tenant, "orders": ids, "categories": categories, "paid": paid, "at": at}
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(_KEEP, parameters)
            cursor.execute(_FORGET, [self._tenant, before])

    def drop(self, orders: Collection[UUID]) -> None:
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(_DROP, [self._tenant, list(orders)])


def _literal(categories: Collection[str] | None) -> str | None:
    """An array in the notation of PostgreSQL, since arrays of arrays of different lengths cannot be handed over."""
    if categories is None:
        return None
    quoted = ('"' + it.replace("\\", "\\\\").replace('"', '\\"') + '"' for it in sorted(categories))
    return "{" + ",".join(quoted) + "}"
