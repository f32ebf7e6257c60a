"""The relay: copies a public log, position by position, into the JetStream stream of the same name.

`Relay(log, engine, broker)` is a `Loop`. One relay per stream leads (advisory lock); what keeps the stream right is
not the lock but that every atomic batch says how the stream ended when it was made. The stream's last message is the only cursor.
A stream that is missing, emptied or shortened is filled again from PostgreSQL; one that knows facts PostgreSQL does not (a
restored backup) starts a new epoch.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from time import monotonic
from typing import Final

import sqlalchemy as sa
import structlog

from chassis.broker import BATCH_LIMIT, Broker, BrokerRefusal, BrokerUnavailable, Parcel, StreamSpec
from chassis.envelope import Address, Offset, Outgoing, seal, subject_pattern
from chassis.epochs import Epochs
from chassis.leadership import Leadership, leading, persevere
from chassis.loops import CHECK_SECONDS, Progress
from chassis.published_log import PublicLog
from chassis.pulse import Pulse
from chassis.threads import in_thread

log = structlog.get_logger()

WRONG_LAST_SEQUENCE: Final = 10071
_READ: Final = 1000


@dataclass(slots=True)
class _Cursor:
    """The end of the stream: its last sequence, and the position that everything up to has been published."""

    sequence: int
    position: int
    epoch: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """Whole positions, sealed; `position` is the last of them, `subjects` are patterns that the stream has to take."""

    parcels: Sequence[Parcel]
    position: int
    subjects: frozenset[str]


class TooManyMessages(Exception):
    """An event is published as more messages than a batch takes, so that they could not appear at once."""


class Relay:
    """Publishes one log. `published` counts messages, `batches` the commits they took."""

    def __init__(
        self,
        public_log: PublicLog,
        engine: sa.Engine,
        broker: Broker,
        *,
        poll: float = 0.05,
        pulse: Pulse | None = None,
        batch_limit: int = 500,
        max_bytes: int = -1,
    ) -> None:
        self.name = f"relay/{public_log.name}"
        self.published = 0
        self.batches = 0
        self._log = public_log
        self._stream = public_log.name
        self._engine = engine
        self._broker = broker
        self._epochs = Epochs(engine, broker, public_log)
        self._poll = poll
        self._news = (pulse or Pulse()).listener(public_log.news)
        self._batch_limit = min(batch_limit, BATCH_LIMIT)
        self._max_bytes = max_bytes
        self._cursor: _Cursor | None = None
        self._subjects: set[str] = set()
        self._idle_up_to = 0

    async def run(self) -> None:
        """Publish whenever this relay leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        """`position` is what is published, `head` the end of the log."""
        head = await self._log.head_now()
        try:
            position = self._cursor.position if self._cursor else await self._published_by_another(head)
        except (BrokerUnavailable, BrokerRefusal):
            return [Progress("log", self._log.name, 0, max(1, head), head)]
        return [Progress("log", self._log.name, position, max(0, head - position), head)]

    async def _lead(self) -> None:
        async with leading(self._engine, self.name) as leadership:
            try:
                while True:
                    self._cursor = None
                    self._cursor = await self._resume()
                    log.info("relay.leads", stream=self._stream, position=self._cursor.position)
                    try:
                        await self._publish_from(self._cursor, leadership)
                    except BrokerRefusal as refusal:
                        if refusal.code != WRONG_LAST_SEQUENCE:
                            raise
                        log.warning("relay.overtaken", stream=self._stream, reason=str(refusal))
            finally:
                self._cursor = None

    async def _publish_from(self, cursor: _Cursor, leadership: Leadership) -> None:
        """Publish what comes after `cursor` for ever; the next batches are read while one is on its way."""
        checked, generation = monotonic(), self._broker.generation
        reading = asyncio.create_task(self._read(cursor.position, cursor.epoch))
        try:
            while True:
                batches, scanned = await reading
                last = batches[-1].position if batches else scanned
                reading = asyncio.create_task(self._read(last, cursor.epoch, 0 if batches else self._poll))
                for batch in batches:
                    await self._publish(batch, cursor)
                cursor.position = max(cursor.position, last)
                if monotonic() - checked > CHECK_SECONDS or generation != self._broker.generation:
                    await leadership.check()
                    await self._require_unchanged(cursor)
                    checked, generation = monotonic(), self._broker.generation
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _publish(self, batch: _Batch, cursor: _Cursor) -> None:
        if not batch.subjects <= self._subjects:
            await self._broker.ensure_stream(
                StreamSpec(self._stream, sorted(batch.subjects), max_bytes=self._max_bytes)
            )
            self._subjects |= batch.subjects
        cursor.sequence = await self._broker.publish_batch(batch.parcels, cursor.sequence)
        cursor.position = batch.position
        self.published += len(batch.parcels)
        self.batches += 1

    async def _read(self, after: int, epoch: int, pause: float = 0) -> tuple[list[_Batch], int]:
        """The next batches and how far we looked, after up to one `pause` if there is nothing yet."""
        if pause:
            await self._news.wait(pause)
        head = await self._log.head_now()
        return await in_thread(self._read_now, after, epoch, head) if head > after else ([], after)

    def _read_now(self, after: int, epoch: int, head: int) -> tuple[list[_Batch], int]:
        outgoing = self._log.read(after, _READ)
        return self._pack(outgoing, epoch), head

    def _pack(self, outgoing: Sequence[Outgoing], epoch: int) -> list[_Batch]:
        """Sealed messages in batches that end between positions."""
        batches: list[_Batch] = []
        parcels: list[Parcel] = []
        subjects = frozenset(subject_pattern(*it) for it in {(it.type, it.name) for it in outgoing})
        last = 0
        for position, group in groupby(outgoing, attrgetter("position")):
            sealed = [seal(it, str(Address(self._stream, epoch, Offset(position, n)))) for n, it in enumerate(group)]
            if len(sealed) > BATCH_LIMIT:
                raise TooManyMessages(f"position {position} of {self._stream} is {len(sealed)} messages")
            if parcels and len(parcels) + len(sealed) > self._batch_limit:
                batches.append(_Batch(parcels, last, subjects))
                parcels = []
            parcels += sealed
            last = position
        return [*batches, _Batch(parcels, last, subjects)] if parcels else batches

    async def _resume(self) -> _Cursor:
        """Where the stream ends, once it is one of the present epoch and of facts that PostgreSQL knows."""
        self._subjects.clear()
        info, epoch = await self._epochs.settle(self._max_bytes)
        if not info.messages:
            return _Cursor(info.last_sequence, 0, epoch)
        last = await self._broker.message(self._stream, seq=info.last_sequence)
        if last is None:
            last = await self._broker.message(self._stream, last_by_subj=">")
        position = Address.of(last.headers["ce-id"]).offset.position if last else 0
        return _Cursor(info.last_sequence, position, epoch)

    async def _require_unchanged(self, cursor: _Cursor) -> None:
        """The stream still ends where we left it: nobody deleted it while there was nothing to publish."""
        info = await self._broker.stream(self._stream)
        if info is None or info.last_sequence != cursor.sequence or (cursor.sequence and not info.messages):
            raise BrokerRefusal(WRONG_LAST_SEQUENCE, "the stream is not as we left it")

    async def _published_by_another(self, head: int) -> int:
        """How far the leading relay is: the last message, or the head if nothing after that is to be published."""
        if head == self._idle_up_to:
            return head
        info = await self._broker.stream(self._stream)
        last = None
        if info and info.messages:
            last = await self._broker.message(self._stream, seq=info.last_sequence)
            last = last or await self._broker.message(self._stream, last_by_subj=">")
        position = Address.of(last.headers["ce-id"]).offset.position if last else 0
        if position < head and not await in_thread(self._log.read, position, 1):
            self._idle_up_to = position = head
        return position
