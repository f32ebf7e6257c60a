"""What other services are told of the tracking plan."""

from typing import Final

from google.protobuf.message import Message

from chassis.log import Recorded
from scrm.tracking.v1 import events_pb2 as pb
from scrm.tracking.v1 import plan_pb2
from services.tracking.domain.plan import EventTypeDef, PropertyDef, TrackingPlan

PRIVATE: Final = frozenset[type]({TrackingPlan.Opened, TrackingPlan.UnplannedDecided})


def of_plan(recorded: Recorded) -> Message | None:
    """The message for an event of a plan."""
    match recorded.event:
        case TrackingPlan.EventTypeRegistered(definition=definition):
            return pb.EventTypeRegistered(definition=event_type_message(definition))
        case TrackingPlan.EventTypeUpdated(definition=definition):
            return pb.EventTypeUpdated(definition=event_type_message(definition))
        case TrackingPlan.EventTypeDeprecated(name=name, version=version):
            return pb.EventTypeDeprecated(event_type=name, version=version)
    return None


def event_type_message(definition: EventTypeDef) -> plan_pb2.EventType:
    return plan_pb2.EventType(
        event_type=definition.name,
        category=category_value(definition.category),
        properties=[_property(it) for it in definition.properties],
        version=definition.version,
        deprecated=definition.deprecated,
    )


def category_value(category: str) -> plan_pb2.EventCategory.ValueType:
    return plan_pb2.EventCategory.Value(f"EVENT_CATEGORY_{category or 'UNSPECIFIED'}")


def _property(definition: PropertyDef) -> plan_pb2.EventProperty:
    return plan_pb2.EventProperty(
        key=definition.key,
        type=plan_pb2.PropertyType.Value(f"PROPERTY_TYPE_{definition.type}"),
        required=definition.required,
        pii=definition.pii,
        enum_values=definition.enum,
    )
