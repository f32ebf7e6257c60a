"""The roles of a service: which loops each stands for, and the one-shots that do one thing and end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from chassis import parked
from chassis.commands import UnitOfWork
from chassis.consumer import Consumer, Incoming, Joint, Shard, Subscription
from chassis.epochs import Epochs
from chassis.event_store import PostgresEventStore
from chassis.kit import Kit, opened
from chassis.loops import Loop
from chassis.projection import Projector
from chassis.published_log import PublicLog, PublishedLog
from chassis.relay import Relay
from chassis.settings import InvalidSettingsError
from chassis.shares import Shares
from chassis.telemetry import Tracing
from chassis.timers import TimerLoop

if TYPE_CHECKING:
    from chassis.service import OneShot, Service

_log = structlog.get_logger(__name__)


def loops(service: "Service", kit: Kit, role: str) -> list[Loop]:
    """The loops that `role` stands for in `service`."""
    if role in service.loops:
        return [service.loops[role](kit)]
    return LOOPS[role](service, kit)


def _relays(service: "Service", kit: Kit) -> list[Loop]:
    return [
        Relay(it, kit.engine, kit.broker, poll=kit.settings.poll_seconds, pulse=kit.pulse)
        for it in public_logs(service, kit)
    ]


def _projectors(service: "Service", kit: Kit) -> list[Loop]:
    if not service.projections:
        return []
    sources, pace = service.sources(kit.engine), kit.settings.poll_seconds
    return [Projector(service.projections, kit.engine, kit.store, poll=pace, pulse=kit.pulse, sources=sources)]


def _consumers(service: "Service", kit: Kit) -> list[Loop]:
    shard = Shard(kit.settings.shard_index, kit.settings.shard_count)
    return [_consumer(_traced(it, kit.tracing), kit, shard) for it in service.subscriptions(kit)]


def _traced(subscription: Subscription | Joint, tracing: Tracing) -> Subscription | Joint:
    if isinstance(subscription, Joint):
        return Joint([traced(it, tracing) for it in subscription.subscriptions])
    return traced(subscription, tracing)


def _consumer(subscription: Subscription | Joint, kit: Kit, me: Shard) -> Loop:
    """The whole consumer, or where there may be several processes the share of the one that we are."""

    def reading(shard: Shard) -> Consumer:
        return Consumer(subscription, kit.engine, kit.broker, kit.bus, shard=shard)

    return reading(me) if me.count == 1 else Shares(f"consume/{subscription.consumer}", kit.engine, me, reading)


def traced(subscription: Subscription, tracing: Tracing) -> Subscription:
    """The subscription with a span around what it makes of each message, below the one that sent it, or of each batch."""
    if not tracing.is_on:
        return subscription
    name, handle = f"process {subscription.consumer}", cast("Callable[..., Any]", subscription.handle)
    system: dict[str, str | int] = {"messaging.system": "nats", "messaging.consumer.group.name": subscription.consumer}

    def react(incoming: Incoming) -> Sequence[Any]:
        attributes = {**system, "messaging.message.id": incoming.id}
        with tracing.span(name, incoming.context.traceparent, attributes, "CONSUMER"):
            return cast("Sequence[Any]", handle(incoming))

    def absorb(batch: Sequence[Incoming], work: UnitOfWork) -> None:
        attributes = {**system, "messaging.batch.message_count": len(batch)}
        with tracing.span(name, None, attributes, "CONSUMER"):
            handle(batch, work)

    return replace(subscription, handle=absorb if subscription.absorbs else react)


def _timers(service: "Service", kit: Kit) -> list[Loop]:
    if not service.timers:
        return []
    pace = kit.settings.poll_seconds
    return [TimerLoop(kit.bus, service.timers, kit.engine, kit.clock, poll=pace, pulse=kit.pulse)]


LOOPS: Final[Mapping[str, Callable[["Service", Kit], list[Loop]]]] = {
    "relay": _relays,
    "project": _projectors,
    "consume": _consumers,
    "timers": _timers,
}
"""The roles every service has, beside `serve`."""


def public_logs(service: "Service", kit: Kit) -> list[PublicLog]:
    """The event store as a log, where the service publishes it, and the logs of its own."""
    others = list(service.public_logs(kit))
    if service.publish is None or service.partition_key is None:
        return others
    own = PublishedLog(
        service.name,
        kit.store,
        publish=service.publish,
        partition_key=service.partition_key,
        private=service.private,
    )
    return [own, *others]


async def rebuild(service: "Service", names: Sequence[str]) -> None:
    """Build read models anew beside those that serve: the ones named, or all."""
    known = {it.name for it in service.projections}
    unknown = set(names) - known
    if unknown:
        raise InvalidSettingsError(f"no read model {', '.join(sorted(unknown))}; there is {', '.join(sorted(known))}")
    store = PostgresEventStore(service.settings.database_url)
    try:
        projector = Projector(service.projections, store.engine, store, sources=service.sources(store.engine))
        for name in names or sorted(known):
            build = await projector.rebuild(name)
            _log.info("service.rebuilt", projection=name, build=build.build, position=build.position)
    finally:
        store.close()


async def redrive(service: "Service", names: Sequence[str]) -> None:
    """Ask for another try of what a consumer (or "timers") put aside: all of it, or all of one key."""
    if not names:
        raise InvalidSettingsError("redrive <consumer> [key]")
    _expect(names[1:], 1, "redrive <consumer> [key]")
    store = PostgresEventStore(service.settings.database_url)
    try:
        asked = await parked.redrive(store.engine, names[0], names[1] if len(names) > 1 else None)
        _log.info("service.redrive", consumer=names[0], messages=asked)
    finally:
        store.close()


async def restored(service: "Service", names: Sequence[str]) -> None:
    """Begin a new epoch of every stream of the service, whose database was restored; while it answers nobody."""
    _expect(names, 0, "restored")
    async with opened(service.settings, service.handlers) as kit:
        await kit.broker.connect()
        for log in public_logs(service, kit):
            epoch, base = await Epochs(kit.engine, kit.broker, log).begin()
            _log.info("service.new_epoch", stream=log.name, epoch=epoch, base=base)


ONE_SHOTS: Final[Mapping[str, "OneShot"]] = {
    "rebuild": rebuild,
    "redrive": redrive,
    "restored": restored,
}


def _expect(names: Sequence[str], most: int, usage: str) -> None:
    if len(names) > most:
        raise InvalidSettingsError(f"usage: {usage}")
