"""When time can first move whom: for each leaf (spec TG-5) the customers with facts by which its passing can change it, in one statement.

What is found is never later than the first instant of `domain/conditions/change.py`, and mostly earlier: when the oldest fact leaves its
window, whether that makes a difference or not. To look too early does no harm, so a definition for everybody needs no more than this.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from math import ceil, floor
from typing import Final, NamedTuple, assert_never
from uuid import UUID

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import (
    Absence,
    AttributeTest,
    Comparison,
    Delivered,
    DeliveryStatus,
    EventTest,
    Figure,
    Happening,
    HasConsent,
    HasTag,
    InFlow,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    OrderFigure,
    OrderTest,
    Period,
    Reachable,
    RelatedTo,
    RfmScores,
    Streak,
    Succession,
    Window,
)
from services.tagging.domain.conditions.behaviours import SECOND
from services.tagging.domain.conditions.dimensions import (
    CREATED_DAYS,
    KNOWN,
    KNOWN_DAYS,
    MEMBER,
    MEMBER_DAYS,
    PENDING,
    POINTS,
    meaning,
)
from services.tagging.domain.conditions.facts import Facts
from services.tagging.domain.conditions.limits import happenings
from services.tagging.domain.history import History
from services.tagging.read_models.comparison_sql import Sql, either
from services.tagging.read_models.leaf_sql import AsOf

_MOST_DAYS: Final = 36_500
"""Who waits for longer than a century need not be looked at."""

_MOST_TURNS: Final = 6
_NOBODY: Final = History(UUID(int=0))

When = Callable[[datetime], datetime | None]


class Moving(NamedTuple):
    """A statement that finds ordinals, with the first instant of their facts up to now and the first one to come; and when time moves
    whoever has a fact of such an instant."""

    statement: Sql
    moves: When

    def at(self, first: datetime | None, coming: datetime | None) -> datetime | None:
        """When time can first move a customer with such facts."""
        leaving = self.moves(first) if first else None
        return min(leaving, coming) if leaving and coming else leaving or coming


def moving(leaf: Leaf, when: AsOf) -> Iterator[Moving]:
    """How to find them; nothing if time changes nothing for anybody."""
    leaf = meaning(leaf)
    match leaf:
        case EventTest() | OrderTest():
            yield from _of_figure(leaf, when)
        case Absence():
            yield _leaving(_behaviours((leaf.what,)), leaf.window, when)
            within = leaf.within * SECOND
            yield _moving(_behaviours((leaf.what,)), when.at - within, when, lambda it: it + within)
        case Succession() | Streak():
            yield _leaving(_behaviours(happenings(leaf)), leaf.window, when)
        case AttributeTest():
            yield from _of_attribute(leaf, when)
        case Delivered():
            yield _leaving(_messages(leaf), leaf.window, when)
        case InFlow(flow):
            test = Sql("true") if flow is None else Sql("t.flow = %s", (flow,))
            for column in ("entered_at", "ended_at"):
                yield _coming(_Facts("flow_instances", column, test), when)
        case RelatedTo() | InGroup() | HasConsent() | Reachable() | HasTag() | InLayer() | RfmScores() | InSegment():
            return
        case _:
            assert_never(leaf)


class _Facts(NamedTuple):
    """Rows of nodes that pass a test, and the column of their instants."""

    table: str
    column: str
    test: Sql = Sql("true")


def _of_attribute(leaf: AttributeTest, when: AsOf) -> Iterator[Moving]:
    """By what is only worked out here; whatever else is told of a customer is so at any time."""
    match leaf.key:
        case key if key in _SINCE:
            yield _coming(_SINCE[key], when)
            if key not in (KNOWN, MEMBER):
                yield from _turning(_SINCE[key], leaf.comparison, when)
        case key if key in (POINTS, PENDING):
            for column in ("active_at", "expires_at"):
                yield _coming(_Facts("points_lots", column, Sql("t.points > 0")), when)


_SINCE: Final = {
    KNOWN: _Facts("nodes", "known_at"),
    KNOWN_DAYS: _Facts("nodes", "known_at"),
    CREATED_DAYS: _Facts("nodes", "created_at"),
    MEMBER: _Facts("member_words", "member_since"),
    MEMBER_DAYS: _Facts("member_words", "member_since"),
}


def _of_figure(leaf: EventTest | OrderTest, when: AsOf) -> Iterator[Moving]:
    orders = _Facts("purchases", "paid_at", Sql("t.currency = %s", (when.currency,)))
    facts = _behaviours(happenings(leaf)) if isinstance(leaf, EventTest) else orders
    counted = leaf.figure in (Figure.COUNT, OrderFigure.COUNT)
    yield _leaving(facts, leaf.window, when, (counted and leaf.comparison.bound) or 1)
    if leaf.figure.of_now:
        yield from _turning(facts, leaf.comparison, when)


def _behaviours(meant: Sequence[Happening]) -> _Facts:
    return _Facts("behaviours", "occurred_at", either([_kind(it) for it in meant]))


def _messages(leaf: Delivered) -> _Facts:
    test = Sql("true") if leaf.campaign is None else Sql("t.campaign = %s", (leaf.campaign,))
    if leaf.status is DeliveryStatus.SENT:
        return _Facts("deliveries", "sent_at", test)
    return _Facts(
        "(SELECT tenant, d.node, campaign, clicked_at FROM deliveries d JOIN clicks k USING (tenant, delivery))",
        "clicked_at",
        test,
    )


def _kind(what: Happening) -> Sql:
    """Without tests of properties and hours: of more facts one is the first to move, and that is never later."""
    if what.type:
        return Sql("t.type = %s", (what.type,))
    return Sql("t.category = %s", (what.category,)) if what.category else Sql("true")


def _leaving(facts: _Facts, window: Window, when: AsOf, least: int = 1) -> Moving:
    """By what leaves a window, or is to come; of one that nothing leaves, only by that.

    `least`: whoever has fewer facts in the window is moved by none that leaves it; a count that is below its bound stays there.
    """
    calendar = Facts(_NOBODY, when.calendar)
    return _moving(facts, _start(window, when), when, lambda it: calendar.leaves_at(window, it), least)


def _turning(facts: _Facts, comparison: Comparison, when: AsOf) -> Iterator[Moving]:
    """By the local days since a fact, one for each number of days that makes a difference; of many, by the next day that begins."""
    numbers = [it for it in comparison.plain if isinstance(it, int | float) and not isinstance(it, bool)]
    turns = {
        turn for it in numbers if 0 <= it < _MOST_DAYS for turn in (floor(it), floor(it) + 1, ceil(it)) if turn > 0
    }
    today, midnight = when.calendar.day(when.at), when.calendar.midnight
    if len(turns) > _MOST_TURNS:
        yield _moving(facts, midnight(today - max(turns) + 1), when, lambda _: midnight(today + 1))
        return
    for turn in turns:
        yield _moving(facts, midnight(today - turn + 1), when, partial(_turned, when.calendar, turn))


def _turned(calendar: Calendar, turn: int, since: datetime) -> datetime:
    return calendar.midnight(calendar.day(since) + turn)


def _coming(facts: _Facts, when: AsOf) -> Moving:
    """By nothing but what is to come."""
    return _moving(facts, when.at, when, _never)


def _moving(facts: _Facts, since: datetime, when: AsOf, moves: When, least: int = 1) -> Moving:
    column = f"t.{facts.column}"
    who = Sql("true") if when.who is None else Sql("c.ordinal = ANY(%s)", (list(when.who),))
    past, coming = f"FILTER (WHERE {column} <= %s)", f"FILTER (WHERE {column} > %s)"
    enough = f" HAVING count(*) {past} >= %s OR count(*) {coming} > 0" if least > 1 else ""
    text = (
        f"SELECT c.ordinal, min({column}) {past}, min({column}) {coming}"  # noqa: S608
        f" FROM {facts.table} t JOIN nodes n ON n.tenant = t.tenant AND n.node = t.node AND NOT n.erased"
        " JOIN nodes c ON c.tenant = n.tenant AND c.node = n.customer"
        f" WHERE t.tenant = %s AND {column} >= %s AND {facts.test.text} AND {who.text} GROUP BY c.ordinal{enough}"
    )
    values = (when.at, when.at, when.tenant, since, *facts.test.values, *who.values)
    return Moving(Sql(text, (*values, when.at, least, when.at) if enough else values), moves)


def _start(window: Window, when: AsOf) -> datetime:
    """Whatever is to leave a window happened since; now, where nothing ever leaves it."""
    match window.period:
        case Period.LAST_N_HOURS:
            return when.at - timedelta(hours=window.n)
        case Period.LAST_N_DAYS:
            return when.calendar.midnight(when.calendar.day(when.at) - window.n + 1)
        case Period.THIS_MONTH:
            first = date.fromordinal(when.calendar.day(when.at)).replace(day=1)
            return when.calendar.midnight(first.toordinal())
    return when.at


def _never(_: datetime) -> None:
    return None
