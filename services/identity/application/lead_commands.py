"""What is told of leads: by staff, and by orders that win them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.identity.application.owners import canonical, fetch_owners, owner_of
from services.identity.domain.customer import Customer
from services.identity.domain.errors import LeadNotFound, LeadOpen
from services.identity.domain.lead import Lead, LeadSlot, LeadState, Prospect, slot_id


@dataclass(frozen=True, slots=True)
class OpenLead:
    """Somebody may buy something."""

    prospect: Prospect


@dataclass(frozen=True, slots=True)
class UpdateLead:
    """A lead changes; None: it stays as it was."""

    lead_id: UUID
    state: LeadState | None = None
    score: int | None = None
    owner: UUID | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PaidOrder:
    """An order of the person of `node`, with the categories of what was bought."""

    order: UUID
    node: UUID
    categories: frozenset[str]
    paid_at: datetime


def open_lead(command: OpenLead, work: UnitOfWork) -> Lead:
    """The new lead. Raises CustomerNotFound, and LeadOpen if any node of the customer has an open one of the category."""
    customer = owner_of(work, command.prospect.node, "customer_id")
    known = open_lead_of(work, customer, command.prospect.category)
    if known is not None:
        raise LeadOpen(field="category", lead=known.id)
    return start_lead(command.prospect, work.now, work)


def open_lead_of(work: UnitOfWork, customer: Customer, category: str) -> Lead | None:
    """The lead of any node of the customer that is open in a category."""
    slots = [slot_id(customer.tenant, it, category) for it in customer.nodes]
    return next((it for it in _leads(work, slots).values() if it.is_open), None)


def start_lead(prospect: Prospect, at: datetime, work: UnitOfWork) -> Lead:
    """A new lead, of a customer who has none that is open in the category."""
    tenant, node, category = work.context.tenant, prospect.node, prospect.category
    lead = Lead(work.new_id(), tenant, prospect, at)
    work.add(lead)
    slot = work.find(LeadSlot, slot_id(tenant, node, category))
    if slot is None:
        slot = LeadSlot.of(tenant, node, category)
        work.add(slot)
    slot.take(lead.id)
    return lead


def update_lead(command: UpdateLead, work: UnitOfWork) -> Lead:
    """The lead as it is then. Raises LeadNotFound, LeadClosed, IllegalTransition, and FieldRequired for one lost without a
    reason."""
    lead = work.find(Lead, command.lead_id)
    if lead is None:
        raise LeadNotFound(field="lead_id")
    if command.score is not None or command.owner is not None:
        lead.update(command.score, command.owner, work.now)
    if command.state is not None:
        lead.go_on(command.state, command.reason, work.now)
    return lead


def win_leads(orders: Sequence[PaidOrder], work: UnitOfWork) -> None:
    """Whoever bought is a lead no longer: those that these orders won, whichever of the customer's nodes they came to.

    Of several orders the one paid first wins. A node nobody knows has no leads.
    """
    slots_of = _slots_of(work, orders)
    leads = _leads(work, [slot for slots in slots_of.values() for slot in slots])
    for order in sorted(orders, key=lambda it: (it.paid_at, it.order)):
        for slot in slots_of[order.order]:
            if slot in leads:
                leads[slot].meet_order(order.order, order.paid_at)


HANDLERS: Handlers = [
    handler(OpenLead, open_lead, loads=lambda command: (command.prospect.node,)),
    handler(UpdateLead, update_lead, loads=lambda command: (command.lead_id,)),
]


def _slots_of(work: UnitOfWork, orders: Sequence[PaidOrder]) -> dict[UUID, list[UUID]]:
    """For each order the slots of its categories, of all nodes of its customer."""
    fetch_owners(work, [it.node for it in orders])
    found: dict[UUID, list[UUID]] = {}
    for order in orders:
        customer = canonical(work, order.node)
        nodes = customer.nodes if customer is not None else {}
        found[order.order] = [
            slot_id(work.context.tenant, node, category) for category in sorted(order.categories) for node in nodes
        ]
    return found


def _leads(work: UnitOfWork, slots: Sequence[UUID]) -> dict[UUID, Lead]:
    """The leads that these slots are about, by slot, in two queries."""
    taken = {slot: it.lead for slot, it in work.find_all(LeadSlot, slots).items() if it.lead is not None}
    leads = work.find_all(Lead, list(taken.values()))
    return {slot: leads[lead] for slot, lead in taken.items()}
