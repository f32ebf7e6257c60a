"""A thread that takes all work that waits and does it in one go."""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from time import sleep
from typing import Final, Generic, TypeVar

J = TypeVar("J")

_GATHER_SECONDS: Final = 0.003


class Writer(Generic[J]):
    """Hands everything put so far, up to `limit` jobs at a time, to `commit` in its own thread.

    While one group commits the next one gathers: the slower the disk, the larger the groups. Where several callers are at work, a
    group smaller than the one before waits for the others, `gather` seconds: a commit costs as much for one as for many.
    """

    def __init__(self, commit: Callable[[Sequence[J]], None], limit: int, *, gather: float = _GATHER_SECONDS) -> None:
        self._commit = commit
        self._limit = limit
        self._gather = gather
        self._waiting: deque[J] = deque()
        self._changed = Condition()
        self._stopping = False
        self._last = 0
        self._thread: Thread | None = None

    def start(self) -> None:
        self._thread = Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Do what waits, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread:
            self._thread.join()

    def put(self, job: J) -> None:
        with self._changed:
            if self._stopping or self._thread is None:
                raise RuntimeError("the writer is not running")
            self._waiting.append(job)
            self._changed.notify()

    def _loop(self) -> None:
        while jobs := self._take():
            self._commit(jobs)

    def _take(self) -> list[J]:
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            is_early = 1 < self._last > len(self._waiting) and self._gather and not self._stopping
        if is_early:
            sleep(self._gather)
        with self._changed:
            count = self._last = min(len(self._waiting), self._limit)
            return [self._waiting.popleft() for _ in range(count)]
