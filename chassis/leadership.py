"""One at a time among all processes of a service: session advisory locks, and loops that go on after any failure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from threading import Lock
from time import monotonic, perf_counter
from typing import Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa
import structlog

from chassis.errors import described
from chassis.loops import CHECK_SECONDS
from chassis.threads import in_thread

log = structlog.get_logger()

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_HEALTHY_AFTER: Final = 1.0
_SEEN_SECONDS: Final = 2.0


class LeadershipLost(Exception):
    """The session that held the lock is gone; another process may lead by now."""


class Leadership:
    """A lock held by the session that all locks of this process and engine share, for as long as that lives."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._session = _session_of(engine)
        self._key = lock_key(name)
        self._generation = 0
        self._joined = False

    async def check(self) -> None:
        """LeadershipLost if the session is gone; somebody looks at it at least every other second."""
        if not self._session.was_seen(self._generation):
            await in_thread(self._session.look, self._generation)

    async def work(self, step: Callable[[], Awaitable[Any]], rest: Callable[[], Awaitable[None]]) -> None:
        """Do `step` again and again, and `rest` whenever it found nothing to do; LeadershipLost when that is over."""
        check = monotonic() + CHECK_SECONDS
        while True:
            if not await step():
                await rest()
            if monotonic() > check:
                await self.check()
                check = monotonic() + CHECK_SECONDS

    @classmethod
    def attempt(cls, engine: sa.Engine, name: str) -> "Leadership | None":
        """Take the lock called `name` if it is free."""
        candidate = cls(engine, name)
        try:
            if candidate.take():
                return candidate
        except BaseException:
            candidate.release()
            raise
        candidate.release()
        return None

    def take(self) -> bool:
        """Take the lock if it is free; nobody in this process may hold it either."""
        if not self._joined:
            self._session.join()
            self._joined = True
        self._generation = self._session.take(self._engine, self._key)
        return self._generation > 0

    def release(self) -> None:
        """Give the lock to whoever waits."""
        if self._joined:
            self._session.leave(self._key, self._generation)
            self._joined = False


class _Session:
    """One connection with the locks of all who lead in this process. When it is lost all of them are, and a new generation begins."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._connection: sa.Connection | None = None
        self._generation = 1
        self._held: set[int] = set()
        self._users = 0
        self._seen = 0.0

    def join(self) -> None:
        with self._turn:
            self._users += 1

    def leave(self, key: int, generation: int) -> None:
        """Give up a lock, where `generation` says that it was taken; the connection is closed when everybody has left."""
        with self._turn:
            self._users -= 1
            if generation == self._generation and key in self._held:
                self._held.remove(key)
                with suppress(sa.exc.SQLAlchemyError):
                    self._ask("SELECT pg_advisory_unlock(:key)", key)
            if not self._users and self._connection is not None:
                self._connection.close()
                self._connection = None

    def take(self, engine: sa.Engine, key: int) -> int:
        """The generation in which the lock was taken; 0 if somebody has it."""
        with self._turn:
            if self._connection is None:
                self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._connection.detach()  # the pool may open another one in its place
            if key in self._held or not self._ask("SELECT pg_try_advisory_lock(:key)", key):
                return 0
            self._held.add(key)
            return self._generation

    def was_seen(self, generation: int) -> bool:
        """Whether the session has just been looked at, and is the one of `generation`."""
        return generation == self._generation and monotonic() - self._seen < _SEEN_SECONDS

    def look(self, generation: int) -> None:
        with self._turn:
            if generation == self._generation:
                try:
                    self._ask("SELECT :key", 1)
                    return
                except sa.exc.SQLAlchemyError as error:
                    raise LeadershipLost(str(error)) from error
            raise LeadershipLost("the session was lost")

    def _ask(self, query: str, key: int) -> Any:
        """The answer to a question with one parameter; after a failure everybody has lost."""
        assert self._connection is not None  # noqa: S101 - whoever asks has taken something
        try:
            answer = self._connection.scalar(sa.text(query), {"key": key})
        except sa.exc.SQLAlchemyError:
            self._generation += 1
            self._held.clear()
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
            raise
        self._seen = monotonic()
        return answer


_sessions: Final[WeakKeyDictionary[sa.Engine, _Session]] = WeakKeyDictionary()
_sessions_turn: Final = Lock()


def _session_of(engine: sa.Engine) -> _Session:
    with _sessions_turn:
        if engine not in _sessions:
            _sessions[engine] = _Session()
        return _sessions[engine]


@asynccontextmanager
async def leading(engine: sa.Engine, name: str, *, pause: float = 0.5) -> AsyncIterator[Leadership]:
    """Wait until the lock called `name` is ours; release it at the end of the body."""
    candidate = Leadership(engine, name)
    taking: asyncio.Future[bool] | None = None
    try:
        taken = False
        while not taken:
            taking = asyncio.ensure_future(in_thread(candidate.take))
            taken = await asyncio.shield(taking)
            await asyncio.sleep(0 if taken else pause)
        yield candidate
    finally:
        if taking is not None:  # we may be cancelled while the answer is under way
            await asyncio.gather(taking, return_exceptions=True)
        await asyncio.shield(in_thread(candidate.release))


def lock_key(name: str) -> int:
    """The key of an advisory lock of this name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


async def persevere(name: str, work: Callable[[], Awaitable[None]], now: Callable[[], float] = perf_counter) -> None:
    """Do `work` again and again until cancelled, whatever it raises; pauses grow to a second while it keeps failing at once."""
    pause = _FIRST_PAUSE
    while True:
        started = now()
        try:
            await work()
            pause = _FIRST_PAUSE
        except Exception as error:  # noqa: BLE001 (nothing a loop meets may end it)
            if now() - started > _HEALTHY_AFTER:
                pause = _FIRST_PAUSE
            log.warning("loop.failed", loop=name, error=described(error), retry_in=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
