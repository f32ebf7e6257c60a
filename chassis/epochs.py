"""Epochs of a stream: what happens when PostgreSQL is restored to before what had already been published.

Positions after the restored head are then given a second time, to other facts. The stream therefore starts again in a new
epoch, whose base is the last position that both still agree on. A consumer carries its position over, but never beyond a base:
`carried_over`. Epoch 1 has base 0; all bases are kept in the table `stream_epochs` and in the stream's metadata.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from chassis.envelope import Address, Offset
from chassis.jetstream import Stored, StreamInfo, StreamSpec
from chassis.published_log import PublicLog

if TYPE_CHECKING:
    from chassis.broker import Broker

log = structlog.get_logger()

DDL: Final = (
    (
        "CREATE TABLE IF NOT EXISTS stream_epochs ("
        " stream text NOT NULL, epoch int NOT NULL, base bigint NOT NULL, PRIMARY KEY (stream, epoch))"
    ),
)
BASES: Final = "scrm-epoch-bases"
"""The key in the metadata of a stream under which its bases are, separated by commas."""


def bases_of(info: StreamInfo) -> list[int]:
    """The bases of all epochs of a stream up to its present one; the epoch is their number."""
    return [int(it) for it in info.metadata.get(BASES, "0").split(",")]


def carried_over(offset: Offset, epoch: int, bases: Sequence[int]) -> Offset:
    """Where a consumer that was at `offset` in `epoch` goes on in the present epoch."""
    return min([offset, *(Offset(base, BASE_PART) for base in bases[epoch:])])


BASE_PART: Final = 1_000_000
"""After every message of the base's own position."""


class Epochs:
    """The epochs of one public log's stream."""

    def __init__(self, engine: sa.Engine, broker: "Broker", public_log: PublicLog) -> None:
        self._engine = engine
        self._broker = broker
        self._log = public_log
        self._stream = public_log.name

    async def settle(self, max_bytes: int = -1) -> tuple[StreamInfo, int]:
        """The stream, existing and of the present epoch, and that epoch."""
        bases = await asyncio.to_thread(self._known)
        info = await self._create(bases, max_bytes)
        found = bases_of(info)
        if len(found) > len(bases):  # the table was restored together with the log
            await asyncio.to_thread(self._remember, found)
            bases = found
        outdated = len(found) < len(bases)
        if not outdated and info.messages and (base := await self._fork(info)) is not None:
            bases = [*bases, base]
            log.error("relay.new_epoch", stream=self._stream, epoch=len(bases), base=base)
            await asyncio.to_thread(self._remember, bases)
            outdated = True
        if outdated:
            await self._broker.delete_stream(self._stream)
            info = await self._create(bases, max_bytes)
        return info, len(bases)

    async def begin(self) -> tuple[int, int]:
        """Start a new epoch after a restore, before anything is published or read again; its number and its base.

        Needed where the stream is lost too: then nothing tells that consumers elsewhere are ahead of the log. Where it is not, what is
        in the stream and no longer in the log is gone before anybody reads it. Doing it once too often does no harm.
        """
        info, _ = await self.settle()
        bases = [*bases_of(info), await asyncio.to_thread(self._log.head)]
        await asyncio.to_thread(self._remember, bases)
        await self.settle()
        return len(bases), bases[-1]

    async def _create(self, bases: Sequence[int], max_bytes: int) -> StreamInfo:
        metadata = {BASES: ",".join(map(str, bases))}
        return await self._broker.ensure_stream(StreamSpec(self._stream, [], metadata, max_bytes))

    async def _fork(self, info: StreamInfo) -> int | None:
        """The last position on which log and stream agree; None if they agree to the end of the stream."""
        last = await self._broker.message(self._stream, seq=info.last_sequence)
        if last is None or await asyncio.to_thread(self._agrees, last):
            return None
        agreed, low, high = 0, info.first_sequence, info.last_sequence - 1
        while low <= high:
            middle = (low + high) // 2
            found = await self._broker.message(self._stream, seq=middle, next_by_subj=">")
            if found and found.sequence <= high and await asyncio.to_thread(self._agrees, found):
                agreed, low = Address.of(found.headers["ce-id"]).offset.position, found.sequence + 1
            else:
                high = middle - 1
        return agreed

    def _agrees(self, stored: Stored) -> bool:
        """Whether the log still has the fact behind this message.

        A position that is no longer published by a newer version of the code is not a disagreement.
        """
        position, part = Address.of(stored.headers["ce-id"]).offset
        if self._log.head() < position:
            return False
        messages = [it for it in self._log.read(position - 1, 1) if it.position == position]
        if len(messages) <= part:
            return True
        time = datetime.fromisoformat(stored.headers["ce-time"])
        return messages[part].time == time and messages[part].tenant == stored.headers["ce-tenant"]

    def _known(self) -> list[int]:
        query = sa.text("SELECT base FROM stream_epochs WHERE stream = :stream ORDER BY epoch")
        with self._engine.connect() as rows:
            return list(rows.scalars(query, {"stream": self._stream})) or [0]

    def _remember(self, bases: Sequence[int]) -> None:
        insert = sa.text("INSERT INTO stream_epochs VALUES (:stream, :epoch, :base) ON CONFLICT DO NOTHING")
        with self._engine.begin() as rows:
            rows.execute(insert, [{"stream": self._stream, "epoch": n, "base": it} for n, it in enumerate(bases, 1)])
