"""What was decoded a moment ago: the relay, the read models and others read the same end of the log, one after the other."""

from collections.abc import Callable, Hashable
from typing import Final

from chassis.log import Recorded

_KEPT: Final = 8_000


class Recent:
    """The last entries of a log that were read in this process, by position, with what they were decoded from.

    An entry is only used again for the very same stored event: a position of a log that was restored to an earlier moment may hold
    something else. Who reads it may not change it. May be used from any thread.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._entries: dict[int, tuple[Hashable, Recorded]] = {}

    def entry(self, position: int, stored: Hashable, decode: Callable[[], Recorded]) -> Recorded:
        """What is at `position`, where `stored` lies; decoded unless it is known."""
        known = self._entries.get(position)
        if known is not None and known[0] == stored:
            return known[1]
        found = decode()
        self._entries[position] = stored, found
        if len(self._entries) > 2 * self._kept:
            self._forget()
        return found

    def _forget(self) -> None:
        for position in list(self._entries)[: self._kept]:
            self._entries.pop(position, None)
