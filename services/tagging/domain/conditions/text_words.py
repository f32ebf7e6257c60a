"""The words of the text form of conditions (spec TG-4), for reading and for writing.

city = "Shanghai" and (tag("vip") or total_spend >= 1000) and not segment("…")
event("product_viewed", where sku = "A") count >= 3 in last 30 days
event("cart_added") without event("order_paid") within 3 days in last 30 days
event("content_viewed") then event("registered") within 20 minutes
event("checkin") streak 7 days in last 30 days
order(where category = "tea") net >= 99.5 in this month
event(category "N", hours 23..5, weekdays 6, 7) days >= 3
"""

from collections.abc import Mapping
from typing import Final

from services.tagging.domain.conditions.leaves import Tie
from services.tagging.domain.conditions.values import Operator

SYMBOLS: Final[Mapping[Operator, str]] = {
    Operator.EQ: "=",
    Operator.NE: "!=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
}
PHRASES: Final[Mapping[Operator, str]] = {
    Operator.IN: "in",
    Operator.CONTAINS: "contains",
    Operator.EXISTS: "exists",
    Operator.NOT_EXISTS: "not exists",
    Operator.BETWEEN: "between",
    Operator.STARTS_WITH: "starts with",
}
SYNONYMS: Final[Mapping[str, str]] = {
    "且": "and",
    "或": "or",
    "非": "not",
    "≠": "!=",
    "≤": "<=",
    "≥": ">=",
    "==": "=",
    "（": "(",
    "）": ")",
    "，": ",",
}
UNITS: Final[Mapping[str, int]] = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
"""Seconds, the longest first."""

LEAF_WORDS: Final = frozenset(
    {
        *(
            "tag",
            "segment",
            "layer",
            "rfm",
            "attr",
            "event",
            "order",
            "group",
            "consent",
            "reachable",
            "flow",
            "delivery",
        ),
        *("all", "any", *Tie),
    }
)
RESERVED: Final = LEAF_WORDS | {"and", "or", "not", "true", "false"}
"""What no attribute is called without attr("…")."""
