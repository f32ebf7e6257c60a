"""What is told of work orders: by customers through staff, by other systems that keep them, and by the clock."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.due_times import Timer
from chassis.errors import FieldRequired
from services.identity.application.owners import owner_of, require_past
from services.identity.application.vault import Vault
from services.identity.domain import work_order
from services.identity.domain.errors import WorkOrderNotFound
from services.identity.domain.sealing import Sealed
from services.identity.domain.service_hours import DEFAULT_HOURS, BusinessHours, ServiceHours, service_hours_id
from services.identity.domain.topics import topics
from services.identity.domain.work_order import (
    ALLOWANCES,
    Matter,
    Origin,
    Priority,
    Progress,
    Row,
    Step,
    WorkOrder,
    WorkOrderState,
    mirror_id,
)

SLA_TIMER: Final = "work_order_sla"


@dataclass(frozen=True, slots=True)
class About:
    """What a work order is about, as it was given; `content` is what the customer said, empty for nothing."""

    node: UUID
    kind: str
    priority: Priority
    topics: tuple[str, ...]
    product: str
    content: str


@dataclass(frozen=True, slots=True)
class CreateWorkOrder:
    """Something has to be done for a customer."""

    about: About


@dataclass(frozen=True, slots=True)
class TransitionWorkOrder:
    """A work order goes to the state `to`; `assignee` has it from now on, None: whoever had it."""

    work_order_id: UUID
    to: WorkOrderState
    assignee: UUID | None
    note: str


@dataclass(frozen=True, slots=True)
class RateWorkOrder:
    """The customer thinks of it like this, from 1 to 5."""

    work_order_id: UUID
    rating: int


@dataclass(frozen=True, slots=True)
class UpsertExternalWorkOrder:
    """Another system has a work order like this."""

    origin: Origin
    about: About
    progress: Progress
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BreachWorkOrderSla:
    """The time to resolve a work order is over."""

    work_order_id: UUID


@dataclass(frozen=True, slots=True)
class SetServiceHours:
    """Work orders are worked on in these hours."""

    hours: BusinessHours


@dataclass(frozen=True, slots=True)
class Upserted:
    """The mirror, and whether what was told of it was newer than what was known."""

    work_order: WorkOrder
    applied: bool


def create_work_order(command: CreateWorkOrder, work: UnitOfWork, vault: Vault) -> WorkOrder:
    """The new work order. Raises CustomerNotFound, and BadFormat for topics."""
    matter, content = _matter(command.about, work, "customer_id"), _sealed(command.about, work, vault)
    created = WorkOrder(
        id=work.new_id(),
        tenant=work.context.tenant,
        matter=matter,
        content=content,
        progress=Progress(),
        origin=None,
        created_at=work.now,
        due_at=_due(work, matter.priority, work.now),
    )
    work.add(created)
    _set_timer(created, work)
    return created


def transition_work_order(command: TransitionWorkOrder, work: UnitOfWork, vault: Vault) -> WorkOrder:
    """The work order there. Raises WorkOrderNotFound, IllegalTransition, WorkOrderMirrored, and FieldRequired for an
    assignment to nobody."""
    order, to = _find(work, command.work_order_id), command.to
    order.require_way(to, work.now)
    if to is WorkOrderState.ASSIGNED and command.assignee is None:
        raise FieldRequired("it is assigned to somebody", field="assignee_id")
    note = vault.seal(work, order.matter.node, work_order.NOTE, command.note) if command.note else None
    step = Step(order.state, to, command.assignee or order.assignee, note, work.now)
    is_reopened = to is WorkOrderState.REOPENED
    order.transition(step, _due(work, order.matter.priority, work.now) if is_reopened else order.due_at)
    _set_timer(order, work)
    return order


def rate_work_order(command: RateWorkOrder, work: UnitOfWork) -> WorkOrder:
    """The rated work order. Raises WorkOrderNotFound, NotResolved and WorkOrderMirrored."""
    order = _find(work, command.work_order_id)
    order.rate(command.rating, work.now)
    return order


def upsert_external_work_order(command: UpsertExternalWorkOrder, work: UnitOfWork, vault: Vault) -> Upserted:
    """The mirror, which is like the newest version whatever the order in which versions come.

    Raises CustomerNotFound, FutureTimestamp, and BadFormat for topics.
    """
    tenant, origin, matter = work.context.tenant, command.origin, _matter(command.about, work, "row.customer_id")
    created_at = require_past(command.created_at, work, "row.create_time")
    found = work.find(WorkOrder, mirror_id(tenant, origin.source, origin.external_no))
    if found is not None and found.origin is not None and origin.version <= found.origin.version:
        return Upserted(found, applied=False)
    due_at = _due(work, matter.priority, created_at)
    content = _sealed(command.about, work, vault)
    row = Row(matter, content, command.progress, created_at, due_at, origin.version)
    if found is None:
        found = WorkOrder.mirror(tenant, origin, row)
        work.add(found)
    else:
        found.follow(row, work.now)
    _set_timer(found, work)
    return Upserted(found, applied=True)


def breach_work_order_sla(command: BreachWorkOrderSla, work: UnitOfWork) -> WorkOrder:
    """The work order, which takes note that it is too late, if it is."""
    order = _find(work, command.work_order_id)
    order.breach(work.now)
    return order


def set_service_hours(command: SetServiceHours, work: UnitOfWork) -> ServiceHours:
    """The hours; what is due already stays due when it is."""
    tenant = work.context.tenant
    found = work.find(ServiceHours, service_hours_id(tenant))
    if found is None:
        found = ServiceHours.of_tenant(tenant)
        work.add(found)
    found.change(command.hours, work.now)
    return found


def handlers(vault: Vault) -> Handlers:
    """What carries out the commands of this module."""
    return [
        handler(CreateWorkOrder, partial(create_work_order, vault=vault), loads=lambda command: (command.about.node,)),
        handler(
            TransitionWorkOrder,
            partial(transition_work_order, vault=vault),
            loads=lambda command: (command.work_order_id,),
        ),
        handler(RateWorkOrder, rate_work_order, loads=lambda command: (command.work_order_id,)),
        handler(
            UpsertExternalWorkOrder,
            partial(upsert_external_work_order, vault=vault),
            loads=lambda command: (command.about.node,),
        ),
        handler(BreachWorkOrderSla, breach_work_order_sla, loads=lambda command: (command.work_order_id,)),
        handler(SetServiceHours, set_service_hours),
    ]


def _find(work: UnitOfWork, id: UUID) -> WorkOrder:
    order = work.find(WorkOrder, id)
    if order is None:
        raise WorkOrderNotFound(field="work_order_id")
    return order


def _matter(about: About, work: UnitOfWork, field: str) -> Matter:
    owner_of(work, about.node, field)
    return Matter(about.node, about.kind, about.priority, topics(about.topics), about.product)


def _sealed(about: About, work: UnitOfWork, vault: Vault) -> Sealed | None:
    return vault.seal(work, about.node, work_order.CONTENT, about.content) if about.content else None


def _due(work: UnitOfWork, priority: Priority, since: datetime) -> datetime:
    found = work.find(ServiceHours, service_hours_id(work.context.tenant))
    hours = DEFAULT_HOURS if found is None else found.hours
    return hours.due(since, ALLOWANCES[priority])


def _set_timer(order: WorkOrder, work: UnitOfWork) -> None:
    due, key = order.breaches_at, str(order.id)
    if due is None:
        work.unschedule(SLA_TIMER, key)
    else:
        work.schedule(Timer(SLA_TIMER, key, due))
