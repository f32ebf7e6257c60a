"""Orders between the wire and the domain."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.errors import BadFormat
from scrm.tracking.v1 import order_pb2
from services.tracking.adapters.identity_client import Asked
from services.tracking.application.wire_values import instant, money, order_line, timestamp
from services.tracking.domain.money import minor_units, require_currency
from services.tracking.domain.order import Order
from services.tracking.domain.order_facts import Line, Payment, Placement, Refund

NOTHING: Final = Money()


def required_instant(at: Timestamp, field: str) -> datetime:
    """Raises BadFormat for what is no instant."""
    found = instant(at)
    if found is None:
        raise BadFormat(f"{field} is no instant", field=field)
    return found


def customer(reference: order_pb2.OrderCustomer, at: datetime) -> Asked:
    """Whom identity is asked about; the shop knows whom it sold to."""
    identifiers = tuple((it.namespace, it.scope, it.value, it.verified) for it in reference.identifiers)
    return Asked((identifiers, True), at, reference.assignment_key)


def placement(fact: order_pb2.OrderPlacement) -> Placement:
    currency = fact.amount.currency_code
    return Placement(
        required_instant(fact.place_time, "place_time"),
        currency,
        _minor(fact.amount, currency, "amount"),
        _minor(fact.shipping, currency, "shipping"),
        tuple(_line(it, currency) for it in fact.lines),
        tuple(fact.coupons),
    )


def payment(fact: order_pb2.OrderPayment) -> Payment:
    currency = fact.paid.currency_code
    return Payment(
        required_instant(fact.pay_time, "pay_time"),
        currency,
        _minor(fact.paid, currency, "paid"),
        _minor(fact.shipping, currency, "shipping"),
        fact.guide_code,
        fact.store_code,
    )


def refund(fact: order_pb2.OrderRefund) -> tuple[Refund, str]:
    """The refund and its currency."""
    currency = fact.amount.currency_code
    amount = _minor(fact.amount, currency, "amount")
    return Refund(fact.refund_no, amount, required_instant(fact.refund_time, "refund_time")), currency


def order_message(order: Order) -> order_pb2.Order:
    """An order as of its last fact."""
    currency, paid = order.placement.currency, order.payment
    message = order_pb2.Order(
        order_id=str(order.id),
        source_key=order.source,
        order_no=order.order_no,
        node_id=str(order.node),
        status=_status(order.status),
        revision=max(order.placement_revision, order.payment_revision),
        place_time=timestamp(order.placement.placed_at),
        place_time_estimated=order.estimated,
        lines=[order_line(it, currency) for it in order.placement.lines],
        coupons=order.placement.coupons,
        amount=money(currency, order.placement.amount),
        paid=money(currency, paid.paid if paid else 0),
        shipping=money(currency, paid.shipping if paid else order.placement.shipping),
        refunded=money(currency, order.refunded),
        net=money(currency, order.net),
        refunds=_refunds(list(order.refunds.values()), currency),
    )
    _set_times(message, paid.paid_at if paid else None, order)
    return message


def order_row_message(row: Any) -> order_pb2.Order:
    """An order out of the read model."""
    message = order_pb2.Order(
        order_id=str(row.order_id),
        source_key=row.source,
        order_no=row.order_no,
        node_id=str(row.node),
        status=_status(row.status),
        revision=row.revision,
        place_time=timestamp(row.placed_at),
        place_time_estimated=row.estimated,
        amount=money(row.currency, row.amount),
        paid=money(row.currency, row.paid),
        shipping=money(row.currency, row.shipping),
        refunded=money(row.currency, row.refunded),
        net=money(row.currency, row.net),
    )
    _set_times(message, row.paid_at, row)
    return message


def _set_times(message: order_pb2.Order, paid_at: datetime | None, facts: Any) -> None:
    """`facts` has shipped_at, received_at and cancelled_at."""
    for field, at in (
        (message.pay_time, paid_at),
        (message.ship_time, facts.shipped_at),
        (message.receive_time, facts.received_at),
        (message.cancel_time, facts.cancelled_at),
    ):
        if at is not None:
            field.CopyFrom(timestamp(at))


def _refunds(refunds: Sequence[Refund], currency: str) -> list[order_pb2.Refund]:
    return [
        order_pb2.Refund(
            refund_no=it.refund_no, amount=money(currency, it.amount), refund_time=timestamp(it.refunded_at)
        )
        for it in refunds
    ]


def _line(line: order_pb2.OrderLine, currency: str) -> Line:
    return Line(
        line.sku,
        line.category,
        line.brand,
        line.quantity,
        _minor(line.list, currency, "lines.list"),
        _minor(line.paid, currency, "lines.paid"),
    )


def _minor(amount: Money, currency: str, field: str) -> int:
    """Minor units; an amount that is not given is nothing."""
    if amount == NOTHING:
        return minor_units(currency, 0, 0, field)
    require_currency(currency, amount.currency_code, field)
    return minor_units(currency, amount.units, amount.nanos, field)


def _status(status: str) -> "order_pb2.OrderStatus.ValueType":
    return order_pb2.OrderStatus.Value(f"ORDER_STATUS_{status}")
