"""Who looks after a customer: assigned by a scan, an order or a person, and what is noted of guides' codes."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.identity.application.credit_commands import credit_late_touch
from services.identity.application.guides import (
    Guided,
    assign,
    guide_of,
    guided,
    leave_portfolio,
    relationship_of,
    require_own,
)
from services.identity.application.org_commands import visible_staff
from services.identity.application.owners import owner_of, require_past
from services.identity.application.uncredited_orders import Uncredited
from services.identity.domain.org_settings import AssignmentRule, OrgSettings, settings_id
from services.identity.domain.relationships import AssignmentSource, Touch, TouchKind
from services.identity.domain.staff import Staff


@dataclass(frozen=True, slots=True)
class SetOrgSettings:
    """What the brand decides for its organisation."""

    assignment: AssignmentRule
    time_zone: str


@dataclass(frozen=True, slots=True)
class AssignCustomer:
    """The person of `node` is to be looked after by `staff`. Only a person who decides (MANUAL) overrides another guide, or the
    brand's rule that the last scan counts."""

    node: UUID
    staff: UUID
    source: AssignmentSource


@dataclass(frozen=True, slots=True)
class UnassignCustomer:
    """The customer of `node` has no guide any more."""

    node: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class RecordGuideTouch:
    """The person of `node` scanned or clicked a code or link of `staff`, at `at` (None: now). A scan also assigns."""

    node: UUID
    staff: UUID
    kind: TouchKind
    at: datetime | None = None


def set_org_settings(command: SetOrgSettings, work: UnitOfWork) -> OrgSettings:
    """Raises StoreScope and UnknownTimeZone."""
    work.context.require_store(None)
    tenant = work.context.tenant
    settings = work.find(OrgSettings, settings_id(tenant))
    if settings is None:
        settings = OrgSettings.of_tenant(tenant)
        work.add(settings)
    settings.decide(command.assignment, command.time_zone, work.now)
    return settings


def assign_customer(command: AssignCustomer, work: UnitOfWork) -> Guided:
    """Raises StoreScope, StaffNotFound, StaffInactive and CustomerNotFound."""
    staff = _guide(work, command.staff)
    customer = owner_of(work, command.node, "customer_id")
    require_own(work, customer)
    return assign(work, customer, command.node, staff, command.source)


def unassign_customer(command: UnassignCustomer, work: UnitOfWork) -> Guided:
    """Also of a customer without a guide. Raises StoreScope and CustomerNotFound."""
    customer = owner_of(work, command.node, "customer_id")
    require_own(work, customer)
    guidance = guide_of(work, customer)
    if guidance is None:
        return guided(work, customer, changed=False)
    relationship = relationship_of(work, command.node)
    leave_portfolio(work, relationship)
    beside = frozenset(customer.nodes) - {command.node}
    relationship.unassign(guidance.staff, beside, command.reason, work.now)
    return guided(work, customer, changed=True)


def record_guide_touch(command: RecordGuideTouch, work: UnitOfWork, uncredited: Uncredited) -> Guided:
    """Raises StoreScope, StaffNotFound, StaffInactive, CustomerNotFound and FutureTimestamp."""
    staff = _guide(work, command.staff)
    customer = owner_of(work, command.node, "customer_id")
    touch = Touch(staff.id, command.kind, require_past(command.at, work, "touch_time"))
    if relationship_of(work, command.node).touch(touch):
        credit_late_touch(work, customer, touch, uncredited)
    if command.kind is TouchKind.SCAN:
        return assign(work, customer, command.node, staff, AssignmentSource.SCAN)
    return guided(work, customer, changed=False)


def _guide(work: UnitOfWork, id: UUID) -> Staff:
    """Somebody to whom the caller may assign customers."""
    staff = visible_staff(work, id, "staff_id")
    staff.require_active("staff_id")
    return staff


def relationship_handlers(uncredited: Uncredited) -> Handlers:
    """The handlers of the commands in this module."""
    return [
        handler(SetOrgSettings, set_org_settings),
        handler(AssignCustomer, assign_customer, loads=lambda command: (command.node, command.staff)),
        handler(UnassignCustomer, unassign_customer, loads=lambda command: (command.node,)),
        handler(
            RecordGuideTouch,
            lambda command, work: record_guide_touch(command, work, uncredited),
            loads=lambda command: (command.node, command.staff),
        ),
    ]
