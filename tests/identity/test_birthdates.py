"""Birthdates: how often they may change, and who is a child by them (ID-6)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.due_times import Timer
from chassis.event_store import MemoryEventStore
from services.identity.application.attribute_commands import EndMinority
from services.identity.application.attribute_upsert import COMING_OF_AGE
from services.identity.domain.errors import BirthdateChangeLimit
from services.identity.domain.minority import birthday
from tests.identity.brand import NOON, Brand, phone, refused
from tests.identity.people import DECLARED, IMPORT, STAFF, forgotten, kept, says, told, value

DAY = timedelta(days=1)


@pytest.fixture
def node(brand: Brand) -> UUID:
    return brand.resolve(phone(1)).customer_id


@pytest.fixture
def other(brand: Brand) -> UUID:
    return brand.resolve(phone(2)).customer_id


def born(brand: Brand, node: UUID, day: str | None, source: Any = DECLARED) -> None:
    told(brand, node, says("birthdate", day, source))


def later(brand: Brand, by: timedelta) -> None:
    brand.clock.set(brand.clock.now() + by)


def test_a_customer_changes_the_birthdate_once_in_365_days(brand: Brand, node: UUID) -> None:
    born(brand, node, "1990-05-01")
    later(brand, DAY)
    born(brand, node, "1990-06-01")
    later(brand, 365 * DAY - timedelta(seconds=1))
    refused(brand, BirthdateChangeLimit, lambda: born(brand, node, "1990-07-01"))
    later(brand, timedelta(seconds=1))
    born(brand, node, "1990-07-01")
    assert value(brand, node, "birthdate") == "1990-07-01"


def test_the_same_birthdate_again_is_no_change(brand: Brand, node: UUID) -> None:
    for _ in range(3):
        born(brand, node, "1990-05-01")
        later(brand, DAY)
    born(brand, node, "1990-06-01")


def test_taking_the_birthdate_back_is_a_change(brand: Brand, node: UUID) -> None:
    born(brand, node, "1990-05-01")
    later(brand, DAY)
    born(brand, node, None)
    later(brand, DAY)
    refused(brand, BirthdateChangeLimit, lambda: born(brand, node, "1990-06-01"))


def test_staff_change_the_birthdate_always(brand: Brand, node: UUID) -> None:
    for number in range(1, 5):
        born(brand, node, f"1990-0{number}-01", STAFF)
        later(brand, DAY)
    assert value(brand, node, "birthdate") == "1990-04-01"


def test_changes_at_all_nodes_of_a_customer_count_together(brand: Brand, node: UUID, other: UUID) -> None:
    born(brand, node, "1990-05-01")
    merge = brand.merge(node, other)
    later(brand, DAY)
    born(brand, other, "1990-06-01")
    later(brand, DAY)
    refused(brand, BirthdateChangeLimit, lambda: born(brand, node, "1990-07-01"))
    brand.unmerge(merge)
    born(brand, node, "1990-07-01")


def test_a_child_is_told_of_without_the_birthdate(brand: Brand, node: UUID) -> None:
    born(brand, node, "2012-05-02")
    assert kept(brand, node).minor
    (message,) = brand.published("CustomerMinorityChanged")
    told_of: Any = message
    assert (told_of.node_id, told_of.minor) == (str(node), True)
    assert "2012" not in str(message)


def test_whoever_is_14_is_no_child(brand: Brand, node: UUID) -> None:
    born(brand, node, "2012-05-01")  # it is noon of that day in UTC: the day has begun everywhere
    assert not kept(brand, node).minor
    assert brand.published("CustomerMinorityChanged") == []


def test_a_child_is_one_until_the_14th_birthday_has_begun_everywhere(brand: Brand, node: UUID) -> None:
    born(brand, node, "2012-08-09")
    assert due(brand) == {str(node): datetime(2026, 8, 9, 12, tzinfo=UTC)}
    brand.clock.set(datetime(2026, 8, 9, 11, 59, tzinfo=UTC))
    brand.do(EndMinority(node))
    assert kept(brand, node).minor
    brand.clock.set(datetime(2026, 8, 9, 12, tzinfo=UTC))
    brand.do(EndMinority(node))
    assert not kept(brand, node).minor
    assert [it.minor for it in brand.published("CustomerMinorityChanged")] == [True, False]  # type: ignore[attr-defined]
    assert due(brand) == {}


def test_a_corrected_birthdate_decides_anew(brand: Brand, node: UUID) -> None:
    born(brand, node, "2015-08-09", IMPORT)
    born(brand, node, "1985-08-09", DECLARED)
    assert not kept(brand, node).minor
    assert due(brand) == {}


def test_a_birthday_without_a_year_leaves_the_age_to_others(brand: Brand, node: UUID) -> None:
    born(brand, node, "--08-09", DECLARED)
    assert not kept(brand, node).minor
    told(brand, node, says("age_band", "UNDER_14"))
    assert kept(brand, node).minor
    assert due(brand) == {}
    born(brand, node, "1985-08-09", IMPORT)
    assert not kept(brand, node).minor


def test_a_customer_is_a_child_while_one_of_the_nodes_is(brand: Brand, node: UUID, other: UUID) -> None:
    born(brand, node, "1985-08-09")
    born(brand, other, "2015-08-09")
    merge = brand.merge(node, other)
    assert kept(brand, node).minor
    brand.unmerge(merge)
    assert not kept(brand, node).minor
    assert kept(brand, other).minor


def test_nobody_waits_for_the_birthday_of_somebody_erased(brand: Brand, node: UUID) -> None:
    born(brand, node, "2015-08-09")
    forgotten(brand, node)
    assert due(brand) == {}


def test_leap_day_birthdays_are_observed_on_the_28th() -> None:
    assert birthday(date(2012, 2, 29), 14) == date(2026, 2, 28)
    assert birthday(date(2012, 2, 29), 16) == date(2028, 2, 29)
    assert NOON.date() == date(2026, 5, 1)


def due(brand: Brand) -> dict[str, datetime]:
    """When which child turns 14, by node."""
    store = brand.bus.store
    if isinstance(store, MemoryEventStore):
        timers = [it for it in store.timers.values() if isinstance(it, Timer)]
        return {it.key: it.due_at for it in timers if it.kind == COMING_OF_AGE}
    with store.engine.connect() as rows:  # type: ignore[attr-defined]
        found = rows.exec_driver_sql("SELECT key, due_at FROM timers WHERE kind = %s", (COMING_OF_AGE,))
        return {it.key: it.due_at for it in found}
