"""When time alone changes a segment for a customer: one row for each pair, and one timer for each instant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from chassis.postgres import columns
from services.tagging.read_models import sql

FOLLOW_DUE: Final = "follow_due"
"""Kind of the timers that look at customers for whom time alone changes a segment."""

_STANDING = (
    "SELECT d.segment, n.ordinal, d.due_at FROM nodes n"
    " JOIN segment_dues d ON d.tenant = n.tenant AND d.customer = n.node"
    " WHERE n.tenant = %s AND n.ordinal = ANY(%s) AND d.segment = ANY(%s)"
)
_WRITE = (
    "INSERT INTO segment_dues (tenant, segment, customer, due_at)"
    " SELECT n.tenant, (%s::uuid[])[k.segment], n.node, k.due_at"
    " FROM unnest(%s::int[], %s::bigint[], %s::timestamptz[]) AS k(segment, ordinal, due_at)"
    " JOIN nodes n ON n.tenant = %s AND n.ordinal = k.ordinal AND NOT n.erased"
    " ON CONFLICT (tenant, segment, customer) DO UPDATE SET due_at = excluded.due_at"
)
_DELETE = (
    "DELETE FROM segment_dues d USING unnest(%s::uuid[], %s::bigint[]) AS k(segment, ordinal), nodes n"
    " WHERE n.tenant = %s AND n.ordinal = k.ordinal AND (d.tenant, d.segment, d.customer) = (n.tenant, k.segment, n.node)"
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


class Due(NamedTuple):
    """A customer who is due for a segment, by its ordinal."""

    segment: UUID
    ordinal: int
    at: datetime


def keep(work: UnitOfWork, found: Mapping[UUID, tuple[BitMap, Mapping[int, datetime]]]) -> None:
    """Of some customers of each segment, look at those with an instant again then, and at the others not."""
    rows, tenant, segments = work.rows, work.context.tenant, list(found)
    everybody = BitMap.union(BitMap(), *(who for who, _ in found.values()))
    if not everybody:
        return
    standing = sql.fetch_binary(rows, _STANDING, tenant, list(everybody), segments)
    before = {(segment, ordinal): at for segment, ordinal, at in standing if ordinal in found[segment][0]}
    written: list[sql.Row] = []
    for number, (segment, (_, due)) in enumerate(found.items(), 1):
        written += ((number, ordinal, at) for ordinal, at in due.items() if before.get((segment, ordinal)) != at)
    gone = [(segment, ordinal) for segment, ordinal in before if ordinal not in found[segment][1]]
    if written:
        sql.run(rows, _WRITE, segments, *columns(written), tenant)
    if gone:
        sql.run(rows, _DELETE, *columns(gone), tenant)
    for at in {at for *_, at in written}:
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


def due(rows: sa.Connection, tenant: str, now: datetime, limit: int) -> list[Due]:
    """Up to `limit` pairs that are due, the oldest first."""
    return sorted((Due(*it) for it in sql.fetch(rows, _DUE, tenant, now, limit)), key=lambda it: it.at)


@dataclass(frozen=True, slots=True)
class Round:
    """Pairs that are looked at together: by segment the ordinals, each of which has one instant in all of them."""

    segments: dict[UUID, BitMap] = field(default_factory=dict)
    instants: dict[int, datetime] = field(default_factory=dict)

    def at(self, ordinal: int) -> datetime:
        """When a customer is due."""
        return self.instants[ordinal]


def rounds(pairs: Iterable[Due]) -> list[Round]:
    """As few as have no customer at two instants, given the pairs in order of time; nobody is due in a round before an earlier one."""
    found: list[Round] = []
    places: dict[int, int] = {}
    for it in pairs:
        place = places.get(it.ordinal, 0)
        if place < len(found) and found[place].instants.get(it.ordinal, it.at) != it.at:
            place += 1
        places[it.ordinal] = place
        if place == len(found):
            found.append(Round())
        found[place].segments.setdefault(it.segment, BitMap()).add(it.ordinal)
        found[place].instants[it.ordinal] = it.at
    return found
