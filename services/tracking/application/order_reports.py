"""Orders out of behaviours: what a trusted source reports as order_completed, order_refunded or order_cancelled becomes facts of
the order, at the node the behaviour came to.

So a shop that only speaks the protocol of its SDK has orders, points and segments like one that calls RecordOrderPaid. A source of
kind SDK has not: its write key can be read by anybody, and orders are worth money.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Any, Final, TypeAlias
from uuid import UUID

from chassis.errors import BadFormat, DomainError, FieldRequired, FieldTooLong, ValueOutOfRange
from services.tracking.application.commands import (
    OrderKey,
    RecordOrderCancelled,
    RecordOrderPaid,
    RecordOrderPlaced,
    RecordOrderRefunded,
)
from services.tracking.domain.intake import is_clean
from services.tracking.domain.money import rounded_units
from services.tracking.domain.order_facts import Line, Payment, Placement, Refund

LONGEST_NUMBER: Final = 128
MOST_LINES: Final = 500
MOST_PIECES: Final = 1_000_000

OrderCommand: TypeAlias = RecordOrderPlaced | RecordOrderPaid | RecordOrderRefunded | RecordOrderCancelled


@dataclass(frozen=True, slots=True)
class OrderReport:
    """A behaviour that speaks of an order."""

    position: int
    tenant: str
    source: str
    message_id: str
    event_type: str
    node: UUID
    occurred_at: datetime
    properties: Mapping[str, Any]


def commands_of(report: OrderReport) -> Sequence[OrderCommand]:
    """What is to be recorded. Raises DomainError for a report that makes no sense."""
    given, at = report.properties, report.occurred_at
    key = OrderKey.of(report.tenant, report.source, _word(given.get("order_no"), "order_no"))
    if report.event_type == "order_cancelled":
        return [RecordOrderCancelled(key, at)]
    currency = _word(given.get("currency"), "currency").upper()
    if report.event_type == "order_refunded":
        number = _word(given.get("refund_no") or report.message_id, "refund_no")
        return [RecordOrderRefunded(key, currency, Refund(number, _amount(given, "amount", currency), at))]
    paid, shipping = _amount(given, "paid", currency), _amount(given, "shipping", currency)
    lines = _lines(given.get("lines"), currency, paid - shipping)
    placement = Placement(at, currency, paid, shipping, lines, _coupons(given))
    return [
        RecordOrderPlaced(key, report.node, placement),
        RecordOrderPaid(key, report.node, Payment(at, currency, paid, shipping)),
    ]


def _lines(given: Any, currency: str, goods: int) -> tuple[Line, ...]:
    """The positions, with what was paid shared out among them by their prices to the last minor unit.

    Nothing says which of them a discount or a tax is for. Without prices there is nothing to share by, and so no position.
    """
    if not isinstance(given, list) or goods < 0:
        return ()
    if len(given) > MOST_LINES:
        raise FieldTooLong(f"at most {MOST_LINES} lines", field="lines")
    listed = [_listed(it, currency) for it in given]
    whole = sum(amount for _, _, amount in listed)
    if whole == 0:
        return ()
    lines, before, shared = [], 0, 0
    for product, quantity, amount in listed:
        before += amount
        paid = goods * before // whole - shared
        shared += paid
        sku, category, brand = product.get("sku"), _label(product.get("category")), _label(product.get("brand"))
        lines.append(Line(_word(sku, "lines.sku"), category, brand, quantity, amount, paid))
    return tuple(lines)


def _coupons(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The one coupon that an event can name."""
    extra = given.get("extra")
    coupon = extra.get("coupon") if isinstance(extra, dict) else None
    return (coupon,) if isinstance(coupon, str) and 0 < len(coupon) <= LONGEST_NUMBER else ()


def _listed(product: Any, currency: str) -> tuple[Mapping[str, Any], int, int]:
    """A position, how many pieces, and their price together in minor units."""
    if not isinstance(product, dict):
        raise BadFormat("a line is an object", field="lines")
    quantity = product.get("quantity", 1)
    if type(quantity) is not int or not 0 < quantity <= MOST_PIECES:
        raise ValueOutOfRange(f"from 1 to {MOST_PIECES} pieces", field="lines.quantity")
    return product, quantity, rounded_units(currency, _number(product.get("price")) * quantity, "lines.price")


def _amount(given: Mapping[str, Any], name: str, currency: str) -> int:
    return rounded_units(currency, _number(given.get(name)), name)


def _number(value: Any) -> Decimal:
    return Decimal(repr(value)) if type(value) in (int, float) and isfinite(value) else Decimal()


def _word(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise FieldRequired(field=field)
    if len(value) > LONGEST_NUMBER:
        raise FieldTooLong(field=field)
    if not is_clean(value):
        raise BadFormat(field=field)
    return value


def _label(value: Any) -> str:
    return value[:LONGEST_NUMBER] if isinstance(value, str) and is_clean(value) else ""


def refused(error: DomainError) -> str:
    """Where and why, as it stands beside what was put aside."""
    return f"{error.field or 'order'}: {error.reason}"
