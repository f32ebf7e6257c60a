"""Messages of the Segment protocol as events of ours: who, what, when and where, as the SDKs write it.

Nothing is refused here. What cannot be read is left out of the event, so that the intake rejects or puts aside that event by the rules
it has for all, and counts it.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final
from zoneinfo import ZoneInfo

from scrm.tracking.v1.behaviour_pb2 import EventContext, TrackedEvent
from services.tracking.adapters.segment_events import CALLS, translated
from services.tracking.adapters.segment_json import written_json
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.intake import LONGEST_TEXT
from services.tracking.domain.source import IngestSource

Json = Mapping[str, Any]

NOT_JSON: Final = b"?"
_NOTHING: Final[Json] = {}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_UUID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_PHONE: Final = re.compile(r"\+?[0-9][0-9 ()./-]{5,30}")
_EMAIL: Final = re.compile(r"[^\s@]{1,64}@[^\s@]+\.[^\s@]+")
# Traits by which the protocol describes a person; they are no properties of a behaviour.
_PERSON: Final = {
    "address", "age", "avatar", "birthday", "description", "email", "firstName", "gender", "id", "lastName", "name", "phone",
    "title", "username", "website",
}  # fmt: skip
_ADDRESSES: Final = ("url", "referrer", "referring_url")
_QUARTER: Final = 900  # seconds
_FURTHEST: Final = 1e14  # milliseconds since 1970 that are still an instant


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a request says of all its messages: who sent it and when, by which clock."""

    source: IngestSource
    received: datetime
    sent: datetime | None = None
    anonymous_id: str = ""


def tracked_event(message: Any, call: str, arrival: Arrival) -> TrackedEvent:
    """One message, sent as `call` where it does not say itself what it is."""
    event = TrackedEvent(source_key=arrival.source.key)
    if not isinstance(message, dict):
        return event
    context = _object(message, "context")
    event.message_id = _word(message.get("messageId")) or _digest(message)
    event.event_type, properties = _content(message, _text(message.get("type")) or call)
    event.properties_json = _written(properties, context)
    user = _word(message.get("userId"))
    event.authenticated = bool(user) and arrival.source.kind.is_trusted
    _identify(event, user, message, context, arrival)
    _set_times(event, message, arrival)
    _set_place(event, message, context)
    zone = context.get("timezone")
    if zone and (offset := _offset(_text(zone), event.original_time.seconds // _QUARTER)) is not None:
        event.tz_offset_minutes = offset
    return event


def sent_at(body: Any, header: str | None) -> datetime | None:
    """When a request was sent, by the clock of its sender."""
    given = _instant(body.get("sentAt")) if isinstance(body, dict) else None
    return given or _instant(header)


def anonymous_id(header: str | None) -> str:
    """The id in the header AnonymousId, which is base64 where an SDK writes it."""
    if not header:
        return ""
    try:
        return base64.b64decode(header, validate=True).decode()
    except (binascii.Error, ValueError):
        return header if header.isascii() else ""


def _content(message: Json, call: str) -> tuple[str, Any]:
    """The type of the event and its properties."""
    properties = message.get("properties")
    match call:
        case "track":
            if properties is None or isinstance(properties, dict):
                return translated(_text(message.get("event")), properties or _NOTHING)
            return translated(_text(message.get("event")), _NOTHING)[0], properties
        case "page" | "screen":
            return CALLS[call], properties
        case "identify":
            traits = {**_object(message, "context", "traits"), **_object(message, "traits")}
            return CALLS[call], {name: it for name, it in traits.items() if name not in _PERSON}
        case "group":
            group = {"group_id": it} if (it := _word(message.get("groupId"))) else _NOTHING
            return CALLS[call], {**_object(message, "traits"), **group}
        case "alias":
            return CALLS[call], None
    return "", properties


def _written(properties: Any, context: Json) -> bytes:
    """The properties with the campaign that led here, and addresses without their queries, which name people."""
    if properties is None:
        properties = {}
    if not isinstance(properties, dict):
        return NOT_JSON
    campaign = context.get("campaign")
    if isinstance(campaign, dict) and campaign and "utm" not in properties:
        properties = {**properties, "utm": campaign}
    if any(it in properties for it in (*_ADDRESSES, "search")):
        properties = {name: it for name, it in properties.items() if name != "search"}
        for name in _ADDRESSES:
            if isinstance(address := properties.get(name), str):
                properties[name] = address.partition("?")[0].partition("#")[0]
    return written_json(properties) or NOT_JSON if properties else b""


def _identify(event: TrackedEvent, user: str, message: Json, context: Json, arrival: Arrival) -> None:
    """Who it was, by all that is said of it, the one that tells most first."""
    terms, is_trusted, add = arrival.source.terms, arrival.source.kind.is_trusted, event.identifiers.add
    if user:
        add(namespace=terms.user_namespace, scope=terms.user_scope, value=user, verified=is_trusted)
    anonymous = _word(message.get("anonymousId")) or arrival.anonymous_id
    if anonymous:
        add(namespace="anonymous_id", value=anonymous)
    previous = _word(message.get("previousId"))
    if previous and previous not in (user, anonymous):
        if _UUID.fullmatch(previous):
            add(namespace="anonymous_id", value=previous)
        else:
            add(namespace=terms.user_namespace, scope=terms.user_scope, value=previous, verified=is_trusted)
    if "traits" not in message and "traits" not in context:
        return
    # The traits of a group are those of a company.
    theirs = _NOTHING if message.get("type") == "group" else _object(message, "traits")
    traits = {**_object(context, "traits"), **theirs}
    for namespace, form in (("phone", _PHONE), ("email", _EMAIL)):
        value = _word(traits.get(namespace)).strip()
        if value and form.fullmatch(value):
            add(namespace=namespace, value=value)


def _set_times(event: TrackedEvent, message: Json, arrival: Arrival) -> None:
    """When it happened, and when it was sent if that is said; a time that is none is left out, and the event refused for it."""
    given = message.get("originalTimestamp") or message.get("timestamp")
    sent = _instant(message.get("sentAt")) or arrival.sent
    original = _instant(given) if given else sent or arrival.received
    if original is None:
        return
    event.original_time.CopyFrom(timestamp(original))
    if given and sent:
        event.sent_time.CopyFrom(timestamp(sent))


def _set_place(event: TrackedEvent, message: Json, context: Json) -> None:
    page, properties = _object(context, "page"), _object(message, "properties")
    place: EventContext = event.context
    place.channel = _label(message.get("channel")) or _channel(context)
    if "app" in context:
        place.app = _label(_object(context, "app").get("name"))
    ours = _object(context, "scrm")  # as our own script says it
    if ours:
        place.campaign.share_id = _label(ours.get("shareId"))
        place.campaign.code_key = _label(ours.get("codeKey"))
    if path := page.get("path") or properties.get("path"):
        place.page = _label(path)
    if event.event_type == "content_viewed":
        if not _text(properties.get("content_id")):
            place.content_id = _label(message.get("name") or properties.get("name") or path) or "/"
        if not _text(properties.get("page_view_id")):
            place.page_view_id = _label(event.message_id)


def _channel(context: Json) -> str:
    if context.get("page") is not None:
        return "web"
    return "app" if context.get("device") is not None or context.get("app") is not None else "server"


def _object(owner: Json, *names: str) -> Json:
    """The object under `names` in one another; empty for anything else."""
    found: Any = owner
    for name in names:
        found = found.get(name)
        if type(found) is not dict:
            return _NOTHING
    return found  # type: ignore[no-any-return]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _word(value: Any) -> str:
    """An id: a text, or a number as its digits."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return str(value) if type(value) in (str, int, float) and value != 0 else ""


def _label(value: Any) -> str:
    """A text for people: in one normal form, without control characters, cut where it is too long."""
    text = _text(value)
    if not text or (text.isascii() and text.isprintable()):
        return text[:LONGEST_TEXT]
    return _CONTROL.sub("", unicodedata.normalize("NFC", text))[:LONGEST_TEXT]


def _digest(message: Json) -> str:
    """An id for a message without one: the same message again is known again."""
    return f"digest:{blake2b(written_json(message), digest_size=16).hexdigest()}"


def _instant(value: Any) -> datetime | None:
    """An instant as ISO 8601, in UTC where it names no zone, or in milliseconds since 1970."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
        if type(value) in (int, float) and abs(value) < _FURTHEST:
            return _EPOCH + timedelta(milliseconds=value)
    except (ValueError, OverflowError):
        pass
    return None


@lru_cache(maxsize=16_384)
def _offset(zone: str, quarter: int) -> int | None:
    """Minutes from UTC in an IANA zone, in that quarter of an hour since 1970: none changes its clocks within one."""
    found = _zone(zone)
    if found is None:
        return None
    try:
        offset = (_EPOCH + timedelta(seconds=quarter * _QUARTER)).astimezone(found).utcoffset()
    except OverflowError:  # at the ends of the calendar
        return None
    return int(offset.total_seconds() // 60) if offset is not None else None


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
