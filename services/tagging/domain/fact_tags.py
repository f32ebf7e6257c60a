"""Preset tags that follow from facts alone (spec TG-3): each a table of values and the conditions for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from chassis.errors import FieldRequired
from services.tagging.domain.calendar import DAYPARTS
from services.tagging.domain.conditions import (
    ALL_TIME,
    AttributeTest,
    Comparison,
    Condition,
    EventTest,
    Figure,
    Happening,
    InGroup,
    Operator,
    OrderFigure,
    OrderTest,
    PropertyTest,
    Reachable,
    Window,
    any_of,
    last_days,
    that,
)
from services.tagging.domain.errors import BandOverlap
from services.tagging.domain.tag_definitions import ValueMode

Cases = Sequence[tuple[str, Condition]]


@dataclass(frozen=True, slots=True)
class FactParameters:
    """What a tenant chooses: where bands begin, or which values there are."""

    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FactTag:
    """One preset tag; `cases` makes its conditions out of the parameters."""

    name: str
    category: tuple[str, ...]
    mode: ValueMode
    cases: Callable[[FactParameters], Cases]


def bands(edges: Sequence[float], step: str) -> list[tuple[str, float, float | None]]:
    """Name, lower bound and upper bound (not included) of each band: "1–2", "3–5", "6+". Raises BandOverlap.

    `step` is the finest difference of two amounts, which the names show.
    """
    if any(second <= first for first, second in pairwise(edges)):
        raise BandOverlap(field="edges")
    found: list[tuple[str, float, float | None]] = []
    for first, after in zip(edges, [*edges[1:], None], strict=True):
        if after is None:
            found.append((f"{_shown(first)}+", first, None))
            continue
        last = Decimal(repr(after)) - Decimal(step)
        name = _shown(first) if last == Decimal(repr(first)) else f"{_shown(first)}–{_shown(last)}"
        found.append((name, first, after))
    return found


def _shown(number: float | Decimal) -> str:
    text = f"{Decimal(repr(number) if isinstance(number, float) else str(number)):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _banded(test: Callable[[Comparison], Condition], default: Sequence[float], step: str) -> Callable[..., Cases]:
    def cases(parameters: FactParameters) -> Cases:
        found: list[tuple[str, Condition]] = []
        for name, first, after in bands(parameters.edges or default, step):
            at_least = Comparison.with_plain(Operator.GE, first)
            if after is None:
                found.append((name, test(at_least)))
            else:
                last = float(Decimal(repr(after)) - Decimal(step))
                found.append((name, test(Comparison.with_plain(Operator.BETWEEN, first, last))))
        return found

    return cases


def _days(window: Window) -> Callable[[Comparison], Condition]:
    return lambda it: that(EventTest(Happening(), Figure.DAYS, it, window))


def _orders(figure: OrderFigure) -> Callable[[Comparison], Condition]:
    return lambda it: that(OrderTest(figure, it))


def _chosen(test: Callable[[str], Condition]) -> Callable[..., Cases]:
    def cases(parameters: FactParameters) -> Cases:
        if not parameters.values:
            raise FieldRequired("which values there are", field="values")
        return [(it, test(it)) for it in dict.fromkeys(parameters.values)]

    return cases


def _attribute(key: str) -> Callable[..., Cases]:
    return _chosen(lambda value: that(AttributeTest(key, Comparison.with_plain(Operator.EQ, value))))


def _property(kind: str, key: str) -> Callable[..., Cases]:
    """The values of a property of an event that ever happened."""

    def test(value: str) -> Condition:
        where = (PropertyTest(key, Comparison.with_plain(Operator.EQ, value)),)
        return that(EventTest(Happening(kind, where=where), Figure.COUNT, _AT_LEAST_ONE, ALL_TIME))

    return _chosen(test)


def _ever(kind: str) -> Callable[..., Cases]:
    return lambda _: [("", that(EventTest(Happening(kind), Figure.COUNT, _AT_LEAST_ONE, ALL_TIME)))]


def _bought(key: str) -> Callable[..., Cases]:
    def test(value: str) -> Condition:
        where = (PropertyTest(key, Comparison.with_plain(Operator.EQ, value)),)
        return that(OrderTest(OrderFigure.COUNT, _AT_LEAST_ONE, ALL_TIME, where))

    return _chosen(test)


def _dayparts(key: str) -> Callable[[FactParameters], Cases]:
    """The quarters of the day by a dimension that tells one of them."""
    return lambda _: [(it, that(AttributeTest(key, Comparison.with_plain(Operator.EQ, it)))) for it in DAYPARTS]


def _returned(_: FactParameters) -> Cases:
    return [("", that(OrderTest(OrderFigure.RETURNED, _AT_LEAST_ONE)))]


def _with_coupon(_: FactParameters) -> Cases:
    where = (PropertyTest("coupons", Comparison.with_plain(Operator.GE, 1.0)),)
    return [("", that(OrderTest(OrderFigure.COUNT, _AT_LEAST_ONE, ALL_TIME, where)))]


def _last_active(it: Comparison) -> Condition:
    return that(EventTest(Happening(), Figure.RECENCY_DAYS, it, ALL_TIME))


def _last_nps(it: Comparison) -> Condition:
    return that(EventTest(Happening("survey_answered"), Figure.LAST, it, ALL_TIME, "nps"))


def _is_member(_: FactParameters) -> Cases:
    return [("", that(AttributeTest("member", Comparison.with_plain(Operator.EQ, True))))]


def _reached(*channels: str) -> Callable[[FactParameters], Cases]:
    """Whoever a channel reaches that has one of these names."""
    return lambda _: [("", any_of(*(that(Reachable(it)) for it in channels)))]


_AT_LEAST_ONE: Final = Comparison.with_plain(Operator.GE, 1.0)
_ONE, _MANY = ValueMode.SINGLE_CHOICE, ValueMode.MULTI_CHOICE
_WHO, _HABIT = ("Physiological",), ("Lifestyle", "Shopping habit")

FACT_TAGS: Final[Mapping[str, FactTag]] = {
    "gender": FactTag("Gender", (*_WHO, "Gender"), _ONE, _attribute("gender")),
    "age_band": FactTag("Age band", (*_WHO, "Age band"), _ONE, _attribute("age_band")),
    "city": FactTag("City", (*_WHO, "Region"), _ONE, _attribute("city")),
    "first_channel": FactTag("First channel", ("Channel and path",), _ONE, _attribute("acquisition.channel")),
    "first_store": FactTag("First store", ("Channel and path",), _ONE, _attribute("acquisition.store")),
    "language": FactTag("Language", _WHO, _ONE, _attribute("language")),
    "group_member": FactTag("Member of a group", ("Behaviour",), ValueMode.FLAG, lambda _: [("", that(InGroup()))]),
    "member": FactTag("Member", ("Brand tier", "Member tier"), ValueMode.FLAG, _is_member),
    "oa_follower": FactTag(
        "Follows the official account", ("Channel and path",), ValueMode.FLAG, _reached("OA", "WECHAT_OA")
    ),
    "wecom_friend": FactTag("Friend on WeCom", ("Channel and path",), ValueMode.FLAG, _reached("WECOM")),
    "last_active_days": FactTag(
        "Days since last active", ("Behaviour",), _ONE, _banded(_last_active, (0, 8, 31, 91), "1")
    ),
    "visit_freq_30d": FactTag(
        "Days with visits in 30", ("Brand tier", "Usage frequency"), _ONE, _banded(_days(last_days(30)), (1, 3, 6), "1")
    ),
    "active_hours": FactTag("Active hours", ("Lifestyle", "Active hours"), _ONE, _dayparts("active_hours")),
    "favourite_channel": FactTag("Favourite channel", ("Channel and path",), _ONE, _attribute("favourite_channel")),
    "viewed_content": FactTag("Viewed", ("Content",), _MANY, _property("content_viewed", "$content")),
    "clicked_button": FactTag("Clicked", ("Behaviour",), _MANY, _property("button_clicked", "button_id")),
    "menu_interest": FactTag("Interest by menu", ("Interests",), _MANY, _property("menu_clicked", "menu_key")),
    "shared": FactTag("Shared", ("Behaviour",), ValueMode.FLAG, _ever("content_shared")),
    "purchased_category": FactTag("Bought of a category", _HABIT, _MANY, _bought("category")),
    "purchased_sku": FactTag("Bought an article", _HABIT, _MANY, _bought("sku")),
    "order_count": FactTag("Orders", _HABIT, _ONE, _banded(_orders(OrderFigure.COUNT), (1, 2, 4, 7), "1")),
    "total_spend": FactTag(
        "Spent in all",
        ("Brand tier", "Spend power"),
        _ONE,
        _banded(_orders(OrderFigure.NET), (0.01, 500, 1000), "0.01"),
    ),
    "avg_ticket": FactTag(
        "Average order",
        ("Brand tier", "Spend power"),
        _ONE,
        _banded(_orders(OrderFigure.AVG), (0.01, 100, 300), "0.01"),
    ),
    "purchase_hours": FactTag("Preferred time to buy", _HABIT, _ONE, _dayparts("purchase_hours")),
    "used_coupon": FactTag("Used a coupon", ("Consumption preference",), ValueMode.FLAG, _with_coupon),
    "refunded": FactTag("Got money back", ("Service",), ValueMode.FLAG, _returned),
    "complained": FactTag("Complained", ("Service", "Complaints"), ValueMode.FLAG, _ever("complaint_submitted")),
    "nps_band": FactTag("Would recommend", ("Service",), _ONE, _banded(_last_nps, (0, 7, 9), "1")),
    "receipt_uploaded": FactTag("Sent a receipt", ("Behaviour",), ValueMode.FLAG, _ever("receipt_uploaded")),
    "scanned_product": FactTag("Scanned a product", ("Behaviour",), ValueMode.FLAG, _ever("product_code_scanned")),
    "attended_activity": FactTag("Took part", ("Behaviour",), ValueMode.FLAG, _ever("activity_joined")),
}
"""Those that facts kept here tell; the kinds of behaviours are tracking's."""
