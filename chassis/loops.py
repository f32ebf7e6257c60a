"""What runs in the background of a service, and how it tells what it still has to do."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

CHECK_SECONDS: Final = 4.0
"""How often a loop makes sure that it still leads, that nobody changed things behind its back, and that nobody asked for more."""

_RESTART_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one loop is.

    `kind` is "log", "consumer", "projection", "timers" or "loop"; `name` the log, consumer, projection or loop and
    `stream` what a consumer reads. `position` grows with every piece of work. `backlog` counts all that is known to
    wait or to be in work: 0 only if nothing is in flight either. `head` is the end of the source as just looked up,
    not as remembered.
    """

    kind: str
    name: str
    position: int
    backlog: int
    head: int = 0
    stream: str = ""
    parked: int = 0
    version: int = 0


class Loop(Protocol):
    """Work that goes on until its task is cancelled."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None:
        """Work until cancelled; survive whatever can be retried."""

    async def progress(self) -> list[Progress]:
        """How far this loop is, looked up now; cheap enough to be called every 20 ms."""


async def supervised(loop: Loop) -> None:
    """Run `loop` until cancelled; when it fails all the same, say so and start it again."""
    while True:
        try:
            await loop.run()
            _log.error("loop.ended", loop=loop.name)
        except Exception as error:  # noqa: BLE001 (nothing a loop meets may end the process)
            _log.error("loop.failed", loop=loop.name, exc_info=error)
        await asyncio.sleep(_RESTART_SECONDS)


async def watched(loops: Sequence[Loop], observe: Callable[[Progress], None], every_seconds: float) -> None:
    """Tell `observe` how far each loop is, every so many seconds, until cancelled."""
    while True:
        await asyncio.sleep(every_seconds)
        looks = await asyncio.gather(*(it.progress() for it in loops), return_exceptions=True)  # asked all at once
        for loop, look in zip(loops, looks, strict=True):
            try:
                if isinstance(look, BaseException):
                    raise look
                for found in look:
                    observe(found)
            except Exception as error:  # noqa: BLE001 (a figure that is missing once does no harm)
                _log.warning("loop.unknown_progress", loop=loop.name, exc_info=error)
