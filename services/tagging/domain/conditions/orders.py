"""What leaves on orders count (spec TG-4, TR-9)."""

from collections.abc import Sequence
from datetime import datetime

from services.tagging.domain.calendar import daypart
from services.tagging.domain.conditions.facts import MILLI, Facts
from services.tagging.domain.conditions.figures import Worked, days_since, usual
from services.tagging.domain.conditions.leaves import OrderFigure, OrderTest


def figure(facts: Facts, leaf: OrderTest, at: datetime) -> Worked:
    """The figure of `leaf` as of `at`."""
    found = facts.ordered(leaf)
    start, end = facts.span(leaf.window, found.instants, at)
    meant, because = found.facts[start:end], found.instants[start:end]
    match leaf.figure:
        case OrderFigure.COUNT | OrderFigure.RETURNED:
            return Worked(len(meant), 1, because)
        case OrderFigure.OCCASIONS:
            return Worked(len(set(map(facts.calendar.day, because))), 1, because)
        case OrderFigure.QUANTITY:
            return Worked(sum(it.quantity for it in meant), 1, because)
        case OrderFigure.SKUS:
            return Worked(len(frozenset[str]().union(*(it.skus for it in meant))), 1, because)
        case OrderFigure.CATEGORIES:
            return Worked(len(frozenset[str]().union(*(it.categories for it in meant))), 1, because)
        case OrderFigure.RECENCY_DAYS | OrderFigure.FIRST_DAYS:
            return days_since(facts, because, at, last=leaf.figure is OrderFigure.RECENCY_DAYS)
        case OrderFigure.DAYPART:
            return usual([(it, daypart(facts.calendar.local(it, None))) for it in because])
        case OrderFigure.SHARE:
            first, last = facts.span(leaf.window, facts.bought(()).instants, at)
            return Worked(100 * len(meant), last - first, because) if first < last else Worked(None, 1, ())
    return _of_amounts(leaf.figure, [it.net for it in meant], because)


def _of_amounts(figure: OrderFigure, amounts: Sequence[int], because: Sequence[datetime]) -> Worked:
    if figure is OrderFigure.NET:
        return Worked(sum(amounts), MILLI, because)
    if not amounts:
        return Worked(None, 1, because)
    match figure:
        case OrderFigure.MIN:
            return Worked(min(amounts), MILLI, because)
        case OrderFigure.MAX:
            return Worked(max(amounts), MILLI, because)
    return Worked(sum(amounts), MILLI * len(amounts), because)
