"""CustomerNodes: which nodes make up which customer, from identity's events, and so whose facts are whose.

Events of different customers arrive in any order: a merge may be heard of before the customers it is about, and a
merge into somebody before that one was merged away. Who is merged into whom is kept, and followed to its end.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.envelope import Incoming
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from scrm.identity.v1.events_pb2 import CustomerCreated, CustomersMerged

tables: Final = sa.MetaData()

nodes: Final = sa.Table(
    "customer_nodes",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("customer", sa.Uuid, nullable=False),
    sa.Index("customer_nodes_by_customer", "tenant", "customer"),
)

merged: Final = sa.Table(
    "merged_customers",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("loser", sa.Uuid, primary_key=True),
    sa.Column("survivor", sa.Uuid, nullable=False),
)

CREATED: Final = CustomerCreated.DESCRIPTOR.full_name
MERGED: Final = CustomersMerged.DESCRIPTOR.full_name

Key = tuple[str, UUID]

_NEXT: Final = (
    "SELECT tenant, loser, survivor FROM merged_customers"
    " JOIN unnest(%s::text[], %s::uuid[]) AS k(tenant, loser) USING (tenant, loser)"
)
_MOVE: Final = (
    "UPDATE customer_nodes n SET customer = k.root FROM unnest(%s::text[], %s::uuid[], %s::uuid[]) AS k(tenant, loser, root)"
    " WHERE (n.tenant, n.customer) = (k.tenant, k.loser)"
)
_PUT: Final = (
    "INSERT INTO customer_nodes (tenant, node, customer) SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[])"
    " ON CONFLICT (tenant, node) DO UPDATE SET customer = excluded.customer"
)


class CustomerNodesProjection:
    """Keeps both tables."""

    name = "customer_nodes"
    version = 1
    source: Source = "inbox"
    tables = tables

    def apply(self, items: Sequence[Incoming], rows: sa.Connection) -> None:
        created = [it for it in items if it.type == CREATED]
        if created:
            _create(rows, [(it.tenant, UUID(it.parse(CustomerCreated).node_id)) for it in created])
        merges = [(it.tenant, it.parse(CustomersMerged)) for it in items if it.type == MERGED]
        if merges:
            _merge(rows, merges)


def customer_of(rows: sa.Connection, customer: UUID) -> UUID:
    """Who `customer` is now; itself if nothing is known of it."""
    found = rows.scalar(sa.select(nodes.c.customer).where(nodes.c.node == customer))
    return found or customer


def nodes_of(rows: sa.Connection, customer: UUID) -> list[UUID]:
    """The nodes of `customer`; itself alone if nothing is known of it yet."""
    found = rows.scalars(sa.select(nodes.c.node).where(nodes.c.customer == customer).order_by(nodes.c.node)).all()
    return list(found) or [customer]


def is_known(rows: sa.Connection, customer: UUID) -> bool:
    return rows.scalar(sa.select(nodes.c.node).where(nodes.c.node == customer)) is not None


def _create(rows: sa.Connection, created: Sequence[Key]) -> None:
    """A node is its own customer, unless a merge of it has been heard of before."""
    values = [{"tenant": tenant, "node": node, "customer": node} for tenant, node in created]
    rows.execute(insert(nodes).on_conflict_do_nothing(), values)


def _merge(rows: sa.Connection, merges: Sequence[tuple[str, CustomersMerged]]) -> None:
    """All merges of a batch: what they end at does not depend on how many of them are taken in at once."""
    survivors = {(tenant, UUID(it.loser_id)): UUID(it.survivor_id) for tenant, it in merges}
    values = [
        {"tenant": tenant, "loser": loser, "survivor": survivor} for (tenant, loser), survivor in survivors.items()
    ]
    put = insert(merged)
    known = put.on_conflict_do_update(index_elements=["tenant", "loser"], set_={"survivor": put.excluded.survivor})
    rows.execute(known, values)
    roots = _roots(rows, survivors)
    moving = {(tenant, UUID(id)): roots[tenant, UUID(it.loser_id)] for tenant, it in merges for id in it.node_ids}
    moving |= roots
    with driver_cursor(rows) as cursor:
        cursor.execute(_MOVE, columns((*key, root) for key, root in roots.items()))
        cursor.execute(_PUT, columns((*key, moving[key]) for key in sorted(moving)))


def _roots(rows: sa.Connection, survivors: Mapping[Key, UUID]) -> dict[Key, UUID]:
    """Whom the chain of merges that begins with each loser ends at; one query for each link of the longest chain."""
    ends = dict(survivors)
    open_ends = set(ends)
    while open_ends:
        asked = {(tenant, ends[tenant, loser]) for tenant, loser in open_ends}
        with driver_cursor(rows) as cursor:
            found = {(it[0], it[1]): it[2] for it in cursor.execute(_NEXT, columns(asked)).fetchall()}
        open_ends = {key for key in open_ends if (key[0], ends[key]) in found}
        ends |= {key: found[key[0], ends[key]] for key in open_ends}
    return ends
