"""Insights: what was noticed about customers, by the node whose facts it rests on; and who of them is known."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from chassis.envelope import Incoming
from chassis.log import Recorded
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1.events_pb2 import CustomerBecameKnown, CustomerCreated, CustomerErasing
from services.tracking.application.published_analysis import insight_id
from services.tracking.domain.erasure import Erasure
from services.tracking.domain.insights import Insight
from services.tracking.read_models.customer_nodes import nodes as customer_nodes

tables: Final = sa.MetaData()
known_tables: Final = sa.MetaData()

insights: Final = sa.Table(
    "insights",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("insight_id", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("evidence", JSONB, nullable=False),
    sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("insights_newest", "tenant", "detected_at", "insight_id"),
    sa.Index("insights_by_kind", "tenant", "kind", "detected_at", "insight_id"),
)

known_nodes: Final = sa.Table(
    "known_nodes",
    known_tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
)

_TELL: Final = (
    "INSERT INTO insights (tenant, node, insight_id, kind, subject, evidence, detected_at) SELECT * FROM unnest("
    "%s::text[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[]::jsonb[], %s::timestamptz[])"
)
_KNOWN: Final = (
    "INSERT INTO known_nodes (tenant, node) SELECT * FROM unnest(%s::text[], %s::uuid[]) ON CONFLICT DO NOTHING"
)
_BECAME_KNOWN: Final = CustomerBecameKnown.DESCRIPTOR.full_name
_ERASING: Final = CustomerErasing.DESCRIPTOR.full_name
_CREATED: Final = CustomerCreated.DESCRIPTOR.full_name


class InsightsProjection:
    """Keeps the insights."""

    name = "insights"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        told = [
            _row(it.tenant, it.event) for it in items if isinstance(it.event, Insight.Detected | Insight.DetectedAgain)
        ]
        if told:
            with driver_cursor(rows) as cursor:
                cursor.execute(_TELL, columns(told))
        for it in items:
            if isinstance(it.event, Erasure.Begun):
                mine = insights.c.tenant == it.tenant, insights.c.node.in_(it.event.node_ids)
                rows.execute(sa.delete(insights).where(*mine))


class KnownNodesProjection:
    """Keeps the nodes at which somebody became known."""

    name = "known_nodes"
    version = 1
    source: Source = "inbox"
    tables = known_tables

    def apply(self, items: Sequence[Incoming], rows: sa.Connection) -> None:
        known = {(it.tenant, node) for it in items if (node := _known(it)) is not None}
        if known:
            with driver_cursor(rows) as cursor:
                cursor.execute(_KNOWN, columns(sorted(known)))
        for it in items:
            if it.type == _ERASING:
                gone = [UUID(node) for node in it.parse(CustomerErasing).node_ids]
                mine = known_nodes.c.tenant == it.tenant, known_nodes.c.node.in_(gone)
                rows.execute(sa.delete(known_nodes).where(*mine))


def list_insights(
    rows: sa.Connection,
    *,
    nodes: Sequence[UUID] | None,
    kind: str,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Any]:
    """Up to `limit` insights behind `after`, newest first, of these nodes (None: of all) and kind ("": any).

    With each who the `customer` is now, and whether they are `known`.
    """
    place = sa.tuple_(insights.c.detected_at, insights.c.insight_id)
    mine = sa.select(insights).order_by(insights.c.detected_at.desc(), insights.c.insight_id.desc()).limit(limit)
    if nodes is not None:
        mine = mine.where(insights.c.node.in_(nodes))
    if kind:
        mine = mine.where(insights.c.kind == kind)
    if after:
        mine = mine.where(place < sa.tuple_(*map(sa.literal, after)))
    page = mine.subquery()
    customer = sa.func.coalesce(customer_nodes.c.customer, page.c.node)
    others = customer_nodes.alias("others")
    known = sa.or_(
        sa.exists().where(known_nodes.c.tenant == page.c.tenant, known_nodes.c.node == page.c.node),
        sa.exists()
        .where(others.c.tenant == page.c.tenant, others.c.customer == customer)
        .where(known_nodes.c.tenant == others.c.tenant, known_nodes.c.node == others.c.node),
    )
    query = (
        sa.select(page, customer.label("customer"), known.label("known"))
        .outerjoin(customer_nodes, (customer_nodes.c.tenant == page.c.tenant) & (customer_nodes.c.node == page.c.node))
        .order_by(page.c.detected_at.desc(), page.c.insight_id.desc())
    )
    return list(rows.execute(query))


def _row(tenant: str, event: Insight.Detected | Insight.DetectedAgain) -> tuple[Any, ...]:
    evidence = json.dumps(event.evidence)
    return tenant, event.node, insight_id(tenant, event), str(event.kind), event.subject, evidence, event.detected_at


def _known(message: Incoming) -> UUID | None:
    if message.type == _BECAME_KNOWN:
        return UUID(message.parse(CustomerBecameKnown).customer_id)
    if message.type == _CREATED:
        it = message.parse(CustomerCreated)
        return UUID(it.node_id) if it.state == customer_pb2.CUSTOMER_STATE_KNOWN else None
    return None
