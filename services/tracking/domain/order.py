"""Orders as the shop reports them (TR-9): facts in any order of arrival, each of them once."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tracking.domain.errors import (
    NegativeAmount,
    OrderAlreadyPaid,
    OrderConflict,
    RefundExceedsPaid,
    TimeOrder,
)
from services.tracking.domain.money import require_currency
from services.tracking.domain.order_facts import (
    Payment,
    Placement,
    Refund,
    Status,
    check_amounts,
    check_lines,
    furthest,
    nobody_named,
    without_coupons,
)

CLOCK_TOLERANCE: Final = timedelta(minutes=5)


class Order(Aggregate):
    """One order of one customer in one source, whatever was reported of it first."""

    TOPIC = "tracking.Order"

    class Placed(InitialEvent):
        """The order is known; `estimated` if only its payment is, and everything else is a guess from that."""

        TOPIC = "tracking.OrderPlaced"
        class_version = 2
        upcast_v1_v2 = staticmethod(without_coupons)
        tenant: str
        source: str
        order_no: str
        node: UUID
        placement: Placement
        revision: int
        estimated: bool

    class PlacementReported(Event):
        """What was ordered became known after the payment, or was corrected by the source."""

        TOPIC = "tracking.OrderPlacementReported"
        class_version = 2
        upcast_v1_v2 = staticmethod(without_coupons)
        source: str
        order_no: str
        node: UUID
        placement: Placement
        revision: int
        corrected: bool

    class Paid(Event):
        """The order was paid."""

        TOPIC = "tracking.OrderPaid"
        class_version = 2
        upcast_v1_v2 = staticmethod(nobody_named)
        source: str
        order_no: str
        node: UUID
        placed_at: datetime
        payment: Payment
        net: int
        revision: int

    class PaymentRevised(Event):
        """The source corrected what was paid."""

        TOPIC = "tracking.OrderPaymentRevised"
        class_version = 2
        upcast_v1_v2 = staticmethod(nobody_named)
        source: str
        order_no: str
        node: UUID
        payment: Payment
        net: int
        revision: int

    class Refunded(Event):
        """Money was given back; `cumulative` and `net` are the sums after it."""

        TOPIC = "tracking.OrderRefunded"
        source: str
        order_no: str
        node: UUID
        currency: str
        refund: Refund
        cumulative: int
        net: int
        full: bool

    class Shipped(Event):
        """The order left for the customer."""

        TOPIC = "tracking.OrderShipped"
        node: UUID
        shipped_at: datetime

    class Received(Event):
        """The order reached the customer."""

        TOPIC = "tracking.OrderReceived"
        node: UUID
        received_at: datetime

    class Cancelled(Event):
        """The order was given up before it was paid."""

        TOPIC = "tracking.OrderCancelled"
        node: UUID
        cancelled_at: datetime

    @event(Placed)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        source: str,
        order_no: str,
        node: UUID,
        placement: Placement,
        revision: int,
        estimated: bool,
    ) -> None:
        self.tenant = tenant
        self.source = source
        self.order_no = order_no
        self.node = node
        self.placement = placement
        self.placement_revision = revision
        self.estimated = estimated
        self.payment: Payment | None = None
        self.payment_revision = 0
        self.refunds: dict[str, Refund] = {}
        self.refunded = 0
        self.shipped_at: datetime | None = None
        self.received_at: datetime | None = None
        self.cancelled_at: datetime | None = None

    @property
    def net(self) -> int:
        """What models count: paid without shipping and refunds, never below zero."""
        return 0 if self.payment is None else max(0, self.payment.goods - self.refunded)

    @property
    def status(self) -> Status:
        """The furthest that any fact says; an earlier fact that comes late changes nothing."""
        return furthest(
            refunded=bool(self.payment and self.refunds and self.refunded == self.payment.paid),
            received=self.received_at is not None,
            shipped=self.shipped_at is not None,
            paid=self.payment is not None,
            cancelled=self.cancelled_at is not None,
        )

    def place(self, placement: Placement, revision: int) -> None:
        """Take in what was ordered. Raises OrderConflict, CurrencyMismatch, AmountsMismatch, TimeOrder."""
        if not self.estimated and placement == self.placement:
            return
        if not self.estimated and revision <= self.placement_revision:
            raise OrderConflict(field="placement")
        placement.check()
        if self.payment:
            _check_together(placement, self.payment)
        self._placement_reported(self.source, self.order_no, self.node, placement, revision, not self.estimated)

    def pay(self, payment: Payment, revision: int) -> None:
        """Take in the payment. Raises OrderConflict, CurrencyMismatch, AmountsMismatch, TimeOrder, RefundExceedsPaid."""
        if payment == self.payment:
            return
        if self.payment and revision <= self.payment_revision:
            raise OrderConflict(field="payment")
        check_amounts(payment.paid, payment.shipping)
        if self.refunded > payment.paid:
            raise RefundExceedsPaid(field="paid")
        if not self.estimated:
            _check_together(self.placement, payment)
        net = max(0, payment.goods - self.refunded)
        if self.payment:
            self._payment_revised(self.source, self.order_no, self.node, payment, net, revision)
        else:
            placed_at = self.placement.placed_at
            self._paid(self.source, self.order_no, self.node, placed_at, payment, net, revision)

    def refund(self, refund: Refund, currency: str) -> None:
        """Take in a refund. Raises OrderConflict, CurrencyMismatch, RefundExceedsPaid."""
        known = self.refunds.get(refund.refund_no)
        if known == refund:
            return
        if known:
            raise OrderConflict(field="refund_no")
        paid = self.payment.paid if self.payment else 0
        require_currency(self.placement.currency, currency)
        if refund.amount <= 0:
            raise NegativeAmount("a refund gives something back", field="amount")
        cumulative = self.refunded + refund.amount
        if cumulative > paid:
            raise RefundExceedsPaid(field="amount")
        net = max(0, (self.payment.goods if self.payment else 0) - cumulative)
        full = cumulative == paid
        self._refunded(self.source, self.order_no, self.node, currency, refund, cumulative, net, full)

    def ship(self, at: datetime) -> None:
        if self.shipped_at != at:
            _require_unset(self.shipped_at, "ship_time")
            self._shipped(self.node, at)

    def receive(self, at: datetime) -> None:
        if self.received_at != at:
            _require_unset(self.received_at, "receive_time")
            self._received(self.node, at)

    def cancel(self, at: datetime) -> None:
        """Raises OrderAlreadyPaid; a payment that arrives afterwards takes the cancellation back."""
        if self.payment:
            raise OrderAlreadyPaid
        if self.cancelled_at != at:
            _require_unset(self.cancelled_at, "cancel_time")
            self._cancelled(self.node, at)

    @event(PlacementReported)
    def _placement_reported(
        self, source: str, order_no: str, node: UUID, placement: Placement, revision: int, corrected: bool
    ) -> None:
        self.placement = placement
        self.placement_revision = revision
        self.estimated = False

    @event(Paid)
    def _paid(
        self, source: str, order_no: str, node: UUID, placed_at: datetime, payment: Payment, net: int, revision: int
    ) -> None:
        self.payment = payment
        self.payment_revision = revision

    @event(PaymentRevised)
    def _payment_revised(
        self, source: str, order_no: str, node: UUID, payment: Payment, net: int, revision: int
    ) -> None:
        self.payment = payment
        self.payment_revision = revision

    @event(Refunded)
    def _refunded(
        self,
        source: str,
        order_no: str,
        node: UUID,
        currency: str,
        refund: Refund,
        cumulative: int,
        net: int,
        full: bool,
    ) -> None:
        self.refunds[refund.refund_no] = refund
        self.refunded = cumulative

    @event(Shipped)
    def _shipped(self, node: UUID, shipped_at: datetime) -> None:
        self.shipped_at = shipped_at

    @event(Received)
    def _received(self, node: UUID, received_at: datetime) -> None:
        self.received_at = received_at

    @event(Cancelled)
    def _cancelled(self, node: UUID, cancelled_at: datetime) -> None:
        self.cancelled_at = cancelled_at


def order_id(tenant: str, source: str, order_no: str) -> UUID:
    """The id of the one order with this number in this source."""
    return natural_id(tenant, "order", source, order_no)


def _check_together(placement: Placement, payment: Payment) -> None:
    """What must hold between what was ordered and what was paid."""
    require_currency(placement.currency, payment.currency, field="paid")
    check_lines(placement.lines, payment.paid, payment.shipping)
    if payment.paid_at < placement.placed_at - CLOCK_TOLERANCE:
        raise TimeOrder(field="pay_time")


def _require_unset(known: datetime | None, field: str) -> None:
    if known is not None:
        raise OrderConflict(field=field)
