"""A nudge for loops that poll: look now, something was just committed here.

Polling stays the rule, since other processes commit too; the nudge takes the waiting out of what this process did itself. All who
wait for the same time wake at the same moments, so that what they then ask the database travels together (chassis.quick_look).
"""

import asyncio
from contextlib import suppress
from typing import Final

_GATHER_SECONDS: Final = 0.002
_AS_GOOD_AS_NOW: Final = 0.25


class Pulse:
    """Beats when there may be work; may be told so from any thread."""

    def __init__(self) -> None:
        self.beats = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._due: dict[float, set[asyncio.Future[None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._origin: float | None = None

    def beat(self) -> None:
        """Wake everybody who waits."""
        self.beats += 1
        if self._waiting and self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    def listener(self) -> "Listener":
        """An ear of its own for one loop."""
        return Listener(self)

    async def wait(self, seen: int, seconds: float) -> None:
        """Until it has beaten more than `seen` times, or about so many seconds have passed: a quarter more at the most."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._due.clear()
        woken: asyncio.Future[None] = loop.create_future()
        self._waiting.add(woken)
        moment = self._moment(loop.time(), seconds)
        if moment not in self._due:  # one timer for all: of several, a clock of milliseconds makes several wake-ups
            self._due[moment] = set()
            loop.call_at(moment, self._wake_at, moment)
        self._due[moment].add(woken)
        if self.beats != seen:  # it has beaten while we sat down
            _release(woken)
        try:
            await woken
        finally:
            self._waiting.discard(woken)
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

    def _wake(self) -> None:
        for woken in self._waiting:
            _release(woken)


class Listener:
    """Remembers the last beat it heard, so that one between two waits is not lost."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._seen = pulse.beats

    async def wait(self, seconds: float) -> None:
        """Until a beat not heard yet, for about `seconds`. What beats together is waited for a moment longer."""
        if self._pulse.beats == self._seen:
            await self._pulse.wait(self._seen, seconds)
        if self._pulse.beats != self._seen:
            await asyncio.sleep(min(_GATHER_SECONDS, seconds))
        self._seen = self._pulse.beats


def _release(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
