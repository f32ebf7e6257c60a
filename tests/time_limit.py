"""The time that a test may take, watched by one thread of the process: to start one for each takes longer than most tests."""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Any, Final

LOOK_SECONDS: Final = 0.25


class Watch:
    """Calls `end` of the test that is being watched once its time is over; at any moment it is one or none."""

    def __init__(self, end: Callable[[Any, Any], None], look_seconds: float = LOOK_SECONDS) -> None:
        self._end = end
        self._look_seconds = look_seconds
        self._watched: tuple[float, Any, Any] | None = None
        self._over = Event()
        self._thread: Thread | None = None

    def begin(self, item: Any, settings: Any) -> None:
        """`settings` are those of pytest-timeout; `settings.timeout` is in seconds from now."""
        self._watched = (monotonic() + settings.timeout, item, settings)
        if self._thread is None:
            self._thread = Thread(target=self._look, name="time limit", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        self._watched = None

    def close(self) -> None:
        self._over.set()
        if self._thread:
            self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(self._look_seconds):
            watched = self._watched
            if watched and monotonic() > watched[0]:
                self._watched = None
                self._end(*watched[1:])
