"""When points expire: a new way to expire is one function and one line in EXPIRY."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum

from services.membership.domain.calendar import local_date, start_of_month_after


class ExpiryRule(StrEnum):
    """How long the points of a program live."""

    ROLLING_12_MONTH_END = "ROLLING_12_MONTH_END"
    NEVER = "NEVER"


def end_of_same_month_next_year(earned_at: datetime, zone: str) -> datetime:
    """Valid through the end of the earning month of next year: 00:00 local on the 1st of month + 13."""
    return start_of_month_after(local_date(earned_at, zone), 13, zone)


def never(earned_at: datetime, zone: str) -> None:
    """Points that stay until they are spent."""


EXPIRY: Mapping[ExpiryRule, Callable[[datetime, str], datetime | None]] = {
    ExpiryRule.ROLLING_12_MONTH_END: end_of_same_month_next_year,
    ExpiryRule.NEVER: never,
}


def expire_at(rule: ExpiryRule, earned_at: datetime, zone: str) -> datetime | None:
    """The instant from which points earned at `earned_at` are gone; None for never."""
    return EXPIRY[rule](earned_at, zone)
