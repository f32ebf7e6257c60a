"""Figures that leaves compare, with the facts they were worked out from."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.tagging.domain.conditions.comparing import kind
from services.tagging.domain.conditions.facts import Facts


class Worked(NamedTuple):
    """A figure is `value` / `parts`; None if it is missing. `because` are the instants of the facts in it."""

    value: Any
    parts: int
    because: Sequence[datetime]


def days_since(facts: Facts, instants: Sequence[datetime], at: datetime, *, last: bool) -> Worked:
    """Local days from the last or the first of `instants` to `at`."""
    if not instants:
        return Worked(None, 1, instants)
    one = instants[-1 if last else 0]
    return Worked(facts.calendar.day(at) - facts.calendar.day(one), 1, [one])


def usual(values: Sequence[tuple[datetime, Any]]) -> Worked:
    """Of values in the order of time, the most frequent; of several as frequent, the one that came last."""
    if not values:
        return Worked(None, 1, ())
    named = [(kind(value), value) for _, value in values]
    last, counts = {it: place for place, it in enumerate(named)}, Counter(named)
    best = max(last, key=lambda it: (counts[it], last[it]))
    return Worked(best[1], 1, [at for (at, _), it in zip(values, named, strict=True) if it == best])
