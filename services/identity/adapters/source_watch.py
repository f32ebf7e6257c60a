"""How far identity is with what other services tell, and whether they are there at all, as looked up not long ago.

A look asks the broker, PostgreSQL and the health of each service, all at once and none for longer than `PATIENCE_SECONDS`. Callers get
the last look while it is fresh; while it is usable they get it too and the next one is begun; only who comes after a silence waits.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final, NamedTuple

import grpc
import psycopg
import sqlalchemy as sa
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.broker import Broker, BrokerRefusal, BrokerUnavailable
from chassis.clock import Clock
from chassis.positions import Shard
from chassis.quick_look import QuickLook
from chassis.settings import InvalidSettingsError
from services.identity.application.profile_policies import CONSUMER, SERVICE_OF
from services.identity.domain.availability import SourceState, SourceStates
from services.identity.read_models.profile.projection import NAME

PATIENCE_SECONDS: Final = 0.2
FRESH_SECONDS: Final = 1.0
USABLE_SECONDS: Final = 5.0

_NOT_FOUND: Final = {10014, 10059}  # no such consumer, no such stream
_CURSORS: Final = f"SELECT stream, shard, sequence FROM consumer_cursors WHERE consumer = '{CONSUMER}'"  # noqa: S608
_UNAPPLIED: Final = (
    f"SELECT (SELECT coalesce(max(position), 0) FROM inbox) - position FROM projections WHERE live AND name = '{NAME}'"  # noqa: S608
)

Channels = Callable[[str], grpc.aio.Channel]
"""The channel to a service; InvalidSettingsError where nobody said how it is reached."""


class SourceWatch:
    """Looks when it is asked, and remembers."""

    def __init__(self, engine: sa.Engine, broker: Broker, channels: Channels, clock: Clock, *, shards: int = 1) -> None:
        self._engine = engine
        self._broker = broker
        self._channels = channels
        self._clock = clock
        self._shards = [Shard(it, shards) for it in range(shards)]
        self._last: SourceStates | None = None
        self._looked = float("-inf")
        self._looking: asyncio.Task[SourceStates] | None = None

    async def states(self) -> SourceStates:
        """All streams as of at most USABLE_SECONDS ago."""
        age = monotonic() - self._looked
        if self._last is not None and age < FRESH_SECONDS:
            return self._last
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        if self._last is not None and age < USABLE_SECONDS:
            return self._last
        return await asyncio.shield(self._looking)

    async def _look(self) -> SourceStates:
        looked_at, services = self._clock.now(), sorted(set(SERVICE_OF.values()))
        reached, serving, delivered = await asyncio.gather(
            self._reached(),
            asyncio.gather(*(self._is_serving(it) for it in services)),
            asyncio.gather(*(self._delivered(it) for it in SERVICE_OF)),
        )
        is_serving, of_stream = dict(zip(services, serving, strict=True)), dict(zip(SERVICE_OF, delivered, strict=True))
        streams = {
            stream: state_of(stream, is_serving[service], of_stream[stream], reached)
            for stream, service in SERVICE_OF.items()
        }
        self._last, self._looked = SourceStates(looked_at, streams), monotonic()
        return self._last

    async def _reached(self) -> "Reached | None":
        """How far we are; None if that cannot be found out."""
        look = QuickLook.of(self._engine)
        cursors, unapplied = look.ask(_CURSORS), look.ask_scalar(_UNAPPLIED)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = {(stream, shard): sequence for stream, shard, sequence in await cursors}
                return Reached(found, await unapplied)
        except (sa.exc.SQLAlchemyError, psycopg.Error, TimeoutError):
            return None

    async def _is_serving(self, service: str) -> bool:
        """Whether it answers; one that nobody said how to reach is judged by its stream alone."""
        try:
            stub: Any = health_pb2_grpc.HealthStub(self._channels(service))
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
        except InvalidSettingsError:
            return True
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _delivered(self, stream: str) -> "list[Delivered | None] | None":
        """By shard, None for one that nobody reads; None instead of all if that cannot be found out."""
        try:
            return [await self._delivered_to(stream, str(shard)) for shard in self._shards]
        except (BrokerUnavailable, BrokerRefusal):
            return None

    async def _delivered_to(self, stream: str, shard: str) -> "Delivered | None":
        try:
            info = await self._broker.request(f"CONSUMER.INFO.{stream}.{CONSUMER}-{shard}", seconds=PATIENCE_SECONDS)
        except BrokerRefusal as refusal:
            if refusal.code in _NOT_FOUND:
                return None
            raise
        return Delivered(shard, info["num_pending"], info["delivered"]["stream_seq"])


class Reached(NamedTuple):
    """The last sequence handled by stream and shard, and how many kept messages the read model lacks (None: there is none)."""

    sequences: Mapping[tuple[str, str], int]
    unapplied: int | None


class Delivered(NamedTuple):
    """What the broker knows of one of our readers: messages not delivered yet, and the last sequence that was."""

    shard: str
    pending: int
    sequence: int


def state_of(
    stream: str, is_serving: bool, delivered: list[Delivered | None] | None, reached: Reached | None
) -> SourceState:
    """What a look at a stream says: whatever it could not find out is None."""
    if reached is None or delivered is None:
        return SourceState(is_read=True, is_serving=is_serving, behind=None)
    known = [it for it in delivered if it is not None]
    is_complete = len(known) == len(delivered)
    was_read = is_complete or any(it == stream for it, _ in reached.sequences)
    if reached.unapplied is None or not was_read:
        return SourceState(is_read=False, is_serving=is_serving, behind=None)
    if not is_complete:
        return SourceState(is_read=True, is_serving=is_serving, behind=None)
    waiting = sum(
        it.pending + max(0, it.sequence - reached.sequences.get((stream, it.shard), it.sequence)) for it in known
    )
    return SourceState(is_read=True, is_serving=is_serving, behind=waiting + reached.unapplied)
