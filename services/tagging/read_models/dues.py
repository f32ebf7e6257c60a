"""When time alone changes a segment for a customer: one row for each pair, and one timer for each instant."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.read_models import sql

FOLLOW_DUE: Final = "follow_due"
"""Kind of the timers that look at customers for whom time alone changes a segment."""

_OF = (
    "SELECT n.ordinal, n.node, d.due_at FROM nodes n"
    " LEFT JOIN segment_dues d ON d.tenant = n.tenant AND d.customer = n.node AND d.segment = %s"
    " WHERE n.tenant = %s AND n.ordinal = ANY(%s) AND NOT n.erased"
)
_WRITE = (
    "INSERT INTO segment_dues (tenant, segment, customer, due_at) SELECT %s, * FROM"
    " unnest(%s::uuid[], %s::uuid[], %s::timestamptz[])"
    " ON CONFLICT (tenant, segment, customer) DO UPDATE SET due_at = excluded.due_at"
)
_DELETE = "DELETE FROM segment_dues WHERE tenant = %s AND segment = %s AND customer = ANY(%s)"
_FORGET = "DELETE FROM segment_dues WHERE tenant = %s AND segment = %s"
_DUE = (
    "SELECT d.segment, n.ordinal, d.due_at FROM (SELECT * FROM segment_dues WHERE tenant = %s AND due_at <= %s"
    " ORDER BY due_at LIMIT %s) d JOIN nodes n ON n.tenant = d.tenant AND n.node = d.customer"
)


def keep(work: UnitOfWork, segment: UUID, who: BitMap, due: Mapping[int, datetime]) -> None:
    """Of the customers `who`, look at those of `due` again at these instants, and at the others not."""
    rows, tenant = work.rows, work.context.tenant
    written: list[sql.Row] = []
    gone: list[UUID] = []
    for ordinal, customer, before in sql.fetch(rows, _OF, segment, tenant, list(who)):
        at = due.get(ordinal)
        if at == before:
            continue
        if at is None:
            gone.append(customer)
        else:
            written.append((segment, customer, at))
    sql.run_all(rows, _WRITE, tenant, written)
    if gone:
        sql.run(rows, _DELETE, tenant, segment, gone)
    for at in {at for _, _, at in written}:
        look_again(work, at)


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
