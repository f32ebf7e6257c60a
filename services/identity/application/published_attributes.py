"""What other services are told of attributes: which changed, and the values of those that tell nobody."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.log import Recorded
from scrm.identity.v1 import attribute_pb2
from scrm.identity.v1 import events_pb2 as pb
from services.identity.domain.attribute_catalogue import AttributeCatalogue
from services.identity.domain.attribute_values import AttributeChange, AttributeValues
from services.identity.domain.attributes import RANKS, AttributeDefinition, AttributeSource
from services.identity.domain.pii_view import PiiView

PRIVATE_ATTRIBUTES: Final = frozenset[type](
    {
        AttributeCatalogue.Opened,
        AttributeValues.Opened,
        AttributeValues.Confirmed,
        AttributeValues.BirthdateRedeclared,
    }
)


def of_attributes(recorded: Recorded) -> Sequence[Message] | None:
    """The messages for an event of attributes, and of those who see them."""
    match recorded.event:
        case AttributeCatalogue.AttributeDefined() as event:
            return [pb.AttributeDefined(definition=definition(event.definition))]
        case AttributeValues.Changed() as event:
            return [_changed(event.node, map(_change, event.changed), event.changed_at)]
        case AttributeValues.Purged() as event:
            gone = (_gone(key, event.source, event.purged_at) for key in event.keys)
            return [_changed(event.node, gone, event.purged_at)] if event.keys else []
        case AttributeValues.MinorityChanged() as event:
            return [
                pb.CustomerMinorityChanged(
                    node_id=str(event.node), minor=event.minor, change_time=_timestamp(event.changed_at)
                )
            ]
        case PiiView.Viewed() as event:
            return [
                pb.PiiViewed(
                    customer_id=str(event.customer_id),
                    fields=event.fields,
                    actor=event.actor,
                    purpose=event.purpose,
                    view_time=_timestamp(event.viewed_at),
                )
            ]
    return None


def attribute_key(recorded: Recorded) -> UUID | None:
    """The node or customer an event is about; None for other events."""
    match recorded.event:
        case (
            AttributeValues.Changed(node=node)
            | AttributeValues.Purged(node=node)
            | AttributeValues.MinorityChanged(node=node)
        ):
            return node
        case PiiView.Viewed(customer_id=customer):
            return customer
    return None


def definition(it: AttributeDefinition) -> attribute_pb2.AttributeDefinition:
    return attribute_pb2.AttributeDefinition(
        key=it.key,
        type=attribute_pb2.AttributeType.Value(f"ATTRIBUTE_TYPE_{it.type}"),
        pii=it.pii,
        enum_values=it.enum,
        merge_policy=attribute_pb2.MergePolicy.Value(f"MERGE_POLICY_{it.merge_policy}"),
        sensitive=it.sensitive,
    )


def source(it: AttributeSource) -> attribute_pb2.AttributeSource.ValueType:
    return attribute_pb2.AttributeSource.Value(f"ATTRIBUTE_SOURCE_{it}")


def _changed(node: UUID, changed: Iterable[attribute_pb2.AttributeChange], at: datetime) -> Message:
    return pb.AttributesChanged(node_id=str(node), changed=changed, change_time=_timestamp(at))


def _change(it: AttributeChange) -> attribute_pb2.AttributeChange:
    return attribute_pb2.AttributeChange(
        key=it.key,
        source=source(it.source),
        source_rank=RANKS[it.source],
        value=it.new.text,
        old_value=it.old.text if it.old else None,
        cleared=it.new.is_cleared,
        observe_time=_timestamp(it.observed_at),
    )


def _gone(key: str, whose: AttributeSource, at: datetime) -> attribute_pb2.AttributeChange:
    return attribute_pb2.AttributeChange(
        key=key, source=source(whose), source_rank=RANKS[whose], cleared=True, observe_time=_timestamp(at)
    )


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
