"""Golden messages: what every published type looked like on the wire, frozen, so that today's code still reads what is in the streams.

`python -m tests.contracts.published_messages` writes a file for each published type that has none yet, and never touches one that is
there. A file holds the payload, made by today's publisher from a stored golden sample, and what it says. When a type gains fields, its
file stays as it is: messages without them stay in the streams.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.local.contracts import Published, published
from tests.contracts import stored_events

FOLDER: Final = Path(__file__).parent / "golden_published"
ID: Final = "0192d3c4-0000-7000-8000-00000000000c"
_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}


def message_class(type_name: str) -> type[Message]:
    """Today's class of a published type."""
    package, _, name = type_name.rpartition(".")
    found: type[Message] = getattr(import_module(f"{package}.events_pb2"), name)
    return found


def path_of(event: Published, folder: Path = FOLDER) -> Path:
    return folder / f"{event.service}.{event.name}.json"


def missing(folder: Path = FOLDER) -> list[str]:
    """The published types that have no golden message."""
    return [it.type for it in published() if not path_of(it, folder).exists()]


def payload(path: Path) -> bytes:
    return base64.b64decode(json.loads(path.read_text())["payload"])


def says(message: Message) -> dict[str, Any]:
    """What a message says, by the names of its fields."""
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return found


def by_publishers() -> dict[str, Message]:
    """For each type the fullest message that the publishers make of the stored golden samples."""
    found: dict[str, Message] = {}
    for topic, kind in stored_events.stored_classes().items():
        publish, private = stored_events.publisher_of(stored_events.service_of(kind))
        if kind in private:
            continue
        for state in stored_events.states(stored_events.path_of(topic, stored_events.version_of(kind))):
            try:
                made: Any = publish(stored_events.load(topic, state))
            except ValueError:  # a sample text that is no name of an enumeration
                continue
            for message in made if isinstance(made, list) else [made]:
                if message is not None and message.ByteSize() >= _size(found.get(message.DESCRIPTOR.full_name)):
                    found[message.DESCRIPTOR.full_name] = message
    return found


def _size(message: Message | None) -> int:
    return message.ByteSize() if message is not None else 0


def filled(message: Message) -> Message:
    """The message with something in every field; for types that no stored event is published as."""
    for field in message.DESCRIPTOR.fields:
        _fill(message, field)
    return message


def _fill(message: Message, field: Any) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)["a"] = "b"
    elif field.message_type is not None:
        part = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
        _fill_part(part, field.message_type)
    elif field.is_repeated:
        getattr(message, field.name).append(_value(field))
    else:
        setattr(message, field.name, _value(field))


def _fill_part(part: Any, kind: Descriptor) -> None:
    if isinstance(part, Timestamp):
        part.FromSeconds(883_958_400)
    elif kind.full_name.startswith("google.type."):
        part.units = 7
        part.currency_code = "CNY"
    elif kind.full_name.startswith("scrm."):
        filled(part)


def _value(field: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.cpp_type in _INTEGERS:
        return 7
    return {
        FieldDescriptor.CPPTYPE_STRING: b"{}" if field.type == FieldDescriptor.TYPE_BYTES else ID,
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
        FieldDescriptor.CPPTYPE_FLOAT: 0.5,
    }[field.cpp_type]


def write_missing(folder: Path = FOLDER) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    made = by_publishers()
    for event in published():
        path = path_of(event, folder)
        if path.exists():
            continue
        message = made.get(event.type) or filled(message_class(event.type)())
        content = {
            "type": event.type,
            "payload": base64.b64encode(message.SerializeToString(deterministic=True)).decode(),
            "says": says(message),
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        yield path


def paths() -> Iterable[Path]:
    return sorted(FOLDER.glob("*.json"))


if __name__ == "__main__":
    for written in write_missing():
        print(written.relative_to(Path.cwd()))
