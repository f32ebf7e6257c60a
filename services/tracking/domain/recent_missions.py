"""The missions that new orders are part of, without looking at what lies too far back to matter to them.

Much of a long history does not: before a week in which nothing happened every mission has ended, and what is bought again is about
the mission that was realised last.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from services.tracking.domain.missions import HESITATION, IDLE, Mission, categories_of, categories_of_skus, missions
from services.tracking.domain.path_facts import OrderFact, PathFact

_FIRST: Final = attrgetter("first")


class _Span(NamedTuple):
    """The time in which something happened to an order, or at which a step was made."""

    first: datetime
    last: datetime


def missions_of(
    facts: Sequence[PathFact], orders: Sequence[OrderFact], now: datetime, about: Collection[UUID]
) -> list[Mission]:
    """Of the `missions` of a customer all that the orders `about` are part of, or that ended since the first of them."""
    return missions(facts, orders, now, _since(facts, orders, about))


def _since(facts: Sequence[PathFact], orders: Sequence[OrderFact], about: Collection[UUID]) -> datetime | None:
    """The end of the last week without any event after which each category of the orders `about` was paid for, before the first of
    them; None if there is none."""
    spans = {it.id: _span(it) for it in orders}
    beginning = min((spans[it].first for it in about if it in spans), default=None)
    if beginning is None:
        return None
    names = categories_of_skus(facts, orders)
    wanted = {category for it in orders if it.id in about for category in categories_of(it, names)}
    bought: dict[str, datetime] = {}
    for order, first in _paid_before(beginning, orders, spans):
        for category in wanted.intersection(categories_of(order, names)):
            bought[category] = max(first, bought.get(category, first))
    if len(bought) < len(wanted):
        return None
    return _end_of_quiet_week([*spans.values(), *(_Span(it.at, it.at) for it in facts)], min(bought.values()))


def _span(order: OrderFact) -> _Span:
    placed = order.placed_at
    known = [it for it in (placed, order.paid_at, order.received_at, order.cancelled_at) if it is not None]
    return _Span(min(known), max(*known, placed + HESITATION))


def _paid_before(
    moment: datetime, orders: Sequence[OrderFact], spans: Mapping[UUID, _Span]
) -> Iterator[tuple[OrderFact, datetime]]:
    """What was paid before, and when it began."""
    return ((it, spans[it.id].first) for it in orders if it.paid_at is not None and it.paid_at < moment)


def _end_of_quiet_week(spans: Sequence[_Span], latest: datetime) -> datetime | None:
    """The last instant up to `latest` at which something begins after a week in which nothing was under way."""
    found: datetime | None = None
    happened = sorted((it for it in spans if it.first <= latest), key=_FIRST)
    reached = happened[0].last
    for first, last in happened:
        if first - reached >= IDLE:
            found = first
        reached = max(reached, last)
    return found
