"""The rules for one event as it comes over the wire, and where among its texts they look."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from scrm.tracking.v1 import behaviour_pb2
from services.tracking.domain import intake
from services.tracking.domain.event_types import EventType
from services.tracking.domain.intake import Properties, Reason, Verdict

# The texts of an event that are looked at, followed by namespace, scope and value of each identifier.
_TEXTS: Final = (
    "message_id", "context.channel", "context.app", "context.page", "context.content_id", "context.page_view_id",
    "context.campaign.code_key", "context.campaign.delivery_id", "context.campaign.share_id",
    "context.campaign.staff_code", "",
)  # fmt: skip
_NOWHERE: Final = len(_TEXTS) - 1  # always empty
FIRST_VALUE: Final = len(_TEXTS) + 2
MOST_TEXTS: Final = len(_TEXTS) + 3 * intake.MOST_IDENTIFIERS

# Properties that may as well stand in the context of an event: where they are among its texts.
_IN_CONTEXT: Final = {
    "channel": 1,
    "page": 3,
    "content_id": 4,
    "page_view_id": 5,
    "code_key": 6,
    "share_id": 8,
    "staff": 9,
}


class Read(NamedTuple):
    """Properties, where among the texts of the event those may be that are missing (`places`, and as bits of `needed`), and whether
    there is nothing else about them."""

    properties: Properties
    places: tuple[int, ...]
    needed: int
    is_plain: bool


def read_properties(event_type: EventType | None, content: bytes) -> Read:
    """What is to be said of the properties of an event, given as JSON."""
    read = intake.read_properties(event_type, content)
    places = tuple(_IN_CONTEXT.get(name, _NOWHERE) for name in read.missing)
    is_plain = read.verdict is None and read.kept is None and not read.stripped
    return Read(read, places, sum({1 << it for it in places}), is_plain)


read_small_properties = lru_cache(maxsize=20_000)(read_properties)
"""Short properties are often the same."""


def malformed(event: behaviour_pb2.TrackedEvent, texts: Sequence[str], *, is_closed: bool) -> Verdict | None:
    """Reject what cannot be told from other events, comes from a closed source, or what PostgreSQL or identity could not take."""
    verdict = intake.check_keys(texts[0], event.source_key, event.event_type)
    if verdict:
        return verdict
    if is_closed:
        return intake.rejected(Reason.SOURCE_DISABLED, "source_key")
    if len(event.identifiers) > intake.MOST_IDENTIFIERS:
        return intake.rejected(Reason.TOO_MANY_IDENTIFIERS, "identifiers")
    if not event.HasField("original_time"):
        return intake.rejected(Reason.FIELD_REQUIRED, "original_time")
    if not intake.is_instant(event.original_time.seconds, event.original_time.nanos):
        return intake.rejected(Reason.BAD_FORMAT, "original_time")
    if event.HasField("sent_time") and not intake.is_instant(event.sent_time.seconds, event.sent_time.nanos):
        return intake.rejected(Reason.BAD_FORMAT, "sent_time")
    if not -intake.FURTHEST_OFFSET <= event.tz_offset_minutes <= intake.FURTHEST_OFFSET:
        return intake.rejected(Reason.OUT_OF_RANGE, "tz_offset_minutes")
    return intake.check_texts(texts, _text_name)


def judged(event_type: EventType | None, properties: Properties, texts: Sequence[str], age: int) -> Verdict | None:
    """What there is to say of a well-formed event."""
    missing = [it for it in properties.missing if not texts[_IN_CONTEXT.get(it, _NOWHERE)]]
    verdict = intake.judge(event_type, properties, missing, texts[FIRST_VALUE::3], age)
    if verdict is None and properties.stripped:
        return Verdict(intake.Outcome.ACCEPTED, stripped=properties.stripped)
    return verdict


def _text_name(index: int) -> str:
    """The field of the n-th text that is looked at."""
    return _TEXTS[index] if index < len(_TEXTS) else f"identifiers[{(index - len(_TEXTS)) // 3}]"
