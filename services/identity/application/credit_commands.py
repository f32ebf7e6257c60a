"""Orders are credited to guides as tracking reports them, and anew when a scan or click is heard of late."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.identity.application.guides import relationships_of
from services.identity.application.owners import canonical
from services.identity.domain.customer import Customer
from services.identity.domain.relationships import Touch, guide_at
from services.identity.domain.sales import CreditRule, Sale, Sales, credit, sales_id, touch_counts
from services.identity.domain.staff import Staff, staff_id
from services.identity.domain.stores import Store, store_id


@dataclass(frozen=True, slots=True)
class CreditOrder:
    """An order of `node` was paid, or paid otherwise than reported before; the codes of guide and store are those on the order, empty
    for none. `rests_on` are aggregates to bring to hand beforehand, for all orders of a batch at once."""

    node: UUID
    order: UUID
    guide_code: str
    store_code: str
    net: int
    currency: str
    paid_at: datetime
    rests_on: tuple[UUID, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ReduceCredit:
    """Money of an order was given back; `net` is what is left."""

    node: UUID
    order: UUID
    net: int


def credit_order(command: CreditOrder, work: UnitOfWork) -> None:
    """Nothing happens for a node that this tenant does not have, or that is erased. A code that names nobody counts as none."""
    customer = canonical(work, command.node)
    if customer is None or customer.is_erased:
        return
    tenant = work.context.tenant
    guide = work.find(Staff, staff_id(tenant, command.guide_code)) if command.guide_code else None
    store = work.find(Store, store_id(tenant, command.store_code)) if command.store_code else None
    sale = Sale(
        command.order,
        guide.id if guide else None,
        store.id if store else None,
        command.net,
        command.currency,
        command.paid_at,
    )
    _decide(work, customer, _sales(work, command.node), sale)


def reduce_credit(command: ReduceCredit, work: UnitOfWork) -> None:
    """Whose the order is stays as it was; nothing happens for one that was never credited."""
    sales = work.find(Sales, sales_id(work.context.tenant, command.node))
    if sales is not None:
        sales.reduce(command.order, command.net)


def credit_late_touch(work: UnitOfWork, customer: Customer, touch: Touch) -> None:
    """Decide anew whose those orders of the customer are that were paid soon after `touch`, which was not known of then."""
    tenant = work.context.tenant
    for sales in work.find_all(Sales, [sales_id(tenant, it) for it in customer.nodes]).values():
        for order, sale in list(sales.sales.items()):
            if sales.credits[order].rule is not CreditRule.GUIDE_CODE and touch_counts(touch, sale):
                _decide(work, customer, sales, sale)


def _decide(work: UnitOfWork, customer: Customer, sales: Sales, sale: Sale) -> None:
    relationships = list(relationships_of(work, customer))
    touches = [touch for it in relationships for touch in it.touches]
    guidance = guide_at(relationships, sale.paid_at)
    sales.decide(sale, credit(sale, touches, guidance.staff if guidance else None))


def _sales(work: UnitOfWork, node: UUID) -> Sales:
    tenant = work.context.tenant
    found = work.find(Sales, sales_id(tenant, node))
    if found is None:
        found = Sales(sales_id(tenant, node), tenant, node)
        work.add(found)
    return found


CREDIT_HANDLERS: Final[Handlers] = (
    handler(CreditOrder, credit_order, loads=lambda command: (command.node, *command.rests_on)),
    handler(ReduceCredit, reduce_credit, loads=lambda command: (command.node,)),
)
