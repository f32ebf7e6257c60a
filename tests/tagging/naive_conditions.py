"""The condition language by the letter of the specification: slow, one fact at a time, without a line of the product's evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise, product
from typing import Any
from zoneinfo import ZoneInfo

from services.tagging.domain.conditions import (
    Absence,
    AttributeTest,
    Comparison,
    Condition,
    Delivered,
    DeliveryStatus,
    EventTest,
    Figure,
    FlowState,
    Happening,
    HasConsent,
    InFlow,
    InGroup,
    Kind,
    Leaf,
    LookedUp,
    Operator,
    OrderFigure,
    OrderTest,
    Period,
    Reachable,
    RelatedTo,
    Streak,
    StreakUnit,
    Succession,
    Window,
)
from services.tagging.domain.history import Behaviour, History, Purchase

DAY = timedelta(days=1)
MINOR = {"USD": 100, "JPY": 1, "KWD": 1000}


@dataclass(frozen=True)
class Naive:
    """One customer, in a zone, and the kept sets it is in."""

    history: History
    zone: ZoneInfo
    held: Callable[[LookedUp], bool]

    def holds(self, it: Condition, at: datetime) -> bool:
        if it.kind is Kind.ALL:
            return False not in [self.holds(part, at) for part in it.parts]
        if it.kind is Kind.ANY:
            return True in [self.holds(part, at) for part in it.parts]
        if it.kind is Kind.NOT:
            return not self.holds(it.parts[0], at)
        assert it.leaf is not None
        return self.leaf(it.leaf, at)

    def leaf(self, leaf: Leaf, at: datetime) -> bool:
        if isinstance(leaf, EventTest):
            return compares(leaf.comparison, self.event_figure(leaf, at))
        if isinstance(leaf, OrderTest):
            return compares(leaf.comparison, self.order_figure(leaf, at))
        if isinstance(leaf, Absence):
            return self.absent(leaf, at)
        if isinstance(leaf, Succession):
            return self.in_order(leaf, at)
        if isinstance(leaf, Streak):
            return self.streak(leaf, at)
        if isinstance(leaf, AttributeTest):
            return compares(leaf.comparison, self.attribute(leaf.key, at))
        if isinstance(leaf, RelatedTo):
            return compares(leaf.comparison, self.history.relations.get(leaf.tie.value))
        if isinstance(leaf, HasConsent):
            return leaf.purpose in self.history.consents
        if isinstance(leaf, InGroup | Reachable | InFlow | Delivered):
            return self.dealt(leaf, at)
        return self.held(leaf)

    def dealt(self, leaf: InGroup | Reachable | InFlow | Delivered, at: datetime) -> bool:
        told = self.history.dealings
        if isinstance(leaf, InGroup):
            return leaf.group in self.history.groups if leaf.group else len(self.history.groups) > 0
        if isinstance(leaf, Reachable):
            return leaf.channel in told.reachable if leaf.channel else len(told.reachable) > 0
        if isinstance(leaf, InFlow):
            for way in told.passages:
                ended = way.ended_at is not None and way.ended_at <= at
                through = ended and way.reason in ("COMPLETED", "GOAL_MET")
                held = through if leaf.state is FlowState.COMPLETED else way.entered_at <= at and not ended
                if held and (leaf.flow is None or leaf.flow == way.flow):
                    return True
            return False
        for it in told.messages:
            when = it.clicked_at if leaf.status is DeliveryStatus.CLICKED else it.sent_at
            meant = leaf.campaign is None or leaf.campaign == it.campaign
            if meant and when is not None and self.inside(leaf.window, when, at):
                return True
        return False

    def on(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def inside(self, window: Window, fact: datetime, at: datetime) -> bool:
        if fact > at:
            return False
        day, today = self.on(fact), self.on(at)
        if window.period is Period.LAST_N_DAYS:
            return day >= today - (window.n - 1) * DAY
        if window.period is Period.LAST_N_HOURS:
            return fact > at - timedelta(hours=window.n)
        if window.period is Period.BETWEEN:
            assert window.first
            assert window.last
            return window.first <= day <= window.last
        if window.period is Period.THIS_MONTH:
            return (day.year, day.month) == (today.year, today.month)
        return True

    def meant(self, what: Happening) -> list[Behaviour]:
        return [it for it in self.history.behaviours if self.means(what, it)]

    def means(self, what: Happening, it: Behaviour) -> bool:
        if (what.type and it.type != what.type) or (what.category and it.category != what.category):
            return False
        found = {"$daypart": daypart(self.clock(it))}
        if not all(compares(test.comparison, found.get(test.key) or prop(it, test.key)) for test in what.where):
            return False
        day = self.clock(it).date()
        if what.hours:
            start, end = what.hours
            hours = range(start, end) if start < end else [*range(start, 24), *range(end)]
            if self.clock(it).hour not in hours:
                return False
            if start >= end and self.clock(it).hour < start:
                day -= DAY
        return not what.weekdays or day.isoweekday() in what.weekdays

    def clock(self, it: Behaviour) -> datetime:
        if it.offset is None:
            return it.at.astimezone(self.zone).replace(tzinfo=None)
        return it.at.replace(tzinfo=None) + timedelta(minutes=it.offset)

    def night(self, what: Happening, it: Behaviour) -> date:
        if not what.hours:
            return self.on(it.at)
        start, end = what.hours
        wraps = start >= end and self.clock(it).hour < start
        return self.clock(it).date() - (DAY if wraps else timedelta())

    def event_figure(self, leaf: EventTest, at: datetime) -> Any:
        counted = [it for it in self.meant(leaf.what) if self.inside(leaf.window, it.at, at)]
        if leaf.figure is Figure.COUNT:
            return len(counted)
        if leaf.figure is Figure.DAYS:
            return len({self.night(leaf.what, it) for it in counted})
        if leaf.figure is Figure.WEEKS:
            days = {self.night(leaf.what, it) for it in counted}
            weeks = [day - (day.isoweekday() - 1) * DAY for day in days]
            return len({it for it in weeks if weeks.count(it) >= leaf.days})
        if leaf.figure is Figure.RECENCY_DAYS:
            return (self.on(at) - self.on(counted[-1].at)).days if counted else None
        if leaf.figure is Figure.FIRST_DAYS:
            return (self.on(at) - self.on(counted[0].at)).days if counted else None
        found = [daypart(self.clock(it)) if leaf.property == "$daypart" else prop(it, leaf.property) for it in counted]
        return of_property(leaf, [it for it in found if it is not None])

    def absent(self, leaf: Absence, at: datetime) -> bool:
        within = timedelta(seconds=leaf.within)
        for one in self.meant(leaf.what):
            followed = [it for it in self.meant(leaf.other) if timedelta() < it.at - one.at <= within]
            if self.inside(leaf.window, one.at, at) and at - one.at >= within and not followed:
                return True
        return False

    def in_order(self, leaf: Succession, at: datetime) -> bool:
        steps = [[it.at for it in self.meant(s) if self.inside(leaf.window, it.at, at)] for s in leaf.steps]
        for run in product(*steps):
            gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(run)]
            short = not leaf.within or sum(gaps) <= leaf.within
            if short and all(gap > 0 and (not leaf.gap or gap <= leaf.gap) for gap in gaps):
                return True
        return False

    def streak(self, leaf: Streak, at: datetime) -> bool:
        counted = [it for it in self.meant(leaf.what) if self.inside(leaf.window, it.at, at)]
        days = {self.night(leaf.what, it) for it in counted}
        step = 1
        if leaf.unit is StreakUnit.WEEK:
            days, step = {day - (day.isoweekday() - 1) * DAY for day in days}, 7
        return any(all(day + k * step * DAY in days for k in range(leaf.length)) for day in days)

    def order_figure(self, leaf: OrderTest, at: datetime) -> Any:
        counted = [it for it in self.history.purchases if self.inside(leaf.window, it.at, at)]
        counted = [it for it in counted if (it.returned if leaf.figure is OrderFigure.RETURNED else it.net) > 0]
        found = [(it, lines) for it in counted if (lines := bought(it, leaf, self.on(it.at))) is not None]
        nets = [amount(it, lines, leaf) for it, lines in found]
        days = [self.on(it.at) for it, _ in found]
        articles = [line for _, lines in found for line in lines]
        if leaf.figure in (OrderFigure.AVG, OrderFigure.MIN, OrderFigure.MAX) and not nets:
            return None
        if leaf.figure in (OrderFigure.RECENCY_DAYS, OrderFigure.FIRST_DAYS):
            last = leaf.figure is OrderFigure.RECENCY_DAYS
            return (self.on(at) - (days[-1] if last else days[0])).days if days else None
        if leaf.figure is OrderFigure.SHARE:
            return Fraction(100 * len(found), len(counted)) if counted else None
        figures: dict[OrderFigure, Callable[[], Any]] = {
            OrderFigure.COUNT: lambda: len(found),
            OrderFigure.RETURNED: lambda: len(found),
            OrderFigure.DAYPART: lambda: usual([daypart(it.at.astimezone(self.zone)) for it, _ in found]),
            OrderFigure.OCCASIONS: lambda: len(set(days)),
            OrderFigure.NET: lambda: sum(nets, Fraction()),
            OrderFigure.AVG: lambda: sum(nets, Fraction()) / len(nets),
            OrderFigure.MIN: lambda: min(nets),
            OrderFigure.MAX: lambda: max(nets),
            OrderFigure.QUANTITY: lambda: sum(line.quantity for line in articles),
            OrderFigure.SKUS: lambda: len({line.sku for line in articles} - {""}),
            OrderFigure.CATEGORIES: lambda: len({line.category for line in articles} - {""}),
        }
        return figures[leaf.figure]()

    def attribute(self, key: str, at: datetime) -> Any:
        if key == "known":
            return self.history.known_since is not None and self.history.known_since <= at
        if key in ("known_days", "created_days"):
            since = self.history.known_since if key == "known_days" else self.history.created_at
            return (self.on(at) - self.on(since)).days if since is not None and since <= at else None
        told = self.history.dealings
        if key in ("member", "member_days"):
            joined = told.member_since is not None and told.member_since <= at
            if key == "member":
                return joined
            return (self.on(at) - self.on(told.member_since)).days if joined and told.member_since else None
        begun = [it for it in told.lots if it.active_at <= at]
        points = {
            "points": sum(it.points for it in begun if not it.expires_at or at < it.expires_at),
            "points_pending": sum(it.points for it in told.lots) - sum(it.points for it in begun),
            "points_debt": told.debt,
        }
        return points[key] if key in points else self.history.attributes.get(key)


def of_property(leaf: EventTest, values: Sequence[Any]) -> Any:
    if leaf.figure is Figure.FIRST:
        return values[0] if values else None
    if leaf.figure is Figure.LAST:
        return values[-1] if values else None
    if leaf.figure is Figure.DISTINCT:
        return len({(sort(v), v) for v in values if sort(v)})
    if leaf.figure is Figure.USUAL:
        return usual([v for v in values if sort(v)])
    numbers = [Fraction(repr(v)) for v in values if sort(v) is float]
    if leaf.figure is Figure.SUM:
        return sum(numbers, Fraction())
    if not numbers:
        return None
    if leaf.figure is Figure.AVG:
        return sum(numbers) / len(numbers)
    return min(numbers) if leaf.figure is Figure.MIN else max(numbers)


def usual(values: Sequence[Any]) -> Any:
    """Whatever no other outnumbers, looked for from the end."""

    def often(value: Any) -> int:
        return sum(same(value, it) for it in values)

    return next((it for it in reversed(values) if all(often(it) >= often(one) for one in values)), None)


def daypart(clock: datetime) -> str:
    start = 6 * (clock.hour // 6)
    return f"{start:02}–{start + 6:02}"


def prop(it: Behaviour, key: str) -> Any:
    own = {"$channel": it.channel, "$content": it.content, "$page_view": it.page_view}
    if key in own:
        return own[key] or None
    if it.properties.get(key) is not None:
        return it.properties[key]
    extra = it.properties.get("extra")
    return extra.get(key) if isinstance(extra, dict) else None


def bought(it: Purchase, leaf: OrderTest, day: date) -> Sequence[Any] | None:
    """The articles meant of an order that is meant."""
    lines = list(it.lines)
    articles = False
    for test in leaf.where:
        if test.key in ("sku", "category", "brand"):
            articles = True
            lines = [line for line in lines if compares(test.comparison, getattr(line, test.key) or None)]
        else:
            listed, paid = sum(line.list for line in it.lines), sum(line.paid for line in it.lines)
            own = {
                "net": it.net / MINOR[it.currency],
                "coupons": it.coupons,
                "currency": it.currency,
                "quantity": sum(line.quantity for line in it.lines) if it.lines else None,
                "discount": 100 - Fraction(100 * paid, listed) if listed else None,
                "weekday": day.isoweekday(),
            }
            if not compares(test.comparison, own.get(test.key)):
                return None
    return None if articles and not lines else lines


def amount(it: Purchase, lines: Sequence[Any], leaf: OrderTest) -> Fraction:
    articles = any(test.key in ("sku", "category", "brand") for test in leaf.where)
    minor = sum(line.paid for line in lines) if articles else it.net
    return Fraction(minor, MINOR[it.currency])


def sort(value: Any) -> type | None:
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float | Fraction):
        return float
    return str if isinstance(value, str) else None


def compares(comparison: Comparison, value: Any) -> bool:
    """By the operator, without any order among truths, and with numbers as they are written."""
    wanted = [it.plain for it in comparison.values]
    operator = comparison.operator
    if operator is Operator.NOT_EXISTS:
        return value is None
    if value is None or operator is Operator.EXISTS:
        return value is not None
    if operator in (Operator.CONTAINS, Operator.STARTS_WITH):
        return has(operator, value, wanted[0])
    if operator is Operator.IN:
        return any(same(value, it) for it in wanted)
    if operator is Operator.EQ:
        return same(value, wanted[0])
    if any(sort(it) is not sort(value) for it in wanted) or sort(value) is None:
        return False
    if operator is Operator.NE:
        return not same(value, wanted[0])
    if sort(value) is bool:
        return False
    left, bounds = number(value), [number(it) for it in wanted]
    verdicts: dict[Operator, bool] = {
        Operator.LT: left < bounds[0],
        Operator.LE: left <= bounds[0],
        Operator.GT: left > bounds[0],
        Operator.GE: left >= bounds[0],
        Operator.BETWEEN: bounds[0] <= left <= bounds[-1],
    }
    return verdicts[operator]


def has(operator: Operator, value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.find(wanted) >= 0 if operator is Operator.CONTAINS else value[: len(wanted)] == wanted
    return operator is Operator.CONTAINS and isinstance(value, list | tuple) and any(same(it, wanted) for it in value)


def same(value: Any, other: Any) -> bool:
    return sort(value) is not None and sort(value) is sort(other) and bool(number(value) == number(other))


def number(value: Any) -> Any:
    """Numbers as they are written in decimal; all else as it is."""
    if sort(value) is not float or isinstance(value, Fraction):
        return value
    return Fraction(repr(value))
