"""Flows on the wire: requests into values of the domain, aggregates and rows into messages."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import BadFormat
from scrm.campaigns.v1 import flow_pb2 as pb
from scrm.campaigns.v1 import flow_service_pb2 as rpc
from services.campaigns.application.flow_commands import flow_etag
from services.campaigns.application.policies import amount
from services.campaigns.application.published_events import money, timestamp
from services.campaigns.domain.flow import Flow
from services.campaigns.domain.flow_definition import (
    DEFAULT_MAX_AGE,
    Definition,
    Fact,
    FactKind,
    Reentry,
    Step,
    StepKind,
)
from services.campaigns.domain.permissions import MessageClass
from services.campaigns.read_models.flow_progress import ENTERED, STANDING

_MOMENTS: Final = {
    pb.ORDER_MOMENT_PLACED: FactKind.ORDER_PLACED,
    pb.ORDER_MOMENT_PAID: FactKind.ORDER_PAID,
    pb.ORDER_MOMENT_FIRST_PAID: FactKind.FIRST_ORDER_PAID,
    pb.ORDER_MOMENT_CANCELLED: FactKind.ORDER_CANCELLED,
}
_MOMENT_OF: Final = {kind: moment for moment, kind in _MOMENTS.items()}


def definition(it: pb.FlowDefinition) -> Definition:
    """What a request says of a version; what it leaves open is the default."""
    has_minimum = it.HasField("minimum_amount")
    max_age = int(DEFAULT_MAX_AGE.total_seconds())
    if it.HasField("max_event_age"):
        max_age = _seconds(it.max_event_age, "definition.max_event_age")
    return Definition(
        trigger=_fact(it.trigger),
        steps=tuple(map(_step, it.steps)),
        goal=_fact(it.goal) if it.HasField("goal") else None,
        exit_on=_fact(it.exit_condition) if it.HasField("exit_condition") else None,
        reentry=Reentry(pb.Reentry.Name(it.reentry).removeprefix("REENTRY_")),
        gap_seconds=_seconds(it.min_gap, "definition.min_gap"),
        max_age_seconds=max_age,
        time_zone=it.time_zone or "UTC",
        minimum=amount(it.minimum_amount) if has_minimum else None,
        currency=it.minimum_amount.currency_code,
    )


def flow(it: Flow) -> pb.Flow:
    """The resource, with what it is made of."""
    found = pb.Flow(
        flow_id=str(it.id),
        display_name=it.title,
        state=pb.FlowState.Value(f"FLOW_STATE_{it.state}"),
        version=it.number,
        create_time=timestamp(it.created_at),
        etag=flow_etag(it),
    )
    if it.number:
        found.published.CopyFrom(_definition(it.versions[it.number]))
    if it.draft is not None:
        found.draft.CopyFrom(_definition(it.draft))
    return found


def created(it: Flow) -> rpc.CreateFlowResponse:
    return rpc.CreateFlowResponse(flow=flow(it))


def updated(it: Flow) -> rpc.UpdateFlowResponse:
    return rpc.UpdateFlowResponse(flow=flow(it))


def published(it: Flow) -> rpc.PublishFlowResponse:
    return rpc.PublishFlowResponse(flow=flow(it))


def ended(it: Flow) -> rpc.EndFlowResponse:
    return rpc.EndFlowResponse(flow=flow(it))


def listed(row: Any) -> pb.Flow:
    """The resource as the directory knows it."""
    return pb.Flow(
        flow_id=str(row.flow),
        display_name=row.title,
        state=pb.FlowState.Value(f"FLOW_STATE_{row.state}"),
        version=row.number,
        create_time=timestamp(row.created_at),
        etag=f"v{row.version}",
    )


def instance(row: Any) -> pb.FlowInstance:
    return pb.FlowInstance(
        instance_id=str(row.instance),
        flow_id=str(row.flow),
        version=row.number,
        customer_id=str(row.customer),
        node_id=str(row.node),
        order_id=str(row.order_id or ""),
        state=pb.InstanceState.Value(f"INSTANCE_STATE_{row.state}"),
        step_key=row.step,
        wake_time=_optional(row.wake_at),
        enter_time=timestamp(row.entered_at),
        end_time=_optional(row.ended_at),
    )


def statistics(id: str, rows: Iterable[Any]) -> pb.FlowStatistics:
    """The counts of a flow, its steps in the order of versions and names."""
    found, steps = pb.FlowStatistics(flow_id=id), dict[tuple[int, str], pb.FlowStepStatistics]()
    for number, step, measure, count in rows:
        if not step and measure == ENTERED:
            found.entered += count
        elif not step:
            found.ended[measure] += count
        else:
            its = steps.setdefault((number, step), pb.FlowStepStatistics(version=number, step_key=step))
            if measure == STANDING:
                its.standing = count
            else:
                its.results[measure] = count
    found.running = found.entered - sum(found.ended.values())
    found.steps.extend(steps.values())
    return found


def _fact(it: pb.FlowFact) -> Fact:
    match it.WhichOneof("fact"):
        case "order":
            return Fact(_MOMENTS[it.order])
        case "segment_id":
            return Fact(FactKind.SEGMENT_ENTERED, it.segment_id.lower())
    stall = it.path_stall
    return Fact(FactKind.PATH_STALLED, stall.path_node, _seconds(stall.after, "path_stall.after"))


def _step(it: pb.FlowStep) -> Step:
    key, next_step, field = it.step_key, it.next_step, f"definition.steps.{it.step_key}"
    match it.WhichOneof("step"):
        case "wait":
            return Step(key, StepKind.WAIT, seconds=_seconds(it.wait, field), next=next_step)
        case "wait_until":
            return Step(key, StepKind.WAIT_UNTIL, local_time=it.wait_until.local_time, next=next_step)
        case "wait_for":
            wait, seconds = it.wait_for, _seconds(it.wait_for.timeout, field)
            fact, happened = _fact(wait.fact), wait.happened_step
            return Step(key, StepKind.WAIT_FOR, seconds=seconds, fact=fact, happened=happened, next=next_step)
    is_marketing = it.send.message_class == pb.MESSAGE_CLASS_MARKETING
    kind, channel = MessageClass.MARKETING if is_marketing else MessageClass.SERVICE, it.send.channel
    return Step(key, StepKind.SEND, text=it.send.text, next=next_step, message_class=kind, channel=channel)


def _definition(it: Definition) -> pb.FlowDefinition:
    found = pb.FlowDefinition(
        trigger=_wire_fact(it.trigger),
        steps=map(_wire_step, it.steps),
        reentry=pb.Reentry.Value(f"REENTRY_{it.reentry}"),
        max_event_age=Duration(seconds=it.max_age_seconds),
        time_zone=it.time_zone,
    )
    if it.gap_seconds:
        found.min_gap.seconds = it.gap_seconds
    if it.minimum is not None:
        found.minimum_amount.CopyFrom(money(it.minimum, it.currency))
    if it.goal is not None:
        found.goal.CopyFrom(_wire_fact(it.goal))
    if it.exit_on is not None:
        found.exit_condition.CopyFrom(_wire_fact(it.exit_on))
    return found


def _wire_fact(it: Fact) -> pb.FlowFact:
    match it.kind:
        case FactKind.SEGMENT_ENTERED:
            return pb.FlowFact(segment_id=it.key)
        case FactKind.PATH_STALLED:
            stall = pb.PathStall(path_node=it.key)
            if it.after_seconds:
                stall.after.seconds = it.after_seconds
            return pb.FlowFact(path_stall=stall)
    return pb.FlowFact(order=_MOMENT_OF[it.kind])


def _wire_step(it: Step) -> pb.FlowStep:
    found = pb.FlowStep(step_key=it.key, next_step=it.next)
    match it.kind:
        case StepKind.WAIT:
            found.wait.seconds = it.seconds
        case StepKind.WAIT_UNTIL:
            found.wait_until.local_time = it.local_time
        case StepKind.WAIT_FOR if it.fact is not None:
            found.wait_for.fact.CopyFrom(_wire_fact(it.fact))
            found.wait_for.timeout.seconds = it.seconds
            found.wait_for.happened_step = it.happened
        case StepKind.SEND:
            kind = pb.MessageClass.Value(f"MESSAGE_CLASS_{it.message_class}")
            found.send.CopyFrom(pb.FlowMessage(text=it.text, message_class=kind, channel=it.channel))
    return found


def _seconds(duration: Duration, field: str) -> int:
    if duration.nanos:
        raise BadFormat("whole seconds", field=field)
    return duration.seconds


def _optional(at: datetime | None) -> Timestamp | None:
    return timestamp(at) if at else None
