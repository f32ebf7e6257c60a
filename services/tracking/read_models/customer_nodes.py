"""CustomerNodes: which nodes make up which customer, from identity's events, and so whose facts are whose.

Events of different customers arrive in any order: a merge may be heard of before the customers it is about, a merge into
somebody before that one was merged away, and that a merge was taken back before the merge. So all merges are kept by their
ids, and those that stand are followed to their end. Of somebody who is erased nothing is left but that these nodes are, so
that what is heard later does not bring them back.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.envelope import Incoming
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from scrm.identity.v1.events_pb2 import CustomerCreated, CustomerErasing, CustomersMerged, CustomerUnmerged

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
    sa.Column("merge_id", sa.Uuid, primary_key=True),
    sa.Column("loser", sa.Uuid, nullable=False),
    sa.Column("survivor", sa.Uuid, nullable=False),
    sa.Column("stands", sa.Boolean, nullable=False),
    sa.Index("merged_customers_by_loser", "tenant", "loser", "merge_id"),
    sa.Index("merged_customers_by_survivor", "tenant", "survivor"),
)

erased: Final = sa.Table(
    "erased_nodes",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
)

CREATED: Final = CustomerCreated.DESCRIPTOR.full_name
MERGED: Final = CustomersMerged.DESCRIPTOR.full_name
UNMERGED: Final = CustomerUnmerged.DESCRIPTOR.full_name
ERASING: Final = CustomerErasing.DESCRIPTOR.full_name

Key = tuple[str, UUID]
Row = tuple[str, UUID, UUID, UUID, bool]
"""Tenant, merge, loser, survivor, whether it stands."""

_LOST: Final = (
    "SELECT tenant, node FROM erased_nodes JOIN unnest(%s::text[], %s::uuid[]) AS k(tenant, node) USING (tenant, node)"
)
_CREATE: Final = (
    "INSERT INTO customer_nodes (tenant, node, customer) SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[])"
    " ON CONFLICT DO NOTHING"
)
_NOTE: Final = (
    "INSERT INTO merged_customers AS m (tenant, merge_id, loser, survivor, stands)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::boolean[])"
    " ON CONFLICT (tenant, merge_id) DO UPDATE SET stands = m.stands AND excluded.stands"
)
_PLACE: Final = """
WITH RECURSIVE below (tenant, node) AS (
  SELECT * FROM unnest(%s::text[], %s::uuid[])
  UNION
  SELECT m.tenant, m.loser FROM below b JOIN merged_customers m ON (m.tenant, m.survivor) = (b.tenant, b.node) AND m.stands
), above (tenant, node, customer) AS (
  SELECT tenant, node, node FROM below
  UNION
  SELECT a.tenant, a.node, higher.survivor FROM above a CROSS JOIN LATERAL (
    SELECT survivor FROM merged_customers m WHERE (m.tenant, m.loser) = (a.tenant, a.customer) AND m.stands
    ORDER BY merge_id DESC LIMIT 1
  ) higher
)
INSERT INTO customer_nodes (tenant, node, customer)
  SELECT tenant, node, customer FROM above a WHERE NOT EXISTS (
    SELECT FROM merged_customers m WHERE (m.tenant, m.loser) = (a.tenant, a.customer) AND m.stands
  )
ON CONFLICT (tenant, node) DO UPDATE SET customer = excluded.customer
"""
"""Every customer below those given, and the end of the merges above it: of several of one loser that seem to stand while messages
are on their way, the last one made."""


class CustomerNodesProjection:
    """Keeps all three tables."""

    name = "customer_nodes"
    version = 3
    source: Source = "inbox"
    tables = tables

    def apply(self, items: Sequence[Incoming], rows: sa.Connection) -> None:
        gone = [node for it in items if it.type == ERASING for node in _erasing(it)]
        if gone:
            rows.execute(insert(erased).on_conflict_do_nothing(), [{"tenant": t, "node": node} for t, node in gone])
        created = [(it.tenant, UUID(it.parse(CustomerCreated).node_id)) for it in items if it.type == CREATED]
        merges = {it[:2]: it for it in map(_merge, items) if it is not None}
        undone = {it[:2]: it for it in map(_unmerge, items) if it is not None}
        told = list((merges | undone).values())
        named = {*created, *((it[0], node) for it in told for node in it[2:4])}
        lost = _erased_of(rows, named)
        if created := [it for it in created if it not in lost]:
            _create(rows, created)
        if told := [it for it in told if lost.isdisjoint((it[0], node) for node in it[2:4])]:
            _note(rows, told)
        if gone:
            _forget(rows, gone)


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


def is_erased(rows: sa.Connection, customer: UUID) -> bool:
    """Whether this is, or was part of, somebody who is erased."""
    return rows.scalar(sa.select(erased.c.node).where(erased.c.node == customer)) is not None


def _erasing(message: Incoming) -> list[Key]:
    return [(message.tenant, UUID(it)) for it in message.parse(CustomerErasing).node_ids]


def _erased_of(rows: sa.Connection, named: Collection[Key]) -> set[Key]:
    if not named:
        return set()
    with driver_cursor(rows) as cursor:
        return {(tenant, node) for tenant, node in cursor.execute(_LOST, columns(named)).fetchall()}


def _forget(rows: sa.Connection, gone: Collection[Key]) -> None:
    rows.execute(sa.delete(nodes).where(sa.tuple_(nodes.c.tenant, nodes.c.node).in_(gone)))
    lost = sa.tuple_(merged.c.tenant, merged.c.loser).in_(gone)
    kept = sa.tuple_(merged.c.tenant, merged.c.survivor).in_(gone)
    rows.execute(sa.delete(merged).where(lost | kept))


def _merge(message: Incoming) -> Row | None:
    if message.type != MERGED:
        return None
    it = message.parse(CustomersMerged)
    return message.tenant, UUID(it.merge_id), UUID(it.loser_id), UUID(it.survivor_id), True


def _unmerge(message: Incoming) -> Row | None:
    if message.type != UNMERGED:
        return None
    it = message.parse(CustomerUnmerged)
    return message.tenant, UUID(it.merge_id), UUID(it.restored_id), UUID(it.survivor_id), False


def _create(rows: sa.Connection, created: Sequence[Key]) -> None:
    """A node is its own customer, unless a merge of it has been heard of before."""
    with driver_cursor(rows) as cursor:
        cursor.execute(_CREATE, columns((tenant, node, node) for tenant, node in created))


def _note(rows: sa.Connection, merges: Sequence[Row]) -> None:
    """Keep what was heard of each merge; one that was ever taken back does not stand, whatever is heard later."""
    with driver_cursor(rows) as cursor:
        cursor.execute(_NOTE, columns(merges))
        cursor.execute(_PLACE, columns({(tenant, loser) for tenant, _, loser, _, _ in merges}))
