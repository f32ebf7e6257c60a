"""How far a part of a profile can be relied on that is made of what another service told: docs/adr/0028."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

LATE: Final = timedelta(seconds=10)
"""Messages may wait for so long before what is made of them is called stale."""


class Status(StrEnum):
    """AVAILABLE: complete up to a moment ago; STALE: complete up to some time ago; UNAVAILABLE: nothing can be said."""

    AVAILABLE = "AVAILABLE"
    STALE = "STALE"
    UNAVAILABLE = "UNAVAILABLE"


class Cause(StrEnum):
    """Why something is not available, the worst first."""

    NEVER_READ = "NEVER_READ"
    SERVICE_DOWN = "SERVICE_DOWN"
    STREAM_UNREADABLE = "STREAM_UNREADABLE"
    BEHIND = "BEHIND"


@dataclass(frozen=True, slots=True)
class SourceState:
    """A stream as last looked at.

    `is_read` once anybody here has read it, `is_serving` unless its service does not answer; `behind` messages wait to be taken
    in, None if that cannot be found out.
    """

    is_read: bool
    is_serving: bool
    behind: int | None


@dataclass(frozen=True, slots=True)
class Availability:
    """The verdict; everything up to `as_of` is in. `as_of` is None where that is not known."""

    status: Status
    cause: Cause | None
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class SourceStates:
    """All streams, looked at together at `looked_at`."""

    looked_at: datetime
    streams: Mapping[str, SourceState]


def availability(
    wanted: Iterable[str], states: SourceStates, told_until: Mapping[str, datetime], now: datetime
) -> Availability:
    """Of what is made of the streams `wanted`, whose last messages were told at `told_until`: that of the worst of them."""
    found = [_of_stream(states.streams.get(it), states.looked_at, told_until.get(it), now) for it in wanted]
    causes = [it.cause for it in found if it.cause]
    instants = [it.as_of for it in found if it.as_of]
    if not causes:
        return Availability(Status.AVAILABLE, None, min(instants, default=now))
    worst = min(causes, key=list(Cause).index)
    status = Status.STALE if worst is Cause.BEHIND else Status.UNAVAILABLE
    return Availability(status, worst, min(instants) if len(instants) == len(found) else None)


def _of_stream(state: SourceState | None, looked_at: datetime, told_at: datetime | None, now: datetime) -> Availability:
    if state is None or not state.is_read:
        return Availability(Status.UNAVAILABLE, Cause.NEVER_READ, told_at)
    if not state.is_serving:
        return Availability(Status.UNAVAILABLE, Cause.SERVICE_DOWN, told_at)
    if state.behind is None:
        return Availability(Status.UNAVAILABLE, Cause.STREAM_UNREADABLE, told_at)
    if state.behind == 0:
        return Availability(Status.AVAILABLE, None, looked_at)
    if told_at is None or now - told_at > LATE:
        return Availability(Status.STALE, Cause.BEHIND, told_at)
    return Availability(Status.AVAILABLE, None, told_at)
