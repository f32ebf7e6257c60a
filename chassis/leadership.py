"""One at a time among all processes of a service: session advisory locks, and loops that go on after any failure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from time import perf_counter
from typing import Final

import sqlalchemy as sa
import structlog

from chassis.errors import described

log = structlog.get_logger()

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_HEALTHY_AFTER: Final = 5.0


class LeadershipLost(Exception):
    """The session that held the lock is gone; another process may lead by now."""


class Leadership:
    """A lock held by a database connection of its own, for as long as that lives."""

    def __init__(self, connection: sa.Connection, key: int) -> None:
        self._connection = connection
        self._key = key

    async def check(self) -> None:
        """LeadershipLost if the connection is gone."""
        try:
            await asyncio.to_thread(self._connection.execute, sa.text("SELECT 1"))
        except sa.exc.SQLAlchemyError as error:
            raise LeadershipLost(str(error)) from error

    @classmethod
    def attempt(cls, engine: sa.Engine, name: str) -> "Leadership | None":
        """Take the lock called `name` if it is free."""
        candidate = cls.candidate(engine, name)
        if candidate.take():
            return candidate
        candidate.release()
        return None

    @classmethod
    def candidate(cls, engine: sa.Engine, name: str) -> "Leadership":
        """Somebody who may `take` the lock called `name`."""
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # the pool may open another one in its place
        return cls(connection, lock_key(name))

    def take(self) -> bool:
        """Take the lock if it is free."""
        return bool(self._connection.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}))

    def release(self) -> None:
        """Give the lock to whoever waits."""
        self._connection.close()


@asynccontextmanager
async def leading(engine: sa.Engine, name: str, *, pause: float = 0.5) -> AsyncIterator[Leadership]:
    """Wait until the lock called `name` is ours; release it at the end of the body."""
    candidate = await asyncio.to_thread(Leadership.candidate, engine, name)
    taking: asyncio.Future[bool] | None = None
    try:
        taken = False
        while not taken:
            taking = asyncio.ensure_future(asyncio.to_thread(candidate.take))
            taken = await asyncio.shield(taking)
            await asyncio.sleep(0 if taken else pause)
        yield candidate
    finally:
        if taking is not None:  # we may be cancelled while the answer is under way
            await asyncio.gather(taking, return_exceptions=True)
        await asyncio.shield(asyncio.to_thread(candidate.release))


def lock_key(name: str) -> int:
    """The key of an advisory lock of this name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


async def persevere(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` again and again until cancelled, whatever it raises; pauses grow to a second while it keeps failing."""
    pause = _FIRST_PAUSE
    while True:
        started = perf_counter()
        try:
            await work()
            pause = _FIRST_PAUSE
        except Exception as error:  # noqa: BLE001 (nothing a loop meets may end it)
            if perf_counter() - started > _HEALTHY_AFTER:
                pause = _FIRST_PAUSE
            log.warning("loop.failed", loop=name, error=described(error), retry_in=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
