"""Personas (spec TG-5): ready rules for tags of behaviour that a brand adopts as they are, and changes later if it likes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.tagging.domain.conditions import Condition
from services.tagging.domain.conditions.text_reading import read


@dataclass(frozen=True, slots=True)
class Persona:
    """A tag with its category, and the conditions by which it comes and goes, as people write them."""

    name: str
    category: tuple[str, ...]
    comes: str
    goes: str

    @property
    def enter(self) -> Condition:
        return read(self.comes)

    @property
    def exit(self) -> Condition:
        return read(self.goes)


_COUPON = "order(where coupons >= 1)"
_SLEEPLESS = "event(hours 1..5)"
_LUNCH = 'event("content_viewed", hours 12..14, weekdays 1, 2, 3, 4, 5)'

PERSONAS: Final[Mapping[str, Persona]] = MappingProxyType(
    {
        "bargain_hunter": Persona(
            "Bargain hunter",
            ("Consumption preference",),
            "order count >= 3 in last 365 days and order(where discount >= 50) share >= 100 in last 365 days",
            "order(where discount >= 50) share < 80 in last 365 days or order count < 2 in last 365 days",
        ),
        "coupon_lover": Persona(
            "Coupon lover",
            ("Consumption preference",),
            f"order count >= 3 in last 180 days and {_COUPON} share >= 60 in last 180 days",
            f"order count < 3 in last 180 days or {_COUPON} share < 60 in last 180 days",
        ),
        "possible_sleep_problem": Persona(
            "Possible sleep problem",
            ("Health",),
            f"{_SLEEPLESS} weeks(4) >= 3 in last 28 days",
            f"{_SLEEPLESS} weeks(4) < 3 in last 28 days",
        ),
        "lunch_break_reader": Persona(
            "Lunch-break reader",
            ("Lifestyle", "Reading habit"),
            f"{_LUNCH} count >= 5 in last 30 days and {_LUNCH} days >= 3 in last 30 days",
            f"{_LUNCH} count < 3 in last 30 days",
        ),
        "weekend_shopper": Persona(
            "Weekend shopper",
            ("Lifestyle", "Shopping habit"),
            "order count >= 3 in last 180 days and order(where weekday >= 6) share >= 60 in last 180 days",
            "order count < 2 in last 180 days or order(where weekday >= 6) share < 50 in last 180 days",
        ),
        "bulk_buyer": Persona(
            "Bulk buyer",
            ("Consumption preference",),
            "order(where quantity >= 10) count >= 2 in last 180 days and order(where quantity >= 10) share >= 50 in last 180 days",
            "order(where quantity >= 10) count < 1 in last 180 days or order(where quantity >= 10) share < 40 in last 180 days",
        ),
    }
)
