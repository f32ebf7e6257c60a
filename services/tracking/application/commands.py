"""What can be reported of orders, and how each report is carried out; of somebody who is erased nothing new can."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.tracking.application.erasure_commands import require_unerased
from services.tracking.domain.erasure import ErasedNode, erased_node_id
from services.tracking.domain.errors import FutureTimestamp, OrderNotFound
from services.tracking.domain.order import Order, order_id
from services.tracking.domain.order_facts import Payment, Placement, Refund

FUTURE_TOLERANCE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class OrderKey:
    """An order by its number in its source; `id` is its id here."""

    id: UUID
    source: str
    order_no: str

    @classmethod
    def of(cls, tenant: str, source: str, order_no: str) -> "OrderKey":
        return cls(order_id(tenant, source, order_no), source, order_no)


@dataclass(frozen=True, slots=True)
class RecordOrderPlaced:
    key: OrderKey
    node: UUID
    placement: Placement
    revision: int = 0


@dataclass(frozen=True, slots=True)
class RecordOrderPaid:
    key: OrderKey
    node: UUID
    payment: Payment
    revision: int = 0


@dataclass(frozen=True, slots=True)
class RecordOrderRefunded:
    key: OrderKey
    currency: str
    refund: Refund


@dataclass(frozen=True, slots=True)
class RecordOrderShipped:
    key: OrderKey
    at: datetime


@dataclass(frozen=True, slots=True)
class RecordOrderReceived:
    key: OrderKey
    at: datetime


@dataclass(frozen=True, slots=True)
class RecordOrderCancelled:
    key: OrderKey
    at: datetime


OrderFact: TypeAlias = RecordOrderPlaced | RecordOrderPaid | RecordOrderRefunded
RowOutcome: TypeAlias = Order | DomainError


@dataclass(frozen=True, slots=True)
class ImportOrders:
    """Facts of orders in the order given; a row that could not even be read is the error that says why."""

    rows: tuple[OrderFact | DomainError, ...]


def record_order_placed(command: RecordOrderPlaced, work: UnitOfWork) -> Order:
    _require_past(command.placement.placed_at, "place_time", work)
    order = work.find(Order, command.key.id)
    if order is None:
        require_unerased(command.node, work)
        command.placement.check()
        order = _open(command.key, command.node, command.placement, work, revision=command.revision)
    else:
        order.place(command.placement, command.revision)
    return order


def record_order_paid(command: RecordOrderPaid, work: UnitOfWork) -> Order:
    payment = command.payment
    _require_past(payment.paid_at, "pay_time", work)
    order = work.find(Order, command.key.id)
    if order is None:
        require_unerased(command.node, work)
        guess = Placement(payment.paid_at, payment.currency, payment.paid, payment.shipping, ())
        guess.check()
        order = _open(command.key, command.node, guess, work, estimated=True)
    order.pay(payment, command.revision)
    return order


def record_order_refunded(command: RecordOrderRefunded, work: UnitOfWork) -> Order:
    _require_past(command.refund.refunded_at, "refund_time", work)
    order = _known(command.key, work)
    order.refund(command.refund, command.currency)
    return order


def record_order_shipped(command: RecordOrderShipped, work: UnitOfWork) -> Order:
    _require_past(command.at, "ship_time", work)
    order = _known(command.key, work)
    order.ship(command.at)
    return order


def record_order_received(command: RecordOrderReceived, work: UnitOfWork) -> Order:
    _require_past(command.at, "receive_time", work)
    order = _known(command.key, work)
    order.receive(command.at)
    return order


def record_order_cancelled(command: RecordOrderCancelled, work: UnitOfWork) -> Order:
    _require_past(command.at, "cancel_time", work)
    order = _known(command.key, work)
    order.cancel(command.at)
    return order


def import_orders(command: ImportOrders, work: UnitOfWork) -> list[RowOutcome]:
    """Each row by itself: the order it is about, or why it was refused."""
    nodes = {it.node for it in command.rows if isinstance(it, RecordOrderPlaced | RecordOrderPaid)}
    work.find_all(ErasedNode, [erased_node_id(work.context.tenant, it) for it in nodes])

    def record(row: OrderFact | DomainError) -> Order:
        match row:
            case RecordOrderPlaced():
                return record_order_placed(row, work)
            case RecordOrderPaid():
                return record_order_paid(row, work)
            case RecordOrderRefunded():
                return record_order_refunded(row, work)
        raise row

    return work.each(command.rows, record)


def _open(
    key: OrderKey, node: UUID, placement: Placement, work: UnitOfWork, *, revision: int = 0, estimated: bool = False
) -> Order:
    order = Order(key.id, work.context.tenant, key.source, key.order_no, node, placement, revision, estimated)
    work.add(order)
    return order


def _known(key: OrderKey, work: UnitOfWork) -> Order:
    order = work.find(Order, key.id)
    if order is None:
        raise OrderNotFound
    return order


def _require_past(at: datetime, field: str, work: UnitOfWork) -> None:
    if at > work.now + FUTURE_TOLERANCE:
        raise FutureTimestamp(field=field)


def _imported(command: ImportOrders) -> Iterable[UUID]:
    return {row.key.id for row in command.rows if not isinstance(row, DomainError)}


HANDLERS: Final[Handlers] = (
    handler(RecordOrderPlaced, record_order_placed, loads=lambda it: [it.key.id]),
    handler(RecordOrderPaid, record_order_paid, loads=lambda it: [it.key.id]),
    handler(RecordOrderRefunded, record_order_refunded, loads=lambda it: [it.key.id]),
    handler(RecordOrderShipped, record_order_shipped, loads=lambda it: [it.key.id]),
    handler(RecordOrderReceived, record_order_received, loads=lambda it: [it.key.id]),
    handler(RecordOrderCancelled, record_order_cancelled, loads=lambda it: [it.key.id]),
    handler(ImportOrders, import_orders, loads=_imported),
)
"""Those about orders."""
