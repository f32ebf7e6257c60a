"""When the passing of time alone can change whether a condition holds (spec TG-5): the due times of timers.

A leaf can only change at certain instants: when a fact leaves its window, when a time to wait is over, when a day begins. Those are
tried one after the other until the answer is another. After so many it is left at that: to look too early does no harm. When a count
that only falls reaches its bound needs no trying.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from math import ceil, floor
from typing import Final

from services.tagging.domain.conditions import dealt
from services.tagging.domain.conditions.behaviours import SECOND
from services.tagging.domain.conditions.comparing import kind
from services.tagging.domain.conditions.dimensions import (
    CREATED_DAYS,
    KNOWN,
    KNOWN_DAYS,
    MEMBER,
    MEMBER_DAYS,
    PENDING,
    POINTS,
    meaning,
)
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.facts import Facts
from services.tagging.domain.conditions.leaves import (
    Absence,
    AttributeTest,
    Delivered,
    EventTest,
    Figure,
    HasTag,
    InFlow,
    InLayer,
    InSegment,
    Leaf,
    OrderFigure,
    OrderTest,
    RfmScores,
    Streak,
    Succession,
)
from services.tagging.domain.conditions.limits import happenings
from services.tagging.domain.conditions.tree import Condition
from services.tagging.domain.conditions.values import Comparison, Window

MOST_TRIED: Final = 64


def next_change(condition: Condition, customer: Customer, at: datetime) -> datetime | None:
    """An instant after `at` before which nothing but a new fact changes whether `condition` holds; None if nothing ever does."""
    flips = [(leaf, leaf_change(leaf, customer, at)) for leaf in condition.leaves()]
    if len(flips) == 1:
        return flips[0][1]
    if all(it is None for _, it in flips):
        return None
    now, due = customer.holds(condition, at), None
    for _ in range(MOST_TRIED):
        due = min((it for _, it in flips if it is not None), default=None)
        if due is None or customer.holds(condition, due) != now:
            return due
        flips = [(leaf, leaf_change(leaf, customer, due) if it == due else it) for leaf, it in flips]
    return due


def leaf_change(leaf: Leaf, customer: Customer, at: datetime) -> datetime | None:
    """The same of one leaf."""
    leaf = meaning(leaf)
    match leaf:
        case HasTag() | InLayer() | RfmScores() | InSegment():
            return None
        case EventTest(figure=Figure.COUNT):
            instants = customer.facts.meant(leaf.what).instants
        case OrderTest(figure=OrderFigure.COUNT):
            instants = customer.facts.bought(leaf.where).instants
        case _:
            return _tried(leaf, customer, at)
    bound = leaf.comparison.bound
    if bound is None or (instants and instants[-1] > at):
        return _tried(leaf, customer, at)
    return _falls_short(bound, customer.facts, leaf.window, instants, at)


def _falls_short(
    bound: int, facts: Facts, window: Window, instants: Sequence[datetime], at: datetime
) -> datetime | None:
    """When a window holds fewer facts than `bound` that holds as many now, none being to come; None if it never does."""
    if bound < 1 or len(instants) < bound:
        return None
    start, end = facts.span(window, instants, at)
    return facts.leaves_at(window, instants[end - bound]) if end - start >= bound else None


def _tried(leaf: Leaf, customer: Customer, at: datetime) -> datetime | None:
    due = min(_instants(leaf, customer.facts, at), default=None)
    if due is None:
        return None
    now = customer.leaf_holds(leaf, at)
    for _ in range(MOST_TRIED):
        if customer.leaf_holds(leaf, due) != now:
            break
        following = min(_instants(leaf, customer.facts, due), default=None)
        if following is None:
            return None
        due = following
    return due


def _instants(leaf: Leaf, facts: Facts, at: datetime) -> Iterator[datetime]:
    """The next instants after `at` at which the leaf can change, each of another kind."""
    match leaf:
        case EventTest():
            yield from _of_figure(leaf, facts, facts.meant(leaf.what).instants, at)
        case OrderTest():
            share = leaf.figure is OrderFigure.SHARE  # which changes with every order
            yield from _of_figure(leaf, facts, (facts.bought(()) if share else facts.ordered(leaf)).instants, at)
        case Absence():
            instants, within = facts.meant(leaf.what).instants, leaf.within * SECOND
            yield from _moves(facts, leaf.window, instants, at)
            running = bisect_right(instants, at - within)
            yield from (it + within for it in instants[running : running + 1])
        case Succession() | Streak():
            for what in happenings(leaf):
                yield from _moves(facts, leaf.window, facts.meant(what).instants, at)
        case Delivered():
            yield from _moves(facts, leaf.window, facts.delivered(leaf), at)
        case InFlow():
            yield from dealt.turns(facts, leaf, at)
        case AttributeTest(key) if key in (POINTS, PENDING):
            yield from dealt.turns_of_points(facts, at)
        case AttributeTest():
            yield from _of_identity(leaf, facts, at)


def _of_figure(
    leaf: EventTest | OrderTest, facts: Facts, instants: Sequence[datetime], at: datetime
) -> Iterator[datetime]:
    yield from _moves(facts, leaf.window, instants, at)
    start, end = facts.span(leaf.window, instants, at)
    if leaf.figure.of_now and start < end:
        yield from _days(facts, leaf.comparison, [instants[start], instants[end - 1]], at)


def _of_identity(leaf: AttributeTest, facts: Facts, at: datetime) -> Iterator[datetime]:
    if leaf.key in (KNOWN, KNOWN_DAYS, CREATED_DAYS, MEMBER, MEMBER_DAYS):
        since = facts.history.created_at if leaf.key == CREATED_DAYS else facts.history.known_since
        if leaf.key in (MEMBER, MEMBER_DAYS):
            since = facts.history.dealings.member_since
        if since is not None and since > at:
            yield since
        elif since is not None and leaf.key not in (KNOWN, MEMBER):
            yield from _days(facts, leaf.comparison, [since], at)


def _moves(facts: Facts, window: Window, instants: Sequence[datetime], at: datetime) -> Iterator[datetime]:
    """When the next fact comes into a window, and when the first one in it leaves."""
    start, _ = facts.span(window, instants, at)
    coming = bisect_right(instants, at)
    yield from instants[coming : coming + 1]
    if start < coming and (leaving := facts.leaves_at(window, instants[start])) is not None:
        yield leaving


def _days(facts: Facts, comparison: Comparison, since: Sequence[datetime], at: datetime) -> Iterator[datetime]:
    """When so many local days after one of `since` begin that it makes a difference."""
    for value in comparison.plain:
        if kind(value) != "number":
            continue
        for one in since:
            for days in {floor(float(value)), floor(float(value)) + 1, ceil(float(value))}:
                if (day := facts.calendar.day(one) + days) > facts.calendar.day(at):
                    yield facts.calendar.midnight(day)
