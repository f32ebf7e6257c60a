"""What becomes of one batch of messages: all of it in one transaction, or nothing.

A message that fails for good is parked and its key held: later messages of that key wait behind it, everybody else's go on. What
fails for a passing reason is tried again as it is. A failure nobody owns up to is found by halving the batch.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from traceback import extract_tb
from types import MappingProxyType
from typing import Any, Final, Protocol

import sqlalchemy as sa
import structlog

from chassis import inbox
from chassis.commands import CommandBus, Effect, Outcome, Unit
from chassis.context import Context
from chassis.envelope import Incoming, Offset, UnreadableMessage, unseal
from chassis.errors import TRANSIENT, DomainError, VersionConflict, described
from chassis.group_commit import CONFLICTS, OUTAGES
from chassis.jetstream import Delivery
from chassis.ordered_pull import ReadingInterrupted, stream_sequence
from chassis.parked import HELD, Garage, Key, Parking, key_of, park
from chassis.positions import PositionMoved, Positions
from chassis.threads import in_thread

log = structlog.get_logger()

_LONGEST_PAUSE: Final = 2.0
_CONFLICT_ROUNDS: Final = 3
_REDRIVE_LIMIT: Final = 200
_NO_EPOCH: Final = 0
FEW: Final = 30
NOBODY: Final[Mapping[str, Parking]] = MappingProxyType({})


class Handler(Protocol):
    """What a subscription says about handling."""

    @property
    def consumer(self) -> str: ...
    @property
    def handle(self) -> Any: ...
    @property
    def keep(self) -> bool | Callable[[Incoming], Incoming]: ...
    @property
    def absorbs(self) -> bool: ...


class _TransientFailure(Exception):
    """A command could not be carried out now; the whole batch is undone and tried again."""


class _Condemned(Exception):
    """Messages that must be parked without being carried out at all; the whole batch is undone."""

    def __init__(self, parkings: Sequence[Parking]) -> None:
        super().__init__(f"{len(parkings)} messages")
        self.parkings = {it.message.id: it for it in parkings}


@dataclass(slots=True)
class Plan:
    """What to do with a batch: orders for the bus, which message each span of them is for, and what to park."""

    items: list[tuple[Context, Any]] = field(default_factory=list)
    spans: list[tuple[Sequence[Incoming], int, int]] = field(default_factory=list)
    handled: list[Incoming] = field(default_factory=list)
    parkings: list[Parking] = field(default_factory=list)
    held: set[Key] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Work:
    """Messages to handle, the sequence of the stream up to which all is handled then, and which of them were parked before."""

    messages: Sequence[Incoming]
    sequence: int
    redriven: Mapping[str, int] = field(default_factory=dict)

    def halves(self) -> "tuple[Work, Work]":
        middle = len(self.messages) // 2
        first, second = self.messages[:middle], self.messages[middle:]
        reached = self.sequence if self.redriven else first[-1].sequence
        return Work(first, reached, self.redriven), Work(second, self.sequence, self.redriven)


class Handling:
    """Handles the messages of one session of a consumer."""

    def __init__(
        self, handler: Handler, engine: sa.Engine, bus: CommandBus, positions: Positions, garage: Garage
    ) -> None:
        self._handler = handler
        self._engine = engine
        self._bus = bus
        self._garage = garage
        self.positions = positions

    @property
    def consumer(self) -> str:
        return self._handler.consumer

    async def redrive(self) -> None:
        """Try again what somebody asked to be tried again; nobody can have asked where nothing is parked."""
        if not self._garage.count:
            return
        found = await in_thread(self._garage.asked_for, self._engine, _REDRIVE_LIMIT)
        if not found:
            return
        messages = [_another_try(it.message, it.attempts) for it in found]
        work = Work(messages, self.positions.sequence, {it.message.id: it.id for it in found})
        await self.take(work)
        await in_thread(self._garage.load, self._engine)
        log.info("consumer.redriven", consumer=self.consumer, messages=len(found), parked=self._garage.count)

    def unsealed(self, message: Delivery) -> Incoming:
        """The message; something in our stream that is none of our messages comes in a form that can be parked."""
        sequence = stream_sequence(message.reply)
        try:
            return unseal(self.consumer, sequence, message.subject, message.headers, message.data)
        except UnreadableMessage:
            return self._unreadable(sequence, message)

    def fresh(self, told: Iterable[Incoming]) -> list[Incoming]:
        """Those that have not been handled yet. ReadingInterrupted when another epoch has begun."""
        epoch, reached = self.positions.reader.epoch, dict[int, Offset]()
        fresh: list[Incoming] = []
        for message in told:
            if message.epoch == _NO_EPOCH:
                fresh.append(message)
                continue
            if message.epoch != epoch:
                raise ReadingInterrupted(f"epoch {message.epoch} has begun")
            if message.partition not in self.positions:
                continue
            if message.offset > reached.get(message.partition, self.positions[message.partition]):
                reached[message.partition] = message.offset
                fresh.append(message)
        return fresh

    def _unreadable(self, sequence: int, message: Delivery) -> Incoming:
        """Something in our stream that is none of our messages, in a form that can be parked."""
        address = f"{self.positions.reader.stream}/{_NO_EPOCH}/{sequence}"
        headers = {
            "ce-id": address,
            "ce-tenant": "",
            "ce-subject": "",
            "ce-type": "",
            "ce-time": "1970-01-01T00:00:00Z",
        }
        partition = self.positions.reader.shard.partitions[0]
        return unseal(self.consumer, sequence, f"unreadable.{partition}", headers, message.data)

    async def take(self, work: Work, condemned: Mapping[str, Parking] = NOBODY, tries: int = 0) -> None:
        """Commit `work`, with patience, and with every message that cannot be handled parked. PositionMoved if somebody else is at it."""
        pause = 0.05
        while True:
            try:
                await self._commit(work, condemned)
                return
            except PositionMoved:
                raise
            except _Condemned as verdict:
                condemned = {**condemned, **verdict.parkings}
            except Exception as error:
                tries += 1
                if _is_passing(error, tries):
                    log.info("consumer.retries", consumer=self.consumer, error=described(error), tries=tries)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                elif len(work.messages) > 1:
                    for half in work.halves():
                        await self.take(half, condemned, tries)
                    return
                elif work.messages[0].id in condemned:
                    raise
                else:
                    message = work.messages[0]
                    condemned = {message.id: _parking(message, error)}

    async def _commit(self, work: Work, condemned: Mapping[str, Parking]) -> None:
        plan = self.plan(work, condemned) if self.plans_quickly(work) else await in_thread(self.plan, work, condemned)
        if plan.items or plan.parkings or work.redriven or (self._handler.keep and plan.handled):
            await self._bus.run(Unit(plan.items, partial(self._settle, work, plan)))
        else:
            await in_thread(self._move, work)
        self.committed(work, plan)

    def plans_quickly(self, work: Work) -> bool:
        """Whether to plan takes less than to go to another thread and back."""
        return len(work.messages) <= FEW or self._handler.absorbs

    def committed(self, work: Work, plan: Plan) -> None:
        """Take in what was committed."""
        self.positions.moved(self.targets(work), work.sequence)
        if not work.redriven:
            self._garage.held |= plan.held
            self._garage.count += len(plan.parkings)

    def plan(self, work: Work, condemned: Mapping[str, Parking] = NOBODY) -> Plan:
        """What to do with the messages of `work`, those that are `condemned` put aside."""
        plan = Plan(held=set() if work.redriven else set(self._garage.held))
        by_tenant: dict[str, list[Incoming]] = defaultdict(list)
        for message in work.messages:
            if key_of(message) in plan.held:
                if not work.redriven:
                    plan.parkings.append(Parking(message, HELD))
            elif message.id in condemned or message.epoch == _NO_EPOCH:
                _put_aside(plan, condemned.get(message.id) or Parking(message, "UNREADABLE", "no readable envelope"))
            elif self._handler.absorbs:
                by_tenant[message.tenant].append(message)
                plan.handled.append(message)
            else:
                self._react(message, plan)
        for batch in by_tenant.values():
            context = batch[0].context._replace(call=None, causation=batch[-1].id)
            plan.spans.append((batch, len(plan.items), 1))
            plan.items.append((context, Effect(partial(self._handler.handle, tuple(batch)))))
        return plan

    def _react(self, message: Incoming, plan: Plan) -> None:
        try:
            commands = list(self._handler.handle(message))
        except (*TRANSIENT, *OUTAGES):
            raise
        except Exception as error:  # noqa: BLE001 (a bug in a policy is poison too)
            _put_aside(plan, _parking(message, error))
            return
        plan.handled.append(message)
        if commands:
            plan.spans.append(([message], len(plan.items), len(commands)))
            plan.items += [(_numbered(message.context, n), command) for n, command in enumerate(commands)]

    def _settle(self, work: Work, plan: Plan, rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        self.write(work, plan, rows, outcomes)
        self.positions.move(rows, self.targets(work), work.sequence)

    def write(self, work: Work, plan: Plan, rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        """In the transaction of the commands: judge their outcomes, then park and keep; all but to move on."""
        failed = self._failed(plan, outcomes)
        gone = {it.message.id for it in failed}
        handled = [it for it in plan.handled if it.id not in gone] if gone else plan.handled
        if keep := self._handler.keep:
            inbox.keep(rows, handled if keep is True else [keep(it) for it in handled])
        if work.redriven:
            self._garage.remove(rows, [work.redriven[it.id] for it in handled])
            self._garage.failed_again(rows, [*plan.parkings, *failed])
        else:
            plan.parkings += failed
            plan.held.update(key_of(it.message) for it in failed)
            park(rows, self.consumer, plan.parkings)

    def _failed(self, plan: Plan, outcomes: Sequence[Outcome]) -> list[Parking]:
        """Messages whose only command was refused and nothing of whose key came after; the rest is undone first."""
        if not any(it.error is not None for it in outcomes):
            return []
        failed: list[Parking] = []
        condemned: list[Parking] = []
        last_of_key = {key_of(it): it for it in plan.handled}
        for messages, start, count in plan.spans:
            errors = [it.error for it in outcomes[start : start + count] if it.error is not None]
            if not errors:
                continue
            if _is_passing(errors[0], 0):
                raise _TransientFailure from errors[0]
            if self._handler.absorbs:
                raise errors[0]
            message = messages[0]
            alone = count == 1 and last_of_key[key_of(message)] is message
            (failed if alone else condemned).append(_parking(message, errors[0]))
        if condemned:
            raise _Condemned([*condemned, *failed])
        return failed

    def targets(self, work: Work) -> dict[int, Offset]:
        """Where each partition concerned is afterwards; a redrive leaves them where they are."""
        if work.redriven:
            return {it.partition: self.positions[it.partition] for it in work.messages}
        return {it.partition: it.offset for it in work.messages if it.epoch != _NO_EPOCH}

    def _move(self, work: Work) -> None:
        """Note that nothing was to be done; should a crash undo that, nothing will be to be done again."""
        with self._engine.begin() as rows:
            rows.execute(sa.text("SET LOCAL synchronous_commit = off"))
            self.positions.move(rows, self.targets(work), work.sequence)


def _put_aside(plan: Plan, parking: Parking) -> None:
    plan.parkings.append(parking)
    if parking.message.key:
        plan.held.add(key_of(parking.message))


def _parking(message: Incoming, error: Exception) -> Parking:
    """Why a message is parked; the text of an unforeseen error is left out, since anything may be in it."""
    if isinstance(error, DomainError):
        return Parking(message, error.reason, str(error))
    if isinstance(error, UnreadableMessage):
        return Parking(message, "UNREADABLE", str(error))
    frames = extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return Parking(message, "FAILED", f"{type(error).__name__}{place}")


def _is_passing(error: Exception, tries: int) -> bool:
    """Whether the same may succeed later. A constraint that refuses again and again is no lost race."""
    if isinstance(error, VersionConflict) and isinstance(error.__cause__, CONFLICTS):
        return tries < _CONFLICT_ROUNDS
    return isinstance(error, (_TransientFailure, *TRANSIENT, *OUTAGES))


def _numbered(context: Context, number: int) -> Context:
    """The context of the `number`th command for a message: a request of its own."""
    if number == 0 or context.call is None:
        return context
    return context._replace(call=context.call._replace(request_id=f"{context.call.request_id}#{number}"))


def _another_try(message: Incoming, attempts: int) -> Incoming:
    """The message as a new request: nothing of the earlier one took effect but the refusal on its receipt."""
    call = message.context.call
    if call is None:
        return message
    call = call._replace(request_id=f"{call.request_id}~{attempts}")
    return message._replace(context=message.context._replace(call=call))
