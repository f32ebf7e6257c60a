"""How an instance goes from step to step, and what each place it comes to needs: a timer, or a message to be sent."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import Handlers, handler
from chassis.due_times import Timer
from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.commands import Tables
from services.campaigns.application.flow_ports import Entry, FlowBook, OpenSend
from services.campaigns.domain.flow import Flow
from services.campaigns.domain.flow_definition import Definition, StepKind
from services.campaigns.domain.flow_instance import (
    Cause,
    EndReason,
    FlowInstance,
    Stand,
    StepResult,
    flow_delivery_id,
)

WAKE_TIMER = "flow.wake"


def enter(work: UnitOfWork, book: FlowBook, flow: Flow, customer: UUID, cause: Cause, entry_key: str) -> FlowInstance:
    """`customer` is in the current version of `flow` from now on."""
    id, definition = work.new_id(), flow.versions[flow.number]
    stand = _stand(work, id, definition, definition.steps[0].key)
    instance = FlowInstance(
        id,
        flow.tenant,
        flow.id,
        flow.number,
        customer,
        cause.node,
        cause.order,
        entry_key,
        cause.message,
        cause.at,
        *stand,
        work.now,
    )
    work.add(instance)
    book.keep(entry_of(instance))
    _prepare(work, book, instance)
    return instance


def go_on(
    work: UnitOfWork,
    book: FlowBook,
    instance: FlowInstance,
    definition: Definition,
    result: StepResult,
    reason: str = "",
) -> None:
    """The step that the instance stands at is done, with `result`."""
    step, woken_at = definition.step(instance.stand.step), instance.stand.wake_at
    target = definition.happened(step) if result is StepResult.HAPPENED else definition.after(step)
    instance.execute(result, _stand(work, instance.id, definition, target), work.now, reason)
    if woken_at is not None and woken_at > work.now:
        work.unschedule(WAKE_TIMER, str(instance.id))
    _prepare(work, book, instance)
    if not instance.is_running:
        book.keep(entry_of(instance))


def leave(work: UnitOfWork, book: FlowBook, instance: FlowInstance, reason: EndReason) -> None:
    """End the instance wherever it stands; what is planned for it is not sent."""
    if instance.stand.wake_at is not None:
        work.unschedule(WAKE_TIMER, str(instance.id))
    instance.end(reason, work.now)
    book.keep(entry_of(instance))


def entry_of(it: FlowInstance) -> Entry:
    return Entry(it.id, it.flow, it.node, it.customer, it.entry_key, it.ended_at)


@dataclass(frozen=True, slots=True)
class WakeInstance:
    """The wait of an instance is over, as far as it still waits until then."""

    instance: UUID
    due_at: datetime


def wake_instance(command: WakeInstance, work: UnitOfWork, tables: Tables) -> None:
    instance = work.find(FlowInstance, command.instance)
    if instance is None or instance.stand.wake_at != command.due_at:
        return
    definition = work.get(Flow, instance.flow).versions[instance.number]
    go_on(work, tables.flows(work), instance, definition, StepResult.ELAPSED)


def flow_step_handlers(tables: Tables) -> Handlers:
    """The handler of the command in this module."""
    return [handler(WakeInstance, lambda c, w: wake_instance(c, w, tables), loads=lambda it: [it.instance])]


def _stand(work: UnitOfWork, instance: UUID, definition: Definition, key: str) -> Stand:
    if not key:
        return Stand()
    step = definition.step(key)
    is_sent = step.kind is StepKind.SEND
    delivery = flow_delivery_id(work.context.tenant, instance, key) if is_sent else None
    return Stand(key, definition.wakes(step, work.now), delivery)


def _prepare(work: UnitOfWork, book: FlowBook, instance: FlowInstance) -> None:
    step, wake_at, delivery = instance.stand
    if wake_at is not None:
        work.schedule(Timer(WAKE_TIMER, str(instance.id), wake_at))
    if delivery is not None:
        book.plan(OpenSend(delivery, instance.flow, instance.id, step))
