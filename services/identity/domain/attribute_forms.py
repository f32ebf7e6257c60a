"""The forms of attribute values: what a value of a type must look like, and the one text under which it is kept.

Nothing is corrected: what does not fit is refused. Text comes in Unicode normal form C and without control characters.
"""

import json
import math
import re
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from chassis.errors import BadFormat, FieldRequired, FieldTooLong, UnknownEnum, ValueOutOfRange
from services.identity.domain.attributes import BIRTHDATE, AttributeDefinition, AttributeType
from services.identity.domain.errors import TypeMismatch

LONGEST_TEXT: Final = 256
MOST_ITEMS: Final = 50
LARGEST_NUMBER: Final = 1e15
EARLIEST_BIRTH: Final = 1900
LEAP_YEAR: Final = 2000
_FIRST_TO_SEE_A_DAY: Final = timedelta(hours=14)

_DATE: Final = re.compile(r"(\d{4}|-)-(\d{2})-(\d{2})", re.ASCII)
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", re.ASCII)
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody lives or receives parcels; `country` is the ISO 3166 code of two letters. Empty: not known."""

    country: str = ""
    region: str = ""
    city: str = ""
    district: str = ""
    street: str = ""
    postal_code: str = ""


Value: TypeAlias = str | float | bool | datetime | Address | tuple[str, ...] | tuple[Address, ...]
"""A value as callers give and get it."""

T = TypeVar("T")


def written(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    """The text under which `value`, given at `now` in `field` of a request, is kept; the same for the same value.

    Raises TypeMismatch, FieldRequired, FieldTooLong, BadFormat, UnknownEnum and ValueOutOfRange.
    """
    return _WRITERS[definition.type](definition, value, now, field)


def read(kind: AttributeType, text: str) -> Value:
    """The value that was kept as `text`."""
    match kind:
        case AttributeType.NUMBER:
            return float(text)
        case AttributeType.BOOL:
            return text == "true"
        case AttributeType.INSTANT:
            return datetime.fromisoformat(text)
        case AttributeType.ADDRESS:
            return Address(**json.loads(text))
        case AttributeType.LIST:
            return tuple(json.loads(text))
        case AttributeType.ADDRESS_LIST:
            return tuple(Address(**it) for it in json.loads(text))
    return text


def united(texts: Sequence[str]) -> str:
    """All items of these lists, in their order and each once, as many as a list may have; a list again."""
    items = {_json(it): it for text in texts for it in json.loads(text)}
    return _json(list(items.values())[:MOST_ITEMS])


def _text(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    text = _of(str, value, field)
    if not text.strip():
        raise FieldRequired(field=field)
    if len(text) > LONGEST_TEXT:
        raise FieldTooLong(field=field, maximum=LONGEST_TEXT)
    return text


def _enum(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    text = _of(str, value, field)
    if text not in definition.enum:
        raise UnknownEnum("the attribute has no such value", field=field)
    return text


def _date(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    text = _of(str, value, field)
    form = _DATE.fullmatch(text)
    if form is None:
        raise BadFormat("a date is YYYY-MM-DD or --MM-DD", field=field)
    year = None if form[1] == "-" else int(form[1])
    month, day = int(form[2]), int(form[3])
    if not 1 <= month <= 12 or not 1 <= day <= monthrange(year or LEAP_YEAR, month)[1] or year == 0:
        raise BadFormat("there is no such day", field=field)
    if definition.key == BIRTHDATE and year is not None:
        _require_lived(date(year, month, day), now, field)
    return text


def _require_lived(born: date, now: datetime, field: str) -> None:
    """Raises ValueOutOfRange for a day that nobody alive was born on; `now` is a later day already in the farthest east."""
    if born.year < EARLIEST_BIRTH or born > (now + _FIRST_TO_SEE_A_DAY).date():
        raise ValueOutOfRange("nobody alive was born then", field=field)


def _number(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    number = _of(float, value, field)
    if not math.isfinite(number) or abs(number) > LARGEST_NUMBER:
        raise ValueOutOfRange(field=field)
    return str(int(number)) if number.is_integer() else repr(number)


def _bool(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    return "true" if _of(bool, value, field) else "false"


def _instant(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    return _of(datetime, value, field).astimezone(UTC).isoformat()


def _list(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    items = _items(value, str, field)
    return _json(list(dict.fromkeys(_text(definition, it, now, f"{field}[{n}]") for n, it in enumerate(items))))


def _address(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    return _json(_parts(_of(Address, value, field), now, field))


def _addresses(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    items = _items(value, Address, field)
    found = {_json(parts): parts for n, it in enumerate(items) if (parts := _parts(it, now, f"{field}[{n}]"))}
    return _json(list(found.values()))


def _parts(address: Address, now: datetime, field: str) -> dict[str, str]:
    """The parts that are known."""
    parts = {name: part for name, part in asdict(address).items() if part.strip()}
    if not parts:
        raise FieldRequired("an address says something", field=field)
    if any(len(it) > LONGEST_TEXT for it in parts.values()):
        raise FieldTooLong(field=field, maximum=LONGEST_TEXT)
    if address.country and not _COUNTRY.fullmatch(address.country):
        raise BadFormat("a country is its two capital letters", field=f"{field}.country")
    return parts


def _time_zone(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    text = _of(str, value, field)
    try:
        return ZoneInfo(text).key if _ZONE.fullmatch(text) else _no_zone(field)
    except (KeyError, ValueError, OSError):
        return _no_zone(field)


def _no_zone(field: str) -> str:
    raise BadFormat("there is no such IANA time zone", field=field)


def _language(definition: AttributeDefinition, value: Value, now: datetime, field: str) -> str:
    text = _of(str, value, field)
    if not _LANGUAGE.fullmatch(text):
        raise BadFormat("a language is a BCP 47 tag such as zh-Hans-CN", field=field)
    return text


def _items(value: Value, kind: type[T], field: str) -> tuple[T, ...]:
    items = _of(tuple, value, field)
    if not items:
        raise FieldRequired(field=field)
    if len(items) > MOST_ITEMS:
        raise FieldTooLong(field=field, maximum=MOST_ITEMS)
    return tuple(_of(kind, it, field) for it in items)


def _of(kind: type[T], value: object, field: str) -> T:
    """`value`, which is of that kind and no other. Raises TypeMismatch."""
    if type(value) is not kind:
        raise TypeMismatch(field=field)
    return value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


_Writer: TypeAlias = Callable[[AttributeDefinition, Value, datetime, str], str]

_WRITERS: Final[Mapping[AttributeType, _Writer]] = {
    AttributeType.TEXT: _text,
    AttributeType.ENUM: _enum,
    AttributeType.DATE: _date,
    AttributeType.NUMBER: _number,
    AttributeType.BOOL: _bool,
    AttributeType.INSTANT: _instant,
    AttributeType.LIST: _list,
    AttributeType.ADDRESS: _address,
    AttributeType.ADDRESS_LIST: _addresses,
    AttributeType.TIME_ZONE: _time_zone,
    AttributeType.LANGUAGE: _language,
}
ADDRESS_PARTS: Final = tuple(it.name for it in fields(Address))
