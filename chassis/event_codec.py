"""Events as JSON and back, directed by the annotations of the event class.

Stored JSON is plain (an instant is an ISO string, a UUID is a string, bytes are hexadecimal): the
event class, not the JSON, says what a value is.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import orjson

Convert = Callable[[Any], Any]

_HEADER = frozenset({"originator_id", "originator_version", "originator_topic"})
_FROM_TEXT: Mapping[type, Convert] = {
    UUID: UUID,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    Decimal: Decimal,
    bytes: bytes.fromhex,
}


def encode(state: Mapping[str, Any]) -> bytes:
    """The JSON of an event's fields."""
    return orjson.dumps(state, default=_encode_other, option=orjson.OPT_NON_STR_KEYS)


def decode(state: bytes) -> dict[str, Any]:
    """The JSON values of an event's fields; `restore` turns them into typed ones."""
    fields: dict[str, Any] = orjson.loads(state)
    return fields


def restore(event_class: type, fields: dict[str, Any]) -> None:
    """Turn the JSON values in `fields` into what the annotations of `event_class` ask for."""
    for name, convert in _converters(event_class):
        value = fields.get(name)
        if value is not None:
            fields[name] = convert(value)


def _encode_other(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case Decimal():
            return str(value)
        case frozenset() | set():
            return sorted(value, key=str)
    raise TypeError(f"an event cannot hold a {type(value).__name__}")


@cache
def _converters(owner: type) -> tuple[tuple[str, Convert], ...]:
    hints = get_type_hints(owner)
    names = [field.name for field in dataclasses.fields(owner) if field.name not in _HEADER]
    found = ((name, _converter(hints[name])) for name in names)
    return tuple((name, convert) for name, convert in found if convert is not None)


def _converter(hint: Any) -> Convert | None:
    """How to make a value of `hint` from JSON; None when the JSON value is already it."""
    if isinstance(hint, type) and not get_args(hint):
        return _plain_converter(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _optional_converter([it for it in arguments if it is not type(None)])
    if origin is dict:
        return _dict_converter(_converter(arguments[0]), _converter(arguments[1]))
    if origin in (list, tuple, frozenset, set):
        return _collection_converter(origin, _converter(arguments[0]))
    if origin is not None and origin.__module__ == "collections.abc":
        return _collection_converter(tuple, _converter(arguments[0]))
    return None


def _plain_converter(kind: type) -> Convert | None:
    if issubclass(kind, Enum):
        return kind
    if dataclasses.is_dataclass(kind):
        return lambda fields: _rebuild(kind, fields)
    for base, convert in _FROM_TEXT.items():
        if issubclass(kind, base):
            return convert
    return None


def _rebuild(kind: type, fields: dict[str, Any]) -> Any:
    restore(kind, fields)
    return kind(**fields)


def _optional_converter(options: list[Any]) -> Convert | None:
    if len(options) != 1:
        raise TypeError(f"an event field may be optional, not a choice of {options}")
    return _converter(options[0])


def _collection_converter(kind: Callable[[Any], Any], item: Convert | None) -> Convert | None:
    if item is None:
        return None if kind is list else kind
    return lambda values: kind(item(value) for value in values)


def _dict_converter(key: Convert | None, value: Convert | None) -> Convert | None:
    if key is None and value is None:
        return None
    as_key, as_value = key or _same, value or _same
    return lambda items: {as_key(k): as_value(v) for k, v in items.items()}


def _same(value: Any) -> Any:
    return value
