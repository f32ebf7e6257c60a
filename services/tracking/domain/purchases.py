"""Purchase occasions (TR-3, TR-9): the days on which a customer bought something, and how they follow on one another.

Days are those of UTC.
"""

import calendar
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from statistics import median
from typing import Final

from services.tracking.domain.path_facts import OrderFact

FEWEST_OCCASIONS: Final = 3


def occasions(orders: Iterable[OrderFact], sku: str = "") -> list[date]:
    """The days with an order that brought something, oldest first; those with a line of `sku` if one is given."""
    return sorted(
        {
            it.paid_at.astimezone(UTC).date()
            for it in orders
            if it.paid_at and it.net > 0 and (not sku or any(sku == line for line, _ in it.lines))
        }
    )


def cycle(days: list[date]) -> timedelta | None:
    """The median gap between one occasion and the next; None for fewer than three occasions."""
    if len(days) < FEWEST_OCCASIONS:
        return None
    return timedelta(days=median((after - before).days for before, after in pairwise(days)))


def months_later(day: date, months: int) -> date:
    """The same day of a later month, or the last that this month has."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def midnight(day: date) -> datetime:
    """The beginning of the day."""
    return datetime.combine(day, time(), UTC)
