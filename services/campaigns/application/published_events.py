"""The only door out: what other services are told of the events of campaigns."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.event_store import Recorded
from scrm.campaigns.v1 import events_pb2 as pb
from services.campaigns.domain.broadcast import Broadcast
from services.campaigns.domain.conversion import Conversion
from services.campaigns.domain.delivery_batch import ByKey, DeliveryBatch, delivery_id
from services.campaigns.domain.erasure import Erasure
from services.campaigns.domain.experiment import Experiment
from services.campaigns.domain.flow import Flow
from services.campaigns.domain.flow_instance import FlowInstance
from services.campaigns.domain.global_control import GlobalControl

PRIVATE: Final = frozenset[type](
    {
        Broadcast.Created,
        Broadcast.Redesigned,
        Broadcast.Approved,
        Broadcast.Cancelled,
        Broadcast.Opened,
        Broadcast.AudienceFrozen,
        Broadcast.PageAssigned,
        Broadcast.BatchFinished,
        Broadcast.RolledOut,
        Experiment.Registered,
        DeliveryBatch.UnitsAssigned,
        DeliveryBatch.Reserved,
        DeliveryBatch.LeaseExpired,
        GlobalControl.Set,
        GlobalControl.Changed,
        Flow.Created,
        Flow.Redrafted,
    }
)
"""Domain events that nobody else is ever told of."""


def publish(recorded: Recorded) -> Message | list[Message] | None:
    """The message, or messages, for an event."""
    match recorded.event:
        case Broadcast.Started() as started:
            return _started(started)
        case Broadcast.Completed(originator_id=id, completed_at=at):
            return pb.BroadcastCompleted(broadcast_id=str(id), complete_time=timestamp(at))
        case DeliveryBatch.Settled(broadcast=broadcast, sent=sent, settled_at=at):
            return list(_sent(recorded.tenant, broadcast, sent, at))
        case DeliveryBatch.Reconciled(broadcast=broadcast, sent=sent, reconciled_at=at):
            return list(_sent(recorded.tenant, broadcast, sent, at))
        case Conversion.Recorded() | Conversion.Adjusted() as event:
            return _conversion(event)
        case Flow.Published(originator_id=id, number=number, published_at=at):
            return pb.FlowPublished(flow_id=str(id), version=number, publish_time=timestamp(at))
        case Flow.Ended(originator_id=id, number=number, ended_at=at):
            return pb.FlowEnded(flow_id=str(id), version=number, end_time=timestamp(at))
        case (
            FlowInstance.Entered() | FlowInstance.StepExecuted() | FlowInstance.Rekeyed() | FlowInstance.Ended()
        ) as event:
            return _instance(event)
        case Erasure.Completed(originator_id=id, customer=customer, removed=removed, completed_at=at):
            return pb.CustomerDataErased(
                case_id=str(id),
                customer_id=str(customer),
                removed=removed,
                position=recorded.position,
                erase_time=timestamp(at),
            )
    return None


def partition_key(recorded: Recorded) -> UUID:
    """The node that ordered, or the broadcast, whose deliveries go out in batches."""
    match recorded.event:
        case Conversion.Recorded(credit=credit) | Conversion.Adjusted(credit=credit):
            return credit.node
        case DeliveryBatch.Settled(broadcast=broadcast) | DeliveryBatch.Reconciled(broadcast=broadcast):
            return broadcast
        case Erasure.Completed(customer=customer):
            return customer
    return recorded.event.originator_id


def timestamp(at: datetime) -> Timestamp:
    """An instant on the wire."""
    found = Timestamp()
    found.FromDatetime(at.astimezone(UTC))
    return found


def money(amount: Decimal, currency: str) -> Money:
    """An amount on the wire; never negative here."""
    units = int(amount)
    return Money(currency_code=currency, units=units, nanos=int((amount - units) * 1_000_000_000))


def _started(event: Broadcast.Started) -> pb.BroadcastStarted:
    return pb.BroadcastStarted(
        broadcast_id=str(event.originator_id),
        snapshot_id=str(event.snapshot or ""),
        experiment_id=event.experiment or "",
        targeted=event.targeted,
        global_control=event.global_control,
        assigned=event.counts,
        start_time=timestamp(event.opens_at) if event.opens_at else None,
    )


def _sent(tenant: str, broadcast: UUID, sent: ByKey, at: datetime) -> Iterator[Message]:
    when = timestamp(at)
    for arm, units in sent.items():
        for unit in units:
            yield pb.DeliverySent(
                delivery_id=str(delivery_id(tenant, broadcast, unit)),
                broadcast_id=str(broadcast),
                customer_id=str(unit),
                arm=arm,
                send_time=when,
            )


def _instance(
    event: FlowInstance.Entered | FlowInstance.StepExecuted | FlowInstance.Rekeyed | FlowInstance.Ended,
) -> Message:
    id = str(event.originator_id)
    match event:
        case FlowInstance.Entered() as it:
            return pb.InstanceEntered(
                instance_id=id,
                flow_id=str(it.flow),
                version=it.number,
                customer_id=str(it.customer),
                node_id=str(it.node),
                order_id=str(it.order or ""),
                trigger_event_id=it.trigger,
                enter_time=timestamp(it.entered_at),
            )
        case FlowInstance.StepExecuted() as it:
            return pb.StepExecuted(
                instance_id=id,
                flow_id=str(it.flow),
                version=it.number,
                step_key=it.step,
                result=it.result,
                reason=it.reason,
                delivery_id=str(it.effect or ""),
                execute_time=timestamp(it.executed_at),
            )
        case FlowInstance.Rekeyed(flow=flow, customer=customer, rekeyed_at=at):
            return pb.InstanceRekeyed(
                instance_id=id, flow_id=str(flow), customer_id=str(customer), rekey_time=timestamp(at)
            )
        case FlowInstance.Ended(flow=flow, number=number, reason=reason, ended_at=at):
            return pb.InstanceEnded(
                instance_id=id, flow_id=str(flow), version=number, reason=reason, end_time=timestamp(at)
            )


def _conversion(event: Conversion.Recorded | Conversion.Adjusted) -> pb.ConversionRecorded:
    credit = event.credit
    return pb.ConversionRecorded(
        broadcast_id=str(event.broadcast),
        order_id=str(event.order),
        customer_id=str(credit.unit),
        node_id=str(credit.node),
        variant=credit.variant,
        net=money(credit.net, credit.currency),
        pay_time=timestamp(credit.paid_at),
    )
