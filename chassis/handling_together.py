"""What becomes of one batch of messages of a stream for all who read it together: one transaction for what each makes of it.

Each has positions of its own and parks by itself. Where one of them fails, nothing of the batch is committed, and then each takes its
part alone, with its own patience; so whoever fails holds up the others no longer than its batch takes.
"""

from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa
import structlog

from chassis.commands import CommandBus, Outcome, Unit
from chassis.envelope import Incoming, addressed
from chassis.errors import described
from chassis.handling import FEW, Handling, Plan, Work
from chassis.jetstream import Delivery
from chassis.ordered_pull import stream_sequence
from chassis.positions import PositionMoved, move_together
from chassis.threads import in_thread

log = structlog.get_logger()

Part = tuple[Handling, Work]
"""What of a batch is for whom; nothing of it may be."""


class HandlingTogether:
    """Hands the messages of one session to several consumers, each with the `events` it wants of them: all where it names none."""

    def __init__(self, consumers: Sequence[tuple[Handling, Sequence[str]]], bus: CommandBus) -> None:
        self._consumers = [(it, frozenset(events)) for it, events in consumers]
        self._bus = bus

    async def handle(self, messages: Sequence[Delivery]) -> int:
        """Handle messages in the order of the stream; the sequence of the last. PositionMoved if somebody else is at it."""
        sequence = stream_sequence(messages[-1].reply)
        few = len(messages) <= FEW  # what takes less than to go to another thread and back
        parts = self._parts(messages, sequence) if few else await in_thread(self._parts, messages, sequence)
        mine = [it for it in parts if it[1].messages]
        if len(parts) > 1 and mine and await self._take_together(parts):
            return sequence
        for handling, work in mine:
            await handling.take(work)
        return sequence

    async def redrive(self) -> None:
        """Try again what somebody asked to be tried again."""
        for handling, _ in self._consumers:
            await handling.redrive()

    def _parts(self, messages: Sequence[Delivery], sequence: int) -> list[Part]:
        """What each has not handled yet; every message is read once."""
        first, _ = self._consumers[0]
        told = [first.unsealed(it) for it in messages]
        if len(self._consumers) == 1:
            return [(first, Work(first.fresh(told), sequence))]
        names = [it.subject.rsplit(".", 2)[1] for it in messages]
        parts: list[Part] = []
        for handling, events in self._consumers:
            wanted = [it for it, name in zip(told, names, strict=True) if not events or name in events]
            parts.append((handling, Work(_for(handling, handling.fresh(wanted), first), sequence)))
        return parts

    async def _take_together(self, parts: Sequence[Part]) -> bool:
        """Commit all parts at once; whether that was possible."""
        quick = all(handling.plans_quickly(work) for handling, work in parts)
        try:
            plans = _plans(parts) if quick else await in_thread(_plans, parts)
            await self._bus.run(Unit([it for plan in plans for it in plan.items], partial(_settle, parts, plans)))
        except PositionMoved:
            raise
        except Exception as error:  # noqa: BLE001 (whose fault it is shows when each takes its part alone)
            log.info("consumer.parted", consumers=[it.consumer for it, _ in parts], error=described(error))
            return False
        for (handling, work), plan in zip(parts, plans, strict=True):
            handling.committed(work, plan)
        return True


def _plans(parts: Sequence[Part]) -> list[Plan]:
    return [handling.plan(work) for handling, work in parts]


def _for(handling: Handling, messages: Sequence[Incoming], reader: Handling) -> Sequence[Incoming]:
    return messages if handling is reader else [addressed(it, handling.consumer) for it in messages]


def _settle(parts: Sequence[Part], plans: Sequence[Plan], rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
    """In the transaction of all commands: let each judge and write its own, then move all on in one statement."""
    start = 0
    for (handling, work), plan in zip(parts, plans, strict=True):
        handling.write(work, plan, rows, outcomes[start : start + len(plan.items)])
        start += len(plan.items)
    move_together(rows, [(it.positions, it.targets(work)) for it, work in parts], parts[0][1].sequence)
