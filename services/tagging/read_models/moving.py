"""Whom time can move: the customers with a fact by which the passing of time can change a leaf (spec TG-5), in one statement.

They are all those for whom `domain/conditions/change.py` finds an instant, and some more; for a leaf not told of here, everybody. When a
definition is published for everybody, only they are looked at one by one.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from services.tagging.domain.conditions import (
    Absence,
    AttributeTest,
    Comparison,
    EventTest,
    Happening,
    HasConsent,
    HasTag,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    OrderTest,
    Period,
    RelatedTo,
    RfmScores,
    Streak,
    Succession,
    Window,
)
from services.tagging.domain.conditions.behaviours import SECOND
from services.tagging.domain.conditions.dimensions import CREATED_DAYS, KNOWN, KNOWN_DAYS, meaning
from services.tagging.domain.conditions.limits import happenings
from services.tagging.read_models.comparison_sql import Sql, either
from services.tagging.read_models.leaf_sql import AsOf

_MOST_DAYS: Final = 36_500
"""Who waits for longer than a century need not be looked at."""


def moving(leaf: Leaf, when: AsOf) -> Sql | None:
    """A statement that finds their ordinals; None if time changes nothing for anybody."""
    leaf = meaning(leaf)
    match leaf:
        case EventTest():
            since = _since(leaf.window, when, leaf.comparison if leaf.figure.of_now else None)
            return _by_behaviours(happenings(leaf), since, when)
        case OrderTest():
            since = _since(leaf.window, when, leaf.comparison if leaf.figure.of_now else None)
            text = "SELECT node FROM purchases WHERE tenant = %s AND currency = %s AND paid_at >= %s"
            return _of_customers(Sql(text, (when.tenant, when.currency, since)), when)
        case Absence():
            since = min(_since(leaf.window, when), when.at - leaf.within * SECOND)
            return _by_behaviours((leaf.what,), since, when)
        case Succession() | Streak():
            return _by_behaviours(happenings(leaf), _since(leaf.window, when), when)
        case AttributeTest(key) if key in (KNOWN, KNOWN_DAYS, CREATED_DAYS):
            since = when.at if key == KNOWN else when.at - _longest(leaf.comparison)
            column = "created_at" if key == CREATED_DAYS else "known_at"
            text = f"SELECT node FROM nodes WHERE tenant = %s AND {column} >= %s"  # noqa: S608
            return _of_customers(Sql(text, (when.tenant, since)), when)
        case (
            AttributeTest() | RelatedTo() | InGroup() | HasConsent() | HasTag() | InLayer() | RfmScores() | InSegment()
        ):
            return None
    return _of_customers(Sql("SELECT node FROM nodes WHERE tenant = %s", (when.tenant,)), when)


def _by_behaviours(meant: Sequence[Happening], since: datetime, when: AsOf) -> Sql:
    kinds = either([_kind(it) for it in meant])
    text = f"SELECT node FROM behaviours WHERE tenant = %s AND occurred_at >= %s AND {kinds.text}"  # noqa: S608
    return _of_customers(Sql(text, (when.tenant, since, *kinds.values)), when)


def _kind(what: Happening) -> Sql:
    if what.type:
        return Sql("type = %s", (what.type,))
    return Sql("category = %s", (what.category,)) if what.category else Sql("true")


def _of_customers(inner: Sql, when: AsOf) -> Sql:
    who = Sql("true") if when.who is None else Sql("c.ordinal = ANY(%s)", (list(when.who),))
    text = (
        f"SELECT DISTINCT c.ordinal FROM ({inner.text}) x"  # noqa: S608
        " JOIN nodes n ON n.tenant = %s AND n.node = x.node AND NOT n.erased"
        f" JOIN nodes c ON c.tenant = %s AND c.node = n.customer WHERE {who.text}"
    )
    return Sql(text, (*inner.values, when.tenant, when.tenant, *who.values))


def _since(window: Window, when: AsOf, days: Comparison | None = None) -> datetime:
    """A fact before that leaves no window any more, nor, where `days` since it are compared, makes them a difference."""
    counted = when.at if days is None else when.at - _longest(days)
    return min(counted, _start(window, when))


def _start(window: Window, when: AsOf) -> datetime:
    """Whatever is to leave a window later happened since; now, where nothing ever leaves it."""
    match window.period:
        case Period.LAST_N_HOURS:
            return when.at - timedelta(hours=window.n)
        case Period.LAST_N_DAYS:
            return when.calendar.midnight(when.calendar.day(when.at) - window.n + 1)
        case Period.THIS_MONTH:
            first = date.fromordinal(when.calendar.day(when.at)).replace(day=1)
            return when.calendar.midnight(first.toordinal())
    return when.at


def _longest(comparison: Comparison) -> timedelta:
    """Longer than the days that are compared with, and those that the calendar may add."""
    numbers = [it for it in comparison.plain if isinstance(it, int | float) and not isinstance(it, bool)]
    return timedelta(days=min(max(0, *numbers, 0) + 2, _MOST_DAYS))
