"""What an order earns: a new points rule is one function and one line in RULES.

Points are floor(net × the product of what all rules return). A rule that does not concern an order
returns 1. The product and the names of the rules that mattered are kept with the points granted, so
that a refund is reckoned by the rules of the day of the order, whatever the rules are then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from math import prod

from services.membership.domain.money import major_units


@dataclass(frozen=True, slots=True)
class Terms:
    """What a program promises for an order: points per 1.00 of `currency`, days told in `zone`."""

    currency: str
    zone: str
    points_per_unit: Decimal


@dataclass(frozen=True, slots=True)
class Purchase:
    """A paid order as the rules see it; `net` in minor units of the currency of the terms."""

    net: int
    paid_at: datetime
    member_since: datetime


EarningRule = Callable[[Purchase, Terms], Decimal]


@dataclass(frozen=True, slots=True)
class Earned:
    """Points for an order, with the rate (points per 1.00, all rules multiplied) behind them."""

    points: int
    rate: Decimal
    rules: tuple[str, ...]


def program_rate(purchase: Purchase, terms: Terms) -> Decimal:
    """The base: so many points per 1.00 as the program says."""
    return terms.points_per_unit


RULES: Mapping[str, EarningRule] = {"program_rate": program_rate}


def earned(purchase: Purchase, terms: Terms, rules: Mapping[str, EarningRule] = RULES) -> Earned:
    """What `purchase` earns under all `rules` together."""
    factors = {name: rule(purchase, terms) for name, rule in rules.items()}
    rate = prod(factors.values(), start=Decimal(1))
    names = tuple(name for name, factor in factors.items() if factor != 1)
    return Earned(points_at(rate, purchase.net, terms.currency), rate, names)


def points_at(rate: Decimal, net: int, currency: str) -> int:
    """floor(net × rate) for `net` minor units of `currency` at `rate` points per 1.00."""
    return int((major_units(net, currency) * rate).to_integral_value(ROUND_FLOOR))
