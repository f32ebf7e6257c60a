"""Segments as they are defined now, the lists of the static ones, and the sets that definitions speak of."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis import event_codec
from services.tagging.domain.conditions import HasTag, InLayer, InSegment, Leaf, RfmScores, Universe, members
from services.tagging.domain.errors import SegmentNotFound
from services.tagging.domain.segments import Definition, Segment, SegmentKind
from services.tagging.read_models import bitmaps, model_runs, sql

_COLUMNS = "segment, name, revision, stated, created_at, updated_at"
_GET = f"SELECT {_COLUMNS} FROM segments WHERE tenant = %s AND segment = ANY(%s)"  # noqa: S608
_LIST = f"SELECT {_COLUMNS} FROM segments WHERE tenant = %s AND name > %s ORDER BY name LIMIT %s"  # noqa: S608
_EVERY = f"SELECT {_COLUMNS} FROM segments WHERE tenant = %s"  # noqa: S608
_LIVE = f"SELECT {_COLUMNS} FROM segments WHERE tenant = %s AND live"  # noqa: S608
_KEEP = (
    "INSERT INTO segments (tenant, segment, name, live, revision, stated, created_at, updated_at)"
    " VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s) ON CONFLICT (tenant, segment) DO UPDATE SET"
    " live = excluded.live, revision = excluded.revision, stated = excluded.stated, updated_at = excluded.updated_at"
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


def keep(rows: sa.Connection, tenant: str, id: UUID, it: Segment) -> None:
    """List a segment as it is defined now."""
    stated = event_codec.encode({"definition": it.definition, "universe": it.universe}).decode()
    values = (id, it.name, it.definition.live, it.revision, stated, it.created_at, it.updated_at)
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


def live(rows: sa.Connection, tenant: str) -> list[Listing]:
    """The segments that are kept up to date with every fact."""
    return list(map(_listing, sql.fetch(rows, _LIVE, tenant)))


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


class Sets:
    """The sets that conditions speak of, as they are in the transaction of `rows`; each is looked up once."""

    def __init__(self, rows: sa.Connection, tenant: str, who: BitMap | None = None) -> None:
        """With `who`, all sets are cut down to these ordinals."""
        self._rows = rows
        self._tenant = tenant
        self._who = who
        self._bitmaps: dict[str, BitMap] = {}
        self._listings: dict[UUID, Listing] = {}

    def universe(self, universe: Universe) -> BitMap:
        known = self._bitmap(bitmaps.KNOWN)
        return known if universe is Universe.KNOWN else known | self._bitmap(bitmaps.ANONYMOUS)

    def of(self, definition: Definition, universe: Universe) -> BitMap:
        """The members of a condition or combination. Raises what is not found."""
        expression = definition.expression
        return BitMap() if expression is None else members(expression, self.leaf, self.universe(universe))

    def segment(self, id: UUID) -> BitMap:
        """The members of a segment now. Raises SegmentNotFound."""
        it = self._listings.get(id)
        if it is None:
            it = self._listings[id] = require(self._rows, self._tenant, id)
        if it.definition.kind is SegmentKind.STATIC or it.definition.live:
            return self._bitmap(bitmaps.of_segment(id)) & self.universe(it.universe)
        return self.of(it.definition, it.universe)

    def leaf(self, leaf: Leaf) -> BitMap:
        """Everybody for whom a leaf holds. Raises SegmentNotFound, RunNotFound, LayerNotFound."""
        match leaf:
            case HasTag(tag, value):
                return self._bitmap(bitmaps.of_tag(tag if value is None else f"{tag}={value}"))
            case InLayer():
                return self._cut(model_runs.layer(self._rows, self._tenant, leaf))
            case RfmScores():
                return self._cut(model_runs.with_scores(self._rows, self._tenant, leaf))
            case InSegment(segment):
                return self.segment(segment)
        raise TypeError(f"{type(leaf).__name__} is no set that is kept")

    def _bitmap(self, name: str) -> BitMap:
        found = self._bitmaps.get(name)
        if found is None:
            if self._who is None:
                found = bitmaps.load(self._rows, self._tenant, (name,))[name]
            else:
                found = bitmaps.among(self._rows, self._tenant, (name,), self._who)[name]
            self._bitmaps[name] = found
        return found

    def _cut(self, found: BitMap) -> BitMap:
        return found if self._who is None else found & self._who


def _listing(row: sql.Row) -> Listing:
    id, name, revision, stated, created_at, updated_at = row
    event_codec.restore(Segment.Defined, stated)
    return Listing(id, name, revision, stated["definition"], stated["universe"], created_at, updated_at)
