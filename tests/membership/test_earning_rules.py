"""What an order earns, and how one more rule changes it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from services.membership.domain.earning_rules import RULES, Purchase, Terms, earned, points_at

NOON = datetime(2025, 11, 11, 12, tzinfo=UTC)


def terms(rate: str = "1", currency: str = "USD") -> Terms:
    return Terms(currency, "Asia/Shanghai", Decimal(rate))


@pytest.mark.parametrize(
    ("net", "rate", "currency", "points"),
    [
        (9990, "1", "USD", 99),
        (99, "1", "USD", 0),
        (100, "1", "USD", 1),
        (9990, "0.5", "USD", 49),
        (9990, "1.5", "USD", 149),
        (500, "1", "JPY", 500),
        (0, "1", "USD", 0),
    ],
)
def test_points_are_the_floor_of_net_times_rate(net: int, rate: str, currency: str, points: int) -> None:
    assert earned(Purchase(net, NOON, NOON), terms(rate, currency)).points == points


def test_a_rule_added_multiplies_and_is_named_in_what_was_earned() -> None:
    def singles_day(purchase: Purchase, _: Terms) -> Decimal:
        return Decimal(2) if (purchase.paid_at.month, purchase.paid_at.day) == (11, 11) else Decimal(1)

    rules = {**RULES, "singles_day": singles_day}
    that_day = earned(Purchase(9990, NOON, NOON), terms(), rules)
    assert (that_day.points, that_day.rate, that_day.rules) == (199, Decimal(2), ("singles_day",))
    another = earned(Purchase(9990, NOON.replace(day=12), NOON), terms(), rules)
    assert (another.points, another.rules) == (99, ())


def test_what_is_left_after_a_refund_is_reckoned_at_the_rate_of_the_day() -> None:
    assert points_at(Decimal("1.5"), 6660, "USD") == 99
