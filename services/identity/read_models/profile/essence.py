"""What is kept of the messages that profiles are built from: no more than is read, and nothing somebody could have written."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from chassis.envelope import Incoming
from scrm.tracking.v1 import events_pb2 as pb

MEASURES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "content_engaged": (("active_buckets", "active_buckets"), ("wall_ms", "wall_ms")),
    "content_left": (("duration_ms", "wall_ms"),),
}
"""Numbers among the properties of a behaviour, by its type, and what they are called on the timeline."""

_UNREAD: Final = ("page", "message_id", "source_key", "receive_time", "tz_offset_minutes")


def essence(message: Incoming) -> Incoming:
    """The message as it is kept."""
    match message.type:
        case "scrm.tracking.v1.BehaviourTracked":
            behaviour = message.parse(pb.BehaviourTracked)
            for name in _UNREAD:
                behaviour.ClearField(name)
            found = measures(behaviour.event_type, behaviour.properties_json)
            behaviour.properties_json = orjson.dumps(found) if found else b""
            return message._replace(payload=behaviour.SerializeToString())
        case "scrm.tracking.v1.OrderPlaced":
            order = message.parse(pb.OrderPlaced)
            order.ClearField("lines")
            return message._replace(payload=order.SerializeToString())
    return message


def measures(event_type: str, properties_json: bytes) -> dict[str, Any]:
    """The numbers among the properties that are read, under the names they have there."""
    wanted = MEASURES.get(event_type)
    if not wanted or not properties_json:
        return {}
    properties = orjson.loads(properties_json)
    return {name: it for name, _ in wanted if _is_measure(it := properties.get(name))}


def _is_measure(value: Any) -> bool:
    return type(value) is int or (isinstance(value, list) and all(type(it) is int for it in value))
