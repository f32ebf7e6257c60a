"""Registering event types, adding to them, and giving them up."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.domain.errors import EventTypeNotFound
from services.tracking.domain.plan import (
    Category,
    EventTypeDef,
    PropertyDef,
    TrackingPlan,
    Unplanned,
    plan_id,
)


@dataclass(frozen=True, slots=True)
class RegisterEventType:
    """`tenant` is that of the caller, for finding the plan before the handler runs; so it is below."""

    tenant: str
    definition: EventTypeDef


@dataclass(frozen=True, slots=True)
class UpdateEventType:
    """All properties of the type from now on."""

    tenant: str
    name: str
    category: Category
    properties: tuple[PropertyDef, ...]


@dataclass(frozen=True, slots=True)
class DeprecateEventType:
    tenant: str
    name: str


@dataclass(frozen=True, slots=True)
class DecideUnplanned:
    tenant: str
    unplanned: Unplanned


def register_event_type(command: RegisterEventType, work: UnitOfWork) -> EventTypeDef:
    """Raises EventTypeExists, EventTypeLimit, and what is wrong with the definition."""
    return _opened(work).register(command.definition)


def update_event_type(command: UpdateEventType, work: UnitOfWork) -> EventTypeDef:
    """Raises EventTypeNotFound, IncompatibleSchema, and what is wrong with the definition."""
    return _known(work).update(command.name, command.category, command.properties)


def deprecate_event_type(command: DeprecateEventType, work: UnitOfWork) -> EventTypeDef:
    """Raises EventTypeNotFound."""
    return _known(work).deprecate(command.name)


def decide_unplanned(command: DecideUnplanned, work: UnitOfWork) -> Unplanned:
    _opened(work).decide_unplanned(command.unplanned)
    return command.unplanned


def _opened(work: UnitOfWork) -> TrackingPlan:
    plan = work.find(TrackingPlan, plan_id(work.context.tenant))
    if plan is None:
        plan = TrackingPlan.of_tenant(work.context.tenant)
        work.add(plan)
    return plan


def _known(work: UnitOfWork) -> TrackingPlan:
    plan = work.find(TrackingPlan, plan_id(work.context.tenant))
    if plan is None:
        raise EventTypeNotFound(field="event_type")
    return plan


def _plan(command: RegisterEventType | UpdateEventType | DeprecateEventType | DecideUnplanned) -> list[UUID]:
    return [plan_id(command.tenant)]


HANDLERS: Final[Handlers] = (
    handler(RegisterEventType, register_event_type, loads=_plan),
    handler(UpdateEventType, update_event_type, loads=_plan),
    handler(DeprecateEventType, deprecate_event_type, loads=_plan),
    handler(DecideUnplanned, decide_unplanned, loads=_plan),
)
