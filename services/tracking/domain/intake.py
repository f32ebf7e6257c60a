"""What becomes of an event when it comes in (TR-1): accepted, quarantined or rejected, and what is kept of it."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from services.tracking.domain import event_types
from services.tracking.domain.event_types import EventType
from services.tracking.domain.identifiers import is_blocked

SECOND: Final = 1_000_000  # microseconds, in which all instants are counted here
LATE_AFTER: Final = 24 * 3600 * SECOND
TOO_LATE_AFTER: Final = 30 * 24 * 3600 * SECOND
FUTURE_TOLERANCE: Final = 5 * 60 * SECOND

MOST_PROPERTY_BYTES: Final = 32 * 1024
MOST_PROPERTIES: Final = 200
DEEPEST_PROPERTIES: Final = 32
MOST_IDENTIFIERS: Final = 20
LONGEST_TEXT: Final = 256
LONGEST_KEY: Final = 64
FURTHEST_OFFSET: Final = 18 * 60  # minutes

_FIRST_SECOND: Final = -62_135_596_800  # of year 1 and of year 9999, since 1970
_LAST_SECOND: Final = 253_402_300_799
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# Names of properties that speak of personal data, in any spelling; no preset type declares one, a tenant's own may.
_PERSONAL_NAME: Final = (
    "address|birth_?da(?:te|y)|e_?mail|(?:first|full|last|real|nick)_?name|surname|id_?(?:card|no)|identity_?card|passport"
    "|(?:mobile|tele|cell)?_?phone(?:_?number)?|mobile|tel|wechat_?id"
)
_PERSONAL: Final = re.compile(_PERSONAL_NAME, re.IGNORECASE)
_PERSONAL_KEY: Final = re.compile(rb'"(?:' + _PERSONAL_NAME.encode() + rb')"\s*:', re.IGNORECASE)


class Outcome(StrEnum):
    """What became of an event."""

    ACCEPTED = "ACCEPTED"
    DUPLICATE = "DUPLICATE"
    QUARANTINED = "QUARANTINED"
    REJECTED = "REJECTED"


class Reason(StrEnum):
    """Why it was not accepted; NONE where there is nothing to say."""

    NONE = ""
    CONTENT_CONFLICT = "CONTENT_CONFLICT"
    TOO_LATE = "TOO_LATE"
    FUTURE_TIMESTAMP = "FUTURE_TIMESTAMP"
    SCHEMA = "SCHEMA"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    NO_IDENTITY = "NO_IDENTITY"
    FIELD_REQUIRED = "FIELD_REQUIRED"
    FIELD_TOO_LONG = "FIELD_TOO_LONG"
    BAD_FORMAT = "BAD_FORMAT"
    TOO_LARGE = "TOO_LARGE"
    TOO_MANY_IDENTIFIERS = "TOO_MANY_IDENTIFIERS"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    SOURCE_DISABLED = "SOURCE_DISABLED"
    CUSTOMER_ERASED = "CUSTOMER_ERASED"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one event, why, and which field is at fault."""

    outcome: Outcome
    reason: Reason = Reason.NONE
    field: str = ""
    stripped: tuple[str, ...] = ()


ACCEPTED: Final = Verdict(Outcome.ACCEPTED)
DUPLICATE: Final = Verdict(Outcome.DUPLICATE)
CONFLICTING: Final = Verdict(Outcome.DUPLICATE, Reason.CONTENT_CONFLICT)


@dataclass(frozen=True, slots=True)
class Properties:
    """What the properties of an event are worth, whatever else is in it.

    `verdict` if they are at fault, `missing` the required ones that are not among them, `kept` the JSON to keep where it
    differs from the one given, `aside` the one to keep of an event that is put aside: as it was given, but for what is
    personal. `stripped` has the names of what was taken out.
    """

    verdict: Verdict | None = None
    missing: tuple[str, ...] = ()
    kept: bytes | None = None
    stripped: tuple[str, ...] = ()
    aside: bytes | None = None


def rejected(reason: Reason, field: str) -> Verdict:
    return Verdict(Outcome.REJECTED, reason, field)


def quarantined(reason: Reason, field: str = "") -> Verdict:
    return Verdict(Outcome.QUARANTINED, reason, field)


def check_keys(message_id: str, source_key: str, event_type: str) -> Verdict | None:
    """Reject an event that cannot be told from others."""
    for name, text in (("message_id", message_id), ("source_key", source_key), ("event_type", event_type)):
        if not text:
            return rejected(Reason.FIELD_REQUIRED, name)
    for name, text in (("source_key", source_key), ("event_type", event_type)):
        if len(text) > LONGEST_KEY:
            return rejected(Reason.FIELD_TOO_LONG, name)
        if not is_clean(text):
            return rejected(Reason.BAD_FORMAT, name)
    return None


def is_clean(text: str) -> bool:
    """Whether `text` is in normal form C and free of control characters other than line feed and tab."""
    return not _CONTROL.search(text) and unicodedata.is_normalized("NFC", text)


def check_texts(texts: Sequence[str], name_of: Callable[[int], str]) -> Verdict | None:
    """Reject texts that are too long or not clean; `name_of` gives the field of the n-th."""
    whole = "".join(texts)
    if len(whole) <= LONGEST_TEXT and whole.isascii() and whole.isprintable():
        return None
    for index, text in enumerate(texts):
        if len(text) > LONGEST_TEXT:
            return rejected(Reason.FIELD_TOO_LONG, name_of(index))
        if not is_clean(text):
            return rejected(Reason.BAD_FORMAT, name_of(index))
    return None


def is_instant(seconds: int, nanos: int) -> bool:
    """Whether a Timestamp is one: between the years 1 and 9999."""
    return _FIRST_SECOND <= seconds <= _LAST_SECOND and 0 <= nanos < 1_000_000_000


def read_properties(event_type: EventType | None, content: bytes) -> Properties:
    """Judge the properties of an event, given as JSON, by its type."""
    properties = _parsed(content)
    if isinstance(properties, Verdict):
        return Properties(properties)
    declared = event_type.personal if event_type else ()
    stripped = tuple(dict.fromkeys(_strip(properties, declared))) if _PERSONAL_KEY.search(content) else ()
    if event_type is None:
        rest = orjson.dumps(properties) if stripped else None
        return Properties(stripped=stripped, kept=rest, aside=rest)
    fault = event_type.fault(properties)
    missing = event_type.missing(properties)
    masked = bool(declared) and event_type.mask(properties)
    kept = aside = orjson.dumps(properties) if stripped or masked else None
    if event_type.has_undeclared(properties):
        kept = orjson.dumps(event_types.normalised(event_type, properties))
    verdict = quarantined(Reason.SCHEMA, f"properties.{fault}") if fault else None
    return Properties(verdict, missing, kept, stripped, aside)


def rejection(properties: Properties) -> Verdict | None:
    """Why an event with such properties is rejected, if it is."""
    verdict = properties.verdict
    return verdict if verdict and verdict.outcome is Outcome.REJECTED else None


def occurred_at(original: int, sent: int, received: int) -> int:
    """When it happened, in microseconds, by our own clock, whatever the device's says."""
    return received - (sent - original)


def judge(
    event_type: EventType | None,
    properties: Properties,
    missing: Sequence[str],
    identifiers: Iterable[str],
    age: int,
) -> Verdict | None:
    """Why an event that is no duplicate is quarantined, if it is.

    `missing` are the required properties that are not in its context either, `identifiers` the values, `age` the
    microseconds between its happening and its receipt.
    """
    if event_type is None:
        return quarantined(Reason.UNKNOWN_TYPE, "event_type")
    if properties.verdict:
        return properties.verdict
    if missing:
        return quarantined(Reason.SCHEMA, f"properties.{missing[0]}")
    if all(map(is_blocked, identifiers)):
        return quarantined(Reason.NO_IDENTITY, "identifiers")
    if age < -FUTURE_TOLERANCE:
        return quarantined(Reason.FUTURE_TIMESTAMP, "original_time")
    if age > TOO_LATE_AFTER:
        return quarantined(Reason.TOO_LATE, "original_time")
    return None


def _parsed(content: bytes) -> dict[str, Any] | Verdict:
    if not content:
        return {}
    if len(content) > MOST_PROPERTY_BYTES:
        return rejected(Reason.TOO_LARGE, "properties_json")
    try:
        properties = orjson.loads(content)
    except orjson.JSONDecodeError:
        return rejected(Reason.BAD_FORMAT, "properties_json")
    if type(properties) is not dict or b"\\u0000" in content:
        return rejected(Reason.BAD_FORMAT, "properties_json")
    if content.count(b"{") + content.count(b"[") > DEEPEST_PROPERTIES and _is_deeper(properties, DEEPEST_PROPERTIES):
        return rejected(Reason.BAD_FORMAT, "properties_json")
    if len(properties) > MOST_PROPERTIES:
        return rejected(Reason.TOO_LARGE, "properties_json")
    return properties


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects stand in one another more than `most` deep: what is, not all can read that come after us."""
    level = [value]
    for _ in range(most):
        inner: list[Any] = []
        for it in level:
            inner += it.values() if isinstance(it, dict) else it
        level = [it for it in inner if isinstance(it, (dict, list))]
        if not level:
            return False
    return True


def _strip(value: Any, spared: Collection[str] = ()) -> list[str]:
    """Take everything out of `value` whose name speaks of personal data, at any depth; the names found.

    Those `spared` may stand at the top.
    """
    found: list[str] = []
    if isinstance(value, dict):
        found = [name for name in value if _PERSONAL.fullmatch(name) and name not in spared]
        for name in found:
            del value[name]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            found += _strip(item)
    return found
