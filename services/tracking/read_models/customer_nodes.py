"""CustomerNodes: which nodes make up which customer, from identity's events, and so whose facts are whose.

Events of different customers arrive in any order: a merge may be heard of before the customers it is about, and a
merge into somebody before that one was merged away. Who is merged into whom is kept, and followed to its end.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.envelope import Incoming
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
        for it in items:
            if it.type == MERGED:
                _merge(rows, it.tenant, it.parse(CustomersMerged))


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


def _merge(rows: sa.Connection, tenant: str, event: CustomersMerged) -> None:
    loser, survivor = UUID(event.loser_id), UUID(event.survivor_id)
    put = insert(merged).values(tenant=tenant, loser=loser, survivor=survivor)
    rows.execute(put.on_conflict_do_update(index_elements=["tenant", "loser"], set_={"survivor": survivor}))
    root = _root(rows, tenant, survivor)
    rows.execute(sa.update(nodes).where(nodes.c.tenant == tenant, nodes.c.customer == loser).values(customer=root))
    moving = {loser, *map(UUID, event.node_ids)}
    moved = insert(nodes).values([{"tenant": tenant, "node": it, "customer": root} for it in sorted(moving)])
    rows.execute(moved.on_conflict_do_update(index_elements=["tenant", "node"], set_={"customer": root}))


def _root(rows: sa.Connection, tenant: str, customer: UUID) -> UUID:
    """Whom a chain of merges ends at."""
    while True:
        query = sa.select(merged.c.survivor).where(merged.c.tenant == tenant, merged.c.loser == customer)
        survivor = rows.scalar(query)
        if survivor is None:
            return customer
        customer = survivor
