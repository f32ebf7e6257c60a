"""Whom a segment is analysed by (spec TG-18): for each value of a dimension, the customers who have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.domain.conditions.dimensions import Source
from services.tagging.domain.errors import ModelNotFound, RunNotFound, UnknownDimension
from services.tagging.domain.layers.kinds import KINDS
from services.tagging.domain.layers.view import MARK
from services.tagging.domain.profile import NEWEST, PRESET, TEXT, UNION, AttributeDefinition
from services.tagging.domain.segment_analysis import Counted, Table, table
from services.tagging.read_models import bitmaps, layers, model_runs, sql, vocabularies
from services.tagging.read_models.histories import definitions_of
from services.tagging.read_models.leaf_sql import AsOf

_OF_NODES: Final = (
    " JOIN nodes n ON n.tenant = f.tenant AND n.node = f.node AND NOT n.erased"
    " JOIN nodes c ON c.tenant = n.tenant AND c.node = n.customer"
)
_BY_VALUE: Final = (
    "SELECT x.value, array_agg(DISTINCT x.ordinal) FROM ({found}) x WHERE x.value IS NOT NULL GROUP BY x.value"
)
_EVENTS: Final = (
    f"SELECT f.type AS value, c.ordinal FROM behaviours f{_OF_NODES} WHERE f.tenant = %(tenant)s"  # noqa: S608
    " AND f.occurred_at >= %(start)s AND f.occurred_at <= %(at)s"
)
_PROPERTY: Final = (
    "SELECT coalesce(f.properties ->> %(property)s, f.properties -> 'extra' ->> %(property)s) AS value, c.ordinal"  # noqa: S608
    f" FROM behaviours f{_OF_NODES} WHERE f.tenant = %(tenant)s AND f.type = %(type)s"
    " AND f.occurred_at >= %(start)s AND f.occurred_at <= %(at)s"
)
_BOUGHT: Final = (
    "SELECT line ->> 1 AS value, c.ordinal FROM purchases p"  # noqa: S608
    " JOIN placed_orders f USING (tenant, node, order_id) CROSS JOIN LATERAL jsonb_array_elements(f.lines) AS line"
    f"{_OF_NODES} WHERE f.tenant = %(tenant)s"
    " AND p.paid_at >= %(start)s AND p.paid_at <= %(at)s AND p.net > coalesce((SELECT sum(r.amount) FROM refunds r"
    " WHERE (r.tenant, r.node, r.order_id) = (p.tenant, p.node, p.order_id)), 0)"
)
_ATTRIBUTE: Final = (
    "SELECT (array_agg(f.value ORDER BY {order}, f.node))[1] AS value, c.ordinal"  # noqa: S608
    f" FROM attribute_values f{_OF_NODES}"
    " WHERE f.tenant = %(tenant)s AND f.key = %(key)s AND NOT f.cleared GROUP BY c.ordinal"
)
_LIST: Final = (
    "SELECT one AS value, c.ordinal FROM attribute_values f CROSS JOIN LATERAL jsonb_array_elements_text(f.value::jsonb) AS one"  # noqa: S608
    f"{_OF_NODES} WHERE f.tenant = %(tenant)s AND f.key = %(key)s AND NOT f.cleared"
)
PRESENT: Final = "yes"
"""The value of a flag."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """The resolved value of an attribute."""

    key: str


@dataclass(frozen=True, slots=True)
class Tag:
    """The values of a tag."""

    key: str


@dataclass(frozen=True, slots=True)
class Layer:
    """The layers of a model; as a `funnel`, everybody on each step or a higher one."""

    model: str
    funnel: bool = False


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What was done in the last `days`: by type, or of one `type` by a `property`."""

    days: int
    type: str = ""
    property: str = ""


@dataclass(frozen=True, slots=True)
class BoughtCategory:
    """The categories of what was bought in the last `days`."""

    days: int


Dimension = Attribute | Tag | Layer | Behaviour | BoughtCategory


def analysed(rows: sa.Connection, when: AsOf, segment: BitMap, baseline: BitMap, by: Dimension) -> Table:
    """The values of a dimension among a segment and a baseline. Raises UnknownDimension, ModelNotFound, RunNotFound."""
    steps: tuple[str, ...] = ()
    if isinstance(by, Layer):
        found, steps = _layers(rows, when.tenant, by)
    elif isinstance(by, Tag):
        found = _tag(rows, when.tenant, by.key)
    else:
        found = _by_facts(rows, when, by)
    counted = {
        value: Counted(len(who & segment), len(who & baseline))
        for value, who in found.items()
        if steps or who.intersect(segment) or who.intersect(baseline)
    }
    return table(Counted(len(segment), len(baseline)), counted, ordered=bool(steps))


def _layers(rows: sa.Connection, tenant: str, by: Layer) -> tuple[Mapping[str, BitMap], tuple[str, ...]]:
    listed = layers.listed(rows, tenant, by.model)
    if listed is not None and listed.active:
        prefix = bitmaps.of_layer(by.model, "")
        named = bitmaps.starting_with(rows, tenant, prefix)
        members = {name.removeprefix(prefix): who for name, who in named.items()}
    else:
        try:
            run = model_runs.latest(rows, tenant, by.model)
        except RunNotFound:
            if listed is None:
                raise ModelNotFound(field="dimensions") from None
            raise
        found = model_runs.members(rows, tenant, run).items()
        members = {name: who for name, who in found if not name.startswith(MARK)}
    if not by.funnel:
        return members, ()
    steps = KINDS[listed.kind].steps if listed is not None else ()
    if not steps:
        raise UnknownDimension("the model has no steps", field="dimensions", key=by.model)
    return _reach(members, steps), steps


def _reach(members: Mapping[str, BitMap], steps: tuple[str, ...]) -> Mapping[str, BitMap]:
    """Everybody on each step or a higher one, from the lowest up."""
    found: dict[str, BitMap] = {}
    above = BitMap()
    for step in reversed(steps):
        above = above | members.get(step, BitMap())
        found[step] = above
    return dict(reversed(found.items()))


def _tag(rows: sa.Connection, tenant: str, key: str) -> Mapping[str, BitMap]:
    prefix = f"{bitmaps.of_tag(key)}="
    values = bitmaps.starting_with(rows, tenant, prefix)
    having = bitmaps.load(rows, tenant, (bitmaps.of_tag(key),))[bitmaps.of_tag(key)]
    found = {name.removeprefix(prefix): who for name, who in values.items()}
    plain = having - BitMap.union(BitMap(), *found.values())
    return found | ({PRESENT: plain} if plain else {})


def _by_facts(rows: sa.Connection, when: AsOf, by: Attribute | Behaviour | BoughtCategory) -> Mapping[str, BitMap]:
    parameters: dict[str, object] = {"tenant": when.tenant, "at": when.at}
    match by:
        case Attribute(key):
            parameters["key"] = key
            statement = _attribute(rows, when.tenant, key)
        case BoughtCategory(days):
            parameters["start"] = _start(when, days)
            statement = _BOUGHT
        case Behaviour(days, kind, name):
            parameters |= {"start": _start(when, days), "type": kind, "property": name}
            statement = _PROPERTY if name else f"{_EVENTS} AND f.type = %(type)s" if kind else _EVENTS
    found = sql.fetch_named(rows, _BY_VALUE.format(found=statement), parameters)
    return {value: BitMap(ordinals) for value, ordinals in found if value}


def _attribute(rows: sa.Connection, tenant: str, key: str) -> str:
    """The statement that finds the values of an attribute. Raises UnknownDimension."""
    known = vocabularies.vocabulary(rows, tenant).dimension(key)
    if known is None or known.source is not Source.ATTRIBUTE:
        raise UnknownDimension("there is no such attribute", field="dimensions", key=key)
    definition = definitions_of(rows, tenant).get(key) or PRESET.get(key) or AttributeDefinition(key, TEXT, "")
    if definition.policy == UNION:
        return _LIST
    newest = definition.policy == NEWEST
    order = "f.observed_at DESC, f.rank DESC" if newest else "f.rank DESC, f.observed_at DESC"
    return _ATTRIBUTE.format(order=order)


def _start(when: AsOf, days: int) -> object:
    return when.calendar.midnight((when.today - timedelta(days - 1)).toordinal())
