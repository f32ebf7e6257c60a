"""The funnel over purchase paths (TR-10): how many customers get from node to node, and where missions begin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from services.tracking.domain.missions import Mission, Result, Visit
from services.tracking.domain.path_facts import Step

WINDOW: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Question:
    """Missions opened in `[start, end)`, through `steps`; a step counts within `window` of the one before."""

    start: datetime
    end: datetime
    steps: tuple[Step, ...]
    window: timedelta = WINDOW
    any_order: bool = False
    category: str = ""

    @property
    def until(self) -> datetime:
        """Up to when facts matter."""
        return self.end + self.window * len(self.steps)

    def is_about(self, mission: Mission) -> bool:
        return self.start <= mission.opening.at < self.end and self.category in ("", mission.category)


@dataclass(frozen=True, slots=True)
class StepCount:
    """Distinct customers who came to a step, and the median time since the step before."""

    step: Step
    customers: int
    median_time: timedelta | None


@dataclass(slots=True)
class Entry:
    """Missions that began at a step; `loyal` ones of customers who had realised one before."""

    missions: int = 0
    loyal: int = 0


@dataclass(slots=True)
class Funnel:
    """Counts customer by customer."""

    question: Question
    missions: int = 0
    customers: int = 0
    entries: dict[Step, Entry] = field(default_factory=dict)
    _reached: list[int] = field(default_factory=list)
    _times: list[list[timedelta]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reached = [0 for _ in self.question.steps]
        self._times = [[] for _ in self.question.steps]

    def add(self, missions: Sequence[Mission]) -> None:
        """Count all missions of one customer."""
        mine = [it for it in missions if self.question.is_about(it)]
        if not mine:
            return
        self.customers += 1
        self.missions += len(mine)
        for it in mine:
            self._enter(it, missions)
        best = _furthest(reach(self.question, it.visits) for it in mine)
        for index, gap in enumerate(best):
            self._reached[index] += 1
            self._times[index].append(gap)

    def steps(self) -> list[StepCount]:
        return [
            StepCount(step, self._reached[index], _median(self._times[index]) if index else None)
            for index, step in enumerate(self.question.steps)
        ]

    def _enter(self, mission: Mission, missions: Iterable[Mission]) -> None:
        at = mission.opening.at
        others = (it.closed_at for it in missions if it is not mission and it.result is Result.REALISED)
        is_loyal = any(closed_at is not None and closed_at <= at for closed_at in others)
        entry = self.entries.setdefault(mission.opening.step, Entry())
        if is_loyal:
            entry.loyal += 1
        else:
            entry.missions += 1


def _median(times: Sequence[timedelta]) -> timedelta | None:
    return timedelta(seconds=median(it.total_seconds() for it in times)) if times else None


def reach(question: Question, visits: Sequence[Visit]) -> list[timedelta]:
    """As many of the steps as one mission came through, with the shortest time since the step before; zero for the first.

    In any way that leads furthest: a step may be counted from any visit of the step before that was itself come to.
    """
    before: list[int] | None = None
    found: list[timedelta] = []
    for step in question.steps:
        places = [index for index, it in enumerate(visits) if it.step is step]
        if before is None:
            gaps = dict.fromkeys(places, timedelta())
        else:
            gaps = {it: gap for it in places if (gap := _gap(question, visits, before, it)) is not None}
        if not gaps:
            break
        found.append(min(gaps.values()))
        before = list(gaps)
    return found


def _gap(question: Question, visits: Sequence[Visit], before: Sequence[int], index: int) -> timedelta | None:
    """The shortest time since one of the visits `before`; None if none is near enough on the right side."""
    sides = [it for it in before if question.any_order or it < index]
    gaps = [abs(visits[index].at - visits[it].at) for it in sides]
    return min((it for it in gaps if it <= question.window), default=None)


def _furthest(ways: Iterable[list[timedelta]]) -> list[timedelta]:
    """The way that leads furthest, the first of several."""
    return max(ways, key=len)
