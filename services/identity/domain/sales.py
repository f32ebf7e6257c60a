"""To whom an order is credited: exactly one guide or nobody, decided by what was known when it was paid.

A credit is kept with the node of the order. Later merges, transfers and moves do not change whose it is, and neither does a refund,
which only makes it smaller; a scan or click that is heard of late does, if it came before the payment.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.relationships import Touch

TOUCH_COUNTS: Final = timedelta(days=7)
"""For so long before a payment a scan or click counts."""


class CreditRule(StrEnum):
    """Why the order is whose: a guide's code on it, the last scan or click, the guide of the customer; NONE if it is nobody's."""

    GUIDE_CODE = "GUIDE_CODE"
    TOUCH = "TOUCH"
    PRIMARY_GUIDE = "PRIMARY_GUIDE"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Credit:
    """Whose an order is."""

    staff: UUID | None
    rule: CreditRule


@dataclass(frozen=True, slots=True)
class Sale:
    """A paid order: `net` of refunds, in minor units; `guide` and `store` are those that the order names."""

    order: UUID
    guide: UUID | None
    store: UUID | None
    net: int
    currency: str
    paid_at: datetime


def credit(sale: Sale, touches: Iterable[Touch], primary_guide: UUID | None) -> Credit:
    """Whose the sale is, given all touches of the customer and the guide at the time of payment."""
    if sale.guide is not None:
        return Credit(sale.guide, CreditRule.GUIDE_CODE)
    recent = [it for it in touches if touch_counts(it, sale)]
    if recent:
        return Credit(max(recent, key=lambda it: (it.at, it.staff)).staff, CreditRule.TOUCH)
    if primary_guide is not None:
        return Credit(primary_guide, CreditRule.PRIMARY_GUIDE)
    return Credit(None, CreditRule.NONE)


def touch_counts(touch: Touch, sale: Sale) -> bool:
    """Whether the touch came at most seven days before the payment."""
    return timedelta(0) <= sale.paid_at - touch.at <= TOUCH_COUNTS


class Sales(Aggregate):
    """The paid orders of one node, and whose they are."""

    TOPIC = "identity.Sales"

    class Opened(InitialEvent):
        """The first order of the node was paid."""

        TOPIC = "identity.SalesOpened"
        tenant: str
        node: UUID

    class Credited(Event):
        """An order is somebody's, or from now on somebody else's."""

        TOPIC = "identity.OrderCredited"
        node: UUID
        sale: Sale
        credit: Credit

    class NetChanged(Event):
        """Money of an order was given back."""

        TOPIC = "identity.CreditedOrderReduced"
        node: UUID
        order: UUID
        net: int

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, node: UUID) -> None:
        self.tenant = tenant
        self.node = node
        self.sales: dict[UUID, Sale] = {}
        self.credits: dict[UUID, Credit] = {}

    def decide(self, sale: Sale, credit: Credit) -> None:
        """Take note of whose the order is, if that is news."""
        if (self.sales.get(sale.order), self.credits.get(sale.order)) != (sale, credit):
            self._credited(node=self.node, sale=sale, credit=credit)

    def reduce(self, order: UUID, net: int) -> None:
        """Take note of what is left of the order, if that is news."""
        if order in self.sales and self.sales[order].net != net:
            self._net_changed(node=self.node, order=order, net=net)

    @event(Credited)
    def _credited(self, node: UUID, sale: Sale, credit: Credit) -> None:
        self.sales[sale.order] = sale
        self.credits[sale.order] = credit

    @event(NetChanged)
    def _net_changed(self, node: UUID, order: UUID, net: int) -> None:
        self.sales[order] = replace(self.sales[order], net=net)


def sales_id(tenant: str, node: UUID) -> UUID:
    return natural_id(tenant, "sales", node)
