"""Boards: how often what happened, and to how many people, in buckets of minutes and days.

People are kept as bitmaps of their nodes' numbers and counted for the customers that these nodes are now: exactly, with no error.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.postgres import columns, driver_cursor
from services.tracking.domain.boards import Board, marks

SOURCE: Final = "behaviours"
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)

tables: Final = sa.MetaData()

board_nodes: Final = sa.Table(
    "board_nodes",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Index("board_nodes_number", "tenant", "number"),
)


def _buckets(name: str) -> sa.Table:
    return sa.Table(
        name,
        tables,
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("board", sa.Text, primary_key=True),
        sa.Column("start", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("metric", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("nodes", sa.LargeBinary, nullable=False),
    )


board_minutes: Final = _buckets("board_minutes")
board_days: Final = _buckets("board_days")

Key = tuple[str, str, datetime, str, str]
"""Tenant, board, start, metric, subject."""

_KEYS: Final = "unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::text[]) AS k(tenant, board, start, metric, subject)"
_NUMBERS: Final = "SELECT tenant, node, number FROM board_nodes JOIN unnest(%s::text[], %s::uuid[]) AS k(tenant, node) USING (tenant, node)"
_LAST: Final = "SELECT coalesce(max(number), -1) FROM board_nodes WHERE tenant = %s"
_NUMBER: Final = "INSERT INTO board_nodes SELECT * FROM unnest(%s::text[], %s::uuid[], %s::bigint[])"


@dataclass(frozen=True, slots=True)
class BehaviourRow:
    """What a board needs of a behaviour."""

    tenant: str
    node: UUID
    occurred_at: datetime
    event_type: str
    app: str
    content_id: str
    code_key: str
    staff_code: str
    properties: str


@dataclass(slots=True)
class Tally:
    """What happened in one bucket: how often, and to whom."""

    count: int = 0
    nodes: BitMap = field(default_factory=BitMap)

    def add(self, count: int, nodes: BitMap) -> None:
        self.count += count
        self.nodes |= nodes


class BoardsProjection:
    """Keeps numbers and buckets: two statements per table and batch."""

    name = "boards"
    version = 1
    source = SOURCE
    tables = tables

    def apply(self, items: Sequence[BehaviourRow], rows: sa.Connection) -> None:
        marked = [(it, list(_marks(it))) for it in items]
        marked = [(it, found) for it, found in marked if found]
        if not marked:
            return
        numbers = _numbers(rows, list(dict.fromkeys((it.tenant, it.node) for it, _ in marked)))
        minutes: dict[Key, Tally] = {}
        for it, found in marked:
            number, minute = numbers[it.tenant, it.node], floor(it.occurred_at, MINUTE)
            for mark in found:
                key = it.tenant, mark.board, minute, mark.metric, mark.subject
                if (tally := minutes.get(key)) is None:
                    tally = minutes[key] = Tally()
                tally.count += 1
                tally.nodes.add(number)
        days: dict[Key, Tally] = {}
        for (tenant, board, minute, metric, subject), tally in minutes.items():
            key = tenant, board, floor(minute, DAY), metric, subject
            days.setdefault(key, Tally()).add(tally.count, tally.nodes)
        _add(rows, board_minutes.name, minutes)
        _add(rows, board_days.name, days)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as it is read."""

    start: datetime
    metric: str
    subject: str
    count: int
    nodes: BitMap


class Customers:
    """Counts customers in bitmaps of nodes: those of one customer count as one."""

    def __init__(self, merged: Mapping[int, UUID]) -> None:
        self._merged = merged
        self._all = BitMap(merged)

    def count(self, nodes: BitMap) -> int:
        together = {self._merged[it] for it in nodes & self._all}
        return len(nodes - self._all) + len(together)


def buckets(rows: sa.Connection, board: Board, start: datetime, end: datetime, *, by_day: bool) -> list[Bucket]:
    """The buckets of `[start, end)`, both on a minute; with `by_day` of days where a whole day is asked for."""
    first, last = floor(start + DAY - timedelta(microseconds=1), DAY), floor(end, DAY)
    if not by_day or first >= last:
        return _read(rows, board_minutes, board, start, end)
    return [
        *_read(rows, board_minutes, board, start, first),
        *_read(rows, board_days, board, first, last),
        *_read(rows, board_minutes, board, last, end),
    ]


def customers(rows: sa.Connection) -> Customers:
    """How nodes with a number belong together now."""
    found = rows.execute(
        sa.text(
            "SELECT b.number, n.customer FROM customer_nodes m JOIN customer_nodes n USING (tenant, customer)"
            " JOIN board_nodes b ON (b.tenant, b.node) = (n.tenant, n.node)"
            " WHERE m.tenant = current_setting('scrm.tenant') AND m.node <> m.customer"
        )
    )
    return Customers({it.number: it.customer for it in found})


def floor(at: datetime, width: timedelta) -> datetime:
    """The beginning of the bucket that `at` is in, in UTC."""
    return at - (at - _EPOCH) % width


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _marks(it: BehaviourRow) -> Iterable[Any]:
    return marks(
        it.event_type,
        app=it.app,
        content_id=it.content_id,
        code_key=it.code_key,
        staff_code=it.staff_code,
        properties=it.properties,
    )


def _numbers(rows: sa.Connection, nodes: Sequence[tuple[str, UUID]]) -> dict[tuple[str, UUID], int]:
    """The number of each node; new ones get the next, in the order in which they come."""
    with driver_cursor(rows) as cursor:
        found = {(it[0], it[1]): it[2] for it in cursor.execute(_NUMBERS, columns(nodes)).fetchall()}
        new: dict[tuple[str, UUID], int] = {}
        last: dict[str, int] = {}
        for tenant, node in nodes:
            if (tenant, node) in found:
                continue
            if tenant not in last:
                [last[tenant]] = cursor.execute(_LAST, [tenant]).fetchone() or (-1,)
            last[tenant] += 1
            new[tenant, node] = last[tenant]
        if new:
            cursor.execute(_NUMBER, columns((*key, number) for key, number in new.items()))
    return found | new


def _add(rows: sa.Connection, table: str, tallies: Mapping[Key, Tally]) -> None:
    """Add to what the buckets hold, with one statement to read and one to write."""
    read = f"SELECT k.*, b.count, b.nodes FROM {table} b JOIN {_KEYS} USING (tenant, board, start, metric, subject)"  # noqa: S608
    write = (
        f"INSERT INTO {table} (tenant, board, start, metric, subject, count, nodes) SELECT * FROM unnest(%s::text[], %s::text[],"  # noqa: S608
        " %s::timestamptz[], %s::text[], %s::text[], %s::bigint[], %s::bytea[])"
        " ON CONFLICT (tenant, board, start, metric, subject) DO UPDATE SET count = excluded.count, nodes = excluded.nodes"
    )
    with driver_cursor(rows) as cursor:
        for *key, count, nodes in cursor.execute(read.encode(), columns(tallies)).fetchall():
            tenant, board, start, metric, subject = key
            tallies[tenant, board, start, metric, subject].add(count, BitMap.deserialize(nodes))
        table_of = [(*key, it.count, it.nodes.serialize()) for key, it in tallies.items()]
        cursor.execute(write.encode(), columns(table_of))


def _read(rows: sa.Connection, table: sa.Table, board: Board, start: datetime, end: datetime) -> list[Bucket]:
    if start >= end:
        return []
    found = rows.execute(
        sa.select(table.c.start, table.c.metric, table.c.subject, table.c.count, table.c.nodes)
        .where(table.c.tenant == sa.func.current_setting("scrm.tenant"), table.c.board == board)
        .where(table.c.start >= start, table.c.start < end)
        .order_by(table.c.start, table.c.metric, table.c.subject)
    )
    return [Bucket(*it[:4], BitMap.deserialize(it[4])) for it in found]
