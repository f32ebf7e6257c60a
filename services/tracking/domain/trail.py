"""The behaviour trail of a customer (TR-3): opens, dwell and sessions, from facts in any order of arrival."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

VIEWED: Final = "content_viewed"
ENGAGED: Final = "content_engaged"
LEFT: Final = "content_left"

RELOAD: Final = timedelta(seconds=10)
SESSION_GAP: Final = timedelta(minutes=30)
BUCKET_SECONDS: Final = 10
FIRST_BUCKET_SECONDS: Final = 5

# Reported by servers or staff long after or far from what the customer has in hand: no part of a session.
OUTSIDE_SESSIONS: Final = frozenset(
    {"call_connected", "order_cancelled", "order_completed", "order_refunded", "order_reviewed", "store_visited"}
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One thing a customer did."""

    message_id: str
    source_key: str
    event_type: str
    category: str
    node: UUID
    occurred_at: datetime
    received_at: datetime
    channel: str
    app: str
    page: str
    content_id: str
    page_view_id: str
    properties: str

    @property
    def place(self) -> tuple[datetime, datetime, str, str]:
        """What the trail is sorted by; unique."""
        return self.occurred_at, self.received_at, self.message_id, self.source_key


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """A behaviour with what only the whole trail tells; see TR-3 for the numbers."""

    behaviour: Behaviour
    sequence: int
    nth_open: int
    dwell_seconds: int
    session: int


@dataclass(slots=True)
class Engagement:
    """What a customer had to do with one content."""

    opens: int = 0
    dwell_seconds: int = 0
    first_view: datetime | None = None
    last_view: datetime | None = None
    last_open: datetime | None = field(default=None, repr=False)


def dwell_seconds(buckets: int, wall_ms: int | None) -> int:
    """The seconds of so many distinct buckets of one page view, which was open for `wall_ms` (None: nobody knows)."""
    if buckets == 0:
        return 0
    active = BUCKET_SECONDS * (buckets - 1) + FIRST_BUCKET_SECONDS
    return active if wall_ms is None else min(active, wall_ms // 1000)


@dataclass(slots=True)
class PageView:
    """What is known of one loading of a page."""

    content_id: str = ""
    nth_open: int = 0
    from_start: int = 0
    buckets: set[int] = field(default_factory=set)
    wall_ms: int | None = None

    def engaged(self, properties: dict[str, Any]) -> None:
        """Add the buckets of one report; a number means that many from the start of the page view."""
        active = properties.get("active_buckets", 0)
        if isinstance(active, list):
            self.buckets.update(active)
        else:
            self.from_start = max(self.from_start, active)
        self.lasted(properties.get("wall_ms"))

    def lasted(self, wall_ms: int | None) -> None:
        if wall_ms is not None:
            self.wall_ms = max(wall_ms, self.wall_ms or 0)

    @property
    def dwell_seconds(self) -> int:
        """10 s for each distinct bucket but the first, which counts 5 s; never longer than the page was open."""
        distinct = self.from_start + sum(1 for bucket in self.buckets if bucket >= self.from_start)
        return dwell_seconds(distinct, self.wall_ms)


@dataclass(slots=True)
class Session:
    """What a customer did in one go in one app or channel (`family`); `number` counts from 1 in it, `end` is the last event."""

    family: str
    number: int
    start: datetime
    end: datetime
    events: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """Behaviours by hour of the day, the number of days with any, and the time of the last."""

    hours: tuple[int, ...]
    active_days: int
    last_at: datetime | None


def family_of(behaviour: Behaviour) -> str:
    """Within what sessions are counted."""
    return behaviour.app or behaviour.channel


class Trail:
    """Everything a customer did, in the order in which it happened."""

    def __init__(self, behaviours: Iterable[Behaviour]) -> None:
        self._behaviours: Sequence[Behaviour] = sorted(behaviours, key=lambda it: it.place)
        self._page_views: dict[str, PageView] = {}
        self._contents: dict[str, Engagement] = {}
        for behaviour in self._behaviours:
            self._take(behaviour)

    @property
    def is_empty(self) -> bool:
        return not self._behaviours

    def entries(self) -> list[TrailEntry]:
        """The rows of the trail; the dwell of a page view stands at its first row, or at its first view if there is one."""
        sessions = self._sessions()
        dwell_at = self._dwell_rows()
        return [
            TrailEntry(
                behaviour=it,
                sequence=index + 1,
                nth_open=self._page_view(it).nth_open if it.event_type == VIEWED else 0,
                dwell_seconds=self._page_view(it).dwell_seconds if index in dwell_at else 0,
                session=sessions[index],
            )
            for index, it in enumerate(self._behaviours)
        ]

    def engagement(self) -> dict[str, Engagement]:
        """What the customer had to do with each content; "" holds engagement whose content nobody reported."""
        totals = dict(self._contents)
        for page_view in self._page_views.values():
            seconds = page_view.dwell_seconds
            if seconds:
                totals.setdefault(page_view.content_id, Engagement()).dwell_seconds += seconds
        return totals

    def sessions(self) -> list[Session]:
        """By the time they began, then by family; sessions of two families may overlap."""
        found: dict[tuple[str, int], Session] = {}
        for it, number in zip(self._behaviours, self._sessions(), strict=True):
            if number:
                session = found.setdefault(
                    (family_of(it), number), Session(family_of(it), number, it.occurred_at, it.occurred_at)
                )
                session.end = it.occurred_at
                session.events += 1
        return sorted(found.values(), key=lambda it: (it.start, it.family))

    def activity(self, zone: ZoneInfo) -> Activity:
        """When the customer does something, by the clock of `zone`."""
        local = [it.occurred_at.astimezone(zone) for it in self._behaviours]
        hours = [0] * 24
        for at in local:
            hours[at.hour] += 1
        last = self._behaviours[-1].occurred_at if self._behaviours else None
        return Activity(tuple(hours), len({at.date() for at in local}), last)

    def _take(self, behaviour: Behaviour) -> None:
        match behaviour.event_type:
            case "content_viewed":
                self._open(behaviour)
            case "content_engaged":
                self._page_view(behaviour).engaged(orjson.loads(behaviour.properties))
            case "content_left":
                self._page_view(behaviour).lasted(orjson.loads(behaviour.properties).get("duration_ms"))

    def _open(self, viewed: Behaviour) -> None:
        """Count an open, unless it is the same page view or a reload within 10 s of the open before."""
        page_view = self._page_view(viewed)
        content = self._contents.setdefault(viewed.content_id, Engagement())
        at = viewed.occurred_at
        content.first_view = content.first_view or at
        content.last_view = at
        page_view.content_id = viewed.content_id
        if page_view.nth_open:
            return
        if content.last_open is None or at - content.last_open > RELOAD:
            content.opens += 1
            content.last_open = at
        page_view.nth_open = content.opens

    def _page_view(self, behaviour: Behaviour) -> PageView:
        page_view = self._page_views.setdefault(behaviour.page_view_id, PageView())
        page_view.content_id = page_view.content_id or behaviour.content_id
        return page_view

    def _dwell_rows(self) -> set[int]:
        """The index of the row that shows the dwell of each page view."""
        rows: dict[str, int] = {}
        for wanted in (VIEWED, ENGAGED):
            for index, it in enumerate(self._behaviours):
                if it.event_type == wanted:
                    rows.setdefault(it.page_view_id, index)
        return set(rows.values())

    def _sessions(self) -> list[int]:
        """The session of each row per app or channel: a new one after more than 30 minutes without a client event."""
        last: dict[str, tuple[datetime, int]] = {}
        numbers: list[int] = []
        for it in self._behaviours:
            if it.event_type in OUTSIDE_SESSIONS:
                numbers.append(0)
                continue
            family = family_of(it)
            before, number = last.get(family, (None, 0))
            if before is None or it.occurred_at - before > SESSION_GAP:
                number += 1
            last[family] = (it.occurred_at, number)
            numbers.append(number)
        return numbers
