"""Customers and their guides at hand: what the commands on relationships, transfers, codes and orders share."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import UnitOfWork
from services.identity.domain.customer import Customer
from services.identity.domain.org_settings import AssignmentRule, OrgSettings, settings_id
from services.identity.domain.portfolios import Intake, Portfolio, intake_id, part_of, portfolio_id
from services.identity.domain.relationships import (
    AssignmentSource,
    Guidance,
    Relationship,
    guide_at,
    relationship_id,
)
from services.identity.domain.staff import Staff


@dataclass(frozen=True, slots=True)
class Guided:
    """A customer with the guide, if there is one, and the guide's store; `changed` if the command made it so."""

    customer: UUID
    guidance: Guidance | None
    store: UUID | None
    changed: bool


def assign(work: UnitOfWork, customer: Customer, node: UUID, staff: Staff, source: AssignmentSource) -> Guided:
    """Have `staff` look after the customer, unless somebody else does and stays."""
    guidance = guide_of(work, customer)
    if guidance is not None and (guidance.staff == staff.id or not _overrides(work, source)):
        return guided(work, customer, changed=False)
    relationship = relationship_of(work, node)
    leave_portfolio(work, relationship)
    relationship.assign(staff, source, frozenset(customer.nodes) - {node}, work.now)
    portfolio_of(work, staff.id, node).add(node)
    intake_today(work, staff.id).take(node)
    return guided(work, customer, changed=True)


def guided(work: UnitOfWork, customer: Customer, *, changed: bool) -> Guided:
    """The customer with the guide of now."""
    guidance = guide_of(work, customer)
    staff = work.find(Staff, guidance.staff) if guidance else None
    return Guided(customer.id, guidance, staff.store_at(work.now) if staff else None, changed)


def guide_of(work: UnitOfWork, customer: Customer) -> Guidance | None:
    """Who looks after the customer now."""
    return guide_at(relationships_of(work, customer), work.now)


def note_follow_up(work: UnitOfWork, customer: Customer, staff: UUID, at: datetime) -> None:
    """Of several guides of one customer the one who followed up last counts."""
    for it in relationships_of(work, customer):
        if it.guide == staff:
            it.follow_up(at, work.now)


def require_own(work: UnitOfWork, customer: Customer) -> None:
    """Raises StoreScope for a customer whose guide works elsewhere than the caller may see."""
    found = guided(work, customer, changed=False)
    if found.guidance is not None:
        work.context.require_store(found.store)


def relationships_of(work: UnitOfWork, customer: Customer) -> Iterable[Relationship]:
    """Those of all nodes of the customer, as far as there are any."""
    tenant = work.context.tenant
    return work.find_all(Relationship, [relationship_id(tenant, it) for it in customer.nodes]).values()


def relationship_of(work: UnitOfWork, node: UUID) -> Relationship:
    tenant = work.context.tenant
    found = work.find(Relationship, relationship_id(tenant, node))
    if found is None:
        found = Relationship.of_node(tenant, node)
        work.add(found)
    return found


def portfolio_of(work: UnitOfWork, staff: UUID, node: UUID) -> Portfolio:
    """The part of the portfolio of `staff` in which `node` is, or would be."""
    tenant, part = work.context.tenant, part_of(node)
    found = work.find(Portfolio, portfolio_id(tenant, staff, part))
    if found is None:
        found = Portfolio(portfolio_id(tenant, staff, part), tenant, staff, part)
        work.add(found)
    return found


def intake_today(work: UnitOfWork, staff: UUID) -> Intake:
    """The new customers of `staff` on the day it is for the brand."""
    tenant = work.context.tenant
    day = settings_of(work).local_day(work.now)
    found = work.find(Intake, intake_id(tenant, staff, day))
    if found is None:
        found = Intake(intake_id(tenant, staff, day), tenant, staff, day)
        work.add(found)
    return found


def settings_of(work: UnitOfWork) -> OrgSettings:
    """The decisions of the brand; not recorded while there are none."""
    tenant = work.context.tenant
    return work.find(OrgSettings, settings_id(tenant)) or OrgSettings.of_tenant(tenant)


def leave_portfolio(work: UnitOfWork, relationship: Relationship) -> None:
    """Take the node out of the portfolio of its guide, if it has one."""
    if relationship.guide is not None:
        portfolio_of(work, relationship.guide, relationship.node).remove(relationship.node)


def _overrides(work: UnitOfWork, source: AssignmentSource) -> bool:
    """Whether an assignment from this source takes the place of another guide."""
    if source is AssignmentSource.SCAN:
        return settings_of(work).assignment is AssignmentRule.ASSIGN_LAST
    return source is AssignmentSource.MANUAL
