"""Orders are credited to guides as tracking reports them, and anew when a scan or click is heard of late."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.commands import UnitOfWork
from services.identity.application.guides import relationships_of
from services.identity.application.owners import canonical, fetch_owners
from services.identity.application.uncredited_orders import Uncredited
from services.identity.domain.customer import Customer
from services.identity.domain.relationships import Touch, guide_at, relationship_id
from services.identity.domain.sales import (
    TOUCH_COUNTS,
    Credit,
    CreditRule,
    Sale,
    Sales,
    credit,
    sales_id,
    touch_counts,
)
from services.identity.domain.staff import Staff, staff_id
from services.identity.domain.stores import Store, store_id


@dataclass(frozen=True, slots=True)
class CreditOrder:
    """An order of `node` was paid, or paid otherwise than reported before; the codes of guide and store are those on the order, empty
    for none."""

    node: UUID
    order: UUID
    guide_code: str
    store_code: str
    net: int
    currency: str
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class ReduceCredit:
    """Money of an order was given back; `net` is what is left."""

    node: UUID
    order: UUID
    net: int


def bring_to_hand(commands: Collection[CreditOrder | ReduceCredit], work: UnitOfWork) -> None:
    """What nearly all of these rest on: a query for the customers, one for each further step of a chain of merges, and one for their
    relationships and sales."""
    tenant, nodes = work.context.tenant, {it.node for it in commands}
    fetch_owners(work, list(nodes))
    paid = {it.node for it in commands if isinstance(it, CreditOrder)}
    customers = [it for it in (canonical(work, node) for node in paid) if it is not None]
    relationships = {relationship_id(tenant, node) for it in customers for node in it.nodes}
    work.find_all(Aggregate, [*relationships, *(sales_id(tenant, it) for it in nodes)])


def take_account(command: CreditOrder | ReduceCredit, work: UnitOfWork, uncredited: Uncredited) -> None:
    """Credit an order, or reduce what it is credited with."""
    match command:
        case CreditOrder():
            credit_order(command, work, uncredited)
        case ReduceCredit():
            reduce_credit(command, work, uncredited)


def credit_order(command: CreditOrder, work: UnitOfWork, uncredited: Uncredited) -> None:
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
    credited = _whose(work, customer, sale)
    sales = work.find(Sales, sales_id(tenant, command.node))
    if credited.staff is None and sale.store is None and (sales is None or sale.order not in sales.sales):
        uncredited.keep(work, command.node, sale)
    else:
        (sales or _opened(work, command.node)).decide(sale, credited)


def reduce_credit(command: ReduceCredit, work: UnitOfWork, uncredited: Uncredited) -> None:
    """Whose the order is stays as it was; nothing happens for one that was never heard of."""
    sales = work.find(Sales, sales_id(work.context.tenant, command.node))
    if sales is not None and command.order in sales.sales:
        sales.reduce(command.order, command.net)
    elif (known := uncredited.find(work, command.order)) is not None:
        node, sale = known
        if node == command.node:
            uncredited.keep(work, node, replace(sale, net=command.net))


def credit_late_touch(work: UnitOfWork, customer: Customer, touch: Touch, uncredited: Uncredited) -> None:
    """Decide anew whose those orders of the customer are that were paid soon after `touch`, which was not known of then."""
    tenant = work.context.tenant
    found = work.find_all(Sales, [sales_id(tenant, it) for it in customer.nodes])
    for sales in found.values():
        for order, sale in list(sales.sales.items()):
            if sales.credits[order].rule is not CreditRule.GUIDE_CODE and touch_counts(touch, sale):
                sales.decide(sale, _whose(work, customer, sale))
    for node, sale in uncredited.paid(work, customer.nodes, touch.at, touch.at + TOUCH_COUNTS):
        sales = work.find(Sales, sales_id(tenant, node)) or _opened(work, node)
        if sale.order not in sales.sales:
            sales.decide(sale, _whose(work, customer, sale))


def _whose(work: UnitOfWork, customer: Customer, sale: Sale) -> Credit:
    relationships = list(relationships_of(work, customer))
    touches = [touch for it in relationships for touch in it.touches]
    guidance = guide_at(relationships, sale.paid_at)
    return credit(sale, touches, guidance.staff if guidance else None)


def _opened(work: UnitOfWork, node: UUID) -> Sales:
    tenant = work.context.tenant
    sales = Sales(sales_id(tenant, node), tenant, node)
    work.add(sales)
    return sales
