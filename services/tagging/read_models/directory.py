"""Who is who: every node with the customer it belongs to now (`nodes`), from identity's events.

A node is a customer as first created and has the same id. Every node gets the next ordinal of its tenant when it is
first heard of, whatever the message, and keeps it; the ordinal of a customer is that of its own node. Every merge is
kept (`merges`), and that it was taken back even if the merge itself is not heard of yet; one not taken back stands. The
nodes are a forest: `parent` is the survivor of the latest merge standing that the node lost, `customer` the root above
it. So the same messages end in the same customers in any order, and a node not yet introduced by identity is its own
anonymous customer. A node of somebody who is erased keeps its row, and with it its ordinal, but belongs to nobody.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.postgres import columns
from services.tagging.application.facts import Facts, Merge, Recognition
from services.tagging.application.ports import Change, Customer
from services.tagging.read_models import bitmaps, sql

_COLUMNS = "node, customer, parent, ordinal, known, assignment_key, created_at, known_at, erased"
_LOAD = f"SELECT {_COLUMNS} FROM nodes WHERE tenant = %s AND node = ANY(%s)"  # noqa: S608
_LOAD_WHOLE = f"SELECT {_COLUMNS} FROM nodes WHERE tenant = %s AND customer = ANY(%s)"  # noqa: S608
_NEXT = "SELECT coalesce(max(ordinal) + 1, 0) FROM nodes WHERE tenant = %s"
_INSERT = (
    "INSERT INTO nodes (tenant, node, customer, parent, ordinal, known, assignment_key, created_at, known_at)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::boolean[], %s::text[],"
    " %s::timestamptz[], %s::timestamptz[])"
)
_UPDATE = (
    "UPDATE nodes n SET customer = v.customer, parent = v.parent, known = v.known, assignment_key = v.key,"
    " created_at = v.created_at, known_at = v.known_at"
    " FROM (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::boolean[], %s::text[],"
    " %s::timestamptz[], %s::timestamptz[])"
    " AS v(node, customer, parent, known, key, created_at, known_at)) v WHERE (n.tenant, n.node) = (v.tenant, v.node)"
)
_KEEP = (
    "INSERT INTO merges (tenant, merge, survivor, loser, undone)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::boolean[])"
    " ON CONFLICT (tenant, merge) DO UPDATE SET undone = true WHERE excluded.undone AND NOT merges.undone"
    " RETURNING loser"
)
_STANDING = (
    "SELECT DISTINCT ON (loser) loser, merge, survivor FROM merges"
    " WHERE tenant = %s AND loser = ANY(%s) AND NOT undone ORDER BY loser, merge DESC"
)
_CANONICAL = (
    "SELECT n.node, c.node, c.ordinal, c.assignment_key FROM nodes n"
    " JOIN nodes c ON c.tenant = n.tenant AND c.node = n.customer"
    " WHERE n.tenant = %s AND n.node = ANY(%s) AND NOT n.erased"
)
_NODES_OF = "SELECT node FROM nodes WHERE tenant = %s AND customer = %s ORDER BY node"
_NODES_OF_ALL = "SELECT customer, node FROM nodes WHERE tenant = %s AND customer = ANY(%s) ORDER BY node"
_NODES_BY_ORDINAL = "SELECT ordinal, node, erased FROM nodes WHERE tenant = %s AND ordinal = ANY(%s) ORDER BY ordinal"
_BY_ORDINAL = "SELECT ordinal, node, assignment_key FROM nodes WHERE tenant = %s AND ordinal = ANY(%s) AND NOT erased ORDER BY ordinal"


@dataclass(slots=True)
class _Node:
    node: UUID
    customer: UUID
    parent: UUID | None
    ordinal: int
    known: bool
    assignment_key: str
    created_at: datetime | None = None
    known_at: datetime | None = None
    erased: bool = False
    new: bool = False
    changed: bool = False


Nodes = dict[UUID, _Node]


class _Parent(NamedTuple):
    """Below whom a node hangs, and by which merge."""

    merge: UUID
    node: UUID


@dataclass(slots=True)
class Arrivals:
    """What a batch did to the directory.

    `customer_of` says for every node named in the batch whose it is now, `regrouped` gives the nodes of every customer
    that has others than before, `gone` are the customers that ceased to be one, `ordinals` are those of all these.
    """

    customer_of: dict[UUID, UUID] = field(default_factory=dict)
    ordinals: dict[UUID, int] = field(default_factory=dict)
    regrouped: dict[UUID, list[UUID]] = field(default_factory=dict)
    gone: set[UUID] = field(default_factory=set)
    identified: BitMap = field(default_factory=BitMap)
    """Customers whose place among the known and anonymous was decided anew."""

    def leave(self, nodes: Collection[UUID]) -> None:
        """Nothing is to be decided for `nodes`: they are erased."""
        self.regrouped = {it: theirs for it, theirs in self.regrouped.items() if it not in nodes}
        self.gone -= set(nodes)


def heard_of(rows: sa.Connection, tenant: str, nodes: Iterable[UUID]) -> Nodes:
    """Those of `nodes` that have an ordinal, as they are."""
    return {row[0]: _Node(*row) for row in sql.fetch(rows, _LOAD, tenant, list(nodes))}


def absorb(rows: sa.Connection, tenant: str, facts: Facts, nodes: Nodes) -> Arrivals:
    """Bring the directory up to date with a batch; `nodes` are those it names that were `heard_of` before."""
    if not facts.nodes:
        return Arrivals()
    _complete(rows, tenant, nodes, facts.nodes)
    _recognise(nodes, facts.recognitions)
    arrivals = Arrivals()
    losers = _keep(rows, tenant, facts.merges.values())
    if losers:
        members, parents = _forest(rows, tenant, nodes, losers)
        _regroup(nodes, members, parents, arrivals)
    _write(rows, tenant, nodes)
    arrivals.customer_of = {node: nodes[node].customer for node in facts.nodes}
    arrivals.ordinals = {it.node: it.ordinal for it in nodes.values()}
    _place(rows, tenant, nodes, arrivals)
    return arrivals


def canonical(rows: sa.Connection, tenant: str, nodes: Iterable[UUID]) -> dict[UUID, Customer]:
    """The customer of each of `nodes` that is known of, and not erased."""
    return {row[0]: Customer(*row[1:]) for row in sql.fetch(rows, _CANONICAL, tenant, list(nodes))}


def nodes_of(rows: sa.Connection, tenant: str, customer: UUID) -> list[UUID]:
    """The nodes that are a customer now; none if it is part of another."""
    return [node for (node,) in sql.fetch(rows, _NODES_OF, tenant, customer)]


def nodes_of_all(rows: sa.Connection, tenant: str, customers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """`nodes_of` of many customers."""
    found: dict[UUID, list[UUID]] = {}
    for customer, node in sql.fetch(rows, _NODES_OF_ALL, tenant, list(customers)):
        found.setdefault(customer, []).append(node)
    return found


def nodes_by_ordinal(rows: sa.Connection, tenant: str, ordinals: Iterable[int]) -> list[tuple[int, UUID, bool]]:
    """The nodes with these ordinals, in their order, and which of them are erased."""
    return [(it[0], it[1], it[2]) for it in sql.fetch(rows, _NODES_BY_ORDINAL, tenant, list(ordinals))]


def by_ordinal(rows: sa.Connection, tenant: str, ordinals: Iterable[int]) -> list[Customer]:
    """The customers with these ordinals, in their order; a merged one as it was, and none who is erased."""
    found = sql.fetch(rows, _BY_ORDINAL, tenant, list(ordinals))
    return [Customer(id, ordinal, key) for ordinal, id, key in found]


def _complete(rows: sa.Connection, tenant: str, nodes: Nodes, named: Iterable[UUID]) -> None:
    """Add the customers of `nodes`, and as new ones those `named` that were not heard of before."""
    owners = {it.customer for it in nodes.values()} - nodes.keys()
    if owners:
        nodes |= heard_of(rows, tenant, owners)
    missing = [node for node in named if node not in nodes]
    if missing:
        (first,) = sql.fetch(rows, _NEXT, tenant)[0]
        for ordinal, node in enumerate(missing, first):
            nodes[node] = _Node(node, node, None, ordinal, known=False, assignment_key=str(node), new=True)


def _recognise(nodes: Mapping[UUID, _Node], recognitions: Iterable[Recognition]) -> None:
    for node, known, key, created, at in recognitions:
        it = nodes[node]
        if created:
            it.created_at = at
            it.changed = True
        if known and at is not None:
            it.known_at = min(it.known_at or at, at)
        if known or not it.known:
            it.known = it.known or known
            it.assignment_key = key or it.assignment_key
            it.changed = True


def _keep(rows: sa.Connection, tenant: str, merges: Collection[Merge]) -> set[UUID]:
    """Keep what is told of merges; the losers of those of which that is news."""
    if not merges:
        return set()
    return {loser for (loser,) in sql.fetch(rows, _KEEP, tenant, *columns(merges))}


def _forest(
    rows: sa.Connection, tenant: str, nodes: Nodes, losers: Collection[UUID]
) -> tuple[list[UUID], dict[UUID, _Parent]]:
    """All nodes of all customers that `losers` leave or join, now in `nodes` too, and the parents of these."""
    joined = {it.node for it in _standing(rows, tenant, losers).values()}
    members = _load_whole(rows, tenant, nodes, joined.union(losers))
    parents = _standing(rows, tenant, members)
    for circle in _circles(parents):
        del parents[min(circle, key=lambda node: parents[node].merge)]
    return members, parents


def _standing(rows: sa.Connection, tenant: str, losers: Collection[UUID]) -> dict[UUID, _Parent]:
    found = sql.fetch(rows, _STANDING, tenant, list(losers))
    return {loser: _Parent(merge, survivor) for loser, merge, survivor in found}


def _load_whole(rows: sa.Connection, tenant: str, nodes: Nodes, some: Collection[UUID]) -> list[UUID]:
    """All nodes of the customers that `some` belong to, now in `nodes` too."""
    missing = [node for node in some if node not in nodes]
    if missing:
        nodes.update((row[0], _Node(*row)) for row in sql.fetch(rows, _LOAD, tenant, missing))
    customers = {nodes[node].customer for node in some}
    for row in sql.fetch(rows, _LOAD_WHOLE, tenant, list(customers)):
        nodes.setdefault(row[0], _Node(*row))
    return [it.node for it in nodes.values() if it.customer in customers]


def _circles(parents: Mapping[UUID, _Parent]) -> list[list[UUID]]:
    """Nodes that hang below themselves: that a merge among them was taken back is not heard of yet."""
    circles: list[list[UUID]] = []
    seen: set[UUID] = set()
    for start in parents:
        path: list[UUID] = []
        node = start
        while node in parents and node not in seen:
            seen.add(node)
            path.append(node)
            node = parents[node].node
        if node in path:
            circles.append(path[path.index(node) :])
    return circles


def _regroup(nodes: Nodes, members: Sequence[UUID], parents: Mapping[UUID, _Parent], arrivals: Arrivals) -> None:
    """Give each of `members` its parent and the root above it; notes whose nodes are others then."""
    concerned: set[UUID] = set()
    for node in members:
        it = nodes[node]
        parent = parents[node].node if node in parents else None
        customer = _root(parents, node)
        if customer != it.customer:
            concerned |= {it.customer, customer}
        it.changed = it.changed or (it.parent, it.customer) != (parent, customer)
        it.parent, it.customer = parent, customer
    arrivals.gone = {it for it in concerned if nodes[it].customer != it}
    arrivals.regrouped = {it: [] for it in sorted(concerned - arrivals.gone)}
    for node in members:
        if nodes[node].customer in arrivals.regrouped:
            arrivals.regrouped[nodes[node].customer].append(node)


def _root(parents: Mapping[UUID, _Parent], node: UUID) -> UUID:
    while node in parents:
        node = parents[node].node
    return node


def _write(rows: sa.Connection, tenant: str, nodes: Nodes) -> None:
    new = [
        (it.node, it.customer, it.parent, it.ordinal, it.known, it.assignment_key, it.created_at, it.known_at)
        for it in nodes.values()
        if it.new
    ]
    changed = [
        (it.node, it.customer, it.parent, it.known, it.assignment_key, it.created_at, it.known_at)
        for it in nodes.values()
        if it.changed and not it.new
    ]
    sql.run_all(rows, _INSERT, tenant, new)
    sql.run_all(rows, _UPDATE, tenant, changed)


def _place(rows: sa.Connection, tenant: str, nodes: Nodes, arrivals: Arrivals) -> None:
    """Put customers among the known or the anonymous: known is who has a known node.

    Of a customer with the nodes it had, one known before stays so; of a new or regrouped one every node is at hand.
    """
    touched = {it.customer for it in nodes.values() if it.new or it.changed}.union(arrivals.regrouped)
    if not touched:
        return
    ordinals = arrivals.ordinals
    lost = BitMap(ordinals[it] for it in arrivals.gone)
    who = BitMap(ordinals[it] for it in touched)
    as_before = BitMap(ordinals[it] for it in touched if it not in arrivals.regrouped and not nodes[it].new)
    known = bitmaps.among(rows, tenant, (bitmaps.KNOWN,), as_before)[bitmaps.KNOWN]
    known |= BitMap(ordinals[it.customer] for it in nodes.values() if it.known)
    known &= who
    arrivals.identified = who | lost
    bitmaps.change(
        rows,
        tenant,
        {
            bitmaps.KNOWN: Change(known, lost | (who - known)),
            bitmaps.ANONYMOUS: Change(who - known, known | lost),
        },
    )
