"""When time alone changes a segment for a customer: one row for each pair, and one timer for each instant."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from chassis.postgres import columns
from services.tagging.read_models import sql

FOLLOW_DUE: Final = "follow_due"
"""Kind of the timers that look at customers for whom time alone changes a segment."""

_OF = (
    "SELECT k.segment, n.ordinal, n.node, d.due_at FROM unnest(%s::uuid[], %s::bigint[]) AS k(segment, ordinal)"
    " JOIN nodes n ON n.tenant = %s AND n.ordinal = k.ordinal AND NOT n.erased"
    " LEFT JOIN segment_dues d ON d.tenant = n.tenant AND d.customer = n.node AND d.segment = k.segment"
)
_WRITE = (
    "INSERT INTO segment_dues (tenant, segment, customer, due_at) SELECT %s, * FROM"
    " unnest(%s::uuid[], %s::uuid[], %s::timestamptz[])"
    " ON CONFLICT (tenant, segment, customer) DO UPDATE SET due_at = excluded.due_at"
)
_DELETE = (
    "DELETE FROM segment_dues d USING (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::uuid[])"
    " AS k(segment, customer)) k WHERE (d.tenant, d.segment, d.customer) = (k.tenant, k.segment, k.customer)"
)
_KEEP_MANY = (
    "INSERT INTO segment_dues (tenant, segment, customer, due_at)"
    " SELECT n.tenant, %s, n.node, to_timestamp(v.due) FROM unnest(%s::bigint[], %s::bigint[]) AS v(ordinal, due)"
    " JOIN nodes n ON n.tenant = %s AND n.ordinal = v.ordinal AND NOT n.erased ORDER BY n.node"
    " ON CONFLICT (tenant, segment, customer) DO UPDATE SET due_at = excluded.due_at"
)
_FORGET = "DELETE FROM segment_dues WHERE tenant = %s AND segment = %s"
_DUE = (
    "SELECT d.segment, n.ordinal, d.due_at FROM (SELECT * FROM segment_dues WHERE tenant = %s AND due_at <= %s"
    " ORDER BY due_at LIMIT %s) d JOIN nodes n ON n.tenant = d.tenant AND n.node = d.customer"
)


def keep(work: UnitOfWork, found: Mapping[UUID, tuple[BitMap, Mapping[int, datetime]]]) -> None:
    """Of some customers of each segment, look at those with an instant again then, and at the others not."""
    rows, tenant = work.rows, work.context.tenant
    pairs = [(segment, ordinal) for segment, (who, _) in found.items() for ordinal in who]
    if not pairs:
        return
    written: list[sql.Row] = []
    gone: list[sql.Row] = []
    for segment, ordinal, customer, before in sql.fetch(rows, _OF, *columns(pairs), tenant):
        at = found[segment][1].get(ordinal)
        if at == before:
            continue
        if at is None:
            gone.append((segment, customer))
        else:
            written.append((segment, customer, at))
    sql.run_all(rows, _WRITE, tenant, written)
    sql.run_all(rows, _DELETE, tenant, gone)
    for at in {at for _, _, at in written}:
        look_again(work, at)


def keep_many(work: UnitOfWork, segment: UUID, due: Mapping[int, datetime]) -> None:
    """Look at the customers of `due` again by the minute of their instant, which may be the present one."""
    minutes = [int(at.timestamp()) // 60 * 60 for at in due.values()]
    sql.run(work.rows, _KEEP_MANY, segment, list(due), minutes, work.context.tenant)
    for minute in set(minutes):
        look_again(work, datetime.fromtimestamp(minute, UTC))


def look_again(work: UnitOfWork, at: datetime) -> None:
    """Have whoever is due at `at` looked at then."""
    work.schedule(Timer(FOLLOW_DUE, at.isoformat(), at))


def look_again_now(work: UnitOfWork) -> None:
    """Have the rest of whoever is due looked at; by a timer of its own, not the one at work now."""
    work.schedule(Timer(FOLLOW_DUE, str(work.new_id()), work.now))


def forget(rows: sa.Connection, tenant: str, segment: UUID) -> None:
    """Nobody is to be looked at for a segment."""
    sql.run(rows, _FORGET, tenant, segment)


def due(rows: sa.Connection, tenant: str, now: datetime, limit: int) -> dict[datetime, dict[UUID, BitMap]]:
    """Up to `limit` pairs that are due, the oldest first: by instant, the ordinals for each segment."""
    found: dict[datetime, dict[UUID, BitMap]] = {}
    for segment, ordinal, at in sql.fetch(rows, _DUE, tenant, now, limit):
        found.setdefault(at, {}).setdefault(segment, BitMap()).add(ordinal)
    return dict(sorted(found.items()))
