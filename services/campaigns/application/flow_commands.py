"""What people do with flows: draft, publish, end."""

from dataclasses import dataclass
from uuid import UUID

from chassis.commands import Handlers, handler
from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.commands import Tables
from services.campaigns.domain.errors import EtagMismatch, FlowNotFound
from services.campaigns.domain.flow import Flow
from services.campaigns.domain.flow_definition import Definition


@dataclass(frozen=True, slots=True)
class CreateFlow:
    """Draft a flow."""

    title: str
    definition: Definition


def create_flow(command: CreateFlow, work: UnitOfWork) -> Flow:
    command.definition.check()
    flow = Flow(work.new_id(), work.context.tenant, command.title, command.definition, work.now)
    work.add(flow)
    return flow


@dataclass(frozen=True, slots=True)
class UpdateFlow:
    """Draft the next version of a flow; the one that is published stays as it is."""

    flow: UUID
    title: str
    definition: Definition
    etag: str = ""


def update_flow(command: UpdateFlow, work: UnitOfWork) -> Flow:
    flow = flow_of(work, command.flow, command.etag)
    command.definition.check()
    flow.redraft(command.title, command.definition)
    return flow


@dataclass(frozen=True, slots=True)
class PublishFlow:
    """Let customers enter the draft from now on; who is in an earlier version stays in it."""

    flow: UUID
    etag: str = ""


def publish_flow(command: PublishFlow, work: UnitOfWork, tables: Tables) -> Flow:
    flow = flow_of(work, command.flow, command.etag)
    flow.publish(work.now)
    definition = flow.versions[flow.number]
    tables.flows(work).listen(flow.id, definition.trigger, definition.heeds())
    return flow


@dataclass(frozen=True, slots=True)
class EndFlow:
    """Let nobody in any more; who is in the flow goes on to its end."""

    flow: UUID
    etag: str = ""


def end_flow(command: EndFlow, work: UnitOfWork, tables: Tables) -> Flow:
    flow = flow_of(work, command.flow, command.etag)
    flow.end(work.now)
    tables.flows(work).listen(flow.id, None, ())
    return flow


def flow_of(work: UnitOfWork, id: UUID, etag: str = "") -> Flow:
    """The flow; refused when it is not what the caller has seen."""
    flow = work.find(Flow, id)
    if flow is None:
        raise FlowNotFound
    if etag and etag != flow_etag(flow):
        raise EtagMismatch(field="etag")
    return flow


def flow_etag(flow: Flow) -> str:
    return f"v{flow.version}"


def flow_handlers(tables: Tables) -> Handlers:
    """The handlers of the commands in this module."""
    return [
        handler(CreateFlow, create_flow),
        handler(UpdateFlow, update_flow, loads=lambda it: [it.flow]),
        handler(PublishFlow, lambda c, w: publish_flow(c, w, tables), loads=lambda it: [it.flow]),
        handler(EndFlow, lambda c, w: end_flow(c, w, tables), loads=lambda it: [it.flow]),
    ]
