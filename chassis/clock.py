"""Time as a port: the only place of the system that asks what time it is."""

from datetime import UTC, datetime
from time import time
from typing import Protocol


class Clock(Protocol):
    """Where the present comes from."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC, to the microsecond."""
        ...


class SystemClock:
    """The time of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def seconds(self) -> float:
        """The same in seconds since the epoch, as tokens and metrics have it."""
        return time()


class ReplayClock:
    """A clock that stands still until it is set, and never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = _utc(start)

    def now(self) -> datetime:
        return self._now

    def set(self, at: datetime) -> None:
        """Move to `at`; an earlier instant than the present one is a ValueError."""
        at = _utc(at)
        if at < self._now:
            raise ValueError(f"a replay clock never goes back: {at} is before {self._now}")
        self._now = at


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return at.astimezone(UTC)
