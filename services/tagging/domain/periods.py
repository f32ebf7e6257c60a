"""Whole periods of a calendar that follow one another: weeks from Monday on, months, quarters, years."""

from datetime import date, timedelta
from enum import StrEnum
from typing import Final, NamedTuple


class Period(StrEnum):
    """How long a period is."""

    WEEK = "WEEK"
    MONTH = "MONTH"
    QUARTER = "QUARTER"
    YEAR = "YEAR"


class Span(NamedTuple):
    """The days from `start` on, without `end`."""

    start: date
    end: date


_MONTHS: Final = {Period.MONTH: 1, Period.QUARTER: 3, Period.YEAR: 12}
_YEAR_OF_WEEKS: Final = timedelta(weeks=52)


def last_whole(period: Period, day: date) -> Span:
    """The last period that had ended when `day` began."""
    end = _start(period, day)
    return Span(_moved(period, end, -1), end)


def following(period: Period, span: Span) -> Span:
    """The period after this one."""
    return Span(span.end, _moved(period, span.end, 1))


def previous(period: Period, span: Span) -> Span:
    """The period before this one."""
    return Span(_moved(period, span.start, -1), span.start)


def a_year_before(period: Period, span: Span) -> Span:
    """The same period of the last year; of a week, the one 52 weeks before."""
    if period is Period.WEEK:
        return Span(span.start - _YEAR_OF_WEEKS, span.end - _YEAR_OF_WEEKS)
    return Span(span.start.replace(year=span.start.year - 1), span.end.replace(year=span.end.year - 1))


def _start(period: Period, day: date) -> date:
    """The first day of the period in which `day` is."""
    if period is Period.WEEK:
        return day - timedelta(days=day.weekday())
    months = _MONTHS[period]
    return date(day.year, (day.month - 1) // months * months + 1, 1)


def _moved(period: Period, start: date, periods: int) -> date:
    """The first day of the period so many periods later."""
    if period is Period.WEEK:
        return start + timedelta(weeks=periods)
    month = start.year * 12 + start.month - 1 + periods * _MONTHS[period]
    return date(month // 12, month % 12 + 1, 1)
