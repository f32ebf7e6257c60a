"""Which events of a batch are plain, as far as it shows without their types: all of them looked at at once."""

from typing import Final, NamedTuple

import numpy as np

from services.tracking.adapters.wire_scan import Numbers, Scan, scan
from services.tracking.domain import intake
from services.tracking.domain.identifiers import is_blocked

FEWEST: Final = 100
"""Smaller batches are read as soon event by event, unless the time of sending is in them."""

_FAR: Final = 4_102_444_800 * intake.SECOND  # the year 2100
_LONGEST_BLOCKED: Final = len("undefined")
_LETTERS: Final = np.array([chr(it).isalnum() and it < 128 for it in range(256)])
_ZERO: Final = ord("0")


class PlainEvents(NamedTuple):
    """The events of a batch, as columns. What is said of one that is not `plain` means nothing.

    `name` is the same for the same source and type, `printed` is what does not depend on when it was sent, `occurred` in microseconds
    since 1970, and `filled` has a bit for each of the texts of an event that is not empty.
    """

    plain: list[bool]
    names: list[bytes]
    message_ids: list[bytes]
    properties: list[bytes]
    payloads: list[bytes]
    printed: list[bytes]
    occurred: list[int]
    filled: list[int]


def plain_events(content: bytes, count: int, received: int) -> PlainEvents:
    """Of a serialised TrackBatchRequest with `count` events, received at `received`."""
    found = scan(content, count)
    occurred = found.original
    is_sent = found.sent_field.size > 0
    if np.count_nonzero(is_sent):
        occurred = np.where(is_sent, received - (found.sent - occurred), occurred)
    age = received - occurred
    plain = found.ordinary & (found.texts[0].size > 0) & (found.original >= intake.SECOND) & (found.original < _FAR)
    plain &= (age >= -intake.FUTURE_TOLERANCE) & (age <= intake.LATE_AFTER) & (found.offset <= intake.FURTHEST_OFFSET)
    _leave_blocked(content, found, plain)
    payloads = found.events.cut(content)
    return PlainEvents(
        plain.tolist(),
        found.names.cut(content),
        found.texts[0].cut(content),
        found.properties.cut(content),
        payloads,
        _without_sent_time(content, found) if np.count_nonzero(is_sent) else payloads,
        occurred.tolist(),
        _filled(found).tolist(),
    )


def _leave_blocked(content: bytes, found: Scan, plain: np.ndarray) -> None:
    """An event of which the first identifier tells nobody is not plain."""
    octets, values = np.frombuffer(content, np.uint8), found.values
    first, last = octets.take(values.begin, mode="clip"), octets.take(values.end - 1, mode="clip")
    sure = (values.size > _LONGEST_BLOCKED) & _LETTERS[first] & (first != _ZERO) & _LETTERS[last]
    for index in np.flatnonzero(plain & ~sure).tolist():
        value = content[values.begin[index] : values.end[index]]
        plain[index] = bool(value) and not is_blocked(value.decode())


def _without_sent_time(content: bytes, found: Scan) -> list[bytes]:
    head, tail = found.events.begin.tolist(), found.events.end.tolist()
    begin, end = found.sent_field.begin.tolist(), found.sent_field.end.tolist()
    return [content[it[0] : it[1]] + content[it[2] : it[3]] for it in zip(head, begin, end, tail, strict=True)]


def _filled(found: Scan) -> Numbers:
    filled = np.zeros(len(found.ordinary), np.int64)
    for bit, it in enumerate(found.texts):
        if it.begin is not it.end:
            filled |= (it.size > 0).astype(np.int64) << bit
    return filled
