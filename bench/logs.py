"""What happens to events once they are stored: relaying them to JetStream and projecting them into a read model."""

import asyncio
from collections.abc import Sequence
from statistics import median
from time import perf_counter
from uuid import uuid4

from bench.calls import authorization, calls_per_second, channel
from bench.figures import Figure, at_least
from chassis.broker import Broker, Parcel, StreamSpec
from chassis.event_store import PostgresEventStore
from chassis.projection import Projector
from chassis.published_log import PublishedLog
from chassis.relay import Relay
from deploy.local.stack import LocalStack
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1.customer_pb2 import Identifier
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from services.identity.application.published_events import partition_key, publish
from services.identity.read_models.customer_directory import CustomerDirectoryProjection

VISITORS = 20_000
BATCH = 500
STREAM = "identity"
ROUNDS = 3


def measure(stack: LocalStack) -> list[Figure]:
    """Fills identity's log with first sights, then works on that log with parts of our own beside the service."""
    asyncio.run(_fill(stack))
    stack.services["identity"].stop()
    store = PostgresEventStore(stack.postgres.database("identity").writer_dsn)
    try:
        relayed, raw = asyncio.run(_relay(stack, store))
        projected, read = asyncio.run(_project(store))
    finally:
        store.close()
        stack.services["identity"].start()
    return [
        Figure("relay_msgs_per_s", relayed, "messages/s", "identity's log from PostgreSQL into a stream"),
        Figure("raw_batch_publish_per_s", raw, "messages/s", "the same messages, ready made, in atomic batches of 500"),
        at_least("relay_ratio", relayed / raw, 0.4, "relay_msgs_per_s / raw_batch_publish_per_s"),
        Figure("project_events_per_s", projected, "events/s", "customer_directory built from the whole log"),
        Figure("read_log_events_per_s", read, "events/s", "reading and decoding the whole log, nothing else"),
        Figure("project_ratio", projected / read, "ratio", "project_events_per_s / read_log_events_per_s"),
    ]


async def _fill(stack: LocalStack) -> None:
    metadata = authorization(stack)
    async with channel(stack.address("identity")) as opened:
        resolve = IdentityServiceStub(opened).BatchResolve

        async def call(number: int) -> None:
            items = [
                pb.ResolveItem(identifiers=[Identifier(namespace="anonymous_id", value=f"log:{uuid4()}")])
                for _ in range(BATCH)
            ]
            await resolve(pb.BatchResolveRequest(request_id=str(uuid4()), items=items), metadata=metadata, timeout=60)

        await calls_per_second(4, VISITORS // BATCH, call)


class _Keeping(Broker):
    """Keeps the batches it is given to publish."""

    batches: list[Sequence[Parcel]]

    async def publish_batch(self, parcels: Sequence[Parcel], expected_last_sequence: int, timeout: float = 5) -> int:  # noqa: ASYNC109 - as in Broker
        self.batches.append(parcels)
        return await super().publish_batch(parcels, expected_last_sequence, timeout)


async def _relay(stack: LocalStack, store: PostgresEventStore) -> tuple[float, float]:
    """Into an empty stream each time; the service itself, which would do the same, is stopped."""
    broker = _Keeping(stack.nats.url, monitor_url=stack.nats.monitor_url)
    broker.batches = []
    await broker.connect()
    log = PublishedLog(STREAM, store, publish=publish, partition_key=partition_key)
    try:
        relayed: list[float] = []
        raw: list[float] = []
        for _ in range(ROUNDS):
            await broker.delete_stream(STREAM)
            broker.batches.clear()
            relayed.append(await _relay_all(log, store, broker))
            info = await broker.stream(STREAM)
            await broker.delete_stream(STREAM)
            await broker.ensure_stream(StreamSpec(STREAM, info.subjects if info else ()))
            raw.append(await _publish_raw(broker, list(broker.batches)))
        return median(relayed), median(raw)
    finally:
        await broker.close()


async def _relay_all(log: PublishedLog, store: PostgresEventStore, broker: Broker) -> float:
    relay = Relay(log, store.engine, broker)
    started = perf_counter()
    running = asyncio.create_task(relay.run())
    try:
        while (await relay.progress())[0].backlog or not relay.published:  # noqa: ASYNC110 - a relay has no event to wait for
            await asyncio.sleep(0.02)
        return relay.published / (perf_counter() - started)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _publish_raw(broker: Broker, batches: Sequence[Sequence[Parcel]]) -> float:
    last, started = 0, perf_counter()
    for batch in batches:
        last = await broker.publish_batch(batch, last)
    return last / (perf_counter() - started)


async def _project(store: PostgresEventStore) -> tuple[float, float]:
    projection = CustomerDirectoryProjection()
    projector = Projector([projection], store.engine, store)
    started = perf_counter()
    build = await projector.rebuild(projection.name)
    projecting, started = perf_counter() - started, perf_counter()
    position, events = 0, 0
    while recorded := store.read_log(position, 1000):
        position, events = recorded[-1].position, events + len(recorded)
    reading = perf_counter() - started
    if build.position != position:
        raise AssertionError("the projection did not reach the end of the log")
    return events / projecting, events / reading
