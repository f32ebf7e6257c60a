"""Who is who: every node with the customer it belongs to now (`nodes`), from identity's events.

A node is a customer as first created and has the same id. Every node gets the next ordinal of its tenant when it is
first heard of, whatever the message, and keeps it; the ordinal of a customer is that of its own node. Merges are kept
as a forest: `parent` is the survivor of the one merge that the node, as a customer, lost; `customer` is the root above
it. So messages may come in any order, and a node not yet introduced by identity is its own anonymous customer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.facts import Facts, Merge, Recognition
from services.tagging.application.ports import Change, Customer
from services.tagging.read_models import bitmaps, sql

_LOAD = "SELECT node, customer, parent, ordinal, known, assignment_key FROM nodes WHERE tenant = %s AND node = ANY(%s)"
_NEXT = "SELECT coalesce(max(ordinal) + 1, 0) FROM nodes WHERE tenant = %s"
_INSERT = (
    "INSERT INTO nodes (tenant, node, customer, parent, ordinal, known, assignment_key)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::boolean[], %s::text[])"
)
_UPDATE = (
    "UPDATE nodes n SET parent = v.parent, known = v.known, assignment_key = v.key FROM (SELECT %s::text AS tenant, *"
    " FROM unnest(%s::uuid[], %s::uuid[], %s::boolean[], %s::text[]) AS v(node, parent, known, key)) v"
    " WHERE (n.tenant, n.node) = (v.tenant, v.node)"
)
_MOVE = (
    "UPDATE nodes n SET customer = v.new FROM (SELECT %s::text AS tenant, *"
    " FROM unnest(%s::uuid[], %s::uuid[]) AS v(old, new)) v"
    " WHERE (n.tenant, n.customer) = (v.tenant, v.old)"
)
_CANONICAL = (
    "SELECT n.node, c.node, c.ordinal, c.assignment_key FROM nodes n"
    " JOIN nodes c ON c.tenant = n.tenant AND c.node = n.customer WHERE n.tenant = %s AND n.node = ANY(%s)"
)
_BY_ORDINAL = "SELECT ordinal, node, assignment_key FROM nodes WHERE tenant = %s AND ordinal = ANY(%s) ORDER BY ordinal"


@dataclass(slots=True)
class _Node:
    node: UUID
    customer: UUID
    parent: UUID | None
    ordinal: int
    known: bool
    assignment_key: str
    new: bool = False
    changed: bool = False


@dataclass(slots=True)
class Arrivals:
    """What a batch did to the directory.

    `customer_of` says for every node named in the batch whose it is now, `ordinals` gives the ordinals of these
    customers and of the merged ones, `merged` maps every customer that ceased to be one to who it is part of now.
    """

    customer_of: dict[UUID, UUID] = field(default_factory=dict)
    ordinals: dict[UUID, int] = field(default_factory=dict)
    merged: dict[UUID, UUID] = field(default_factory=dict)
    identified: BitMap = field(default_factory=BitMap)
    """Customers whose place among the known and anonymous was decided anew."""


def absorb(rows: sa.Connection, tenant: str, facts: Facts) -> Arrivals:
    """Bring the directory up to date with a batch."""
    if not facts.nodes:
        return Arrivals()
    nodes = _nodes(rows, tenant, facts.nodes)
    _recognise(nodes, facts.recognitions)
    merged = _merge(nodes, facts.merges)
    _write(rows, tenant, nodes, merged)
    arrivals = Arrivals(
        customer_of={node: nodes[node].customer for node in facts.nodes},
        ordinals={it.node: it.ordinal for it in nodes.values()},
        merged=merged,
    )
    _place(rows, tenant, nodes, arrivals)
    return arrivals


def canonical(rows: sa.Connection, tenant: str, nodes: Iterable[UUID]) -> dict[UUID, Customer]:
    """The customer of each of `nodes` that is known of."""
    return {row[0]: Customer(*row[1:]) for row in sql.fetch(rows, _CANONICAL, tenant, list(nodes))}


def by_ordinal(rows: sa.Connection, tenant: str, ordinals: Iterable[int]) -> list[Customer]:
    """The customers with these ordinals, in their order; a merged one as it was."""
    found = sql.fetch(rows, _BY_ORDINAL, tenant, list(ordinals))
    return [Customer(id, ordinal, key) for ordinal, id, key in found]


def _nodes(rows: sa.Connection, tenant: str, named: Iterable[UUID]) -> dict[UUID, _Node]:
    """The nodes named, and the customers of those; nodes not heard of before are new."""
    nodes = {row[0]: _Node(*row) for row in sql.fetch(rows, _LOAD, tenant, list(named))}
    owners = {it.customer for it in nodes.values()} - nodes.keys()
    if owners:
        nodes |= {row[0]: _Node(*row) for row in sql.fetch(rows, _LOAD, tenant, list(owners))}
    missing = [node for node in named if node not in nodes]
    if missing:
        (first,) = sql.fetch(rows, _NEXT, tenant)[0]
        for ordinal, node in enumerate(missing, first):
            nodes[node] = _Node(node, node, None, ordinal, known=False, assignment_key=str(node), new=True)
    return nodes


def _recognise(nodes: Mapping[UUID, _Node], recognitions: Iterable[Recognition]) -> None:
    for node, known, key in recognitions:
        it = nodes[node]
        if known or not it.known:
            it.known = it.known or known
            it.assignment_key = key or it.assignment_key
            it.changed = True


def _merge(nodes: Mapping[UUID, _Node], merges: Sequence[Merge]) -> dict[UUID, UUID]:
    """Hang each loser below its survivor; every customer that ceased to be one, with its new root."""
    lost: list[UUID] = []
    for survivor, loser in merges:
        it = nodes[loser]
        if it.parent is None and _root(nodes, survivor) != loser:
            it.parent, it.changed = survivor, True
            lost.append(loser)
    merged = {loser: _root(nodes, loser) for loser in lost}
    for it in nodes.values():
        it.customer = merged.get(it.customer, it.customer)
    return merged


def _root(nodes: Mapping[UUID, _Node], node: UUID) -> UUID:
    """The customer of `node` now: up through the merges of this batch to a customer that still is one."""
    while True:
        it = nodes[node]
        if it.customer != node:
            node = it.customer
        elif it.parent is not None:
            node = it.parent
        else:
            return node


def _write(rows: sa.Connection, tenant: str, nodes: Mapping[UUID, _Node], merged: Mapping[UUID, UUID]) -> None:
    new = [
        (it.node, it.customer, it.parent, it.ordinal, it.known, it.assignment_key) for it in nodes.values() if it.new
    ]
    changed = [(it.node, it.parent, it.known, it.assignment_key) for it in nodes.values() if it.changed and not it.new]
    sql.run_all(rows, _INSERT, tenant, new)
    sql.run_all(rows, _UPDATE, tenant, changed)
    sql.run_all(rows, _MOVE, tenant, list(merged.items()))


def _place(rows: sa.Connection, tenant: str, nodes: Mapping[UUID, _Node], arrivals: Arrivals) -> None:
    """Put customers among the known or the anonymous: known is who has a known node."""
    touched = {it.customer for it in nodes.values() if it.new or it.changed}
    if not touched:
        return
    lost = BitMap(arrivals.ordinals[it] for it in arrivals.merged)
    who = BitMap(arrivals.ordinals[it] for it in touched)
    before = bitmaps.among(rows, tenant, (bitmaps.KNOWN, bitmaps.ANONYMOUS), who | lost)[bitmaps.KNOWN]
    known = before & who
    known |= BitMap(arrivals.ordinals[it.customer] for it in nodes.values() if it.known)
    known |= BitMap(
        arrivals.ordinals[root] for loser, root in arrivals.merged.items() if arrivals.ordinals[loser] in before
    )
    known &= who
    arrivals.identified = who | lost
    bitmaps.change(
        rows,
        tenant,
        {
            bitmaps.KNOWN: Change(known, lost),
            bitmaps.ANONYMOUS: Change(who - known, known | lost),
        },
    )
