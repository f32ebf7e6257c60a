"""What customers are described by where something is learnt of them (spec TG-18): columns over customers, out of bitmaps and statements.

A tag or layer is the set of who has it; a figure of behaviour or purchases is a column of numbers. So the features of a million
customers are some tens of megabytes, and a row of numbers is only made of those that something is learnt from.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from pyroaring import BitMap

from services.tagging.domain.features import Family, FeatureChoice
from services.tagging.domain.profile import Consent, agreed
from services.tagging.read_models import bitmaps, layers, sql
from services.tagging.read_models.leaf_sql import AsOf

Column = NDArray[np.float32]
MOST_SETS: Final = 200
"""So many tags and layers at the most, those that most customers have."""
FEWEST_HOLDERS: Final = 10
_CHUNK: Final = 100_000
_PROFILING: Final = "PROFILING"

_OF_CUSTOMERS: Final = (
    " JOIN nodes n ON n.tenant = c.tenant AND n.customer = c.node AND NOT n.erased"
    " {facts} WHERE c.tenant = %(tenant)s AND c.node = c.customer AND c.ordinal >= %(first)s AND c.ordinal < %(end)s"
    " GROUP BY c.ordinal"
)
_BEHAVIOUR: Final = (
    "SELECT c.ordinal, count(*), count(DISTINCT (b.occurred_at AT TIME ZONE %(zone)s)::date),"  # noqa: S608
    " %(today)s::date - max((b.occurred_at AT TIME ZONE %(zone)s)::date),"
    " count(DISTINCT b.channel), count(*) FILTER (WHERE b.category = 'P'), count(*) FILTER (WHERE b.category = 'I'),"
    " count(*) FILTER (WHERE b.category = 'N'), count(*) FILTER (WHERE b.category = 'C') FROM nodes c"
    + _OF_CUSTOMERS.format(
        facts=" JOIN behaviours b ON b.tenant = n.tenant AND b.node = n.node"
        " AND b.occurred_at >= %(start)s AND b.occurred_at <= %(at)s"
    )
)
_PURCHASES: Final = (
    "SELECT c.ordinal, count(DISTINCT (p.paid_at AT TIME ZONE %(zone)s)::date), sum(p.net - coalesce(r.amount, 0)),"  # noqa: S608
    " %(today)s::date - max((p.paid_at AT TIME ZONE %(zone)s)::date) FROM nodes c"
    + _OF_CUSTOMERS.format(
        facts=" JOIN purchases p ON p.tenant = n.tenant AND p.node = n.node AND p.currency = %(currency)s"
        " AND p.paid_at >= %(start)s AND p.paid_at <= %(at)s"
        " LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM refunds r WHERE (r.tenant, r.node, r.order_id)"
        " = (p.tenant, p.node, p.order_id)) r ON true"
    ).replace(" GROUP BY", " AND p.net > coalesce(r.amount, 0) GROUP BY")
)
_SAID: Final = (
    "SELECT c.ordinal, t.node, t.purpose, t.channel, t.state, t.made_at, t.beside FROM consents t"
    " JOIN nodes n ON n.tenant = t.tenant AND n.node = t.node AND NOT n.erased"
    " JOIN nodes c ON c.tenant = n.tenant AND c.node = n.customer WHERE t.tenant = %s AND t.purpose = %s"
)


class _Figures(NamedTuple):
    """A statement with the names of its columns; `ages`: those that count days since, where nothing is as long ago as can be."""

    statement: str
    names: tuple[str, ...]
    ages: frozenset[str]


_FIGURES: Final[Mapping[Family, _Figures]] = {
    Family.BEHAVIOUR: _Figures(
        _BEHAVIOUR,
        (
            "behaviour:events",
            "behaviour:days",
            "behaviour:days_since",
            "behaviour:channels",
            "behaviour:passive",
            "behaviour:interested",
            "behaviour:intending",
            "behaviour:contacting",
        ),
        frozenset({"behaviour:days_since"}),
    ),
    Family.PURCHASES: _Figures(
        _PURCHASES,
        ("purchase:occasions", "purchase:net", "purchase:days_since"),
        frozenset({"purchase:days_since"}),
    ),
}


class Features(NamedTuple):
    """The customers described, by ordinal, and their features by name: who is in a set, or a number for each of `who`."""

    who: NDArray[np.uint32]
    sets: Mapping[str, NDArray[np.int64]]
    """Positions in `who`."""
    figures: Mapping[str, Column]

    @property
    def names(self) -> list[str]:
        return [*self.sets, *self.figures]

    def columns(self) -> Iterator[tuple[str, Column]]:
        """Each feature as a number for each of `who`; one at a time."""
        for name, positions in self.sets.items():
            column = np.zeros(len(self.who), np.float32)
            column[positions] = 1
            yield name, column
        yield from self.figures.items()

    def rows(self, positions: NDArray[np.int64]) -> Column:
        """All features of some: a row for each."""
        found = np.empty((len(positions), len(self.names)), np.float32)
        for number, (_, column) in enumerate(self.columns()):
            found[:, number] = column[positions]
        return found


def read(
    rows: sa.Connection, when: AsOf, who: BitMap, choice: FeatureChoice, hidden: frozenset[str] = frozenset()
) -> Features:
    """The features of `who` as of an instant; tags among `hidden` are none. What is the same for everybody is left out."""
    ordinals = np.asarray(who.to_array(), np.uint32)
    sets = dict(_sets(rows, when.tenant, who, choice, hidden))
    kept = sorted(sets, key=lambda name: (-len(sets[name]), name))[:MOST_SETS]
    positions = {name: np.searchsorted(ordinals, np.asarray(sets[name].to_array(), np.uint32)) for name in sorted(kept)}
    figures: dict[str, Column] = {}
    for family in choice.families:
        if family in _FIGURES:
            figures |= _figures(rows, when, ordinals, choice, _FIGURES[family])
    return Features(ordinals, positions, figures)


def unwilling(rows: sa.Connection, tenant: str) -> BitMap:
    """Customers who said something of profiling, and do not agree to it now."""
    said: dict[int, list[Consent]] = {}
    for ordinal, *consent in sql.fetch(rows, _SAID, tenant, _PROFILING):
        said.setdefault(ordinal, []).append(Consent(*consent))
    return BitMap(ordinal for ordinal, theirs in said.items() if _PROFILING not in agreed(theirs))


def _sets(
    rows: sa.Connection, tenant: str, who: BitMap, choice: FeatureChoice, hidden: frozenset[str]
) -> Iterator[tuple[str, BitMap]]:
    prefixes: list[str] = []
    if Family.TAGS in choice.families:
        prefixes.append("tag:")
    if Family.LAYERS in choice.families:
        prefixes += [bitmaps.of_layer(it.key, "") for it in layers.active(rows, tenant)]
    for prefix in prefixes:
        for name, members in bitmaps.starting_with(rows, tenant, prefix).items():
            if name.startswith("tag:said:") or name.removeprefix("tag:").partition("=")[0] in hidden:
                continue
            having = members & who
            if choice.wants(name) and FEWEST_HOLDERS <= len(having) < len(who):
                yield name, having


def _figures(
    rows: sa.Connection, when: AsOf, ordinals: NDArray[np.uint32], choice: FeatureChoice, of: _Figures
) -> dict[str, Column]:
    """Columns of figures: counts and amounts as logarithms, since a few customers have most of them."""
    far = float(choice.window_days)
    found = {name: np.full(len(ordinals), far if name in of.ages else 0, np.float32) for name in of.names}
    for block in _blocks(rows, when, ordinals, choice, of.statement):
        at = np.searchsorted(ordinals, block[0].astype(np.uint32))
        here = at < len(ordinals)
        here[here] = ordinals[at[here]] == block[0][here]
        for name, column in zip(of.names, block[1:], strict=True):
            found[name][at[here]] = column[here]
    told = {name: it if name in of.ages else np.log1p(np.maximum(it, 0)) for name, it in found.items()}
    return {name: it for name, it in told.items() if choice.wants(name) and len(it) and np.ptp(it) > 0}


def _blocks(
    rows: sa.Connection, when: AsOf, ordinals: NDArray[np.uint32], choice: FeatureChoice, statement: str
) -> Iterator[NDArray[np.float64]]:
    """The rows of a statement, column by column, for some ordinals at a time."""
    midnight = when.calendar.midnight((when.today - timedelta(choice.window_days - 1)).toordinal())
    parameters = {
        "tenant": when.tenant,
        "zone": when.zone,
        "today": when.today,
        "currency": when.currency,
        "start": midnight,
        "at": when.at,
    }
    last = int(ordinals[-1]) if len(ordinals) else -1
    for first in range(int(ordinals[0]) if len(ordinals) else 0, last + 1, _CHUNK):
        bounds = {"first": first, "end": min(first + _CHUNK, last + 1)}
        found = sql.fetch_named(rows, statement, {**parameters, **bounds})
        if found:
            yield np.array(found, np.float64).T
