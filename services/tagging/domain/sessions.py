"""Sessions (spec TR-3): client events of one customer in one app family, no more than 30 minutes apart.

What is kept is the *visit*: a maximal run of events of one node. Visits lose nothing: the runs of the union of
some nodes are the runs of the union of their visits. So a merge needs no events, and a late event that fills a gap
joins two visits into the same one that arrival in order would have given.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

LONGEST_PAUSE = timedelta(minutes=30)

FAMILY_OF_CHANNEL = dict.fromkeys(
    ("channels_video", "community", "h5", "livestream", "mini_program", "moments", "oa", "wecom"), "wechat"
)
"""Channels that are one app to their user; every other channel is a family of its own."""

SERVER_EVENT_TYPES = frozenset({"competitor_purchase_reported", "order_reviewed"})
"""Behaviours reported by other systems: the customer was not necessarily there."""


class Visit(NamedTuple):
    """A run of events in which no pause is longer than 30 minutes; `offset` is what the device of its first reported."""

    family: str
    start: datetime
    end: datetime
    offset: int | None


def opens_session(event_type: str) -> bool:
    return event_type not in SERVER_EVENT_TYPES


def family_of(channel: str) -> str:
    return FAMILY_OF_CHANNEL.get(channel, channel)


def event(channel: str, at: datetime, offset: int | None) -> Visit:
    """One client event as the shortest of visits."""
    return Visit(FAMILY_OF_CHANNEL.get(channel, channel), at, at, offset)


def join(visits: Iterable[Visit]) -> list[Visit]:
    """The maximal runs of `visits`, by family and start; the same for any order and grouping of them."""
    joined: list[Visit] = []
    last: Visit | None = None
    for visit in sorted(visits, key=_by_start):
        if last is None or visit.family != last.family or visit.start - last.end > LONGEST_PAUSE:
            if last is not None:
                joined.append(last)
            last = visit
        elif visit.end > last.end:
            last = last._replace(end=visit.end)
    if last is not None:
        joined.append(last)
    return joined


def sessions(visits: Sequence[Visit]) -> list[Visit]:
    """The sessions of a customer out of the visits of all its nodes, by start."""
    return sorted(join(visits), key=_by_time)


def _by_start(visit: Visit) -> tuple[str, datetime, int]:
    """Among events of one instant the one with the smallest offset counts as the first; a known offset before none."""
    return visit.family, visit.start, 100_000 if visit.offset is None else visit.offset


def _by_time(visit: Visit) -> tuple[datetime, str]:
    return visit.start, visit.family
