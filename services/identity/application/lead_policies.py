"""Whenever an order is paid, the leads of its customer that wait for such an order are won.

What was bought is told when an order is placed, that it is paid later, or earlier: what was heard first waits for the other.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.envelope import Incoming
from scrm.tracking.v1.events_pb2 import OrderCancelled, OrderPaid, OrderPlaced
from services.identity.application.lead_commands import PaidOrder, win_leads

PLACED: Final = OrderPlaced.DESCRIPTOR.full_name
PAID: Final = OrderPaid.DESCRIPTOR.full_name
CANCELLED: Final = OrderCancelled.DESCRIPTOR.full_name

EVENTS: Final = ("order_placed", "order_paid", "order_cancelled")
"""All that is of concern here, as it stands in subjects."""

KEPT: Final = timedelta(days=60)
"""For how long half of an order waits for the other half: twice as long as a lead waits for an order."""


@dataclass(frozen=True, slots=True)
class HalfOrder:
    """What has been told of an order so far; None: nothing."""

    order: UUID
    categories: frozenset[str] | None = None
    paid_at: datetime | None = None


class AwaitedOrders(Protocol):
    """Orders of which one half is known, in the transaction of the unit of work and for its tenant."""

    def known(self, orders: Collection[UUID]) -> Mapping[UUID, HalfOrder]:
        """Those of `orders` that wait."""
        ...

    def keep(self, orders: Sequence[HalfOrder], at: datetime, before: datetime) -> None:
        """Let these wait, since `at`; for one that waits this is what is known of it. Any that have waited since before `before` wait
        no longer: some at a time."""
        ...

    def drop(self, orders: Collection[UUID]) -> None:
        """Let these wait no longer."""
        ...


def absorb(batch: Sequence[Incoming], work: UnitOfWork, awaited: AwaitedOrders) -> None:
    """Take note of the orders in `batch`, of one tenant and in any order."""
    told: dict[UUID, HalfOrder] = {}
    nodes: dict[UUID, UUID] = {}
    cancelled: set[UUID] = set()
    for incoming in batch:
        if incoming.type == PLACED:
            placed = incoming.parse(OrderPlaced)
            order, nodes[order] = UUID(placed.order_id), UUID(placed.node_id)
            bought = frozenset(it.category for it in placed.lines if it.category)
            told[order] = replace(told.get(order, HalfOrder(order)), categories=bought)
        elif incoming.type == PAID:
            paid = incoming.parse(OrderPaid)
            order, nodes[order] = UUID(paid.order_id), UUID(paid.node_id)
            told[order] = replace(told.get(order, HalfOrder(order)), paid_at=paid.pay_time.ToDatetime(UTC))
        elif incoming.type == CANCELLED:
            cancelled.add(UUID(incoming.parse(OrderCancelled).order_id))
    _settle(told, nodes, cancelled, work, awaited)


def _settle(
    told: Mapping[UUID, HalfOrder],
    nodes: Mapping[UUID, UUID],
    cancelled: Collection[UUID],
    work: UnitOfWork,
    awaited: AwaitedOrders,
) -> None:
    """Let orders win leads that are known as a whole now; the others wait."""
    known = awaited.known(told.keys() | cancelled)
    halves: list[HalfOrder] = []
    paid: list[PaidOrder] = []
    for order, it in told.items():
        merged = _merged(it, known.get(order))
        if order in cancelled:
            continue
        if merged.categories is None or merged.paid_at is None:
            halves.append(merged)
        elif merged.categories:
            paid.append(PaidOrder(order, nodes[order], merged.categories, merged.paid_at))
    if halves:
        awaited.keep(halves, work.now, work.now - KEPT)
    if done := known.keys() - {it.order for it in halves}:
        awaited.drop(done)
    if paid:
        win_leads(paid, work)


def _merged(told: HalfOrder, known: HalfOrder | None) -> HalfOrder:
    """Both halves; of what was told twice the latter counts."""
    if known is None:
        return told
    return HalfOrder(
        told.order,
        told.categories if told.categories is not None else known.categories,
        told.paid_at if told.paid_at is not None else known.paid_at,
    )
