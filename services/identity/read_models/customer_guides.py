"""CustomerGuides: what was last said of each node's guide, so that lists can show the customers of some stores alone.

The guide of a customer follows from all nodes, as `relationships.guide_at` says; `within` says the same to the database.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.customer import Customer
from services.identity.domain.relationships import Relationship
from services.identity.read_models.concerned import concerning
from services.identity.read_models.customer_directory import nodes
from services.identity.read_models.erased import erased_in
from services.identity.read_models.organisation import current_store, placements

tables: Final = sa.MetaData()

guides: Final = sa.Table(
    "customer_guides",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("staff", sa.Uuid),
    sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("followed_at", sa.DateTime(timezone=True)),
    sa.Column("beside", ARRAY(sa.Uuid), nullable=False),
    sa.Index("customer_guides_by_staff", "tenant", "staff"),
)


_EVENTS: Final = frozenset(
    {Relationship.Assigned, Relationship.Unassigned, Relationship.Transferred, Relationship.FollowedUp, Customer.Erased}
)


class CustomerGuidesProjection:
    """One row per node of which anything was said, and that is not erased."""

    name = "customer_guides"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        said: dict[tuple[str, UUID], _Said] = {}
        for it in items:
            _take(it, said)
        if said:
            _write(rows, _DECIDE, [(*key, it.staff, it.at, it.besides) for key, it in said.items() if it.at])
            _write(rows, _HAND_OVER, [(*key, it.staff) for key, it in said.items() if it.staff and not it.at])
            _write(rows, _FOLLOW_UP, [(*key, it.followed_at) for key, it in said.items() if it.followed_at])
        _write(rows, _DROP, erased_in(items))


def within(customer: sa.ColumnElement[UUID], stores: Collection[UUID], at: datetime) -> sa.ColumnElement[bool]:
    """Whether the guide of the customer in a column works, at `at`, in one of `stores`."""
    ever = sa.select(placements.c.staff).where(placements.c.store.in_(stores))
    some = placements.alias("some")
    there = sa.select(some.c.staff).where(some.c.staff.in_(ever), current_store(some.c.staff, at).in_(stores))
    theirs = sa.select(nodes.c.customer).join(guides, _same(nodes, guides)).where(guides.c.staff.in_(there))
    return sa.and_(customer.in_(theirs), _guide_of(customer).in_(there))


def _guide_of(customer: sa.ColumnElement[UUID]) -> sa.ScalarSelect[UUID | None]:
    """Of those in whose place nothing was said since, the one who followed up last, or while nobody did, was assigned last."""
    own, other, later = nodes.alias("own"), nodes.alias("other"), guides.alias("later")
    overruled = (
        sa.select(sa.literal(1))
        .select_from(other.join(later, _same(other, later)))
        .where(
            other.c.customer == own.c.customer,
            guides.c.node == sa.any_(later.c.beside),
            later.c.decided_at >= guides.c.decided_at,
        )
    )
    return (
        sa.select(guides.c.staff)
        .select_from(own.join(guides, _same(own, guides)))
        .where(own.c.customer == customer, guides.c.staff.is_not(None), ~sa.exists(overruled))
        .order_by(guides.c.followed_at.desc().nulls_last(), guides.c.decided_at.desc(), guides.c.node.desc())
        .limit(1)
        .scalar_subquery()
    )


def _same(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(one.c.tenant == other.c.tenant, one.c.node == other.c.node)


@dataclass(slots=True)
class _Said:
    """What a stretch of the log says of a node: with `at` a decision, and else only that a colleague took over or somebody followed up."""

    staff: UUID | None = None
    at: datetime | None = None
    beside: frozenset[UUID] = frozenset()
    followed_at: datetime | None = None

    @property
    def besides(self) -> str:
        """As an array is written: unnest would take apart one in another."""
        return "{" + ",".join(sorted(map(str, self.beside))) + "}"


def _take(recorded: Recorded, said: dict[tuple[str, UUID], _Said]) -> None:
    match recorded.event:
        case Relationship.Assigned(node=node, staff=staff, beside=beside, assigned_at=at):
            said[recorded.tenant, node] = _Said(staff, at, beside)
        case Relationship.Unassigned(node=node, beside=beside, unassigned_at=at):
            said[recorded.tenant, node] = _Said(None, at, beside)
        case Relationship.Transferred(node=node, staff=staff):
            said.setdefault((recorded.tenant, node), _Said()).staff = staff
        case Relationship.FollowedUp(node=node, followed_at=at):
            said.setdefault((recorded.tenant, node), _Said()).followed_at = at


def _write(rows: sa.Connection, statement: sa.TextClause, values: Sequence[tuple[Any, ...]]) -> None:
    """Rows as the arrays `a`, `b`, `c`… of their columns."""
    if values:
        columns = zip(*values, strict=True)
        rows.execute(statement, {chr(ord("a") + number): list(column) for number, column in enumerate(columns)})


_DECIDE: Final = sa.text(
    "INSERT INTO customer_guides (tenant, node, staff, decided_at, beside)"
    " SELECT v.tenant, v.node, v.staff, v.decided_at, CAST(v.beside AS uuid[])"
    " FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS uuid[]), CAST(:d AS timestamptz[]), CAST(:e AS text[]))"
    " AS v(tenant, node, staff, decided_at, beside)"
    " ON CONFLICT (tenant, node) DO UPDATE SET staff = excluded.staff, decided_at = excluded.decided_at,"
    " beside = excluded.beside, followed_at = NULL"
)
_HAND_OVER: Final = sa.text(
    "UPDATE customer_guides g SET staff = v.staff"
    " FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS uuid[])) AS v(tenant, node, staff)"
    " WHERE (g.tenant, g.node) = (v.tenant, v.node)"
)
_DROP: Final = sa.text(
    "DELETE FROM customer_guides g USING unnest(CAST(:a AS text[]), CAST(:b AS uuid[])) AS v(tenant, node)"
    " WHERE (g.tenant, g.node) = (v.tenant, v.node)"
)
_FOLLOW_UP: Final = sa.text(
    "UPDATE customer_guides g SET followed_at = v.at"
    " FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS timestamptz[])) AS v(tenant, node, at)"
    " WHERE (g.tenant, g.node) = (v.tenant, v.node)"
)
