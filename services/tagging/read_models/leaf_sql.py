"""Leaves of conditions as statements (spec TG-4): each finds the ordinals of customers with facts for whom a leaf holds.

A customer without such facts is in no row, and has the figure of nothing: `LeafSql.of_nothing` says whether the leaf holds for that.
Then the statement finds those of the others for whom it does not hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from services.tagging.domain.calendar import DAYPARTS, Calendar
from services.tagging.domain.conditions import (
    ALL_TIME,
    Absence,
    Comparison,
    EventTest,
    Figure,
    Happening,
    InGroup,
    Period,
    Streak,
    Succession,
    Window,
)
from services.tagging.domain.conditions.comparing import tester, total_compares
from services.tagging.domain.conditions.limits import happenings
from services.tagging.domain.conditions.needs import needs
from services.tagging.domain.profile import NEWEST, UNION, AttributeDefinition
from services.tagging.read_models.comparison_sql import Sql, both, either, of_json, of_number, of_text

_COLUMNS: Final = {"$channel": "channel", "$content": "content", "$page_view": "page_view"}

USUAL: Final = (
    "(SELECT u.value FROM unnest(array_agg({value} ORDER BY {order}) {only}) WITH ORDINALITY AS u(value, place)"
    " GROUP BY u.value ORDER BY count(*) DESC, max(u.place) DESC LIMIT 1)"
)
"""Of the values of a group in an order, the most frequent; of several as frequent, the last."""
_SCALARS: Final = "FILTER (WHERE jsonb_typeof(x.value) IN ('string', 'number', 'boolean'))"

_FULL_WEEKS: Final = (
    "(SELECT count(*) FROM (SELECT FROM unnest(array_agg(DISTINCT x.day)) AS d(day) WHERE d.day IS NOT NULL"
    " GROUP BY date_trunc('week', d.day) HAVING count(*) >= %s) AS w)"
)


class LeafSql(NamedTuple):
    """A statement that finds those for whom a leaf holds; if it holds `of_nothing`, those for whom it does not."""

    statement: Sql
    of_nothing: bool


@dataclass(frozen=True, slots=True)
class AsOf:
    """The instant for which sets are worked out, the calendar and the currency of the tenant."""

    tenant: str
    at: datetime
    calendar: Calendar
    currency: str
    who: Sequence[int] | None = None
    """Only these ordinals are of interest; None: everybody."""

    @property
    def zone(self) -> str:
        return self.calendar.zone.key

    def bounds(self, column: str, window: Window) -> Sql:
        """That an instant is in a window as of now."""
        match window.period:
            case Period.ALL:
                return Sql(f"{column} <= %s", (self.at,))
            case Period.LAST_N_HOURS:
                return Sql(f"({column} > %s AND {column} <= %s)", (self.at - timedelta(hours=window.n), self.at))
            case Period.BETWEEN:
                if window.first is None or window.last is None:
                    return Sql("false")
                start = self.calendar.midnight(window.first.toordinal())
                end = self.calendar.midnight(window.last.toordinal() + 1)
                return Sql(f"({column} >= %s AND {column} < %s AND {column} <= %s)", (start, end, self.at))
            case Period.LAST_N_DAYS:
                first = self.calendar.day(self.at) - window.n + 1
            case Period.THIS_MONTH:
                first = date.fromordinal(self.calendar.day(self.at)).replace(day=1).toordinal()
        return Sql(f"({column} >= %s AND {column} <= %s)", (self.calendar.midnight(first), self.at))

    def since(self, column: str, window: Window) -> Sql:
        """That an instant is in a window or after it, as of now."""
        if window.period is not Period.BETWEEN or window.first is None:
            return self.bounds(column, window)
        return Sql(f"({column} >= %s AND {column} <= %s)", (self.calendar.midnight(window.first.toordinal()), self.at))

    @property
    def today(self) -> date:
        return date.fromordinal(self.calendar.day(self.at))


def of_events(leaf: EventTest, when: AsOf) -> LeafSql:
    """The customers whose figure of behaviours compares so."""
    meant, value = _meant(leaf.what, leaf.window, when), _property(leaf.property, when)
    day = _day(leaf.what, when)
    count, one = Sql("count(*)"), Sql("1")
    having = Sql("(x.value IS NOT NULL AND jsonb_typeof(x.value) <> 'null')")
    number = "(x.value #>> '{}')::numeric"
    numbers = "FILTER (WHERE jsonb_typeof(x.value) = 'number')"
    missing, nothing = False, total_compares(leaf.comparison, 0, 1)
    match leaf.figure:
        case Figure.COUNT:
            held = of_number(count, one, leaf.comparison)
        case Figure.DAYS:
            held = of_number(Sql("count(DISTINCT x.day)"), one, leaf.comparison)
        case Figure.WEEKS:
            held = of_number(Sql(_FULL_WEEKS, (leaf.days,)), one, leaf.comparison)
        case Figure.SUM:
            held = of_number(Sql(f"coalesce(sum({number}) {numbers}, 0)"), one, leaf.comparison)
        case Figure.DISTINCT:
            held = of_number(Sql(f"count(DISTINCT x.value) {_SCALARS}"), one, leaf.comparison)
        case Figure.AVG:
            total, parts = Sql(f"sum({number}) {numbers}"), Sql(f"count(*) {numbers}")
            held, missing = of_number(total, parts, leaf.comparison), True
        case Figure.MIN | Figure.MAX:
            held, missing = of_number(Sql(f"{leaf.figure.lower()}({number}) {numbers}"), one, leaf.comparison), True
        case Figure.LAST | Figure.FIRST:
            way = "DESC" if leaf.figure is Figure.LAST else "ASC"
            first = f"(array_agg(x.value ORDER BY x.occurred_at {way}, x.key {way}) FILTER (WHERE {having.text}))[1]"
            held, missing = of_json(Sql(first), leaf.comparison), True
        case Figure.USUAL:
            usual = USUAL.format(value="x.value", order="x.occurred_at, x.key", only=_SCALARS)
            held, missing = of_json(Sql(usual), leaf.comparison), True
        case _:
            held, missing = of_number(days_since(leaf.figure is Figure.RECENCY_DAYS, when), one, leaf.comparison), True
    nothing = total_compares(leaf.comparison, None, 1) if missing else nothing
    inner = Sql(
        f"SELECT b.node, b.occurred_at, b.key, {day.text} AS day, {value.text} AS value FROM behaviours b"  # noqa: S608
        f" WHERE {meant.text}",
        (*day.values, *value.values, *meant.values),
    )
    return LeafSql(grouped(inner, held, when, nothing), nothing)


def of_groups(leaf: InGroup, when: AsOf) -> LeafSql:
    """The customers who are in a group."""
    group = Sql("g.group_id = %s", (leaf.group,)) if leaf.group is not None else Sql("true")
    text = f"SELECT g.node FROM group_members g WHERE g.tenant = %s AND g.joined AND {group.text}"  # noqa: S608
    inner = Sql(text, (when.tenant, *group.values))
    return LeafSql(grouped(inner, Sql("true"), when, nothing=False), of_nothing=False)


def since(column: str, comparison: Comparison, when: AsOf) -> LeafSql:
    """The customers whose days since the first of an instant of their nodes compare so."""
    nothing = total_compares(comparison, None, 1)
    text = f"SELECT node, {column} AS occurred_at FROM nodes WHERE tenant = %s AND {column} IS NOT NULL"  # noqa: S608
    first = Sql("min(x.occurred_at)")
    passed = Sql(
        f"CASE WHEN {first.text} <= %s THEN {days_since(False, when).text} END",
        (when.at, *days_since(False, when).values),
    )
    held = of_number(passed, Sql("1"), comparison)
    return LeafSql(grouped(Sql(text, (when.tenant,)), held, when, nothing), nothing)


def known(comparison: Comparison, when: AsOf) -> LeafSql:
    """The customers for whom it compares so whether they are known."""
    nothing = total_compares(comparison, False, 1)
    text = "SELECT node, known_at AS occurred_at FROM nodes WHERE tenant = %s AND known_at IS NOT NULL"
    held = of_json(Sql("to_jsonb(min(x.occurred_at) <= %s)", (when.at,)), comparison)
    return LeafSql(grouped(Sql(text, (when.tenant,)), held, when, nothing), nothing)


def grouped(inner: Sql, held: Sql, when: AsOf, nothing: bool) -> Sql:
    """Facts of nodes by customer: those for whom `held`, or for whom not, if nothing is enough."""
    who = Sql("true") if when.who is None else Sql("c.ordinal = ANY(%s)", (list(when.who),))
    text = (
        f"SELECT c.ordinal FROM ({inner.text}) x"  # noqa: S608
        " JOIN nodes n ON n.tenant = %s AND n.node = x.node AND NOT n.erased"
        " JOIN nodes c ON c.tenant = %s AND c.node = n.customer"
        f" WHERE {who.text}"
        f" GROUP BY c.ordinal HAVING {'NOT ' if nothing else ''}({held.text})"
    )
    return Sql(text, (*inner.values, when.tenant, when.tenant, *who.values, *held.values))


def _meant(what: Happening, window: Window, when: AsOf) -> Sql:
    tests = [Sql("b.tenant = %s", (when.tenant,)), when.bounds("b.occurred_at", window)]
    if what.type:
        tests.append(Sql("b.type = %s", (what.type,)))
    if what.category:
        tests.append(Sql("b.category = %s", (what.category,)))
    tests += [of_json(_property(it.key, when), it.comparison) for it in what.where]
    if what.hours or what.weekdays:
        day = _day(what, when) if what.hours else _local_day(when)
        tests.append(Sql(f"{day.text} IS NOT NULL", day.values))
        if what.weekdays:
            tests.append(Sql(f"extract(isodow FROM {day.text}) = ANY(%s)", (*day.values, list(what.weekdays))))
    return both(tests)


def behaviours_of(leaf: Absence | Succession | Streak, when: AsOf) -> Sql:
    """The behaviours by which a leaf is decided, by ordinal and in the order of time; with properties where it asks for them."""
    any_of = either([_meant(it, ALL_TIME, when) for it in happenings(leaf)])
    since = when.since("b.occurred_at", leaf.window)
    who = Sql("true") if when.who is None else Sql("c.ordinal = ANY(%s)", (list(when.who),))
    inside = "NULL" if needs((leaf,)).properties_of == frozenset() else "b.properties"
    text = (
        "SELECT c.ordinal, b.occurred_at, b.type, b.category, b.channel, b.utc_offset, b.content, b.page_view,"  # noqa: S608
        f" {inside} FROM behaviours b JOIN nodes n ON n.tenant = %s AND n.node = b.node AND NOT n.erased"
        f" JOIN nodes c ON c.tenant = %s AND c.node = n.customer WHERE {any_of.text} AND {since.text} AND {who.text}"
        " ORDER BY b.occurred_at, b.key"
    )
    return Sql(text, (when.tenant, when.tenant, *any_of.values, *since.values, *who.values))


def of_attribute(comparison: Comparison, key: str, definition: AttributeDefinition, when: AsOf) -> LeafSql:
    """The customers of whom an attribute compares so, as `domain/profile.py` resolves it."""
    said = (
        "SELECT v.node, v.value, v.rank, v.observed_at FROM attribute_values v"
        " WHERE v.tenant = %s AND v.key = %s AND NOT v.cleared"
    )
    read = {"NUMBER": "to_jsonb({}::float8)", "BOOL": "to_jsonb({} = 'true')", "LIST": "{}::jsonb"}
    if definition.policy == UNION:
        value = "jsonb_path_query_array(jsonb_agg(x.value::jsonb) FILTER (WHERE x.value IS NOT NULL), '$[*][*]')"
    else:
        order = "x.observed_at DESC, x.rank DESC" if definition.policy == NEWEST else "x.rank DESC, x.observed_at DESC"
        best = f"(array_agg(x.value ORDER BY {order}, x.node))[1]"
        value = read.get(definition.type, "to_jsonb({}::text)").format(best)
    nothing = tester(comparison)(None)
    held = of_json(Sql(value), comparison)
    inner = Sql(said, (when.tenant, key))
    if not nothing and definition.policy != UNION and definition.type not in read:
        passing = of_text(Sql("w.value"), comparison)
        inner = Sql(f"{said} AND {_OF_THEM.format(passing.text)}", (*inner.values, when.tenant, key, *passing.values))
    return LeafSql(grouped(inner, held, when, nothing), nothing)


# A text that is resolved is one of those that are said, so that only who is said to have a text that passes can have one.
_OF_THEM: Final = (
    "v.node IN (SELECT o.node FROM attribute_values w JOIN nodes m ON m.tenant = w.tenant AND m.node = w.node"
    " JOIN nodes o ON o.tenant = m.tenant AND o.customer = m.customer"
    " WHERE w.tenant = %s AND w.key = %s AND NOT w.cleared AND {})"
)


def _local(when: AsOf) -> Sql:
    text = (
        "(CASE WHEN b.utc_offset IS NULL THEN b.occurred_at AT TIME ZONE %s"
        " ELSE b.occurred_at AT TIME ZONE 'UTC' + b.utc_offset * interval '1 minute' END)"
    )
    return Sql(text, (when.zone,))


def _local_day(when: AsOf) -> Sql:
    local = _local(when)
    return Sql(f"{local.text}::date", local.values)


def _day(what: Happening, when: AsOf) -> Sql:
    """The date for which a behaviour counts: that of the night if hours are given, NULL outside of them."""
    if not what.hours:
        return Sql("(b.occurred_at AT TIME ZONE %s)::date", (when.zone,))
    start, end = what.hours
    local = _local(when)
    hour = f"extract(hour FROM {local.text})"
    if start < end:
        text = f"CASE WHEN {hour} >= {start} AND {hour} < {end} THEN {local.text}::date END"
        return Sql(f"({text})", local.values * 3)
    text = f"CASE WHEN {hour} >= {start} THEN {local.text}::date WHEN {hour} < {end} THEN {local.text}::date - 1 END"
    return Sql(f"({text})", local.values * 4)


def daypart(local: Sql) -> Sql:
    """The quarter of the day of a wall-clock time, as JSON."""
    names = ", ".join(f"'{it}'" for it in DAYPARTS)
    return Sql(f"to_jsonb((ARRAY[{names}])[1 + floor(extract(hour FROM {local.text}) / 6)::int])", local.values)


def _property(key: str, when: AsOf) -> Sql:
    if not key:
        return Sql("NULL::jsonb")
    if key == "$daypart":
        return daypart(_local(when))
    column = _COLUMNS.get(key)
    if column is not None:
        return Sql(f"to_jsonb(nullif(b.{column}, ''))")
    return Sql(
        "coalesce(nullif(b.properties -> %s, 'null'), nullif(b.properties -> 'extra' -> %s, 'null'))", (key, key)
    )


def days_since(last: bool, when: AsOf) -> Sql:
    """The local days from the last or the first fact of a group to today."""
    one = f"{'max' if last else 'min'}(x.occurred_at)"
    return Sql(f"(%s::date - ({one} AT TIME ZONE %s)::date)", (when.today, when.zone))
