"""What leaves on behaviours count: figures, absences, successions and streaks (spec TG-4)."""

from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from services.tagging.domain.conditions.comparing import exact, kind
from services.tagging.domain.conditions.facts import Facts, property_of
from services.tagging.domain.conditions.figures import Worked, days_since, usual
from services.tagging.domain.conditions.leaves import Absence, EventTest, Figure, Streak, StreakUnit, Succession

SECOND = timedelta(seconds=1)


def figure(facts: Facts, leaf: EventTest, at: datetime) -> Worked:
    """The figure of `leaf` as of `at`."""
    found = facts.meant(leaf.what)
    start, end = facts.span(leaf.window, found.instants, at)
    because = found.instants[start:end]
    match leaf.figure:
        case Figure.COUNT:
            return Worked(end - start, 1, because)
        case Figure.DAYS:
            return Worked(len({facts.day(leaf.what, it) for it in found.facts[start:end]}), 1, because)
        case Figure.WEEKS:
            days = Counter((day - 1) // 7 for day in {facts.day(leaf.what, it) for it in found.facts[start:end]})
            return Worked(sum(it >= leaf.days for it in days.values()), 1, because)
        case Figure.RECENCY_DAYS | Figure.FIRST_DAYS:
            return days_since(facts, because, at, last=leaf.figure is Figure.RECENCY_DAYS)
    values = [(it.at, property_of(it, leaf.property, facts.calendar)) for it in found.facts[start:end]]
    return _of_property(leaf.figure, [(at, value) for at, value in values if value is not None])


def _of_property(figure: Figure, having: Sequence[tuple[datetime, Any]]) -> Worked:
    match figure:
        case Figure.LAST | Figure.FIRST:
            if not having:
                return Worked(None, 1, ())
            at, value = having[-1 if figure is Figure.LAST else 0]
            return Worked(value, 1, [at])
        case Figure.DISTINCT:
            scalars = [(at, value) for at, value in having if kind(value)]
            return Worked(len({(kind(value), value) for _, value in scalars}), 1, [at for at, _ in scalars])
        case Figure.USUAL:
            return usual([(at, value) for at, value in having if kind(value)])
    numbers = [(at, exact(value)) for at, value in having if kind(value) == "number"]
    return _of_numbers(figure, numbers)


def _of_numbers(figure: Figure, numbers: Sequence[tuple[datetime, Any]]) -> Worked:
    because = [at for at, _ in numbers]
    values = [value for _, value in numbers]
    if figure is Figure.SUM:
        return Worked(sum(values), 1, because)
    if not values:
        return Worked(None, 1, because)
    match figure:
        case Figure.MIN:
            return Worked(min(values), 1, because)
        case Figure.MAX:
            return Worked(max(values), 1, because)
    return Worked(sum(values), len(values), because)


def unfollowed(facts: Facts, leaf: Absence, at: datetime) -> Sequence[datetime]:
    """When what is meant happened without the other within the time after it, if that time is over."""
    found, others = facts.meant(leaf.what), facts.meant(leaf.other).instants
    start, end = facts.span(leaf.window, found.instants, at)
    within, place = leaf.within * SECOND, 0
    alone: list[datetime] = []
    for one in found.instants[start:end]:
        if one + within > at:
            break
        while place < len(others) and others[place] <= one:
            place += 1
        if place == len(others) or others[place] > one + within:
            alone.append(one)
    return alone


class _Run(NamedTuple):
    """The run of steps up to a behaviour: the latest instant at which it can have begun, and the instants of its steps."""

    began: datetime
    steps: tuple[datetime, ...]

    @property
    def last(self) -> datetime:
        return self.steps[-1]


def succession(facts: Facts, leaf: Succession, at: datetime) -> Sequence[datetime]:
    """The instants of the first run of steps that is complete; nothing if none is."""
    runs: list[_Run] | None = None
    for what in leaf.steps:
        found = facts.meant(what)
        start, end = facts.span(leaf.window, found.instants, at)
        instants = found.instants[start:end]
        runs = [_Run(it, (it,)) for it in instants] if runs is None else _continued(runs, instants, leaf.gap * SECOND)
    for run in runs or ():
        if not leaf.within or run.last - run.began <= leaf.within * SECOND:
            return run.steps
    return ()


def _continued(runs: Sequence[_Run], instants: Sequence[datetime], gap: timedelta) -> list[_Run]:
    """Each of `instants` that continues a run, with that run which began latest; `runs` are by their last step."""
    continued: list[_Run] = []
    near: deque[_Run] = deque()  # began ever earlier, so that the first began latest of those near enough
    place = 0
    for it in instants:
        while place < len(runs) and runs[place].last < it:
            while near and near[-1].began <= runs[place].began:
                near.pop()
            near.append(runs[place])
            place += 1
        while gap and near and near[0].last < it - gap:
            near.popleft()
        if near:
            continued.append(_Run(near[0].began, (*near[0].steps, it)))
    return continued


class Stretch(NamedTuple):
    """So many days or weeks one after the other, and the first behaviour on each."""

    length: int
    because: Sequence[datetime]


def longest_streak(facts: Facts, leaf: Streak, at: datetime) -> Stretch:
    found = facts.meant(leaf.what)
    start, end = facts.span(leaf.window, found.instants, at)
    first: dict[int, datetime] = {}
    for it in found.facts[start:end]:
        day = facts.day(leaf.what, it)
        first.setdefault(day if leaf.unit is StreakUnit.DAY else (day - 1) // 7, it.at)
    units = sorted(first)
    best, began = (0, 0), 0
    for place, unit in enumerate(units):
        if place and unit != units[place - 1] + 1:
            began = place
        best = max(best, (began, place + 1), key=lambda it: it[1] - it[0])
    return Stretch(best[1] - best[0], [first[it] for it in units[slice(*best)]])
