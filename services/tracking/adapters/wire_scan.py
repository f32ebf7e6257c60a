"""The events of a whole batch found in its serialised bytes at once, one column for each field: to ask for them one by one costs
six times as much.

Only what is ordinary is read here: one field after the other in the order of their numbers, as protobuf writes them, with nothing
unknown between them, and text that is printable ASCII. Whatever is not is left to who reads an event by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.tracking.domain.intake import LONGEST_TEXT

MOST_IDENTIFIERS: Final = 4

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Tags of the fields of messages, by their numbers: TrackBatchRequest, TrackedEvent, Identifier, EventContext, CampaignContext, Timestamp.
_EVENTS: Final = 0x12
_MESSAGE_ID, _SOURCE_KEY, _EVENT_TYPE, _IDENTIFIERS, _AUTHENTICATED = 0x0A, 0x12, 0x1A, 0x22, 0x28
_ORIGINAL_TIME, _SENT_TIME, _TZ_OFFSET_MINUTES, _CONTEXT, _PROPERTIES_JSON = 0x32, 0x3A, 0x40, 0x4A, 0x52
_IDENTIFIER: Final = (0x0A, 0x12, 0x1A)  # namespace, scope, value
_VERIFIED: Final = 0x20
_PLACE: Final = (0x0A, 0x12, 0x1A, 0x22, 0x2A)  # channel, app, page, content_id, page_view_id
_CAMPAIGN: Final = 0x32
_LED_BY: Final = (0x0A, 0x12, 0x1A, 0x22)  # code_key, delivery_id, share_id, staff_code
_SECONDS, _NANOS = 0x08, 0x10

_PADDING: Final = bytes(32)  # so that what looks ahead of the last event stays within


@dataclass(frozen=True, slots=True)
class Spans:
    """Where a field of each event begins and ends; at the same place where it is not set."""

    begin: Numbers
    end: Numbers

    @property
    def size(self) -> Numbers:
        return self.end - self.begin

    def cut(self, content: bytes) -> list[bytes]:
        """What is in them."""
        return [content[begin:end] for begin, end in zip(self.begin.tolist(), self.end.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class Scan:
    """What is where in a batch; of an event that is not `ordinary` nothing can be relied on but `events`.

    `names` holds source and event type, and is the same for the same; `texts` are message id, channel, app, page, content, page
    view, code key, delivery, share and staff code; `values` those of the first identifier. `sent_field` is all of the field
    with the time of sending. Times are in microseconds since 1970, 0 where they are not set.
    """

    events: Spans
    ordinary: Flags
    names: Spans
    texts: tuple[Spans, ...]
    values: Spans
    original: Numbers
    sent: Numbers
    sent_field: Spans
    offset: Numbers
    properties: Spans


def scan(content: bytes, count: int) -> Scan:
    """The `count` events of a serialised TrackBatchRequest."""
    events = _events(content, count)
    octets = np.frombuffer(bytearray(content + _PADDING), np.uint8)
    octets[events.end] = 0  # the tag of the event that follows, which a field of this one may have, too
    place = _Place(octets, events.begin)
    message_id, names = place.text(_MESSAGE_ID), place.at
    looked_at = [message_id, place.text(_SOURCE_KEY), place.text(_EVENT_TYPE)]
    kind = Spans(names, place.at)
    identifiers = _identifiers(place)
    place.switch(_AUTHENTICATED)
    original, before = place.instant(_ORIGINAL_TIME), place.at
    sent = place.instant(_SENT_TIME)
    sent_field = Spans(before, place.at)
    offset = place.number(_TZ_OFFSET_MINUTES)
    context = _context(place)
    properties = place.text(_PROPERTIES_JSON)
    ordinary = place.known & (place.at == events.end)
    ordinary &= _printable(octets, [*looked_at, *identifiers, *context])
    values = identifiers[len(_IDENTIFIER) - 1] if identifiers else Spans(events.begin, events.begin)
    return Scan(events, ordinary, kind, (message_id, *context), values, original, sent, sent_field, offset, properties)


def _events(content: bytes, count: int) -> Spans:
    begins, ends = [], []
    at = 0 if content[0] == _EVENTS else 2 + content[1]  # past a request id
    for _ in range(count):
        size, at = content[at + 1], at + 2
        if size > 127:
            size, shift = size & 127, 7
            while True:
                byte, at = content[at], at + 1
                size |= (byte & 127) << shift
                if byte < 128:
                    break
                shift += 7
        begins.append(at)
        at += size
        ends.append(at)
    return Spans(np.array(begins, np.int64), np.array(ends, np.int64))


def _identifiers(place: "_Place") -> list[Spans]:
    """Namespaces, scopes and values of the first ones, of the second, …"""
    found: list[Spans] = []
    for _ in range(MOST_IDENTIFIERS):
        here = place.begins(_IDENTIFIERS)
        if not np.count_nonzero(here):
            break
        inside = place.enter(here)
        found += [place.text(tag, here) for tag in _IDENTIFIER]
        place.switch(_VERIFIED, here)
        place.leave(here, inside)
    return found


def _context(place: "_Place") -> list[Spans]:
    found = [Spans(place.at, place.at)] * (len(_PLACE) + len(_LED_BY))
    here = place.begins(_CONTEXT)
    if np.count_nonzero(here):
        inside = place.enter(here)
        found[: len(_PLACE)] = [place.text(tag, here) for tag in _PLACE]
        led = place.begins(_CAMPAIGN, here)
        if np.count_nonzero(led):
            within = place.enter(led)
            found[len(_PLACE) :] = [place.text(tag, led) for tag in _LED_BY]
            place.leave(led, within)
        place.leave(here, inside)
    return found


def _printable(octets: npt.NDArray[np.uint8], texts: Sequence[Spans]) -> Flags:
    odd = np.zeros(len(octets) + 1, np.int32)
    np.cumsum((octets - 0x20) > 0x5E, out=odd[1:])  # below a space it wraps around
    fine: Flags = np.ones(len(texts[0].begin), np.bool_)
    for it in texts:
        if it.begin is not it.end:
            fine &= (odd[it.begin] == odd[it.end]) & (it.size <= LONGEST_TEXT)
    return fine


class _Place:
    """A place in each event of a batch, which moves past what is read; `known` is whether all of it was understood so far."""

    def __init__(self, octets: npt.NDArray[np.uint8], begin: Numbers) -> None:
        self._octets = octets
        self._last = len(octets) - len(_PADDING) // 2
        self.at = begin
        self.known: Flags = np.ones(len(begin), np.bool_)

    def begins(self, tag: int, where: Flags | None = None) -> Flags:
        """Whether a field with this tag is next."""
        found: Flags = self._octets[self.at] == tag
        return found if where is None else found & where

    def text(self, tag: int, where: Flags | None = None) -> Spans:
        """Pass a text, or bytes."""
        here = self.begins(tag, where)
        if not np.count_nonzero(here):
            return Spans(self.at, self.at)
        found = self.enter(here)
        self.at = found.end
        return found

    def enter(self, here: Flags) -> Spans:
        """What is in the field that is next where `here`; what is read then is read in it."""
        size = self._octets[self.at + 1] * here
        begin = self.at + 2 * here
        if size.max() > 127:
            long = size > 127
            more = self._octets[self.at + 2]
            self.known &= ~long | (more < 128)
            size = np.where(long, (size & 127) + 128 * more.astype(np.int64), size)
            begin += long
        end = np.minimum(begin + size, self._last)
        self.at = begin
        return Spans(begin, end)

    def leave(self, here: Flags, inside: Spans) -> None:
        """Nothing may be left of what was entered."""
        self.known &= ~here | (self.at == inside.end)

    def switch(self, tag: int, where: Flags | None = None) -> None:
        """Pass a flag, which is true where it is set."""
        here = self.begins(tag, where)
        if np.count_nonzero(here):
            self.at = np.minimum(self.at + 2 * here, self._last)

    def number(self, tag: int, where: Flags | None = None) -> Numbers:
        """Pass a number of up to five bytes; 0 where it is not set."""
        value: Numbers = np.zeros(len(self.at), np.int64)
        more = self.begins(tag, where)
        if not np.count_nonzero(more):
            return value
        at = self.at + more
        for shift in range(0, 35, 7):
            octet = self._octets[at]
            value |= (octet & 127).astype(np.int64) * more << shift
            at = np.minimum(at + more, self._last)
            more = more & (octet > 127)
            if not np.count_nonzero(more):
                break
        self.known &= ~more
        self.at = at
        return value

    def instant(self, tag: int) -> Numbers:
        """Pass a Timestamp."""
        here = self.begins(tag)
        if not np.count_nonzero(here):
            return np.zeros(len(here), np.int64)
        inside = self.enter(here)
        seconds, nanos = self.number(_SECONDS, here), self.number(_NANOS, here)
        self.leave(here, inside)
        self.known &= nanos < 1_000_000_000
        return seconds * 1_000_000 + nanos // 1000
