"""Commands that keep segments in line with time: what is due, or everything."""

from dataclasses import dataclass

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Audiences

RECOUNT: str = "recount_segments"
"""Kind of the timer that finds the members of all live segments anew."""


@dataclass(frozen=True, slots=True)
class FollowDue:
    """Look at those for whom time alone changes a segment about now."""


def follow_due(command: FollowDue, work: UnitOfWork, audiences: Audiences) -> None:
    audiences.lock(work)
    audiences.follow_due(work)


@dataclass(frozen=True, slots=True)
class RecountSegments:
    """Find the members of all live segments anew, because days or amounts are counted otherwise."""


def recount_segments(command: RecountSegments, work: UnitOfWork, audiences: Audiences) -> None:
    audiences.lock(work)
    audiences.recount(work)
