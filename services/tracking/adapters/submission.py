"""A batch of events as it comes over the wire, judged event by event and made into rows that only wait to be copied."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Final, TypeAlias

from chassis.context import Call, Context
from scrm.tracking.v1 import behaviour_pb2, tracking_service_pb2
from services.tracking.adapters import binary_copy as pg
from services.tracking.adapters.event_rules import (
    FIRST_VALUE,
    MOST_TEXTS,
    Read,
    judged,
    malformed,
    read_properties,
    read_small_properties,
)
from services.tracking.adapters.plain_events import FEWEST, plain_events
from services.tracking.domain import intake
from services.tracking.domain.event_types import EventType
from services.tracking.domain.identifiers import is_blocked
from services.tracking.domain.intake import Properties, Verdict
from services.tracking.domain.plan import PRESET_PLAN, Plan

ACCEPTED_COLUMNS: Final = (
    "tenant", "received_at", "traceparent", "source_key", "event_type", "occurred_at", "late", "message_id", "payload",
)  # fmt: skip

# Bounds of what is plain; as names of this module they are found in half the time.
_SECOND: Final = intake.SECOND
_LONGEST_TEXT: Final = intake.LONGEST_TEXT
_FURTHEST_OFFSET: Final = intake.FURTHEST_OFFSET
_SOONEST: Final = -intake.FUTURE_TOLERANCE
_ON_TIME: Final = intake.LATE_AFTER
_NANOS: Final = 1_000_000_000
_FAR: Final = 4_102_444_800  # the year 2100
_SMALL: Final = 256

# occurred_at, late and the size of the message id, as they follow each other in a row.
_moment = Struct(">iqi?i").pack

Label: TypeAlias = tuple[str, str, bool]
"""By what an event is counted: source, type, whether it is late."""


@dataclass(slots=True)
class Submission:
    """One batch, as columns that are as long as the batch: a list costs a tenth of an object per event.

    `received` is in microseconds since 1970. `keys` and `prints` are 16-byte digests of what names an event and of what
    is in it, `rows` are rows of `accepted`. `verdicts` holds None for a plain event; a rejected one has an empty key.
    """

    tenant: str
    received: int
    call: Call | None
    events: Sequence[behaviour_pb2.TrackedEvent]
    keys: list[bytes] = field(default_factory=list)
    prints: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    verdicts: list[Verdict | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)

    def reject(self, verdict: Verdict, label: Label) -> None:
        self.keys.append(b"")
        self.prints.append(b"")
        self.rows.append(b"")
        self.labels.append(label)
        self.verdicts.append(verdict)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What all events of one source and type share: `head` is how their rows begin, `key_head` what names them, and
    `without_properties` what is to be said of those that have none.

    Those of a closed source are rejected. Of a plain kind most events are accepted as they are.
    """

    source_key: str
    type_name: str
    event_type: EventType | None
    is_closed: bool
    is_plain: bool
    on_time: Label
    late: Label
    head: bytes
    key_head: bytes
    without_properties: Read


class Reader:
    """Reads one batch by the plan of its tenant: everything about an event that can be said without looking at others.

    Events of the sources `closed` are rejected.
    """

    def __init__(
        self, context: Context, received: int, closed: Collection[str] = (), *, plan: Plan = PRESET_PLAN
    ) -> None:
        self._context = context
        self._plan = plan
        self._closed = closed
        self._received = received
        self._head = b"".join(
            (
                pg.columns_in_row(len(ACCEPTED_COLUMNS)),
                pg.text(context.tenant),
                pg.instant(received),
                pg.optional_text(context.traceparent),
            )
        )
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def read(self, request: tracking_service_pb2.TrackBatchRequest) -> Submission:
        """All events, in their order."""
        into = Submission(self._context.tenant, self._received, self._context.call, request.events)
        if len(request.events) < FEWEST:
            self._read_each(request.events, into)
        else:
            self._read_at_once(request, into)
        return into

    def _read_at_once(self, request: tracking_service_pb2.TrackBatchRequest, into: Submission) -> None:
        """What can be seen of all events at once is; those that are not plain are left to `_read_each`, which would say the same of
        the others. As there, names are at hand, because each call and each look-up costs a hundredth of the time an event may take.
        """
        keys, prints, rows, labels, verdicts = into.keys, into.prints, into.rows, into.labels, into.verdicts
        kinds: dict[bytes, _Kind] = {}
        digest, moment, size, join = blake2b, _moment, pg.size, b"".join
        columns = plain_events(request.SerializeToString(), len(request.events), self._received)
        for index, (is_plain, name, named, content, payload, printed, occurred, filled) in enumerate(
            zip(*columns, strict=True)
        ):
            kind = kinds.get(name) if is_plain else None
            if kind is None and is_plain:
                event = request.events[index]
                kind = kinds[name] = self._kind(event.source_key, event.event_type)
            if kind:
                read = _read_of(kind, content) if content else kind.without_properties
                if not kind.is_plain or not read.is_plain or filled & read.needed != read.needed:
                    kind = None
            if not kind:
                self._read_each((request.events[index],), into)
                continue
            keys.append(digest(kind.key_head + named, digest_size=16).digest())
            prints.append(digest(printed, digest_size=16).digest())
            verdicts.append(None)
            labels.append(kind.on_time)
            moved = moment(8, occurred - pg.EPOCH_MICROSECONDS, 1, False, len(named))
            rows.append(join((kind.head, moved, named, size(len(payload)), payload)))

    def _read_each(self, events: Iterable[behaviour_pb2.TrackedEvent], into: Submission) -> None:
        """One event after the other. What nearly all of them have in common is decided here in one piece; whatever is unusual is
        left to `_read_unusual`, which would say the same of the others."""
        keys, prints, rows, labels, verdicts = into.keys, into.prints, into.rows, into.labels, into.verdicts
        kinds, received, digest, moment, size, join = self._kinds, self._received, blake2b, _moment, pg.size, b"".join
        for event in events:
            source_key, type_name, message_id = event.source_key, event.event_type, event.message_id
            kind = kinds.get((source_key, type_name)) or self._kind(source_key, type_name)
            context, original, content = event.context, event.original_time, event.properties_json
            campaign, seconds, nanos = context.campaign, original.seconds, original.nanos
            texts = [
                message_id, context.channel, context.app, context.page, context.content_id, context.page_view_id,
                campaign.code_key, campaign.delivery_id, campaign.share_id, campaign.staff_code, "",
            ]  # fmt: skip
            for it in event.identifiers:
                texts += (it.namespace, it.scope, it.value)
            whole = "".join(texts)
            properties, places, _, is_plain = _read_of(kind, content) if content else kind.without_properties
            occurred = seconds * _SECOND + nanos // 1000
            age = received - occurred
            if (
                not kind.is_plain
                or not message_id
                or len(whole) > _LONGEST_TEXT
                or not whole.isascii()
                or not whole.isprintable()
                or not 0 < seconds < _FAR
                or not 0 <= nanos < _NANOS
                or not _SOONEST <= age <= _ON_TIME
                or event.HasField("sent_time")
                or not -_FURTHEST_OFFSET <= event.tz_offset_minutes <= _FURTHEST_OFFSET
                or not FIRST_VALUE < len(texts) <= MOST_TEXTS
                or not is_plain
                or is_blocked(texts[FIRST_VALUE])
                or (places and not all(map(texts.__getitem__, places)))
            ):
                self._read_unusual(event, kind, texts, properties, into)
                continue
            payload, named = event.SerializeToString(), message_id.encode()
            keys.append(digest(kind.key_head + named, digest_size=16).digest())
            prints.append(digest(payload, digest_size=16).digest())
            verdicts.append(None)
            labels.append(kind.on_time)
            moved = moment(8, occurred - pg.EPOCH_MICROSECONDS, 1, False, len(named))
            rows.append(join((kind.head, moved, named, size(len(payload)), payload)))

    def _read_unusual(
        self,
        event: behaviour_pb2.TrackedEvent,
        kind: _Kind,
        texts: Sequence[str],
        properties: Properties,
        into: Submission,
    ) -> None:
        """One event by every rule, one after the other."""
        verdict = malformed(event, texts, is_closed=kind.is_closed) or intake.rejection(properties)
        if verdict:
            into.reject(verdict, kind.on_time)
            return
        content, original = event.properties_json, event.original_time
        occurred = original.seconds * _SECOND + original.nanos // 1000
        payload = printed = event.SerializeToString()
        if event.HasField("sent_time"):
            sent = event.sent_time
            occurred = intake.occurred_at(occurred, sent.seconds * _SECOND + sent.nanos // 1000, self._received)
            printed = _without_sent_time(event)
        if properties.kept is not None:
            event.properties_json = properties.kept
            payload = event.SerializeToString()
        age = self._received - occurred
        late = age > intake.LATE_AFTER
        verdict = judged(kind.event_type, properties, texts, age)
        if verdict and verdict.outcome is intake.Outcome.QUARANTINED and properties.kept is not None:
            event.properties_json = content if properties.aside is None else properties.aside
        named = texts[0].encode()
        moment = _moment(8, occurred - pg.EPOCH_MICROSECONDS, 1, late, len(named))
        into.keys.append(blake2b(kind.key_head + named, digest_size=16).digest())
        into.prints.append(blake2b(printed, digest_size=16).digest())
        into.verdicts.append(verdict)
        into.labels.append(kind.late if late else kind.on_time)
        into.rows.append(b"".join((kind.head, moment, named, pg.size(len(payload)), payload)))

    def _kind(self, source_key: str, type_name: str) -> _Kind:
        counted = (_countable(source_key), _countable(type_name))
        event_type, is_closed = self._plan.find(type_name), source_key in self._closed
        is_well_named = intake.check_keys("-", source_key, type_name) is None
        kind = self._kinds[source_key, type_name] = _Kind(
            source_key,
            type_name,
            event_type,
            is_closed,
            is_well_named and not is_closed and event_type is not None,
            (*counted, False),
            (*counted, True),
            self._head + pg.text(source_key) + pg.text(type_name),
            f"{source_key}\0".encode(),
            read_properties(event_type, b""),
        )
        return kind


def _read_of(kind: _Kind, content: bytes) -> Read:
    """What is to be said of the properties of an event of the kind."""
    read = read_small_properties if len(content) <= _SMALL else read_properties
    return read(kind.event_type, content)


@lru_cache(maxsize=4096)
def result_frame(verdict: Verdict) -> bytes:
    """One result as it stands in a TrackBatchResponse; a response is its results one after the other."""
    result = behaviour_pb2.TrackResult(
        outcome=behaviour_pb2.TrackOutcome.Value(f"TRACK_OUTCOME_{verdict.outcome}"),
        reason=behaviour_pb2.TrackReason.Value(f"TRACK_REASON_{verdict.reason or 'UNSPECIFIED'}"),
        field=verdict.field,
        stripped_properties=verdict.stripped,
    )
    return tracking_service_pb2.TrackBatchResponse(results=[result]).SerializeToString()


def _without_sent_time(event: behaviour_pb2.TrackedEvent) -> bytes:
    """What is the same however often the event is sent."""
    copy = behaviour_pb2.TrackedEvent()
    copy.CopyFrom(event)
    copy.ClearField("sent_time")
    return copy.SerializeToString()


def _countable(text: str) -> str:
    """A source or type as it is counted, whatever it was sent as."""
    return text if len(text) <= intake.LONGEST_KEY and intake.is_clean(text) else "?"
