"""Messages of the contracts as JSON Schemas (2020-12): the JSON form of proto3, with the rules that protovalidate checks.

Source of the JSON form: https://protobuf.dev/programming-guides/json (64-bit integers are strings, bytes are base64, enums are names).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from buf.validate import validate_pb2
from deploy.openapi.comments import Comments

Schema = dict[str, Any]

_F: Final = FieldDescriptor
_INT_32: Final = {_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32}
_UINT_32: Final = {_F.TYPE_UINT32, _F.TYPE_FIXED32}
_INT_64: Final = {_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64, _F.TYPE_UINT64, _F.TYPE_FIXED64}
_NUMBERS: Final = {_F.TYPE_DOUBLE, _F.TYPE_FLOAT}

WELL_KNOWN: Final[Mapping[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["3.5s"]},
    "google.protobuf.FieldMask": {"type": "string", "description": "Names of fields, separated by commas."},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
        "additionalProperties": True,
    },
}


class Schemas:
    """Schemas of messages and enums by their full names, each made when something first refers to it."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self._made: dict[str, Schema] = {}

    @property
    def made(self) -> Mapping[str, Schema]:
        """All that is referred to, sorted by name."""
        return dict(sorted(self._made.items()))

    def reference(self, kind: Descriptor | EnumDescriptor) -> Schema:
        """A schema that stands for the message or enum wherever it is used."""
        if kind.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[kind.full_name])
        if kind.full_name not in self._made:
            self._made[kind.full_name] = {}  # a message may contain itself
            made = self._enum(kind) if isinstance(kind, EnumDescriptor) else self.message(kind)
            self._made[kind.full_name] = made
        return {"$ref": f"#/components/schemas/{kind.full_name}"}

    def message(self, message: Descriptor, without: frozenset[str] = frozenset()) -> Schema:
        """The object that `message` is, without the fields named `without`."""
        fields = [it for it in message.fields if it.name not in without]
        required = [it.json_name for it in fields if is_required(it)]
        return {
            **self._comments.of(message.full_name),
            "type": "object",
            "properties": {it.json_name: self.field(it) for it in fields},
            **({"required": required} if required else {}),
        }

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of one field with its rules and its comment."""
        rules: Any = field.GetOptions().Extensions[validate_pb2.field]
        comment = self._comments.of(field.full_name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            return {**comment, "type": "object", "additionalProperties": self._value(value, rules.map.values)}
        if not field.is_repeated:
            return {**self._value(field, rules), **comment}
        limits = {"minItems": rules.repeated.min_items, "maxItems": rules.repeated.max_items}
        chosen = {key: value for key, value in limits.items() if value}
        return {**comment, "type": "array", "items": self._value(field, rules.repeated.items), **chosen}

    def _value(self, field: FieldDescriptor, rules: Any) -> Schema:
        if field.message_type is not None:
            return self.reference(field.message_type)
        if field.enum_type is not None:
            return self.reference(field.enum_type)
        return {**_scalar(field), **dict(_constraints(field, rules))}

    def _enum(self, enum: EnumDescriptor) -> Schema:
        scope = enum.full_name.rpartition(".")[0]  # values are named beside their enum
        described = [(it.name, self._comments.of(f"{scope}.{it.name}").get("description", "")) for it in enum.values]
        listed = "\n".join(f"- `{name}`: {text}" if text else f"- `{name}`" for name, text in described)
        heading = self._comments.of(enum.full_name).get("description", "")
        return {
            "description": f"{heading}\n\n{listed}".strip(),
            "type": "string",
            "enum": [it.name for it in enum.values],
        }


def is_required(field: FieldDescriptor) -> bool:
    """Whether a request without the field is refused."""
    options = field.GetOptions()
    rules: Any = options.Extensions[validate_pb2.field]
    return bool(rules.required) or field_behavior_pb2.REQUIRED in options.Extensions[field_behavior_pb2.field_behavior]


def _scalar(field: FieldDescriptor) -> Schema:
    kind = field.type
    if kind in _INT_32:
        return {"type": "integer", "format": "int32"}
    if kind in _UINT_32:
        return {"type": "integer", "format": "int64", "minimum": 0}
    if kind in _INT_64:
        return {"type": "string", "format": "int64"}
    if kind in _NUMBERS:
        return {"type": "number", "format": "double" if kind == _F.TYPE_DOUBLE else "float"}
    if kind == _F.TYPE_BOOL:
        return {"type": "boolean"}
    if kind == _F.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return {"type": "string"}


def _constraints(field: FieldDescriptor, rules: Any) -> Iterator[tuple[str, Any]]:
    """What JSON Schema can say of the rules of a scalar; 64-bit integers are strings there and have no bounds."""
    if field.type == _F.TYPE_STRING:
        yield from _of_text(rules.string)
    elif field.type in _INT_32 | _UINT_32 | _NUMBERS:
        kind = rules.WhichOneof("type")
        if kind is not None:
            yield from _of_number(getattr(rules, kind))


def _of_text(rules: Any) -> Iterator[tuple[str, Any]]:
    length = rules.len if rules.HasField("len") else None
    shortest = length if length is not None else rules.min_len
    longest = length if length is not None else rules.max_len
    if shortest:
        yield "minLength", shortest
    if longest:
        yield "maxLength", longest
    if rules.pattern:
        yield "pattern", rules.pattern
    if rules.uuid:
        yield "format", "uuid"
    if getattr(rules, "in"):
        yield "enum", list(getattr(rules, "in"))


_BOUNDS: Final[Mapping[str, str]] = {
    "gte": "minimum",
    "gt": "exclusiveMinimum",
    "lte": "maximum",
    "lt": "exclusiveMaximum",
}


def _of_number(rules: Any) -> Iterator[tuple[str, Any]]:
    has: Callable[[str], bool] = rules.HasField
    for name, keyword in _BOUNDS.items():
        if name in rules.DESCRIPTOR.fields_by_name and has(name):
            yield keyword, getattr(rules, name)
