"""Local days and months in the zone of a program: windows of days and the ends of months."""

from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo


def local_date(at: datetime, zone: str) -> date:
    """The calendar day of the instant `at` in `zone`."""
    return at.astimezone(_zone(zone)).date()


def start_of_month_after(day: date, months: int, zone: str) -> datetime:
    """00:00 in `zone` on the first of the month `months` after that of `day`, in UTC.

    A midnight that a change of the clocks skips is the first instant after the gap; one that comes
    twice is the first of the two.
    """
    index = day.year * 12 + day.month - 1 + months
    return _start_of_month(index, zone)


def zone_exists(zone: str) -> bool:
    """Whether `zone` names a zone of the IANA database."""
    try:
        _zone(zone)
    except (KeyError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=256)
def _zone(zone: str) -> ZoneInfo:
    return ZoneInfo(zone)


@lru_cache(maxsize=4096)
def _start_of_month(index: int, zone: str) -> datetime:
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=_zone(zone)).astimezone(UTC)
