"""The only door out: what other services are told of the events of tagging."""

from typing import Final
from uuid import UUID

from google.protobuf.message import Message

from chassis.event_store import Recorded
from scrm.tagging.v1 import events_pb2 as pb
from services.tagging.application import wire
from services.tagging.domain.erasure import Erasure
from services.tagging.domain.models import ModelRun, RfmModel
from services.tagging.domain.segments import Segment, SegmentName, Snapshot
from services.tagging.domain.tags import CustomerTags, tag_id
from services.tagging.domain.tenant_settings import TenantSettings

PRIVATE: Final = frozenset[type](
    {
        CustomerTags.Opened,
        CustomerTags.Withdrawn,
        RfmModel.Defined,
        Segment.MembersAdded,
        Segment.MembersRemoved,
        SegmentName.Claimed,
        TenantSettings.Opened,
        TenantSettings.Updated,
        TenantSettings.ConditionLimitsSet,
    }
)
"""Domain events that nobody else is ever told of."""


def publish(recorded: Recorded) -> Message | None:
    """The message for an event; None for a private one."""
    tenant, id = recorded.tenant, recorded.event.originator_id
    match recorded.event:
        case CustomerTags.Assigned() as event:
            return _assigned(tenant, event)
        case CustomerTags.Removed() as event:
            return _removed(tenant, event)
        case Segment.Defined(definition=definition):
            return pb.SegmentDefined(segment_id=str(id), version=1, kind=definition.kind)
        case Segment.Updated(definition=definition, revision=revision):
            return pb.SegmentUpdated(segment_id=str(id), version=revision, kind=definition.kind)
        case Snapshot.Taken(segment=segment, size=size, at=at):
            taken = wire.timestamp(at)
            return pb.SegmentSnapshotTaken(snapshot_id=str(id), segment_id=str(segment), size=size, take_time=taken)
        case ModelRun.Completed() as event:
            return _completed(id, event)
        case Erasure.Completed(customer=customer, removed=removed, completed_at=at):
            return pb.CustomerDataErased(
                case_id=str(id),
                customer_id=str(customer),
                removed=removed,
                position=recorded.position,
                erase_time=wire.timestamp(at),
            )
    return None


def partition_key(recorded: Recorded) -> UUID:
    """The customer a tag belongs to; what is about no customer goes by its own id."""
    match recorded.event:
        case CustomerTags.Opened(customer=customer) | CustomerTags.Withdrawn(customer=customer):
            return customer
        case CustomerTags.Assigned(customer=customer) | CustomerTags.Removed(customer=customer):
            return customer
        case Erasure.Completed(customer=customer):
            return customer
        case event:
            return event.originator_id


def _assigned(tenant: str, event: CustomerTags.Assigned) -> pb.TagAssigned:
    it = event.assignment
    return pb.TagAssigned(
        customer_id=str(event.customer),
        node_id=str(it.node),
        tag_id=str(tag_id(tenant, it.tag)),
        tag_key=it.tag,
        value=it.value,
        source=it.source,
        cause=wire.cause(event.cause),
        time=wire.timestamp(it.at),
        evidence=wire.evidence(it.evidence),
    )


def _removed(tenant: str, event: CustomerTags.Removed) -> pb.TagRemoved:
    return pb.TagRemoved(
        customer_id=str(event.customer),
        node_id=str(event.node),
        tag_id=str(tag_id(tenant, event.tag)),
        tag_key=event.tag,
        value=event.value,
        source=event.source,
        cause=wire.cause(event.cause),
        time=wire.timestamp(event.at),
    )


def _completed(id: UUID, event: ModelRun.Completed) -> pb.ModelRunCompleted:
    summary = event.summary
    counts = {layer: it.customers for layer, it in summary.segments.items()} | summary.types
    return pb.ModelRunCompleted(
        run_id=str(id),
        model_id=event.model,
        as_of=wire.day(event.as_of),
        population=summary.population,
        counts=[pb.LayerCount(layer=layer, customers=n) for layer, n in sorted(counts.items())],
    )
