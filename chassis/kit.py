"""What a running service is made of: the parts its servicers, subscriptions and loops are built from."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
import sqlalchemy as sa

from chassis.broker import Broker
from chassis.clock import Clock, ReplayClock, SystemClock
from chassis.commands import CommandBus, Handlers
from chassis.credentials import MintedTokens, TokenFile, TokenSource
from chassis.event_store import PostgresEventStore
from chassis.grpc_client import Channels
from chassis.pulse import News, Pulse
from chassis.read_models import ReadModels
from chassis.settings import REPLAY_CLOCK, ChassisSettings, InvalidSettingsError
from chassis.telemetry import Metrics, Tracing

_BEFORE_ANY_REPLAY: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Kit:
    """The parts of one process of a service; opened and closed by its runner.

    Whoever commits something that loops wait for, and not through the bus, calls `pulse.beat()` afterwards.
    """

    settings: ChassisSettings
    clock: Clock
    store: PostgresEventStore
    bus: CommandBus
    read_models: ReadModels
    broker: Broker
    channels: Channels
    metrics: Metrics
    tracing: Tracing
    pulse: Pulse

    @property
    def engine(self) -> sa.Engine:
        """The database under the writer's role."""
        return self.store.engine

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to another service, such as "identity", for the generated stubs."""
        return self.channels.to(service)


@asynccontextmanager
async def opened(settings: ChassisSettings, handlers: Handlers) -> AsyncIterator[Kit]:
    """The parts, made and closed again in the opposite order: NATS is closed before the pools of PostgreSQL."""
    metrics = Metrics()
    pulse = Pulse()
    clock: Clock = _BeatingClock(pulse) if settings.clock == REPLAY_CLOCK else SystemClock()
    async with AsyncExitStack() as closing:
        tracing = Tracing.from_environment(settings.service, os.environ)
        closing.callback(tracing.close)
        store = PostgresEventStore(settings.database_url)
        closing.callback(store.close)
        read_models = ReadModels(settings.reader_database_url)
        closing.callback(read_models.close)
        broker = Broker(
            settings.nats_url,
            monitor_url=settings.nats_monitor_url or None,
            allow_unsynced=settings.allow_unsynced_broker,
            replicas=settings.nats_replicas,
            name=settings.service,
        )
        closing.push_async_callback(broker.close)
        channels = Channels(lambda service: address_of(settings, service), tokens(settings))
        closing.push_async_callback(channels.close)
        bus = CommandBus(store, clock, handlers, observer=_Told(metrics, pulse))
        bus.start()
        closing.callback(bus.stop)
        yield Kit(settings, clock, store, bus, read_models, broker, channels, metrics, tracing, pulse)


def address_of(settings: ChassisSettings, service: str) -> str:
    """Where `service` listens. Raises InvalidSettingsError where nobody said so."""
    if service not in settings.service_addresses:
        raise InvalidSettingsError(f"SCRM_{service.upper()}_ADDRESS is needed")
    return settings.service_addresses[service]


def tokens(settings: ChassisSettings) -> TokenSource:
    """The tokens this service calls others with."""
    if settings.service_token_file:
        return TokenFile(settings.service_token_file)
    if settings.service_key:
        return MintedTokens(Path(settings.service_key), settings.service, settings.issuer, settings.audience)
    return _NoTokens()


class _Told:
    """Tells of every commit of the bus to the metrics, and to the loops that wait for news."""

    def __init__(self, metrics: Metrics, pulse: Pulse) -> None:
        self.concluded = metrics.concluded
        self._metrics = metrics
        self._pulse = pulse

    def committed(self, commands: int, events: int, timers: int, seconds: float) -> None:
        self._metrics.committed(commands, events, seconds)
        self._pulse.beat(News.ROWS | (News.EVENTS if events else 0) | (News.TIMERS if timers else 0))


class _BeatingClock(ReplayClock):
    """A replay clock whose steps wake the loops: something may have come due."""

    def __init__(self, pulse: Pulse) -> None:
        super().__init__(_BEFORE_ANY_REPLAY)
        self._pulse = pulse

    def set(self, at: datetime) -> None:
        super().set(at)
        self._pulse.beat()


class _NoTokens:
    """For services that call nobody."""

    def token(self, tenant: str, scopes: object) -> str:
        raise InvalidSettingsError("SCRM_SERVICE_KEY or SCRM_SERVICE_TOKEN_FILE is needed to call other services")
