"""Segments as they are defined now, the lists of the static ones, and the sets that definitions speak of."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis import event_codec
from services.tagging.domain.conditions import HasTag, InLayer, InSegment, Leaf, RfmScores, Universe, members
from services.tagging.domain.errors import SegmentNotFound
from services.tagging.domain.refresh import REALTIME, Refresh
from services.tagging.domain.segments import Definition, Segment
from services.tagging.read_models import bitmaps, model_runs, sql
from services.tagging.read_models.leaf_sets import LeafSets, as_of

_COLUMNS = "segment, name, revision, stated, created_at, updated_at, archived"
_GET = f"SELECT {_COLUMNS} FROM segments WHERE tenant = %s AND segment = ANY(%s)"  # noqa: S608
_LIST = f"SELECT {_COLUMNS} FROM segments WHERE tenant = %s AND name > %s ORDER BY name LIMIT %s"  # noqa: S608
_EVERY = f"SELECT {_COLUMNS} FROM segments WHERE tenant = %s AND NOT archived"  # noqa: S608
_KEEP = (
    "INSERT INTO segments (tenant, segment, name, live, revision, stated, created_at, updated_at, archived)"
    " VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s) ON CONFLICT (tenant, segment) DO UPDATE SET"
    " live = excluded.live, revision = excluded.revision, stated = excluded.stated, updated_at = excluded.updated_at,"
    " archived = excluded.archived"
)
_ADD = (
    "INSERT INTO static_members (tenant, segment, node) SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[])"
    " ON CONFLICT DO NOTHING"
)
_REMOVE = (
    "DELETE FROM static_members m USING (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::uuid[])"
    " AS k(segment, node)) k WHERE (m.tenant, m.segment, m.node) = (k.tenant, k.segment, k.node)"
)
_LISTED = (
    "SELECT n.customer, m.node FROM nodes n JOIN static_members m ON m.tenant = n.tenant AND m.node = n.node"
    " WHERE n.tenant = %s AND m.segment = %s AND n.customer = ANY(%s)"
)
_LISTED_ANYWHERE = (
    "SELECT DISTINCT m.segment, n.customer FROM nodes n"
    " JOIN static_members m ON m.tenant = n.tenant AND m.node = n.node WHERE n.tenant = %s AND n.customer = ANY(%s)"
)

_FEW: Final = 10_000


@dataclass(frozen=True, slots=True)
class Listing:
    """A segment as it is defined now."""

    id: UUID
    name: str
    revision: int
    definition: Definition
    universe: Universe
    created_at: datetime
    updated_at: datetime
    archived: bool
    refresh: Refresh = REALTIME


def keep(rows: sa.Connection, tenant: str, id: UUID, it: Segment) -> None:
    """List a segment as it is defined now."""
    pace = {} if it.refresh.realtime else {"refresh": it.refresh}
    stated = event_codec.encode({"definition": it.definition, "universe": it.universe, **pace}).decode()
    live = it.definition.live and not it.archived
    values = (id, it.name, live, it.revision, stated, it.created_at, it.updated_at, it.archived)
    sql.run(rows, _KEEP, tenant, *values)


def get(rows: sa.Connection, tenant: str, ids: Collection[UUID]) -> dict[UUID, Listing]:
    """Those that exist."""
    return {it.id: it for it in map(_listing, sql.fetch(rows, _GET, tenant, list(ids)))}


def require(rows: sa.Connection, tenant: str, id: UUID) -> Listing:
    """Raises SegmentNotFound."""
    found = get(rows, tenant, (id,))
    if id not in found:
        raise SegmentNotFound
    return found[id]


def after(rows: sa.Connection, tenant: str, name: str, limit: int) -> list[Listing]:
    """Up to `limit` segments with names behind `name`, by name."""
    return list(map(_listing, sql.fetch(rows, _LIST, tenant, name, limit)))


def users_of(rows: sa.Connection, tenant: str, tag: str) -> set[str]:
    """The names of the segments that speak of a tag."""
    return {
        it.name
        for it in map(_listing, sql.fetch(rows, _EVERY, tenant))
        if it.definition.expression is not None
        and any(isinstance(leaf, HasTag) and leaf.tag == tag for leaf in it.definition.expression.leaves())
    }


def list_nodes(rows: sa.Connection, tenant: str, segment: UUID, nodes: Iterable[UUID]) -> None:
    sql.run_all(rows, _ADD, tenant, [(segment, node) for node in nodes])


def unlist_nodes(rows: sa.Connection, tenant: str, segment: UUID, nodes: Iterable[UUID]) -> None:
    sql.run_all(rows, _REMOVE, tenant, [(segment, node) for node in nodes])


def listed(rows: sa.Connection, tenant: str, segment: UUID, customers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """The nodes of each customer that are on the list of a static segment."""
    found: dict[UUID, list[UUID]] = {}
    for customer, node in sql.fetch(rows, _LISTED, tenant, segment, list(customers)):
        found.setdefault(customer, []).append(node)
    return found


def listed_anywhere(rows: sa.Connection, tenant: str, customers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """Which of `customers` are on the list of which static segment."""
    found: dict[UUID, list[UUID]] = {}
    for segment, customer in sql.fetch(rows, _LISTED_ANYWHERE, tenant, list(customers)):
        found.setdefault(segment, []).append(customer)
    return found


LOOKED_UP: Final = (HasTag, InLayer, RfmScores, InSegment)
"""Leaves about sets that are kept."""


class Sets:
    """The sets that conditions speak of, as they are in the transaction of `rows`; each is looked up once."""

    def __init__(self, rows: sa.Connection, tenant: str, who: BitMap | None = None, at: datetime | None = None) -> None:
        """With `who`, all sets are cut down to these ordinals. What follows from facts is as of `at`, or of the last change."""
        self._rows = rows
        self._tenant = tenant
        self._who = who
        self._at = at
        self._of_facts: LeafSets | None = None
        self._bitmaps: dict[str, BitMap] = {}
        self._covered: dict[str, BitMap] = {}
        self._listings: dict[UUID, Listing] = {}

    def universe(self, universe: Universe) -> BitMap:
        known = self._bitmap(bitmaps.KNOWN)
        return known if universe is Universe.KNOWN else known | self._bitmap(bitmaps.ANONYMOUS)

    def of(self, definition: Definition, universe: Universe, leaf: Callable[[Leaf], BitMap] | None = None) -> BitMap:
        """The members of a condition or combination; `leaf` may know better than the tables. Raises what is not found."""
        expression = definition.expression
        if leaf is None:
            self.look_up([(definition, None, self._who)])
        return BitMap() if expression is None else members(expression, leaf or self.leaf, self.universe(universe))

    def replace(self, segment: UUID, found: BitMap, who: BitMap) -> BitMap:
        """Let the set of a segment be `found` as far as `who` is concerned, for what is asked from now on; what it was."""
        before = self._bitmap(bitmaps.of_segment(segment))
        self._bitmaps[bitmaps.of_segment(segment)] = (before - who) | found
        return before & who

    def segment(self, id: UUID) -> BitMap:
        """The members of a segment now. Raises SegmentNotFound."""
        it = self._listings.get(id)
        if it is None:
            it = self._listings[id] = require(self._rows, self._tenant, id)
        return self._bitmap(bitmaps.of_segment(id)) & self.universe(it.universe)

    def kept(self, id: UUID) -> BitMap:
        """The set that is kept for a segment, whatever is known of it."""
        return self._bitmap(bitmaps.of_segment(id))

    def leaf(self, leaf: Leaf) -> BitMap:
        """Everybody for whom a leaf holds. Raises SegmentNotFound, RunNotFound, LayerNotFound."""
        match leaf:
            case HasTag():
                return self._bitmap(_name(leaf))
            case InLayer():
                return self._cut(model_runs.layer(self._rows, self._tenant, leaf, lambda: self.universe(Universe.ALL)))
            case RfmScores():
                return self._cut(model_runs.with_scores(self._rows, self._tenant, leaf))
            case InSegment(segment):
                return self.segment(segment)
        return self._facts().leaf(leaf, self.universe(Universe.ALL))

    def moving(self, leaves: Iterable[Leaf]) -> dict[int, datetime]:
        """Whom the passing of time can move by one of `leaves`, and when at the earliest."""
        return self._facts().moving(leaves)

    def look_up(self, wanted: Iterable[tuple[Definition, UUID | None, BitMap | None]]) -> None:
        """Read what has not been read of the kept sets that definitions speak of and of their own, each as far as some ordinals are
        concerned or, where these sets are whole, whole: in one statement for all of them."""
        names: dict[str, BitMap] = {}
        unknown: set[UUID] = set()
        for definition, own, who in wanted:
            leaves = list(definition.leaves())
            others = {it.segment for it in leaves if isinstance(it, InSegment)}
            unknown |= others - self._listings.keys()
            mine = [_name(it) for it in leaves if isinstance(it, HasTag)]
            mine += map(bitmaps.of_segment, others if own is None else {*others, own})
            for name in (bitmaps.KNOWN, bitmaps.ANONYMOUS, *mine):
                names[name] = names.get(name, BitMap()) | (who or BitMap())
        if unknown:
            self._listings.update(get(self._rows, self._tenant, unknown))
        self._read(names)

    def _facts(self) -> LeafSets:
        if self._of_facts is None:
            when = as_of(self._rows, self._tenant, self._at)
            if self._who is not None and len(self._who) <= _FEW:
                when = replace(when, who=list(self._who))
            self._of_facts = LeafSets(self._rows, when)
        return self._of_facts

    def _bitmap(self, name: str) -> BitMap:
        if name not in self._bitmaps:
            self._read({name: self._who or BitMap()})
        return self._bitmaps[name]

    def _read(self, wanted: Mapping[str, BitMap]) -> None:
        if self._who is None:
            missing = wanted.keys() - self._bitmaps.keys()
            self._bitmaps |= bitmaps.load(self._rows, self._tenant, missing) if missing else {}
            return
        parts = {name: who - self._covered.get(name, BitMap()) for name, who in wanted.items()}
        parts = {name: who for name, who in parts.items() if who or name not in self._bitmaps}
        for name, found in (bitmaps.parts(self._rows, self._tenant, parts) if parts else {}).items():
            self._bitmaps[name] = self._bitmaps.get(name, BitMap()) | found
            self._covered[name] = self._covered.get(name, BitMap()) | parts[name]

    def _cut(self, found: BitMap) -> BitMap:
        return found if self._who is None else found & self._who


def _name(leaf: HasTag) -> str:
    return bitmaps.of_tag(leaf.tag if leaf.value is None else f"{leaf.tag}={leaf.value}")


def _listing(row: sql.Row) -> Listing:
    id, name, revision, stated, created_at, updated_at, archived = row
    event_codec.restore(Segment.Defined, stated)
    definition, universe = stated["definition"], stated["universe"]
    refresh = stated.get("refresh", REALTIME)
    return Listing(id, name, revision, definition, universe, created_at, updated_at, archived, refresh)
