"""The missions that new orders are part of, without looking at what lies too far back to matter to them.

Much of a long history does not: before a week in which nothing happened every mission has ended, and what is bought again is about
the mission that was realised last.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final
from uuid import UUID

from services.tracking.domain.missions import HESITATION, IDLE, Mission, categories_of, categories_of_skus, missions
from services.tracking.domain.path_facts import OrderFact, PathFact

_PAID_AT: Final = attrgetter("paid_at")

Span = tuple[datetime, datetime]
"""The first and the last instant at which something happens to an order, or twice that of a step."""


def missions_of(
    facts: Sequence[PathFact], orders: Sequence[OrderFact], now: datetime, about: Collection[UUID]
) -> list[Mission]:
    """Of the `missions` of a customer all that the orders `about` are part of, or that ended since the first of them."""
    return missions(facts, orders, now, _since(facts, orders, about))


def _since(facts: Sequence[PathFact], orders: Sequence[OrderFact], about: Collection[UUID]) -> datetime | None:
    """The end of the last week without any event after which each category of the orders `about` was paid for, before the first of
    them; None if there is none."""
    news = [it for it in orders if it.id in about]
    latest = _bought_before(news, orders, categories_of_skus(facts, orders)) if news else None
    if latest is None:
        return None
    return _end_of_quiet_week([*map(_span, orders), *((it.at, it.at) for it in facts)], latest)


def _bought_before(news: Sequence[OrderFact], orders: Sequence[OrderFact], names: Mapping[str, str]) -> datetime | None:
    """When the first of those orders began with which the categories of `news` were last paid for; None if one was not before."""
    wanted = {category for it in news for category in categories_of(it, names)}
    beginning = latest = min(_span(it)[0] for it in news)
    earlier = [it for it in orders if it.paid_at is not None and it.paid_at < beginning]
    for it in sorted(earlier, key=_PAID_AT, reverse=True):
        if found := wanted.intersection(categories_of(it, names)):
            wanted -= found
            latest = min(latest, _span(it)[0])
            if not wanted:
                return latest
    return None


def _span(order: OrderFact) -> Span:
    placed = order.placed_at
    events = (placed, placed + HESITATION, order.paid_at, order.received_at, order.cancelled_at)
    known = [it for it in events if it is not None]
    return min(known), max(known)


def _end_of_quiet_week(spans: Sequence[Span], latest: datetime) -> datetime | None:
    """The last instant up to `latest` at which something begins after a week in which nothing was under way."""
    found: datetime | None = None
    happened = sorted(it for it in spans if it[0] <= latest)
    reached = happened[0][1]
    for first, last in happened:
        if first - reached >= IDLE:
            found = first
        if last > reached:
            reached = last
    return found
