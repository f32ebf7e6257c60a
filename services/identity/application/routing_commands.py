"""A customer came by a code that several staff share: somebody is chosen, and looks after the customer from now on."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.identity.application.guides import assign, guide_of, require_own, settings_of
from services.identity.application.owners import owner_of
from services.identity.domain.errors import NoStaffAvailable, StaffNotFound
from services.identity.domain.org_settings import AssignmentRule
from services.identity.domain.portfolios import Intake, intake_id
from services.identity.domain.relationships import AssignmentSource
from services.identity.domain.routing import Rota, rota_id
from services.identity.domain.staff import Staff


@dataclass(frozen=True, slots=True)
class RouteCustomer:
    """The person of `node` came by the code `code_key`, which `staff` share; `fallback` stands in when all are full or away."""

    code_key: str
    node: UUID
    staff: tuple[UUID, ...]
    fallback: UUID | None = None


class RouteOutcome(StrEnum):
    """KEPT: the customer has a guide who stays; TURN: one of the code was chosen; FALLBACK: who stands in."""

    KEPT = "KEPT"
    TURN = "TURN"
    FALLBACK = "FALLBACK"


@dataclass(frozen=True, slots=True)
class Routed:
    """To whom a customer was led, and whether that one is the guide from now on."""

    customer: UUID
    staff: UUID
    outcome: RouteOutcome
    assigned: bool


def route_customer(command: RouteCustomer, work: UnitOfWork) -> Routed:
    """Raises StoreScope, CustomerNotFound, StaffNotFound and NoStaffAvailable."""
    staff = _staff_of(command, work)
    customer = owner_of(work, command.node, "customer_id")
    require_own(work, customer)
    guidance = guide_of(work, customer)
    if guidance is not None and _stays(guidance.staff, work):
        return Routed(customer.id, guidance.staff, RouteOutcome.KEPT, assigned=False)
    chosen, outcome = _choose(command, work, staff)
    guided = assign(work, customer, command.node, staff[chosen], AssignmentSource.SCAN)
    return Routed(customer.id, chosen, outcome, guided.changed)


def _staff_of(command: RouteCustomer, work: UnitOfWork) -> Mapping[UUID, Staff]:
    """Everybody of the code, who must be known, though not at work."""
    ids = [*command.staff, *([command.fallback] if command.fallback else [])]
    found = work.find_all(Staff, ids)
    for it in ids:
        work.context.require_store(found[it].store_at(work.now) if it in found else None)
    if len(found) < len(set(ids)):
        raise StaffNotFound(field="staff_ids")
    return found


def _stays(guide: UUID, work: UnitOfWork) -> bool:
    """Whether a customer who has this guide is led there, whatever code was used."""
    staff = work.find(Staff, guide)
    is_active = staff is not None and staff.is_active
    return is_active and settings_of(work).assignment is AssignmentRule.ASSIGN_FIRST


def _choose(command: RouteCustomer, work: UnitOfWork, staff: Mapping[UUID, Staff]) -> tuple[UUID, RouteOutcome]:
    tenant, day = work.context.tenant, settings_of(work).local_day(work.now)
    intakes = work.find_all(Intake, [intake_id(tenant, it, day) for it in command.staff])

    def is_free(id: UUID) -> bool:
        intake = intakes.get(intake_id(tenant, id, day))
        one = staff[id]
        return one.is_active and one.on_shift and (intake.count if intake else 0) < one.duties.capacity

    rota = work.find(Rota, rota_id(tenant, command.code_key, day))
    if rota is None:
        rota = Rota(rota_id(tenant, command.code_key, day), tenant, command.code_key, day)
        work.add(rota)
    chosen = rota.next(command.staff, is_free)
    if chosen is not None:
        rota.turn(chosen, command.node)
        return chosen, RouteOutcome.TURN
    if command.fallback is not None and staff[command.fallback].is_active:
        return command.fallback, RouteOutcome.FALLBACK
    raise NoStaffAvailable


ROUTING_HANDLERS: Final[Handlers] = (
    handler(RouteCustomer, route_customer, loads=lambda command: (command.node, *command.staff)),
)
