"""Who came into which segment, or went out of it, when and why: as it was published."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.read_models import sql

_KEEP = (
    "INSERT INTO segment_changes (tenant, segment, node, number, changed_at, entered, cause)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::timestamptz[], %s::boolean[], %s::text[])"
)
_LAST = (
    "SELECT s.segment, (SELECT c.number FROM segment_changes c WHERE c.tenant = %s AND c.segment = s.segment"
    " ORDER BY c.number DESC LIMIT 1) FROM unnest(%s::uuid[]) AS s(segment)"
)
_AFTER = (
    "SELECT number, node, changed_at, entered, cause FROM segment_changes"
    " WHERE tenant = %s AND segment = %s AND (number, node) > (%s, %s) ORDER BY number, node LIMIT %s"
)
_OF_CUSTOMER = (
    "SELECT number, node, changed_at, entered, cause FROM segment_changes"
    " WHERE tenant = %s AND segment = %s AND node = %s AND number > %s ORDER BY number LIMIT %s"
)
_STANDING = (
    "SELECT number, node, changed_at, entered, cause FROM segment_changes"
    " WHERE tenant = %s AND segment = %s AND node = %s AND changed_at <= %s ORDER BY number DESC LIMIT 1"
)
_FIRST_SINCE = (
    "SELECT DISTINCT ON (c.node) n.ordinal, c.entered FROM segment_changes c"
    " JOIN nodes n ON n.tenant = c.tenant AND n.node = c.node"
    " WHERE c.tenant = %s AND c.segment = %s AND c.number > %s ORDER BY c.node, c.number"
)


_MEMBERS = (
    "SELECT n.ordinal FROM (SELECT DISTINCT ON (node) node, entered FROM segment_changes"
    " WHERE tenant = %s AND segment = %s ORDER BY node, number DESC) c"
    " JOIN nodes n ON n.tenant = %s AND n.node = c.node WHERE c.entered"
)


class Moves(NamedTuple):
    """Who came into a segment and who went out of it at one instant."""

    segment: UUID
    number: int
    at: datetime
    cause: str
    entered: Sequence[UUID]
    exited: Sequence[UUID]


class Entry(NamedTuple):
    """A customer came in, or went out; `number` orders the changes of one segment."""

    number: int
    customer: UUID
    at: datetime
    entered: bool
    cause: str


def keep(rows: sa.Connection, tenant: str, moves: Iterable[Moves]) -> None:
    """Keep what happened, as it is published."""
    written: list[sql.Row] = []
    for it in moves:
        written += ((it.segment, node, it.number, it.at, True, it.cause) for node in it.entered)
        written += ((it.segment, node, it.number, it.at, False, it.cause) for node in it.exited)
    sql.run_all(rows, _KEEP, tenant, written)


def last_numbers(rows: sa.Connection, tenant: str, segments: Collection[UUID]) -> dict[UUID, int]:
    """The number of the last change of each of `segments`; 0 where there was none."""
    return {segment: number or 0 for segment, number in sql.fetch(rows, _LAST, tenant, list(segments))}


def after(rows: sa.Connection, tenant: str, segment: UUID, number: int, node: UUID, limit: int) -> list[Entry]:
    """Up to `limit` changes of a segment after a place, in their order."""
    return [Entry(*row) for row in sql.fetch(rows, _AFTER, tenant, segment, number, node, limit)]


def of_customer(
    rows: sa.Connection, tenant: str, segment: UUID, customer: UUID, number: int, limit: int
) -> list[Entry]:
    """The same of one customer."""
    return [Entry(*row) for row in sql.fetch(rows, _OF_CUSTOMER, tenant, segment, customer, number, limit)]


def before(rows: sa.Connection, tenant: str, segment: UUID, number: int, now: BitMap) -> BitMap:
    """Who was in a segment after the change of this number, told from who is in it `now`; those erased since are in neither."""
    first = sql.fetch(rows, _FIRST_SINCE, tenant, segment, number)
    entered = BitMap(ordinal for ordinal, is_entry in first if is_entry)
    exited = BitMap(ordinal for ordinal, is_entry in first if not is_entry)
    return (now - entered) | exited


def members(rows: sa.Connection, tenant: str, segment: UUID) -> BitMap:
    """Who entered a segment and did not exit."""
    return BitMap([ordinal for (ordinal,) in sql.fetch(rows, _MEMBERS, tenant, segment, tenant)])


def standing(rows: sa.Connection, tenant: str, segment: UUID, customer: UUID, at: datetime) -> Entry | None:
    """The last change of a customer by `at`: who entered and did not exit was in the segment."""
    found = sql.fetch(rows, _STANDING, tenant, segment, customer, at)
    return Entry(*found[0]) if found else None
