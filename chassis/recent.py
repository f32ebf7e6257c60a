"""What was decoded a moment ago: the relay, the read models and others read the same end of the log, one after the other."""

from collections.abc import Callable
from typing import Final, Protocol

from chassis.log import Recorded

_KEPT: Final = 16_000
_KEPT_BYTES: Final = 8_000_000


class Stored(Protocol):
    """A stored event; equal to another if all of it is."""

    @property
    def state(self) -> bytes: ...


class Recent:
    """The last entries of a log that were read in this process, by position, with what they were decoded from.

    Whenever there are more than `kept` of them, or they were decoded from more than `kept_bytes`, the older half is forgotten: a
    thousand events that name 500 customers each are half a million objects, which the garbage collector would go through again and again.

    An entry is only used again for the very same stored event: a position of a log that was restored to an earlier moment may hold
    something else. Who reads it may not change it. May be used from any thread.
    """

    def __init__(self, kept: int = _KEPT, kept_bytes: int = _KEPT_BYTES) -> None:
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._entries: dict[int, tuple[Stored, Recorded]] = {}

    def entry(self, position: int, stored: Stored, decode: Callable[[], Recorded]) -> Recorded:
        """What is at `position`, where `stored` lies; decoded unless it is known."""
        known = self._entries.get(position)
        if known is not None and known[0] == stored:
            return known[1]
        found = decode()
        self._entries[position] = stored, found
        self._bytes += len(stored.state)
        if len(self._entries) > self._kept or self._bytes > self._kept_bytes:
            self._forget()
        return found

    def _forget(self) -> None:
        positions = list(self._entries)
        for position in positions[: len(positions) // 2]:
            self._entries.pop(position, None)
        self._bytes = sum(len(stored.state) for stored, _ in list(self._entries.values()))
