"""When a work order is due: working time in the hours of a brand, whatever clocks and calendars do (ID-8)."""

from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from chassis.errors import BadFormat, DomainError, ValueOutOfRange
from services.identity.domain.service_hours import DEFAULT_HOURS, Allowance, BusinessHours, month_of
from services.identity.domain.topics import topics
from services.identity.domain.work_order import ALLOWANCES, Priority

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = "America/New_York"
FRIDAY = datetime(2026, 6, 5, 17, tzinfo=SHANGHAI)
HOUR = timedelta(hours=1)


def due(priority: Priority, since: datetime, hours: BusinessHours = DEFAULT_HOURS) -> datetime:
    return hours.due(since, ALLOWANCES[priority]).astimezone(since.tzinfo)


def shanghai(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=SHANGHAI)


def test_ac_12_p2_created_on_friday_at_17_is_due_on_monday_at_17() -> None:
    assert due(Priority.P2, FRIDAY) == shanghai(6, 8, 17)


@pytest.mark.parametrize(
    ("priority", "since", "expected"),
    [
        (Priority.P1, shanghai(6, 5, 9), shanghai(6, 5, 13)),
        (Priority.P1, shanghai(6, 5, 14), shanghai(6, 5, 18)),  # due as it closes
        (Priority.P1, FRIDAY, shanghai(6, 8, 12)),
        (Priority.P3, FRIDAY, shanghai(6, 10, 17)),
        (Priority.P4, FRIDAY, shanghai(6, 16, 17)),
        (Priority.P2, shanghai(6, 6, 11), shanghai(6, 8, 18)),  # on Saturday
        (Priority.P2, shanghai(6, 5, 22), shanghai(6, 8, 18)),  # after hours
        (Priority.P2, shanghai(6, 5, 3), shanghai(6, 5, 18)),  # before hours
    ],
)
def test_only_opening_hours_count(priority: Priority, since: datetime, expected: datetime) -> None:
    assert due(priority, since) == expected


def test_nobody_works_on_holidays() -> None:
    hours = BusinessHours.of("Asia/Shanghai", [1, 2, 3, 4, 5], (540, 1080), [date(2026, 6, 8), date(2026, 6, 9)])
    assert due(Priority.P2, FRIDAY, hours) == shanghai(6, 10, 17)


def test_hours_that_a_change_of_the_clocks_skips_or_repeats_count_as_they_pass() -> None:
    nights = BusinessHours.of(NEW_YORK, range(1, 8), (0, 360))
    spring, autumn = (
        datetime(2025, 3, 9, 0, 0, tzinfo=ZoneInfo(NEW_YORK)),
        datetime(2025, 11, 2, 0, 0, tzinfo=ZoneInfo(NEW_YORK)),
    )
    assert nights.due(spring, Allowance(hours=4)) == datetime(2025, 3, 9, 9, tzinfo=UTC)  # 05:00 EDT
    assert nights.due(autumn, Allowance(hours=4)) == datetime(2025, 11, 2, 8, tzinfo=UTC)  # 03:00 EST


def test_opening_in_a_gap_moves_forward_and_in_repeated_time_is_the_first() -> None:
    early = BusinessHours.of(NEW_YORK, range(1, 8), (150, 360))  # 02:30
    night = datetime(2025, 3, 9, tzinfo=ZoneInfo(NEW_YORK))
    assert early.due(night, Allowance(hours=1)) == datetime(2025, 3, 9, 8, 30, tzinfo=UTC)  # opens 03:30 EDT
    repeated = BusinessHours.of(NEW_YORK, range(1, 8), (90, 360))  # 01:30
    night = datetime(2025, 11, 2, tzinfo=ZoneInfo(NEW_YORK))
    assert repeated.due(night, Allowance(hours=1)) == datetime(2025, 11, 2, 6, 30, tzinfo=UTC)  # opens 01:30 EDT


def test_a_shop_that_never_closes_counts_every_hour() -> None:
    always = BusinessHours.of("UTC", range(1, 8), (0, 1440))
    since = datetime(2026, 6, 5, 17, tzinfo=UTC)
    assert due(Priority.P1, since, always) == since + 4 * HOUR
    assert due(Priority.P4, since, always) == since + timedelta(days=7)


def test_it_agrees_with_a_clock_that_is_watched_minute_by_minute() -> None:
    random = Random(7)
    for _ in range(20):
        opens = random.randrange(0, 1200)
        hours = BusinessHours.of(
            random.choice([NEW_YORK, "Asia/Shanghai", "Europe/Berlin"]),
            random.sample(range(1, 8), random.randint(1, 7)),
            (opens, random.randint(opens + 60, 1440)),
            [date(2025, 3, random.randint(1, 31)) for _ in range(4)],
        )
        since = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(minutes=random.randrange(40_000))
        assert hours.due(since, Allowance(hours=4)) == watched(hours, since, 240)


def watched(hours: BusinessHours, since: datetime, minutes: int) -> datetime:
    """When so many minutes have passed during which it was open, by looking at every minute."""
    zone, at = ZoneInfo(hours.zone), since
    while minutes:
        local = at.astimezone(zone)
        is_day = local.isoweekday() in hours.weekdays and local.date() not in hours.holidays
        minutes -= is_day and hours.opens <= local.hour * 60 + local.minute < hours.closes
        at += timedelta(minutes=1)
    return at


@pytest.mark.parametrize(
    ("zone", "weekdays", "minutes", "error"),
    [
        ("Mars/Olympus", [1], (540, 1080), BadFormat),
        ("../etc/passwd", [1], (540, 1080), BadFormat),
        ("UTC", [], (540, 1080), ValueOutOfRange),
        ("UTC", [8], (540, 1080), ValueOutOfRange),
        ("UTC", [1], (1080, 540), ValueOutOfRange),
        ("UTC", [1], (540, 540), ValueOutOfRange),
        ("UTC", [1], (0, 1441), ValueOutOfRange),
    ],
)
def test_hours_in_which_nothing_could_ever_be_done_are_refused(
    zone: str, weekdays: list[int], minutes: tuple[int, int], error: type[DomainError]
) -> None:
    with pytest.raises(error):
        BusinessHours.of(zone, weekdays, minutes)


def test_months_are_those_of_the_zone() -> None:
    at = datetime(2026, 5, 31, 17, tzinfo=UTC)
    assert month_of(at, "Asia/Shanghai") == date(2026, 6, 1)
    assert month_of(at, NEW_YORK) == date(2026, 5, 1)


def test_topics_are_counted_in_one_spelling() -> None:
    assert topics(["Leaking  Cap", "leaking cap ", "漏水"]) == ("leaking cap", "漏水")


@pytest.mark.parametrize("given", ["", "  ", "x" * 41, "jo@example.com", "call 13800000001", "https://x", "a\0b"])
def test_a_topic_that_may_name_somebody_is_refused(given: str) -> None:
    with pytest.raises(BadFormat):
        topics([given])
