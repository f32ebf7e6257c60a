"""The course of a condition through time for one customer: from one instant at which it may change to the next (spec TG-5)."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from services.tagging.domain.conditions.change import next_change
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.tree import Condition


class Stand(NamedTuple):
    """From an instant on a condition holds, or does not."""

    at: datetime
    holds: bool


class Span(NamedTuple):
    """Instants after one and before the other."""

    after: datetime
    until: datetime


def course(
    condition: Condition, customer: Callable[[datetime], Customer], span: Span, moves: Sequence[datetime] = ()
) -> Iterator[Stand]:
    """How `condition` stands when `span` begins, and every change in it. `customer` is the customer with the kept sets it is in at
    an instant; these change at no instants but `moves`, which rise."""
    at = span.after
    held = customer(at).holds(condition, at)
    yield Stand(at, held)
    while (due := _next(condition, customer(at), at, moves)) is not None and due < span.until:
        at = due
        if customer(at).holds(condition, at) != held:
            held = not held
            yield Stand(at, held)


def _next(condition: Condition, customer: Customer, at: datetime, moves: Sequence[datetime]) -> datetime | None:
    place = bisect_right(moves, at)
    found = (next_change(condition, customer, at), moves[place] if place < len(moves) else None)
    return min((it for it in found if it is not None), default=None)
