"""Consumers: what a service makes of other services' messages, each exactly once and in order per key.

`Subscription(consumer, streams, handle)` says what; `Consumer(subscription, engine, broker, bus, shard=Shard(0, 1))` is the
`Loop` that does it. `handle` is either a policy, `react(incoming) -> commands`, or `absorb(batch, work) -> None`, which writes
rows and aggregates of one tenant in one unit of work. The commands, rows, parked messages, the inbox and the position commit
together.
"""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
import structlog

from chassis.broker import Broker, BrokerRefusal, BrokerUnavailable
from chassis.commands import CommandBus, UnitOfWork
from chassis.envelope import Incoming, subjects_of
from chassis.epochs import bases_of
from chassis.handling import Handling
from chassis.handling_together import HandlingTogether
from chassis.jetstream import StreamInfo
from chassis.leadership import Leadership, leading, persevere
from chassis.loops import CHECK_SECONDS, Progress
from chassis.ordered_pull import OrderedPull
from chassis.parked import Garage
from chassis.positions import EVERYTHING, Positions, Reader, Shard
from chassis.threads import in_thread

__all__ = ["Consumer", "Incoming", "Joint", "Shard", "Subscription"]

log = structlog.get_logger()

React = Callable[[Incoming], Sequence[Any]]
Absorb = Callable[[Sequence[Incoming], UnitOfWork], None]
Keep = Callable[[Incoming], Incoming]

_GATHER_SECONDS: Final = 0.002
_FIRST_LOOK_SECONDS: Final = 0.02
_LONGEST_LOOK_SECONDS: Final = 0.25
"""Between two looks for a stream that nobody has made yet."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """That `consumer` wants the messages of `streams`, and what it does with them.

    With `keep` every message it handles also goes to the inbox, as it came or as `keep` makes it. `events` (names in
    snake_case) narrows what is delivered. A message whose handling is refused, or fails for good, is parked; what a policy
    expects to be refused, it must not command.
    """

    consumer: str
    streams: Sequence[str]
    handle: React | Absorb
    keep: bool | Keep = False
    events: Sequence[str] = ()

    @property
    def absorbs(self) -> bool:
        """Whether `handle` takes batches rather than single messages."""
        return _takes_batches(self.handle)


@dataclass(frozen=True, slots=True)
class Joint:
    """Subscriptions that read their streams together: where two want the same stream, every message of it is delivered and read once,
    and what all make of it commits as one.

    Each keeps positions of its own and parks by itself, so that they may be joined and parted at any time. Reading goes on from where
    the last of them is: who begins anew with a long stream lets the others wait and should read by itself until it is where they are.
    """

    subscriptions: Sequence[Subscription]

    @property
    def consumer(self) -> str:
        """In whose name they read."""
        return self.subscriptions[0].consumer

    def of(self, stream: str) -> Sequence[Subscription]:
        """Those that want the messages of `stream`."""
        return [it for it in self.subscriptions if stream in it.streams]

    @property
    def streams(self) -> Sequence[str]:
        return list(dict.fromkeys(stream for it in self.subscriptions for stream in it.streams))


@cache
def _takes_batches(handle: React | Absorb) -> bool:
    return len(inspect.signature(handle).parameters) == 2


class Consumer:
    """Reads every stream of one subscription or of joint ones, or its shard of them. `handled` counts messages, `batches` their
    commits."""

    def __init__(
        self,
        subscription: Subscription | Joint,
        engine: sa.Engine,
        broker: Broker,
        bus: CommandBus,
        *,
        shard: Shard = EVERYTHING,
        batch_limit: int = 500,
    ) -> None:
        self.name = f"consume/{subscription.consumer}"
        joint = subscription if isinstance(subscription, Joint) else Joint([subscription])
        self._readings = [
            _Reading(joint.of(stream), stream, engine, broker, bus, shard, batch_limit) for stream in joint.streams
        ]

    @property
    def handled(self) -> int:
        return sum(it.handled for it in self._readings)

    @property
    def batches(self) -> int:
        return sum(it.batches for it in self._readings)

    async def run(self) -> None:
        """Consume all streams side by side, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for it in self._readings:
                tasks.create_task(persevere(it.name, it.read))

    async def progress(self) -> list[Progress]:
        """One entry per consumer and stream: the last sequence handled, and how many messages are not."""
        found = await asyncio.gather(*(it.progress() for it in self._readings))
        return [it for entries in found for it in entries]


class _Reading:
    """One stream of all subscriptions that read it together, in sessions: each starts from what PostgreSQL says and ends when in doubt."""

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        stream: str,
        engine: sa.Engine,
        broker: Broker,
        bus: CommandBus,
        shard: Shard,
        batch_limit: int,
    ) -> None:
        self.name = f"consume/{subscriptions[0].consumer}/{stream}/{shard}"
        self.handled = 0
        self.batches = 0
        self._subscriptions = subscriptions
        self._stream = stream
        self._engine = engine
        self._broker = broker
        self._bus = bus
        self._shard = shard
        self._batch_limit = batch_limit
        self._garages = [Garage(it.consumer, stream, shard.partitions) for it in subscriptions]
        self._pull: OrderedPull | None = None
        self._sequence = 0

    @property
    def durable(self) -> str:
        return f"{self._subscriptions[0].consumer}-{self._shard}"

    async def read(self) -> None:
        """One session: read and handle for as long as everything is as expected."""
        async with AsyncExitStack() as held:
            leaderships = [await held.enter_async_context(leading(self._engine, it)) for it in self._locks()]
            info = await self._made(leaderships)
            found = [await self._positions(it, info) for it in self._subscriptions]
            for it in self._garages:
                await in_thread(it.load, self._engine)
            self._sequence = min(it.sequence for it in found)
            pull = OrderedPull(self._broker, self._stream, self.durable, self._subjects(), self._sequence + 1)
            try:
                await pull.open()
                self._pull = pull
                await self._handle_all(pull, self._handling(found), leaderships)
            finally:
                self._pull = None
                await pull.close()

    async def _made(self, leaderships: Sequence[Leadership]) -> StreamInfo:
        """The stream, as soon as there is one: the service that makes it may start after us."""
        pause = _FIRST_LOOK_SECONDS
        while (info := await self._broker.stream(self._stream)) is None:
            await asyncio.sleep(pause)
            for it in leaderships:
                await it.check()
            pause = min(pause * 2, _LONGEST_LOOK_SECONDS)
        return info

    def _locks(self) -> list[str]:
        """What whoever reads here for any of us has to hold, always in this order."""
        return [f"consume/{it.consumer}/{self._stream}/{self._shard}" for it in self._subscriptions]

    async def _positions(self, subscription: Subscription, info: StreamInfo) -> Positions:
        bases = bases_of(info)
        reader = Reader(subscription.consumer, self._stream, self._shard, len(bases), info.created)
        positions = await in_thread(Positions.load, self._engine, reader, bases)
        if positions.sequence > info.last_sequence:  # the stream was restored from a copy
            positions.sequence = 0
        return positions

    def _handling(self, found: Sequence[Positions]) -> HandlingTogether:
        each = [
            (Handling(it, self._engine, self._bus, positions, garage), it.events)
            for it, positions, garage in zip(self._subscriptions, found, self._garages, strict=True)
        ]
        return HandlingTogether(each, self._bus)

    async def progress(self) -> list[Progress]:
        """Looked up now, at the server; where it cannot tell, something is waiting."""
        try:
            info = await self._broker.stream(self._stream)
            head = info.last_sequence if info else 0
            backlog = await self._waiting(head)
        except (BrokerUnavailable, BrokerRefusal):
            head, backlog = 0, 1
        return [
            Progress("consumer", it.consumer, self._sequence, backlog, head, self._stream, garage.count)
            for it, garage in zip(self._subscriptions, self._garages, strict=True)
        ]

    async def _waiting(self, head: int) -> int:
        """Messages not handled; where nobody reads here, at least one unless there is no stream or it is empty."""
        pull = self._pull
        if pull is None:
            return max(1, head - self._sequence) if head else 0
        return 0 if head == self._sequence else await pull.waiting(head)

    async def _handle_all(
        self, pull: OrderedPull, handling: HandlingTogether, leaderships: Sequence[Leadership]
    ) -> None:
        loop = asyncio.get_running_loop()
        check = loop.time() + CHECK_SECONDS
        while True:
            messages = await pull.next(self._batch_limit, max(0.0, check - loop.time()) + _GATHER_SECONDS)
            if messages:
                if len(messages) < self._batch_limit // 4:
                    await asyncio.sleep(_GATHER_SECONDS)
                    messages += pull.at_hand(self._batch_limit - len(messages))
                self._sequence = await handling.handle(messages)
                self.handled += len(messages)
                self.batches += 1
                pull.done()
            if loop.time() > check:
                for it in leaderships:
                    await it.check()
                await handling.redrive()
                check = loop.time() + CHECK_SECONDS

    def _subjects(self) -> list[str]:
        """What of the stream to ask for; nothing in particular if it is all of it."""
        each = [it.events for it in self._subscriptions]
        events = list(dict.fromkeys(event for it in each for event in it)) if all(each) else []
        if self._shard.count == 1:
            return subjects_of("*", events)
        lanes = self._shard.partitions
        return [it for lane in lanes for it in subjects_of("*", events or ["*"], lane)] if lanes else []
