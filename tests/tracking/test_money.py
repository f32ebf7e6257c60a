"""Money in minor units."""

import pytest

from chassis.errors import DomainError
from services.tracking.domain.errors import CurrencyUnsupported, NegativeAmount
from services.tracking.domain.money import major_units, minor_units


@pytest.mark.parametrize(
    ("currency", "units", "nanos", "minor"),
    [("USD", 12, 340_000_000, 1234), ("JPY", 500, 0, 500), ("KWD", 1, 234_000_000, 1234), ("USD", 0, 0, 0)],
)
def test_an_amount_comes_back_as_it_was(currency: str, units: int, nanos: int, minor: int) -> None:
    assert minor_units(currency, units, nanos) == minor
    assert major_units(currency, minor) == (units, nanos)


@pytest.mark.parametrize(
    ("currency", "units", "nanos", "reason"),
    [
        ("XXX", 1, 0, CurrencyUnsupported),
        ("", 1, 0, CurrencyUnsupported),
        ("USD", 1, 5_000_000, CurrencyUnsupported),
        ("JPY", 1, 10_000_000, CurrencyUnsupported),
        ("USD", -1, 0, NegativeAmount),
        ("USD", 0, -10_000_000, NegativeAmount),
    ],
)
def test_what_is_no_amount_is_refused(currency: str, units: int, nanos: int, reason: type[DomainError]) -> None:
    with pytest.raises(reason):
        minor_units(currency, units, nanos)
