"""Paid orders that are nobody's: kept in a table and not told, since most brands credit few orders and nobody waits to hear of the rest.

They are kept because a scan or click that is heard of late may still make them somebody's (`credit_commands.py`).
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final, LiteralString, Protocol, TypeAlias
from uuid import UUID

from chassis.commands import UnitOfWork
from services.identity.domain.sales import Sale

INSERT: Final[LiteralString] = (
    "INSERT INTO uncredited_orders (tenant, order_id, node, paid_at, currency, net)"
    " SELECT * FROM unnest(%b::text[], %b::uuid[], %b::uuid[], %b::timestamptz[], %b::text[], %b::bigint[])"
    " ON CONFLICT (tenant, order_id) DO UPDATE"
    " SET node = excluded.node, paid_at = excluded.paid_at, currency = excluded.currency, net = excluded.net"
)

UncreditedOrder: TypeAlias = tuple[UUID, Sale]
"""The node of an order, and the order, which names neither guide nor store."""


class UncreditedOrders(Protocol):
    """Those that are stored, in the transaction of the unit of work and for its tenant."""

    def find(self, order: UUID) -> UncreditedOrder | None: ...

    def paid(self, nodes: Collection[UUID], since: datetime, until: datetime) -> Sequence[UncreditedOrder]:
        """Those of `nodes` that were paid then, both instants included."""
        ...

    def forget(self, nodes: Collection[UUID]) -> None: ...


OrderTables: TypeAlias = Callable[[UnitOfWork], UncreditedOrders]


class Uncredited:
    """The orders of a tenant that are nobody's, those that this batch is about to store included."""

    def __init__(self, tables: OrderTables) -> None:
        self._tables = tables

    def keep(self, work: UnitOfWork, node: UUID, sale: Sale) -> None:
        """Take note of an order, instead of what was known of it."""
        tenant = work.context.tenant
        work.insert(INSERT, (tenant, sale.order), (tenant, sale.order, node, sale.paid_at, sale.currency, sale.net))

    def find(self, work: UnitOfWork, order: UUID) -> UncreditedOrder | None:
        row = work.inserted(INSERT, (work.context.tenant, order))
        return self._tables(work).find(order) if row is None else read(row)

    def paid(
        self, work: UnitOfWork, nodes: Collection[UUID], since: datetime, until: datetime
    ) -> Sequence[UncreditedOrder]:
        """Those of `nodes` that were paid then, both instants included."""
        found = {sale.order: (node, sale) for node, sale in self._tables(work).paid(nodes, since, until)}
        for row in work.all_inserted(INSERT):
            node, sale = read(row)
            found.pop(sale.order, None)
            if row[0] == work.context.tenant and node in nodes and since <= sale.paid_at <= until:
                found[sale.order] = (node, sale)
        return list(found.values())

    def forget(self, work: UnitOfWork, nodes: Collection[UUID]) -> None:
        """Nothing is added for erased nodes any more."""
        self._tables(work).forget(nodes)


def read(row: Sequence[object]) -> UncreditedOrder:
    """A row of INSERT."""
    _, order, node, paid_at, currency, net = row
    return node, Sale(order, None, None, net, currency, paid_at)  # type: ignore[arg-type,return-value]
