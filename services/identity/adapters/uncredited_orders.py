"""Paid orders that are nobody's, in PostgreSQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.postgres import driver_cursor
from services.identity.application.uncredited_orders import UncreditedOrder, read

_COLUMNS: Final = "SELECT tenant, order_id, node, paid_at, currency, net FROM uncredited_orders"
_FIND: Final = f"{_COLUMNS} WHERE tenant = %s AND order_id = %s"
_PAID: Final = (
    f"{_COLUMNS} WHERE tenant = %s AND node = ANY(%s) AND paid_at BETWEEN %s AND %s ORDER BY paid_at, order_id"
)
_FORGET: Final = "DELETE FROM uncredited_orders WHERE tenant = %s AND node = ANY(%s)"


class SqlUncreditedOrders:
    """The UncreditedOrders of one unit of work. Rows are inserted by the unit of work itself."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work

    def find(self, order: UUID) -> UncreditedOrder | None:
        with driver_cursor(self._work.reading) as cursor:
            row = cursor.execute(_FIND, [self._work.context.tenant, order]).fetchone()
        return None if row is None else read(row)

    def paid(self, nodes: Collection[UUID], since: datetime, until: datetime) -> Sequence[UncreditedOrder]:
        with driver_cursor(self._work.reading) as cursor:
            return [read(it) for it in cursor.execute(_PAID, [self._work.context.tenant, list(nodes), since, until])]

    def forget(self, nodes: Collection[UUID]) -> None:
        with driver_cursor(self._work.rows) as cursor:
            cursor.execute(_FORGET, [self._work.context.tenant, list(nodes)])
