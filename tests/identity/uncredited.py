"""Paid orders that are nobody's, on either store."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from chassis.commands import UnitOfWork
from chassis.event_store import MemoryEventStore, PostgresEventStore
from chassis.log import EventStore
from services.identity.adapters.uncredited_orders import SqlUncreditedOrders
from services.identity.application.uncredited_orders import INSERT, OrderTables, UncreditedOrder, UncreditedOrders, read
from services.identity.domain.sales import Sale


class MemoryUncreditedOrders:
    """The rows that units of work have inserted into the memory store."""

    def __init__(self, store: MemoryEventStore, tenant: str) -> None:
        self._rows = store.rows.setdefault(INSERT, {})
        self._tenant = tenant

    def find(self, order: UUID) -> UncreditedOrder | None:
        row = self._rows.get((self._tenant, order))
        return None if row is None else read(row)

    def paid(self, nodes: Collection[UUID], since: datetime, until: datetime) -> Sequence[UncreditedOrder]:
        mine = [read(row) for row in self._rows.values() if row[0] == self._tenant]
        return [(node, sale) for node, sale in mine if node in nodes and since <= sale.paid_at <= until]

    def forget(self, nodes: Collection[UUID]) -> None:
        for key in [key for key, row in self._rows.items() if row[0] == self._tenant and row[2] in nodes]:
            del self._rows[key]


def stored_orders(store: EventStore, tenant: str) -> dict[UUID, Sale]:
    """Those of `tenant` as they are stored now, by their ids."""
    if isinstance(store, MemoryEventStore):
        rows: Iterable[Sequence[object]] = store.rows.get(INSERT, {}).values()
    else:
        assert isinstance(store, PostgresEventStore)
        with store.engine.connect() as connection:
            query = "SELECT tenant, order_id, node, paid_at, currency, net FROM uncredited_orders"
            rows = [tuple(it) for it in connection.execute(sa.text(query))]
    return {sale.order: sale for row in rows if row[0] == tenant for _, sale in [read(row)]}


def order_tables(store: EventStore) -> OrderTables:
    """Those beside the events of `store`."""

    def tables(work: UnitOfWork) -> UncreditedOrders:
        if isinstance(store, MemoryEventStore):
            return MemoryUncreditedOrders(store, work.context.tenant)
        return SqlUncreditedOrders(work)

    return tables
