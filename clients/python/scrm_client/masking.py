"""Requests and answers in logs: what they are made of, without what anybody wrote into them."""

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

MASK = "***"
_ID = re.compile(r"(^|_)ids?$")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def masked(message: Message) -> dict[str, Any]:
    """The fields that are set: numbers, enumerations and UUIDs in `…_id` fields as they are, all other text and bytes as "***"."""
    return {field.name: _of_field(field, value) for field, value in message.ListFields()}


def _of_field(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {"entries": len(value)}
    if field.is_repeated:
        return [_of_value(field, it) for it in value]
    return _of_value(field, value)


def _of_value(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Message):
        return masked(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if isinstance(value, str | bytes):
        is_id = isinstance(value, str) and _ID.search(field.name) and _UUID.fullmatch(value)
        return value if is_id else MASK
    return value
