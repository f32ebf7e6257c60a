"""What values of attributes must look like, and under which text they are kept (ID-6)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.errors import BadFormat, DomainError, FieldRequired, FieldTooLong, UnknownEnum, ValueOutOfRange
from services.identity.domain.attribute_forms import MOST_ITEMS, Address, read, united, written
from services.identity.domain.attributes import PRESET, AttributeDefinition, AttributeType
from services.identity.domain.errors import TypeMismatch

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = AttributeDefinition("anniversary", AttributeType.DATE, pii=False)
HOME = Address("CN", "Shanghai", "Shanghai", "Xuhui", "1 Huaihai Rd")
PLACE = AttributeDefinition("workplace", AttributeType.ADDRESS, pii=True)


def definition(key: str) -> AttributeDefinition:
    return {**PRESET, DAY.key: DAY, PLACE.key: PLACE}[key]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("name", "李伟", "李伟"),
        ("gender", "FEMALE", "FEMALE"),
        ("birthdate", "1990-05-01", "1990-05-01"),
        ("birthdate", "2024-02-29", "2024-02-29"),
        ("birthdate", "--02-29", "--02-29"),
        ("birthdate", "2026-05-02", "2026-05-02"),  # it is the second of May in the farthest east
        ("anniversary", "2050-01-01", "2050-01-01"),
        ("family.household_size", 3.0, "3"),
        ("family.household_size", 2.5, "2.5"),
        ("family.has_child", True, "true"),
        ("hobbies", ("tea", "Go", "tea"), '["tea","Go"]'),
        ("timezone", "Asia/Shanghai", "Asia/Shanghai"),
        ("language", "zh-Hans-CN", "zh-Hans-CN"),
        ("acquisition.first_touch_at", NOW, "2026-05-01T12:00:00+00:00"),
        ("workplace", Address(city="上海"), '{"city":"上海"}'),
        ("address", (HOME, HOME, Address(city="b")), None),
    ],
)
def test_a_value_is_read_as_it_was_written(key: str, value: Any, text: str | None) -> None:
    kept = written(definition(key), value, NOW, "value")
    assert text in (kept, None)
    expected = tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value
    assert read(definition(key).type, kept) == expected


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("name", 1.0, TypeMismatch),
        ("name", ("a",), TypeMismatch),
        ("name", "", FieldRequired),
        ("name", "  ", FieldRequired),
        ("name", "x" * 257, FieldTooLong),
        ("gender", "female", UnknownEnum),
        ("gender", True, TypeMismatch),
        ("birthdate", "2023-02-29", BadFormat),
        ("birthdate", "--02-30", BadFormat),
        ("birthdate", "2023-13-01", BadFormat),
        ("birthdate", "0000-01-01", BadFormat),
        ("birthdate", "1990-5-1", BadFormat),
        ("birthdate", "１９９０-05-01", BadFormat),
        ("birthdate", "1899-12-31", ValueOutOfRange),
        ("birthdate", "2026-05-03", ValueOutOfRange),
        ("birthdate", 1990.0, TypeMismatch),
        ("family.household_size", float("nan"), ValueOutOfRange),
        ("family.household_size", float("inf"), ValueOutOfRange),
        ("family.household_size", True, TypeMismatch),
        ("family.household_size", "3", TypeMismatch),
        ("family.has_child", 1.0, TypeMismatch),
        ("hobbies", (), FieldRequired),
        ("hobbies", "tea", TypeMismatch),
        ("hobbies", ("a",) * (MOST_ITEMS + 1), FieldTooLong),
        ("hobbies", ("x" * 257,), FieldTooLong),
        ("hobbies", (HOME,), TypeMismatch),
        ("address", (Address(),), FieldRequired),
        ("address", (Address("China"),), BadFormat),
        ("address", (Address(street="x" * 257),), FieldTooLong),
        ("address", HOME, TypeMismatch),
        ("timezone", "Asia/Atlantis", BadFormat),
        ("timezone", "../etc/passwd", BadFormat),
        ("timezone", "America", BadFormat),
        ("language", "Chinese", BadFormat),
        ("acquisition.first_touch_at", "yesterday", TypeMismatch),
    ],
)
def test_what_does_not_fit_is_refused(key: str, value: Any, error: type[DomainError]) -> None:
    with pytest.raises(error) as refused:
        written(definition(key), value, NOW, "values[0].value")
    assert refused.value.field is not None
    assert refused.value.field.startswith("values[0].value")


def test_united_lists_keep_their_order_and_hold_fifty() -> None:
    many = united(['["b","a"]', '["a","c"]'])
    assert many == '["b","a","c"]'
    first, second = (written(definition("hobbies"), tuple(f"{n}-{it}" for it in range(30)), NOW, "v") for n in "ab")
    found = read(AttributeType.LIST, united([first, second]))
    assert found == (*(f"a-{it}" for it in range(30)), *(f"b-{it}" for it in range(20)))


def test_a_birthdate_may_be_today() -> None:
    assert written(definition("birthdate"), NOW.date().isoformat(), NOW, "v")
    with pytest.raises(ValueOutOfRange):
        written(definition("birthdate"), (NOW + timedelta(days=2)).date().isoformat(), NOW, "v")
