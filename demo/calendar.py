"""Local wall-clock time of the shop whose history is replayed."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

TIME_ZONE: Final = "America/New_York"
_ZONE: Final = ZoneInfo(TIME_ZONE)


def instant(day: date, at: time = time()) -> datetime:
    """The UTC instant at which clocks in the shop show `at` on `day`."""
    return datetime.combine(day, at, _ZONE).astimezone(UTC)


def local_day(at: datetime) -> date:
    """The day that calendars in the shop show at `at`."""
    return at.astimezone(_ZONE).date()


def week(day: date) -> date:
    """The Sunday that ends the week of `day`."""
    return day + timedelta(days=6 - day.weekday())
