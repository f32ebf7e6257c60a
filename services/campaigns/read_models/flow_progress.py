"""FlowProgress: where everybody in a flow is, and counts of what became of each step."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.builds import Source
from chassis.event_store import Recorded
from chassis.postgres import columns, driver_cursor
from services.campaigns.domain.erasure import Erasure
from services.campaigns.domain.flow_instance import FlowInstance

RUNNING: Final = "RUNNING"
ENTERED: Final = "ENTERED"
STANDING: Final = "STANDING"
"""How many stand at a step now; other measures of a step are results, with their reason if there is one."""

tables: Final = sa.MetaData()

instance = sa.Table(
    "flow_instances",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("instance", sa.Uuid, primary_key=True),
    sa.Column("flow", sa.Uuid, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("customer", sa.Uuid, nullable=False),
    sa.Column("node", sa.Uuid, nullable=False),
    sa.Column("order_id", sa.Uuid),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("wake_at", sa.DateTime(timezone=True)),
    sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.Index("flow_instances_by_entry", "tenant", "flow", "entered_at", "instance"),
    sa.Index("flow_instances_customer", "tenant", "customer"),
    sa.Index("flow_instances_node", "tenant", "node"),
)

count = sa.Table(
    "flow_counts",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("flow", sa.Uuid, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("measure", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)

_ENTER: Final = (
    "INSERT INTO flow_instances (tenant, instance, flow, number, customer, node, order_id, state, step, wake_at, entered_at)"
    " SELECT i.tenant, i.instance, i.flow, i.number, i.customer, i.node, i.order_id, 'RUNNING', '', NULL, i.entered_at"
    " FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::int[], %s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[])"
    " AS i(tenant, instance, flow, number, customer, node, order_id, entered_at)"
)
_CHANGE: Final = (
    "UPDATE flow_instances t SET step = CASE WHEN c.moved THEN c.step ELSE t.step END,"
    " wake_at = CASE WHEN c.moved THEN c.wake_at ELSE t.wake_at END, customer = coalesce(c.customer, t.customer),"
    " state = coalesce(c.state, t.state), ended_at = coalesce(c.ended_at, t.ended_at)"
    " FROM unnest(%s::text[], %s::uuid[], %s::bool[], %s::text[], %s::timestamptz[], %s::uuid[], %s::text[],"
    " %s::timestamptz[]) AS c(tenant, instance, moved, step, wake_at, customer, state, ended_at)"
    " WHERE t.tenant = c.tenant AND t.instance = c.instance"
)
_COUNT: Final = (
    "INSERT INTO flow_counts (tenant, flow, number, step, measure, count)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::int[], %s::text[], %s::text[], %s::bigint[])"
    " ON CONFLICT (tenant, flow, number, step, measure) DO UPDATE SET count = flow_counts.count + excluded.count"
)
_FORGET: Final = "DELETE FROM flow_instances WHERE tenant = %s AND (node = ANY(%s) OR customer = ANY(%s))"


@dataclass(slots=True)
class _Change:
    """What events of a batch change in the row of an instance."""

    moved: bool = False
    step: str = ""
    wake_at: datetime | None = None
    customer: UUID | None = None
    state: str | None = None
    ended_at: datetime | None = None

    def stand(self, step: str, wake_at: datetime | None) -> None:
        self.moved, self.step, self.wake_at = True, step, wake_at


@dataclass(slots=True)
class _Pending:
    """What a part of a batch changes, to be written with one statement for each kind of row."""

    entered: list[tuple[Any, ...]] = field(default_factory=list)
    changes: dict[tuple[str, UUID], _Change] = field(default_factory=dict)
    counts: Counter[tuple[str, UUID, int, str, str]] = field(default_factory=Counter)

    def take(self, tenant: str, event: Any) -> None:
        if not isinstance(event, _OF_INSTANCE):
            return
        change = self.changes.setdefault((tenant, event.originator_id), _Change())
        match event:
            case FlowInstance.Entered() as it:
                row = (tenant, it.originator_id, it.flow, it.number, it.customer, it.node, it.order, it.entered_at)
                self.entered.append(row)
                change.stand(it.step, it.wake_at)
            case FlowInstance.StepExecuted(late=False) as it:
                change.stand(it.next_step, it.wake_at)
            case FlowInstance.Rekeyed(customer=customer):
                change.customer = customer
            case FlowInstance.Ended(reason=reason, ended_at=at):
                change.stand("", None)
                change.state, change.ended_at = reason, at
        for number, step, measure, by in _counted(event):
            self.counts[tenant, event.flow, number, step, measure] += by

    def write(self, rows: sa.Connection) -> None:
        changed = [
            (*key, it.moved, it.step, it.wake_at, it.customer, it.state, it.ended_at)
            for key, it in self.changes.items()
        ]
        counted = [(*key, by) for key, by in sorted(self.counts.items())]
        with driver_cursor(rows) as cursor:
            for statement, table in ((_ENTER, self.entered), (_CHANGE, changed), (_COUNT, counted)):
                if table:
                    cursor.execute(statement, columns(table))


class FlowProgress:
    """One row per instance of those who are not erased, and one per measure of a step, where everybody counts."""

    name = "flow_progress"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        pending = _Pending()
        for recorded in items:
            if isinstance(recorded.event, Erasure.Completed):
                pending.write(rows)
                pending = _Pending()
                nodes = list(recorded.event.refs)
                with driver_cursor(rows) as cursor:
                    cursor.execute(_FORGET, [recorded.tenant, nodes, nodes])
            else:
                pending.take(recorded.tenant, recorded.event)
        pending.write(rows)


def latest(
    rows: sa.Connection, flow: UUID, limit: int, before: tuple[datetime, UUID] | None, customer: UUID | None
) -> list[Any]:
    """Up to `limit` instances of a flow, latest first, that came in before the key `before`; of one customer or all."""
    query = sa.select(instance).where(instance.c.flow == flow)
    query = query.order_by(instance.c.entered_at.desc(), instance.c.instance.desc()).limit(limit)
    if customer is not None:
        query = query.where(instance.c.customer == customer)
    if before is not None:
        query = query.where(sa.tuple_(instance.c.entered_at, instance.c.instance) < before)
    return list(rows.execute(query))


def counts(rows: sa.Connection, flow: UUID) -> list[Any]:
    """All counts of a flow: version, step ("" for the instance as a whole), measure, count."""
    measured = (count.c.number, count.c.step, count.c.measure)
    return list(rows.execute(sa.select(*measured, count.c.count).where(count.c.flow == flow).order_by(*measured)))


_OF_INSTANCE: Final = (
    FlowInstance.Entered,
    FlowInstance.StepExecuted,
    FlowInstance.Rekeyed,
    FlowInstance.Ended,
)


def _counted(event: Any) -> Iterator[tuple[int, str, str, int]]:
    """Version, step, measure, and by how much it changes."""
    match event:
        case FlowInstance.Entered(number=number, step=step):
            yield number, "", ENTERED, 1
            yield number, step, STANDING, 1
        case FlowInstance.StepExecuted(number=number, step=step, result=result, reason=reason) as it:
            yield number, step, f"{result}:{reason}" if reason else str(result), 1
            if not it.late:
                yield number, step, STANDING, -1
                if it.next_step:
                    yield number, it.next_step, STANDING, 1
        case FlowInstance.Ended(number=number, step=step, reason=reason):
            yield number, "", str(reason), 1
            if step:
                yield number, step, STANDING, -1
