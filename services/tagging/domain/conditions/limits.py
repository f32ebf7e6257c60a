"""How large a condition may be (spec TG-4), and what it costs to work out."""

from dataclasses import dataclass
from typing import Final

from services.tagging.domain.conditions.leaves import (
    Absence,
    AttributeTest,
    Delivered,
    EventTest,
    Happening,
    Leaf,
    OrderTest,
    Streak,
    Succession,
)
from services.tagging.domain.conditions.values import Window
from services.tagging.domain.errors import ConditionTooComplex

MOST_VALUES: Final = 100
MOST_TESTS: Final = 5
MOST_STEPS: Final = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one tenant: leaves, nesting of ALL, ANY and NOT, days of a window, and the sum of all costs."""

    leaves: int = 8
    depth: int = 3
    window_days: int = 730
    cost: int = 10_000


DEFAULT_LIMITS: Final = Limits()


def check_leaf(leaf: Leaf, path: str, limits: Limits) -> None:
    """Raises ConditionTooComplex naming the limit, and the leaf by its `path`."""
    for window in windows(leaf):
        if (window.days or 0) > limits.window_days:
            raise ConditionTooComplex("a window is too long", field=path, limit=limits.window_days)
    for happening in happenings(leaf):
        if len(happening.where) > MOST_TESTS:
            raise ConditionTooComplex("too many tests of properties", field=path, limit=MOST_TESTS)
    if isinstance(leaf, OrderTest) and len(leaf.where) > MOST_TESTS:
        raise ConditionTooComplex("too many tests of properties", field=path, limit=MOST_TESTS)
    if isinstance(leaf, Succession) and len(leaf.steps) > MOST_STEPS:
        raise ConditionTooComplex("too many steps", field=path, limit=MOST_STEPS)


def happenings(leaf: Leaf) -> tuple[Happening, ...]:
    """The behaviours a leaf speaks of."""
    match leaf:
        case EventTest(what) | Streak(what):
            return (what,)
        case Absence(what, other):
            return (what, other)
        case Succession(steps):
            return steps
    return ()


def windows(leaf: Leaf) -> tuple[Window, ...]:
    match leaf:
        case EventTest() | Absence() | Succession() | Streak() | OrderTest() | Delivered():
            return (leaf.window,)
    return ()


def cost(leaf: Leaf) -> int:
    """Roughly how many facts are looked at: all behaviours are more than those of a type, two years more than a month."""
    match leaf:
        case EventTest() | Streak() | Absence() | Succession():
            told_twice = 2 if isinstance(leaf, Absence | Succession) else 1
            return told_twice * sum(map(_share, happenings(leaf))) * _length(leaf.window)
        case OrderTest():
            return (5 + len(leaf.where)) * _length(leaf.window)
        case Delivered():
            return 5 * _length(leaf.window)
        case AttributeTest():
            return 2
    return 1


def _share(what: Happening) -> int:
    return (10 if what.type else 30) + len(what.where)


def _length(window: Window) -> int:
    days = window.days
    if days is None or days > 366:
        return 3
    return 1 if days <= 31 else 2
