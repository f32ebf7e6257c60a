"""How far a consumer is: a row per partition, moved by compare-and-set in the transaction of the effect.

Beside the positions, which count, lies a cursor, which only saves time: the sequence in the stream up to which everything has
been handled, good as long as it is the same stream.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from chassis.envelope import PARTITIONS, Offset
from chassis.epochs import carried_over
from chassis.postgres import WITHOUT_WAITING, columns, driver_cursor

DDL: Final = (
    (
        "CREATE TABLE IF NOT EXISTS consumer_positions ("
        " consumer text NOT NULL, stream text NOT NULL, epoch int NOT NULL, partition smallint NOT NULL,"
        " position bigint NOT NULL, part int NOT NULL, PRIMARY KEY (consumer, stream, epoch, partition))"
    ),
    (
        "CREATE TABLE IF NOT EXISTS consumer_cursors ("
        " consumer text NOT NULL, stream text NOT NULL, shard text NOT NULL, created text NOT NULL, sequence bigint NOT NULL,"
        " PRIMARY KEY (consumer, stream, shard))"
    ),
)

_MOVE: Final = (
    "WITH moved AS (UPDATE consumer_positions p SET position = n.position, part = n.part FROM unnest(%(consumer)s::text[],"
    " %(partition)s::int[], %(was)s::bigint[], %(was_part)s::int[], %(now)s::bigint[], %(now_part)s::int[])"
    " AS n(consumer, partition, was, was_part, position, part)"
    " WHERE p.consumer = n.consumer AND (p.stream, p.epoch) = (%(stream)s, %(epoch)s) AND p.partition = n.partition"
    " AND p.position = n.was AND p.part = n.was_part RETURNING 1),"
    " remembered AS (INSERT INTO consumer_cursors (consumer, stream, shard, created, sequence)"
    " SELECT n, %(stream)s, %(shard)s, %(created)s, %(sequence)s FROM unnest(%(consumers)s::text[]) AS n"
    " ON CONFLICT (consumer, stream, shard) DO UPDATE SET created = excluded.created, sequence = excluded.sequence)"
    " SELECT count(*) FROM moved"
)
_MOVE_WITHOUT_WAITING: Final = _MOVE.replace("count(*)", f"count(*), {WITHOUT_WAITING}")


class PositionMoved(Exception):
    """Another process handled messages of the same partition; what we were about to commit may be done already."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of the partitions that one process reads: number `index` of `count`."""

    index: int = 0
    count: int = 1

    @property
    def partitions(self) -> list[int]:
        return list(range(self.index, PARTITIONS, self.count))

    def __str__(self) -> str:
        return f"{self.index}of{self.count}"


EVERYTHING: Final = Shard()
"""The only shard where one process reads all."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads what: a consumer's shard of one stream as created at one moment, in its present epoch."""

    consumer: str
    stream: str
    shard: Shard
    epoch: int
    created: str


class Positions:
    """The positions of one reader, as committed and not since moved by anybody else."""

    def __init__(self, reader: Reader, offsets: dict[int, Offset], sequence: int) -> None:
        self.reader = reader
        self.sequence = sequence
        self._offsets = offsets

    @classmethod
    def load(cls, engine: sa.Engine, reader: Reader, bases: Sequence[int]) -> "Positions":
        """Read them; in a new epoch they are carried over from the one before."""
        key = {"consumer": reader.consumer, "stream": reader.stream}
        with engine.begin() as rows:
            stored = rows.execute(
                sa.text(
                    "SELECT DISTINCT ON (partition) partition, epoch, position, part FROM consumer_positions"
                    " WHERE consumer = :consumer AND stream = :stream AND epoch <= :epoch ORDER BY partition, epoch DESC"
                ),
                key | {"epoch": reader.epoch},
            ).all()
            known = {it.partition: carried_over(Offset(it.position, it.part), it.epoch, bases) for it in stored}
            offsets = {partition: known.get(partition, Offset(0)) for partition in reader.shard.partitions}
            rows.execute(
                sa.text(
                    "INSERT INTO consumer_positions VALUES (:consumer, :stream, :epoch, :partition, :position, :part)"
                    " ON CONFLICT DO NOTHING"
                ),
                [
                    key | {"epoch": reader.epoch, "partition": partition, "position": it.position, "part": it.part}
                    for partition, it in offsets.items()
                ],
            )
            cursor = sa.text(
                "SELECT sequence FROM consumer_cursors"
                " WHERE consumer = :consumer AND stream = :stream AND shard = :shard AND created = :created"
            )
            sequence = rows.scalar(cursor, key | {"shard": str(reader.shard), "created": reader.created})
        return cls(reader, offsets, sequence or 0)

    def __contains__(self, partition: int) -> bool:
        return partition in self._offsets

    def __getitem__(self, partition: int) -> Offset:
        return self._offsets[partition]

    def move(self, rows: sa.Connection, targets: Mapping[int, Offset], sequence: int, *, waits: bool = True) -> None:
        """Write new positions in the transaction of `rows`; PositionMoved unless each is still as we know it.

        A partition may be moved to where it is: that makes sure nobody else has moved it. A commit that does not `wait` for the
        disk may be undone by a crash.
        """
        move_together(rows, [(self, targets)], sequence, waits=waits)

    def steps_to(self, targets: Mapping[int, Offset]) -> list[tuple[Any, ...]]:
        """What `move` writes: consumer, partition, where it was and where it is then."""
        return [(self.reader.consumer, it, *self._offsets[it], *now) for it, now in targets.items()]

    def moved(self, targets: Mapping[int, Offset], sequence: int) -> None:
        """Take in what `move` wrote, once it is committed."""
        self._offsets.update(targets)
        self.sequence = max(self.sequence, sequence)


def move_together(
    rows: sa.Connection,
    moves: Sequence[tuple[Positions, Mapping[int, Offset]]],
    sequence: int,
    *,
    waits: bool = True,
) -> None:
    """`move` for several readers of the same shard of one stream, in one statement; they remember the same sequence."""
    reader, found = moves[0][0].reader, list[tuple[Any, ...]]()
    consumers = [it.reader.consumer for it, _ in moves]
    for positions, targets in moves:
        found += positions.steps_to(targets)
    names = ("consumer", "partition", "was", "was_part", "now", "now_part")
    parameters = {
        "stream": reader.stream,
        "epoch": reader.epoch,
        "shard": str(reader.shard),
        "created": reader.created,
        "sequence": sequence,
        "consumers": consumers,
        **dict(zip(names, columns(found) if found else ([],) * len(names), strict=True)),
    }
    with driver_cursor(rows) as cursor:
        moved, *_ = cursor.execute(_MOVE if waits else _MOVE_WITHOUT_WAITING, parameters).fetchone() or (0,)
    if moved != len(found):
        raise PositionMoved(f"{', '.join(consumers)} on {reader.stream}: {moved} of {len(found)} partitions")


def forget(rows: sa.Connection, consumer: str, streams: Collection[str]) -> None:
    """Remove all positions of a consumer that is no more."""
    for table in ("consumer_positions", "consumer_cursors"):
        statement = sa.text(f"DELETE FROM {table} WHERE consumer = :consumer AND stream = ANY(:streams)")  # noqa: S608
        rows.execute(statement, {"consumer": consumer, "streams": list(streams)})
