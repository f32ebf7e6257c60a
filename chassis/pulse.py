"""A nudge for loops that poll: look now, something was just committed here.

Polling stays the rule, since other processes commit too; the nudge takes the waiting out of what this process did itself. All who
wait for the same time wake at the same moments, so that what they then ask the database travels together (chassis.quick_look).
"""

import asyncio
from contextlib import suppress
from typing import Final

_GATHER_SECONDS: Final = 0.002
_AS_GOOD_AS_NOW: Final = 0.25


class News:
    """What a commit may have brought, so that nobody looks for the others: a commit of the bus events, timers and, any of them,
    rows; `BESIDE` is what is committed beside the bus. Any of them together are their sum: bits, since beats are many."""

    EVENTS: Final = 1
    TIMERS: Final = 2
    ROWS: Final = 4
    BESIDE: Final = 8
    ANY: Final = 15


class Pulse:
    """Beats when there may be work; may be told so from any thread."""

    def __init__(self) -> None:
        self._beats: dict[int, int] = {}
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._due: dict[float, set[asyncio.Future[None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._origin: float | None = None

    def beat(self, news: int = News.ANY) -> None:
        """Wake everybody who waits for any of `news`."""
        for wanted in tuple(self._beats):
            if wanted & news:
                self._beats[wanted] += 1
        if self._waiting and self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake, news)

    def beats(self, news: int) -> int:
        """Grows with every beat for any of `news`, which somebody listens for."""
        return self._beats[news]

    def listener(self, news: int = News.ANY) -> "Listener":
        """An ear of its own for one loop, which hears the beats for `news`."""
        self._beats.setdefault(news, 0)
        return Listener(self, news)

    async def wait(self, news: int, seen: int, seconds: float) -> None:
        """Until there are more than `seen` beats for `news`, or about so many seconds have passed: a quarter more at the most."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._due.clear()
        woken: asyncio.Future[None] = loop.create_future()
        self._waiting[woken] = news
        moment = self._moment(loop.time(), seconds)
        if moment not in self._due:  # one timer for all: of several, a clock of milliseconds makes several wake-ups
            self._due[moment] = set()
            loop.call_at(moment, self._wake_at, moment)
        self._due[moment].add(woken)
        if self.beats(news) != seen:  # it has beaten while we sat down
            _release(woken)
        try:
            await woken
        finally:
            self._waiting.pop(woken, None)
            if moment in self._due:
                self._due[moment].discard(woken)

    def _moment(self, now: float, seconds: float) -> float:
        """The next of the moments, `seconds` apart, that all who wait for so long have in common; not one that is as good as now."""
        if seconds <= 0:
            return now
        if self._origin is None:
            self._origin = now
        gone = int((now - self._origin) / seconds)
        moment = self._origin + (gone + 1) * seconds
        return moment if moment - now >= seconds * _AS_GOOD_AS_NOW else self._origin + (gone + 2) * seconds

    def _wake_at(self, moment: float) -> None:
        for woken in self._due.pop(moment, ()):
            _release(woken)

    def _wake(self, news: int) -> None:
        for woken, wanted in self._waiting.items():
            if wanted & news:
                _release(woken)


class Listener:
    """Remembers the last beat it heard, so that one between two waits is not lost."""

    def __init__(self, pulse: Pulse, news: int) -> None:
        self._pulse = pulse
        self._news = news
        self._seen = pulse.beats(news)

    async def wait(self, seconds: float) -> None:
        """Until a beat not heard yet, for about `seconds`. What beats together is waited for a moment longer."""
        pulse, news = self._pulse, self._news
        if pulse.beats(news) == self._seen:
            await pulse.wait(news, self._seen, seconds)
        if pulse.beats(news) != self._seen:
            await asyncio.sleep(min(_GATHER_SECONDS, seconds))
        self._seen = pulse.beats(news)


def _release(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
