"""The end of a log, read and decoded once for everybody who follows it."""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, Final, Protocol

import sqlalchemy as sa

from chassis import inbox
from chassis.log import EventStore
from chassis.pulse import News, Pulse
from chassis.quick_look import QuickLook
from chassis.threads import in_thread

Entry = tuple[int, Any]
"""A position and what is there."""

_KEPT: Final = 4000


class Log(Protocol):
    """A log that projections are made of."""

    def read(self, after: int, limit: int) -> Sequence[Entry]: ...

    def head_now(self) -> Awaitable[int]: ...

    @property
    def news(self) -> int:
        """The beats that may be about it (`chassis.pulse.News`)."""
        ...


class EventSource:
    """The service's own events."""

    news = News.EVENTS

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def read(self, after: int, limit: int) -> Sequence[Entry]:
        return [(it.position, it) for it in self._store.read_log(after, limit)]

    def head_now(self) -> Awaitable[int]:
        return self._store.head_now()


class InboxSource:
    """Messages of other services that were kept."""

    news = News.ROWS

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._look = QuickLook(engine)

    def read(self, after: int, limit: int) -> Sequence[Entry]:
        return inbox.entries(self._look.rows(inbox.READ, {"after": after, "limit": limit}))

    def head_now(self) -> Awaitable[int]:
        return QuickLook.of(self._engine).ask_scalar(inbox.HEAD)


class Tail:
    """The last entries of a source, in memory. Followers who are further behind read the source themselves."""

    def __init__(
        self, source: Log, *, poll: float, pulse: Pulse | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._source = source
        self._poll = poll
        self._news = (pulse or Pulse()).listener(source.news)
        self._clock = clock
        self._turn = asyncio.Lock()
        self._looked = float("-inf")
        self.clear()

    def clear(self) -> None:
        """Forget everything: the log may have been restored to before what we know."""
        self._floor: int | None = None
        self._positions: list[int] = []
        self._entries: list[Entry] = []

    async def read(self, after: int, limit: int) -> Sequence[Entry]:
        """Up to `limit` entries after `after`; waits for one poll before it says that there are none."""
        if (known := self._known(after, limit)) is not None and known:
            return known
        async with self._turn:
            known = self._known(after, limit)
            if known:
                return known
            if known is None and self._floor is not None and after < self._floor:
                return await in_thread(self._source.read, after, limit)
            await self._news.wait(self._poll if self._clock() < self._looked + self._poll else 0)
            found: Sequence[Entry] = ()
            if await self._source.head_now() > after:  # asked together with what others who were woken ask
                found = await in_thread(self._source.read, after, limit)
            self._looked = self._clock() if len(found) < limit else float("-inf")
            self._keep(after, found)
            return found

    def _known(self, after: int, limit: int) -> Sequence[Entry] | None:
        """What is in memory after `after`; None if memory does not reach back that far, or not up to there."""
        if self._floor is None or after < self._floor or after > self._end:
            return None
        start = bisect_right(self._positions, after)
        return self._entries[start : start + limit]

    @property
    def _end(self) -> int:
        return self._positions[-1] if self._positions else self._floor or 0

    def _keep(self, after: int, found: Sequence[Entry]) -> None:
        if self._floor is None or after != self._end:
            self.clear()
            self._floor = after
        self._entries += found
        self._positions += [position for position, _ in found]
        if len(self._entries) > 2 * _KEPT:
            self._floor = self._positions[-_KEPT - 1]
            self._entries, self._positions = self._entries[-_KEPT:], self._positions[-_KEPT:]
