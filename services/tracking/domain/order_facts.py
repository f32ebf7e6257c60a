"""What can be said of an order: values that are reported once and compared ever after."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.tracking.domain.errors import AmountsMismatch


@dataclass(frozen=True, slots=True)
class Line:
    """One position of an order; `paid` and `listed` are for all pieces together, in minor units."""

    sku: str
    category: str
    brand: str
    quantity: int
    listed: int
    paid: int


@dataclass(frozen=True, slots=True)
class Placement:
    """What was ordered; `amount` is what is to be paid, `shipping` the part of it for shipping, in minor units; `coupons` are those
    used, by the ids the source has for them."""

    placed_at: datetime
    currency: str
    amount: int
    shipping: int
    lines: tuple[Line, ...]
    coupons: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise AmountsMismatch unless the lines add up."""
        check_amounts(self.amount, self.shipping)
        check_lines(self.lines, self.amount, self.shipping)


@dataclass(frozen=True, slots=True)
class Payment:
    """What was paid, with the part of it for shipping, in minor units; the codes of guide and store that the source names."""

    paid_at: datetime
    currency: str
    paid: int
    shipping: int
    guide_code: str = ""
    store_code: str = ""

    @property
    def goods(self) -> int:
        return self.paid - self.shipping


@dataclass(frozen=True, slots=True)
class Refund:
    """Money given back, in minor units."""

    refund_no: str
    amount: int
    refunded_at: datetime


class Status(StrEnum):
    """How far an order is."""

    PLACED = "PLACED"
    PAID = "PAID"
    SHIPPED = "SHIPPED"
    RECEIVED = "RECEIVED"
    CANCELLED = "CANCELLED"
    CLOSED_REFUNDED = "CLOSED_REFUNDED"


def furthest(*, refunded: bool, received: bool, shipped: bool, paid: bool, cancelled: bool) -> Status:
    """How far an order is of which so much is known; `refunded` means completely."""
    if refunded:
        return Status.CLOSED_REFUNDED
    if received:
        return Status.RECEIVED
    if shipped:
        return Status.SHIPPED
    if paid:
        return Status.PAID
    return Status.CANCELLED if cancelled else Status.PLACED


def nobody_named(state: dict[str, Any]) -> None:
    """A stored payment of the time before it could name guide and store."""
    state["payment"] |= {"guide_code": "", "store_code": ""}


def without_coupons(state: dict[str, Any]) -> None:
    """A stored placement of the time before coupons were told."""
    state["placement"] |= {"coupons": []}


def check_amounts(whole: int, shipping: int) -> None:
    """Raise AmountsMismatch if shipping is more than the whole."""
    if shipping > whole:
        raise AmountsMismatch("shipping cannot be more than the whole", field="shipping")


def check_lines(lines: tuple[Line, ...], whole: int, shipping: int) -> None:
    """Raise AmountsMismatch unless the lines, where there are any, add up to the whole without shipping."""
    if lines and sum(line.paid for line in lines) != whole - shipping:
        raise AmountsMismatch(field="lines")
