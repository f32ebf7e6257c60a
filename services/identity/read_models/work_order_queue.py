"""WorkOrderQueue: every work order as it is now, by what is due first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.log import Recorded
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from services.identity.domain.work_order import (
    DONE,
    Matter,
    Priority,
    Progress,
    WorkOrder,
    WorkOrderState,
    still_breached,
)
from services.identity.read_models.upserting import Key, load, upsert

tables: Final = sa.MetaData()

work_orders: Final = sa.Table(
    "work_orders",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("work_order", sa.Uuid, primary_key=True),
    sa.Column("node", sa.Uuid, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("topics", ARRAY(sa.Text), nullable=False),
    sa.Column("product", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("assignee", sa.Uuid),
    sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("breached", sa.Boolean, nullable=False),
    sa.Column("rating", sa.SmallInteger),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("external_no", sa.Text, nullable=False),
    sa.Column("source_version", sa.BigInteger, nullable=False),
    sa.Index("work_orders_due", "tenant", "is_open", "due_at", "work_order"),
    sa.Index("work_orders_by_state", "tenant", "state", "due_at", "work_order"),
    sa.Index("work_orders_by_assignee", "tenant", "assignee", "is_open", "due_at", "work_order"),
    sa.Index("work_orders_by_priority", "tenant", "priority", "is_open", "due_at", "work_order"),
    sa.Index("work_orders_by_node", "tenant", "node", "due_at", "work_order"),
)

counts: Final = sa.Table(
    "work_order_counts",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("priority", sa.Text, primary_key=True),
    sa.Column("work_orders", sa.BigInteger, nullable=False),
    sa.Column("breached", sa.BigInteger, nullable=False),
    sa.Column("rated", sa.BigInteger, nullable=False),
    sa.Column("rating_sum", sa.BigInteger, nullable=False),
)

_EVENTS: Final = (
    WorkOrder.Created,
    WorkOrder.Transitioned,
    WorkOrder.Mirrored,
    WorkOrder.SlaBreached,
    WorkOrder.Rated,
)


class WorkOrderQueueProjection:
    """One row per work order, and how many there are of each state and priority."""

    name = "work_order_queue"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        told = [it for it in items if isinstance(it.event, _EVENTS)]
        created = {_key(it) for it in told if isinstance(it.event, WorkOrder.Created)}
        before = load(rows, work_orders, {_key(it) for it in told} - created)
        found = dict(before)
        for it in told:
            key = _key(it)
            found[key] = _next(found.get(key, {"tenant": it.tenant}), it.event)
        upsert(rows, work_orders, found.values())
        _count(rows, before.values(), found.values())


@dataclass(frozen=True, slots=True)
class WorkOrderRow:
    """A work order; `source` is empty for one that no other system keeps."""

    work_order: UUID
    node: UUID
    kind: str
    priority: str
    topics: list[str]
    product: str
    state: str
    assignee: UUID | None
    due_at: datetime
    breached: bool
    rating: int | None
    created_at: datetime
    changed_at: datetime
    source: str
    external_no: str
    source_version: int


@dataclass(frozen=True, slots=True)
class WorkOrderCounts:
    """How many work orders of a state and priority there are, were not resolved in time, and were rated, with their ratings added up."""

    state: str
    priority: str
    work_orders: int
    breached: int
    rated: int
    rating_sum: int

    @property
    def average_rating(self) -> float | None:
        return self.rating_sum / self.rated if self.rated else None


@dataclass(frozen=True, slots=True)
class WorkOrderFilter:
    """Which work orders; None: any. Without `state` those that are not done, but all of `nodes`."""

    state: WorkOrderState | None = None
    assignee: UUID | None = None
    priority: Priority | None = None
    due_before: datetime | None = None
    nodes: Sequence[UUID] | None = None


def list_work_orders(
    rows: sa.Connection, wanted: WorkOrderFilter, after: tuple[datetime, UUID] | None, limit: int
) -> list[WorkOrderRow]:
    """Up to `limit` of them behind `after`, the one that is due first at the top."""
    at, table = sa.tuple_(work_orders.c.due_at, work_orders.c.work_order), work_orders.c
    query = sa.select(*(table[it] for it in WorkOrderRow.__slots__)).order_by(table.due_at, table.work_order)
    if wanted.state is not None:
        query = query.where(table.state == wanted.state)
    elif wanted.nodes is None:
        query = query.where(table.is_open)
    if wanted.assignee is not None:
        query = query.where(table.assignee == wanted.assignee)
    if wanted.priority is not None:
        query = query.where(table.priority == wanted.priority)
    if wanted.due_before is not None:
        query = query.where(table.due_at < wanted.due_before)
    if wanted.nodes is not None:
        query = query.where(table.node.in_(wanted.nodes))
    if after is not None:
        query = query.where(at > sa.tuple_(*after))
    return [WorkOrderRow(**it) for it in rows.execute(query.limit(limit)).mappings()]


def work_order_counts(rows: sa.Connection) -> list[WorkOrderCounts]:
    """Of every state and priority that there are any of, by both."""
    query = sa.select(*(counts.c[it] for it in WorkOrderCounts.__slots__))
    return [WorkOrderCounts(**it) for it in rows.execute(query.order_by(counts.c.state, counts.c.priority)).mappings()]


def _count(rows: sa.Connection, before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> None:
    """Add to the counts what is after and was not before."""
    changes: dict[tuple[str, str, str], list[int]] = {}
    for step, those in ((-1, before), (1, after)):
        for it in those:
            change = changes.setdefault((it["tenant"], it["state"], it["priority"]), [0, 0, 0, 0])
            is_rated = it["rating"] is not None
            for place, value in enumerate((1, it["breached"], is_rated, it["rating"] or 0)):
                change[place] += step * value
    found = [(*key, *change) for key, change in changes.items() if any(change)]
    if found:
        with driver_cursor(rows) as cursor:
            cursor.execute(_ADD, columns(found))
            cursor.execute(_FORGET, columns(it[:3] for it in found))


_ADD: Final = (
    "INSERT INTO work_order_counts AS c (tenant, state, priority, work_orders, breached, rated, rating_sum) SELECT * FROM"
    " unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
    " ON CONFLICT (tenant, state, priority) DO UPDATE SET work_orders = c.work_orders + excluded.work_orders,"
    " breached = c.breached + excluded.breached, rated = c.rated + excluded.rated,"
    " rating_sum = c.rating_sum + excluded.rating_sum"
)
_FORGET: Final = (
    "DELETE FROM work_order_counts c USING unnest(%s::text[], %s::text[], %s::text[]) AS v(tenant, state, priority)"
    " WHERE (c.tenant, c.state, c.priority) = (v.tenant, v.state, v.priority) AND c.work_orders = 0"
)
"""What there are none of has no row, whether there ever were any or not."""


def _key(recorded: Recorded) -> Key:
    return recorded.tenant, recorded.event.originator_id


def _next(row: dict[str, Any], event: object) -> dict[str, Any]:
    """The row after one more event."""
    match event:
        case WorkOrder.Created(originator_id=id, origin=origin) as it:
            mirrored = (origin.source, origin.external_no, origin.version) if origin else ("", "", 0)
            known = dict(zip(("source", "external_no", "source_version"), mirrored, strict=True))
            times = {"created_at": it.created_at, "changed_at": it.created_at, "due_at": it.due_at, "breached": False}
            return row | {"work_order": id} | _matter(it.matter) | _progress(it.progress) | known | times
        case WorkOrder.Transitioned(step=step, due_at=due_at):
            breached = still_breached(row["breached"], row["due_at"], due_at)
            progress = _progress(Progress(step.state, step.assignee, row["rating"]))
            return row | progress | {"due_at": due_at, "breached": breached, "changed_at": step.at}
        case WorkOrder.Mirrored(row=told, origin=origin) as it:
            breached = still_breached(row["breached"], row["due_at"], told.due_at)
            times = {"created_at": told.created_at, "changed_at": it.mirrored_at, "due_at": told.due_at}
            version = {"source_version": origin.version, "breached": breached}
            return row | _matter(told.matter) | _progress(told.progress) | times | version
        case WorkOrder.SlaBreached():
            return row | {"breached": True}
        case WorkOrder.Rated(rating=rating):
            return row | {"rating": rating}
    return row


def _matter(it: Matter) -> dict[str, Any]:
    return {
        "node": it.node,
        "kind": it.kind,
        "priority": it.priority,
        "topics": list(it.topics),
        "product": it.product,
    }


def _progress(it: Progress) -> dict[str, Any]:
    return {"state": it.state, "is_open": it.state not in DONE, "assignee": it.assignee, "rating": it.rating}
