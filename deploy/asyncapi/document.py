"""What the services publish as one AsyncAPI 3.0 document, made from the descriptors of `make proto`: a channel for each type of event.

Headers are the attributes of CloudEvents (binary mode) as chassis/envelope.py writes them; payloads are protobuf.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from chassis.envelope import PARTITIONS
from deploy.asyncapi.source import source
from deploy.local.contracts import Published, published
from deploy.openapi.comments import Comments

VERSION: Final = "1"
CONTENT_TYPE: Final = "application/protobuf"
PROTOBUF: Final = "application/vnd.google.protobuf;version=3"

_TEXT: Final = {"type": "string"}
HEADERS: Final[Mapping[str, Any]] = {
    "ce-specversion": {"type": "string", "const": "1.0"},
    "ce-id": {
        "type": "string",
        "pattern": r"^[a-z]+/\d+/\d+(\.\d+)?$",
        "description": "Service, epoch, position, and the part where a position has several events. The same whenever the event comes.",
    },
    "ce-source": {"type": "string", "description": "`/scrm/` and the service."},
    "ce-type": {"type": "string", "description": "The full name of the message in the payload."},
    "ce-subject": {
        "type": "string",
        "description": "Whom or what the order is kept for, as a rule the node of a customer.",
    },
    "ce-time": {"type": "string", "format": "date-time", "description": "When it happened."},
    "ce-tenant": {"type": "string", "description": "The brand."},
    "ce-datacontenttype": {"type": "string", "const": CONTENT_TYPE},
    "ce-correlationid": {"type": "string", "description": "What everything that followed from one call shares."},
    "ce-causationid": {
        "type": "string",
        "description": "What it directly follows from: a request id or the id of an event.",
    },
    "traceparent": {"type": "string", "description": "W3C trace context."},
    "Nats-Msg-Id": {"type": "string", "description": "The same as ce-id."},
}
ALWAYS: Final = [
    "ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-tenant", "ce-datacontenttype", "Nats-Msg-Id",
]  # fmt: skip
"""The headers that no message lacks."""

_INTRODUCTION: Final = (
    "What the services of the Social CRM publish on NATS JetStream: one stream per service, one subject per tenant, type and partition. "
    "Every event comes at least once, with the same `ce-id` each time, and in order within a partition, which all events of one customer "
    "share. A subscriber reads through a durable consumer that is made for it; `docs/events.md` says how to get one and what is guaranteed."
)


def document(descriptors: Path) -> dict[str, Any]:
    """The document for every published type."""
    comments = Comments(FileDescriptorSet.FromString(descriptors.read_bytes()).file)
    events = published(descriptors)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Events of the Social CRM", "version": VERSION, "description": _INTRODUCTION},
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "local": {
                "host": "127.0.0.1:14222",
                "protocol": "nats",
                "description": "What `make up` starts; `make subscriber` gives credentials.",
                "security": [{"$ref": "#/components/securitySchemes/subscriber"}],
            }
        },
        "channels": {_key(it): _channel(it, comments) for it in events},
        "operations": {f"publish.{_key(it)}": _operation(it) for it in events},
        "components": {
            "messages": {it.type: _message(it, comments) for it in events},
            "schemas": {"Headers": {"type": "object", "properties": dict(HEADERS), "required": list(ALWAYS)}},
            "securitySchemes": {"subscriber": {"type": "userPassword"}},
        },
    }


def _key(event: Published) -> str:
    return f"{event.service}.{event.name}"


def _channel(event: Published, comments: Comments) -> dict[str, Any]:
    partition = f"`crc32(ce-subject) mod {PARTITIONS}`: the events of one customer share it."
    return {
        "address": f"scrm.{{tenant}}.{event.service}.v1.{event.name}.{{partition}}",
        "title": event.type.rpartition(".")[2],
        **comments.of(event.type),
        "messages": {"event": {"$ref": f"#/components/messages/{event.type}"}},
        "parameters": {"tenant": {"description": "The brand."}, "partition": {"description": partition}},
        "tags": [{"name": event.service}],
    }


def _operation(event: Published) -> dict[str, Any]:
    channel = f"#/channels/{_key(event)}"
    return {
        "action": "send",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/event"}],
        "tags": [{"name": event.service}],
    }


def _message(event: Published, comments: Comments) -> dict[str, Any]:
    importlib.import_module(f"{event.type.rpartition('.')[0]}.events_pb2")
    kind = descriptor_pool.Default().FindMessageTypeByName(event.type)
    return {
        "name": event.type,
        "title": kind.name,
        **comments.of(event.type),
        "contentType": CONTENT_TYPE,
        "headers": {"$ref": "#/components/schemas/Headers"},
        "correlationId": {"location": "$message.header#/ce-correlationid"},
        "payload": {"schemaFormat": PROTOBUF, "schema": source(kind, comments)},
    }
