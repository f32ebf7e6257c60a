"""What somebody's behaviours come to: contents opened, attention to them, touchpoints and hours of the day.

Opens and dwell are counted as in the trail of tracking (spec TR-3).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

VIEWED: Final = "content_viewed"
RELOAD: Final = timedelta(seconds=10)
BUCKET_SECONDS: Final = 10
FIRST_BUCKET_SECONDS: Final = 5
HOURS: Final = 24


class Seen(NamedTuple):
    """One behaviour. `buckets` are ten-second stretches of attention: how many from the start, or which ones."""

    type: str
    at: datetime
    channel: str
    content: str
    page_view: str
    buckets: int | Sequence[int] = ()
    wall_ms: int | None = None


@dataclass(slots=True)
class Engagement:
    """What somebody had to do with one content."""

    opens: int = 0
    dwell_seconds: int = 0
    last_open: datetime | None = None


@dataclass(slots=True)
class Visits:
    """The sum over behaviours; `channels` has the last use of each touchpoint, `hours` how many fall into each hour."""

    behaviours: int = 0
    first: datetime | None = None
    last: datetime | None = None
    channels: dict[str, datetime] = field(default_factory=dict)
    hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    contents: dict[str, Engagement] = field(default_factory=dict)

    @property
    def opens(self) -> int:
        return sum(it.opens for it in self.contents.values())

    @property
    def dwell_seconds(self) -> int:
        return sum(it.dwell_seconds for it in self.contents.values())


@dataclass(slots=True)
class _PageView:
    content: str
    opened: bool = False
    from_start: int = 0
    buckets: set[int] = field(default_factory=set)
    wall_ms: int | None = None

    def take(self, seen: Seen) -> None:
        if isinstance(seen.buckets, int):
            self.from_start = max(self.from_start, seen.buckets)
        else:
            self.buckets.update(seen.buckets)
        if seen.wall_ms is not None:
            self.wall_ms = max(seen.wall_ms, self.wall_ms or 0)

    @property
    def dwell_seconds(self) -> int:
        """10 s for each distinct bucket but the first, which counts 5 s; never longer than the page was open."""
        distinct = self.from_start + sum(1 for it in self.buckets if it >= self.from_start)
        if distinct == 0:
            return 0
        active = BUCKET_SECONDS * (distinct - 1) + FIRST_BUCKET_SECONDS
        return active if self.wall_ms is None else min(active, self.wall_ms // 1000)


def visits(behaviours: Iterable[Seen], hour_of: Callable[[datetime], int]) -> Visits:
    """The sum over behaviours in the order in which they occurred; `hour_of` tells the local hour of an instant."""
    found = Visits()
    pages: dict[str, _PageView] = {}
    for it in behaviours:
        found.behaviours += 1
        found.first = found.first or it.at
        found.last = it.at
        found.hours[hour_of(it.at)] += 1
        if it.channel:
            found.channels[it.channel] = it.at
        if not it.page_view:
            continue
        page = pages.get(it.page_view)
        if page is None:
            page = pages[it.page_view] = _PageView(it.content)
        if it.buckets or it.wall_ms is not None:
            page.take(it)
        if it.type == VIEWED and not page.opened:
            page.opened, page.content = True, it.content
            content = found.contents.setdefault(it.content, Engagement())
            if content.last_open is None or it.at - content.last_open > RELOAD:
                content.opens += 1
                content.last_open = it.at
    for page in pages.values():
        if seconds := page.dwell_seconds:
            found.contents.setdefault(page.content, Engagement()).dwell_seconds += seconds
    return found
