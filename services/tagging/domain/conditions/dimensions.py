"""Dimensions: the names by which people ask for what is known of a customer (spec TG-4).

Some are attributes that identity resolved. The others are worked out here: each is short for a leaf on behaviours or orders.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from services.tagging.domain.calendar import DAYPARTS
from services.tagging.domain.conditions.leaves import (
    AttributeTest,
    EventTest,
    Figure,
    Happening,
    Leaf,
    OrderFigure,
    OrderTest,
    PropertyTest,
    RelatedTo,
    Tie,
)
from services.tagging.domain.conditions.values import ALL_TIME, Comparison, Operator, Window, last_days

KNOWN: Final = "known"
KNOWN_DAYS: Final = "known_days"
CREATED_DAYS: Final = "created_days"
MEMBER: Final = "member"
MEMBER_DAYS: Final = "member_days"
POINTS: Final = "points"
PENDING: Final = "points_pending"
DEBT: Final = "points_debt"
OF_MEMBERSHIP: Final = frozenset({MEMBER, MEMBER_DAYS, POINTS, PENDING, DEBT})

_NOTHING = (Operator.EXISTS, Operator.NOT_EXISTS)
_ORDER = (Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.BETWEEN)
_EQUAL = (Operator.EQ, Operator.NE)


class ValueType(StrEnum):
    """What the values of a dimension look like. DATE and INSTANT are texts in ISO form, a date is also a bound of instants."""

    TEXT = "TEXT"
    CHOICE = "CHOICE"
    NUMBER = "NUMBER"
    TRUTH = "TRUTH"
    DATE = "DATE"
    INSTANT = "INSTANT"
    LIST = "LIST"

    @property
    def operators(self) -> tuple[Operator, ...]:
        return _OPERATORS[self]


_OPERATORS: Final[Mapping[ValueType, tuple[Operator, ...]]] = {
    ValueType.TEXT: (*_EQUAL, Operator.IN, Operator.CONTAINS, Operator.STARTS_WITH, *_NOTHING),
    ValueType.CHOICE: (*_EQUAL, Operator.IN, *_NOTHING),
    ValueType.NUMBER: (*_EQUAL, *_ORDER, Operator.IN, *_NOTHING),
    ValueType.TRUTH: (*_EQUAL, *_NOTHING),
    ValueType.DATE: (*_EQUAL, *_ORDER, Operator.IN, Operator.STARTS_WITH, *_NOTHING),
    ValueType.INSTANT: (*_ORDER, Operator.STARTS_WITH, *_NOTHING),
    ValueType.LIST: (Operator.CONTAINS, *_NOTHING),
}


class Source(StrEnum):
    """Where a dimension comes from."""

    ATTRIBUTE = "ATTRIBUTE"
    CUSTOMER = "CUSTOMER"
    BEHAVIOUR = "BEHAVIOUR"
    ORDER = "ORDER"
    RELATION = "RELATION"
    MEMBERSHIP = "MEMBERSHIP"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension; `choices` has the values of a CHOICE, `meaning` the leaf a comparison is short for."""

    key: str
    type: ValueType
    source: Source
    choices: tuple[str, ...] = ()
    meaning: Callable[[Comparison], Leaf] | None = None


def _behaviour(key: str, figure: Figure, what: Happening, window: Window = ALL_TIME) -> Dimension:
    return Dimension(
        key, ValueType.NUMBER, Source.BEHAVIOUR, (), lambda comparison: EventTest(what, figure, comparison, window)
    )


def _channel(key: str, figure: Figure, window: Window = ALL_TIME) -> Dimension:
    return Dimension(
        key,
        ValueType.TEXT,
        Source.BEHAVIOUR,
        (),
        lambda comparison: EventTest(_ANY, figure, comparison, window, "$channel"),
    )


def _active_hours(comparison: Comparison) -> EventTest:
    return EventTest(_ANY, Figure.USUAL, comparison, last_days(90), "$daypart")


def _purchase_hours(comparison: Comparison) -> OrderTest:
    return OrderTest(OrderFigure.DAYPART, comparison)


def _order(key: str, figure: OrderFigure, window: Window = ALL_TIME, where: tuple[PropertyTest, ...] = ()) -> Dimension:
    return Dimension(
        key, ValueType.NUMBER, Source.ORDER, (), lambda comparison: OrderTest(figure, comparison, window, where)
    )


def _attribute(key: str, kind: ValueType, *choices: str) -> Dimension:
    return Dimension(key, kind, Source.ATTRIBUTE, choices)


def _tie(tie: Tie) -> Dimension:
    return Dimension(tie, ValueType.TEXT, Source.RELATION, (), lambda comparison: RelatedTo(tie, comparison))


_AGES = ("UNDER_14", "AGE_14_17", "AGE_18_24", "AGE_25_34", "AGE_35_44", "AGE_45_54", "AGE_55_64", "AGE_65_UP")
_ANY = Happening()
_COUPON = (PropertyTest("coupons", Comparison.with_plain(Operator.GE, 1)),)

BUILT_IN: Final[Mapping[str, Dimension]] = MappingProxyType(
    {
        it.key: it
        for it in (
            _attribute("gender", ValueType.CHOICE, "FEMALE", "MALE", "OTHER"),
            _attribute("age_band", ValueType.CHOICE, *_AGES),
            _attribute("region", ValueType.TEXT),
            _attribute("city", ValueType.TEXT),
            _attribute("family.has_child", ValueType.TRUTH),
            _attribute("family.household_size", ValueType.NUMBER),
            _attribute("hobbies", ValueType.LIST),
            _attribute("interests", ValueType.LIST),
            _attribute("knowledge_level", ValueType.CHOICE, "BEGINNER", "INTERMEDIATE", "EXPERT"),
            _attribute("preferences", ValueType.LIST),
            _attribute("timezone", ValueType.TEXT),
            _attribute("language", ValueType.TEXT),
            _attribute("acquisition.channel", ValueType.TEXT),
            _attribute("acquisition.store", ValueType.TEXT),
            _attribute("acquisition.staff", ValueType.TEXT),
            _attribute("acquisition.campaign", ValueType.TEXT),
            _attribute("acquisition.first_touch_at", ValueType.INSTANT),
            Dimension(KNOWN, ValueType.TRUTH, Source.CUSTOMER),
            Dimension(KNOWN_DAYS, ValueType.NUMBER, Source.CUSTOMER),
            Dimension(CREATED_DAYS, ValueType.NUMBER, Source.CUSTOMER),
            Dimension(MEMBER, ValueType.TRUTH, Source.MEMBERSHIP),
            Dimension(MEMBER_DAYS, ValueType.NUMBER, Source.MEMBERSHIP),
            *(Dimension(it, ValueType.NUMBER, Source.MEMBERSHIP) for it in (POINTS, PENDING, DEBT)),
            *map(_tie, Tie),
            _behaviour("last_active_days", Figure.RECENCY_DAYS, _ANY),
            _behaviour("first_active_days", Figure.FIRST_DAYS, _ANY),
            _behaviour("active_days_7", Figure.DAYS, _ANY, last_days(7)),
            _behaviour("active_days_30", Figure.DAYS, _ANY, last_days(30)),
            _behaviour("active_days_90", Figure.DAYS, _ANY, last_days(90)),
            _channel("first_channel", Figure.FIRST),
            _channel("last_channel", Figure.LAST),
            _channel("favourite_channel", Figure.USUAL, last_days(90)),
            Dimension("active_hours", ValueType.CHOICE, Source.BEHAVIOUR, DAYPARTS, _active_hours),
            _behaviour("shares_90", Figure.COUNT, Happening(category="S"), last_days(90)),
            _behaviour("intents_90", Figure.COUNT, Happening(category="N"), last_days(90)),
            _behaviour("complaints_90", Figure.COUNT, Happening("complaint_submitted"), last_days(90)),
            _behaviour("checkins_30", Figure.DAYS, Happening("checkin"), last_days(30)),
            _order("total_spend", OrderFigure.NET),
            _order("spend_90", OrderFigure.NET, last_days(90)),
            _order("spend_365", OrderFigure.NET, last_days(365)),
            _order("order_count", OrderFigure.COUNT),
            _order("orders_365", OrderFigure.COUNT, last_days(365)),
            _order("purchase_days", OrderFigure.OCCASIONS),
            _order("purchase_days_365", OrderFigure.OCCASIONS, last_days(365)),
            _order("average_order", OrderFigure.AVG),
            _order("largest_order", OrderFigure.MAX),
            _order("pieces_bought", OrderFigure.QUANTITY),
            _order("articles_bought", OrderFigure.SKUS),
            _order("categories_bought", OrderFigure.CATEGORIES),
            _order("last_purchase_days", OrderFigure.RECENCY_DAYS),
            _order("first_purchase_days", OrderFigure.FIRST_DAYS),
            _order("coupon_orders_180", OrderFigure.COUNT, last_days(180), _COUPON),
            _order("returned_orders", OrderFigure.RETURNED),
            Dimension("purchase_hours", ValueType.CHOICE, Source.ORDER, DAYPARTS, _purchase_hours),
        )
    }
)
"""What every tenant has; identity's attributes that tell who somebody is are told to nobody, and are no dimensions."""


def meaning(leaf: Leaf) -> Leaf:
    """The leaf that a comparison of a dimension worked out here is short for; any other leaf is itself."""
    if isinstance(leaf, AttributeTest):
        found = BUILT_IN.get(leaf.key)
        if found is not None and found.meaning is not None:
            return found.meaning(leaf.comparison)
    return leaf
