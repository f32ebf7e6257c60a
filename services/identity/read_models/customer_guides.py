"""CustomerGuides: what was last said of each node's guide, so that lists can show the customers of some stores alone.

The guide of a customer follows from all nodes, as `relationships.guide_at` says; `within` says the same to the database.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.relationships import Relationship
from services.identity.read_models.customer_directory import nodes
from services.identity.read_models.organisation import current_store, placements

tables: Final = sa.MetaData()

guides: Final = sa.Table(
    "customer_guides",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("staff", sa.Uuid),
    sa.Column("claimed_at", sa.DateTime(timezone=True)),
    sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("beside", ARRAY(sa.Uuid), nullable=False),
    sa.Index("customer_guides_by_staff", "tenant", "staff"),
)


class CustomerGuidesProjection:
    """One row per node of which anything was said."""

    name = "customer_guides"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        said: dict[tuple[str, UUID], _Said] = {}
        for it in items:
            _take(it, said)
        if said:
            found = [(*key, it.staff, it.claimed_at, it.said_at, it.besides) for key, it in said.items()]
            columns = zip(*found, strict=True)
            rows.execute(_WRITE, {chr(ord("a") + number): list(column) for number, column in enumerate(columns)})


def within(customer: sa.ColumnElement[UUID], stores: Collection[UUID], at: datetime) -> sa.ColumnElement[bool]:
    """Whether the guide of the customer in a column works, at `at`, in one of `stores`."""
    ever = sa.select(placements.c.staff).where(placements.c.store.in_(stores))
    some = placements.alias("some")
    there = sa.select(some.c.staff).where(some.c.staff.in_(ever), current_store(some.c.staff, at).in_(stores))
    theirs = sa.select(nodes.c.customer).join(guides, _same(nodes, guides)).where(guides.c.staff.in_(there))
    return sa.and_(customer.in_(theirs), _guide_of(customer).in_(there))


def _guide_of(customer: sa.ColumnElement[UUID]) -> sa.ScalarSelect[UUID | None]:
    """Of the nodes whose guide nobody took away since, that of the one assigned last."""
    own, other, taken = nodes.alias("own"), nodes.alias("other"), guides.alias("taken")
    withdrawn = (
        sa.select(sa.literal(1))
        .select_from(other.join(taken, _same(other, taken)))
        .where(
            other.c.customer == own.c.customer,
            taken.c.staff.is_(None),
            guides.c.node == sa.any_(taken.c.beside),
            taken.c.said_at >= guides.c.claimed_at,
        )
    )
    return (
        sa.select(guides.c.staff)
        .select_from(own.join(guides, _same(own, guides)))
        .where(own.c.customer == customer, guides.c.staff.is_not(None), ~sa.exists(withdrawn))
        .order_by(guides.c.claimed_at.desc(), guides.c.node.desc())
        .limit(1)
        .scalar_subquery()
    )


def _same(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(one.c.tenant == other.c.tenant, one.c.node == other.c.node)


@dataclass(frozen=True, slots=True)
class _Said:
    """The last word of a stretch of the log; of a transfer `claimed_at` is None where it is that of before."""

    staff: UUID | None
    claimed_at: datetime | None
    said_at: datetime
    beside: frozenset[UUID] = frozenset()

    @property
    def besides(self) -> str:
        """As an array is written: unnest would take apart one in another."""
        return "{" + ",".join(sorted(map(str, self.beside))) + "}"


def _take(recorded: Recorded, said: dict[tuple[str, UUID], Any]) -> None:
    match recorded.event:
        case Relationship.Assigned(node=node, staff=staff, assigned_at=at):
            said[recorded.tenant, node] = _Said(staff, at, at)
        case Relationship.Transferred(node=node, staff=staff, transferred_at=at):
            before = said.get((recorded.tenant, node), _Said(staff, None, at))
            said[recorded.tenant, node] = replace(before, staff=staff, said_at=at)
        case Relationship.Unassigned(node=node, beside=beside, unassigned_at=at):
            said[recorded.tenant, node] = _Said(None, None, at, beside)


_WRITE: Final = sa.text(
    "INSERT INTO customer_guides AS g (tenant, node, staff, claimed_at, said_at, beside)"
    " SELECT v.tenant, v.node, v.staff, v.claimed_at, v.said_at, CAST(v.beside AS uuid[])"
    " FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS uuid[]), CAST(:d AS timestamptz[]),"
    " CAST(:e AS timestamptz[]), CAST(:f AS text[])) AS v(tenant, node, staff, claimed_at, said_at, beside)"
    " ON CONFLICT (tenant, node) DO UPDATE SET staff = excluded.staff, said_at = excluded.said_at, beside = excluded.beside,"
    " claimed_at = CASE WHEN excluded.staff IS NULL THEN NULL ELSE coalesce(excluded.claimed_at, g.claimed_at) END"
)
