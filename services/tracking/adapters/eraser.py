"""The eraser: removes the rows of people who are to be forgotten, and their messages from the stream, then says so.

Every step may be repeated: killed anywhere, it goes on with what is left.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.broker import Broker
from chassis.commands import CommandBus
from chassis.context import Context, entered
from chassis.envelope import Outgoing, seal
from chassis.leadership import leading, persevere
from chassis.loops import Progress
from chassis.ordered_pull import OrderedPull, stream_sequence
from chassis.pulse import Pulse
from chassis.quick_look import QuickLook
from services.tracking.adapters import erasures
from services.tracking.adapters.behaviour_log import EVENT_NAME, TYPE, BehaviourLog
from services.tracking.adapters.erasures import OpenErasure
from services.tracking.application.erasure_commands import FinishErasure

_OPEN: Final = "SELECT count(*) FROM erasures"
_READ: Final = 500
_PATIENCE_SECONDS: Final = 0.05
_AT_ONCE: Final = 200
_DELETIONS_AT_ONCE: Final = 25
_STREAMED: Final = "stream messages"
_DELETE: Final = f"STREAM.MSG.DELETE.{BehaviourLog.name}"
_ANY_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Eraser:
    """A `Loop`. `erased` counts the erasures it has carried out."""

    name = "erase"

    def __init__(
        self,
        engine: sa.Engine,
        bus: CommandBus,
        broker: Broker,
        *,
        poll: float = 0.05,
        pulse: Pulse | None = None,
        settle_seconds: float = 1.0,
    ) -> None:
        self.erased = 0
        self._engine = engine
        self._bus = bus
        self._broker = broker
        self._poll = poll
        self._settle_seconds = settle_seconds
        self._news = (pulse or Pulse()).listener()

    async def run(self) -> None:
        """Erase whenever this eraser leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        """`backlog` are the erasures that are not carried out."""
        waiting = await QuickLook.of(self._engine).ask_scalar(_OPEN)
        return [Progress("loop", self.name, self.erased, int(waiting), self.erased + int(waiting))]

    async def step(self) -> int:
        """Carry out what can be carried out; how much that was."""
        if not await QuickLook.of(self._engine).ask_scalar(_OPEN):
            return 0
        found = (await asyncio.to_thread(erasures.due, self._engine))[:_AT_ONCE]
        if not found:
            return 0
        removed = await asyncio.to_thread(erasures.remove, self._engine, found)
        messages = await self._scrub(found)
        counts = {it.case_id: {**removed.get(it.case_id, {}), _STREAMED: messages[it.case_id]} for it in found}
        await asyncio.gather(*(self._finish(it, counts[it.case_id]) for it in found))
        return len(found)

    async def _finish(self, it: OpenErasure, removed: Mapping[str, int]) -> None:
        with entered(Context.system(it.tenant, self.name)):
            await self._bus.execute(FinishErasure(it.case_id, removed))
        self.erased += 1

    async def _lead(self) -> None:
        async with leading(self._engine, "tracking/erase") as leadership:
            await leadership.work(self.step, lambda: self._news.wait(self._poll))

    async def _scrub(self, found: Sequence[OpenErasure]) -> Counter[UUID]:
        """Overwrite the messages about the nodes of these erasures in the stream of behaviours; how many there were, by case.

        What the relay has read before the rows were gone is published within moments: while they pass, all that is in the stream
        already is looked at, and then what has come to it.
        """
        settled_at = monotonic() + self._settle_seconds
        if not await self._head():
            await asyncio.sleep(self._settle_seconds)
        deleted, consumer = Counter[UUID](), f"{self.name}-{found[0].case_id}"
        if not (head := await self._head()):
            return deleted
        cases = {str(node): it.case_id for it in found for node in it.nodes}
        pull = OrderedPull(self._broker, BehaviourLog.name, consumer, _subjects(found), 1)
        await pull.open()
        try:
            deleted += await self._scrub_until(head, pull, cases)
            await asyncio.sleep(settled_at - monotonic())
            deleted += await self._scrub_until(await self._head(), pull, cases)
        finally:
            await pull.close()
            await self._broker.request(f"CONSUMER.DELETE.{BehaviourLog.name}.{consumer}")
        return deleted

    async def _head(self) -> int:
        """The sequence of the last message of the stream; 0 if it holds none."""
        info = await self._broker.stream(BehaviourLog.name)
        return info.last_sequence if info and info.messages else 0

    async def _scrub_until(self, head: int, pull: OrderedPull, cases: Mapping[str, UUID]) -> Counter[UUID]:
        """Overwrite those of the messages up to `head` that are about a node of `cases`; how many there were, by case."""
        deleted = Counter[UUID]()
        while messages := await pull.next(_READ, _PATIENCE_SECONDS) or await pull.waiting(head):
            if isinstance(messages, int):
                continue
            theirs = [it for it in messages if it.headers.get("ce-subject", "") in cases]
            await self._delete([stream_sequence(it.reply) for it in theirs])
            deleted.update(cases[it.headers["ce-subject"]] for it in theirs)
            pull.done()
        return deleted

    async def _delete(self, sequences: Sequence[int]) -> None:
        """Overwrite messages of the stream, many at a time: each waits for the disk of the server."""
        for start in range(0, len(sequences), _DELETIONS_AT_ONCE):
            part = sequences[start : start + _DELETIONS_AT_ONCE]
            asked = (self._broker.request(_DELETE, {"seq": it}) for it in part)
            await asyncio.gather(*asked)


def _subjects(found: Sequence[OpenErasure]) -> Sequence[str]:
    """The subjects under which behaviours of the nodes of these erasures are published."""
    return sorted({_subject(it.tenant, node) for it in found for node in it.nodes})


def _subject(tenant: str, node: UUID) -> str:
    """As `seal` writes it: by the partition of the node, among others'."""
    return seal(Outgoing(0, tenant, EVENT_NAME, node, b"", _ANY_TIME, TYPE), "").subject
