"""How long after its durable answer a behaviour has changed a tag, as somebody who asks by gRPC sees it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from uuid import uuid4

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from bench.calls import Metadata, authorization, channel
from bench.figures import Figure, at_most
from chassis.clock import SystemClock
from deploy.local.stack import LocalStack
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity_pb
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from scrm.tagging.v1 import tagging_service_pb2 as tagging_pb
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import EventContext, Identifier, TrackedEvent
from scrm.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

PROBES = 200
EVENTS_PER_SECOND = 200
PROBES_PER_SECOND = 10
TAG = "night_owl"
POLL_SECONDS = 0.05
"""Between two looks of a probe: up to so much of the result is waiting for the next look. Looking every 10 ms, probes would make
half the load under which they measure."""
GIVE_UP_SECONDS = 20.0


def measure(stack: LocalStack) -> list[Figure]:
    waited = sorted(asyncio.run(_measure(stack)))
    p50, p99 = (waited[-(-len(waited) * percent // 100) - 1] * 1000 for percent in (50, 99))
    load = f"at {EVENTS_PER_SECOND} events/s, {len(waited)} probes"
    return [
        Figure("freshness_p50_ms", p50, "ms", f"from the answer to a behaviour to its effect on a tag, {load}"),
        at_most("freshness_p99_ms", p99, 1000, "the same, 99th percentile", "ms"),
    ]


class _Stubs:
    """The calls a probe makes."""

    def __init__(
        self, tracking: grpc.aio.Channel, identity: grpc.aio.Channel, tagging: grpc.aio.Channel, metadata: Metadata
    ) -> None:
        self._track = TrackingServiceStub(tracking).TrackBatch
        self._resolve = IdentityServiceStub(identity).ResolveIdentity
        self._tags = TaggingServiceStub(tagging).GetCustomerTags
        self._metadata = metadata

    async def track(self, events: Sequence[TrackedEvent]) -> None:
        await self._track(pb.TrackBatchRequest(events=events), metadata=self._metadata, timeout=30)

    async def customer(self, visitor: str) -> str:
        identifier = customer_pb2.Identifier(namespace="anonymous_id", value=visitor)
        request = identity_pb.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[identifier])
        answer = await self._resolve(request, metadata=self._metadata, timeout=30)
        return answer.customer_id

    async def is_tagged(self, customer: str) -> bool:
        request = tagging_pb.GetCustomerTagsRequest(customer_id=customer)
        answer = await self._tags(request, metadata=self._metadata, timeout=30)
        return any(it.tag_key == TAG for it in answer.tags)


async def _measure(stack: LocalStack) -> list[float]:
    metadata = authorization(stack)
    async with (
        channel(stack.address("tracking")) as tracking,
        channel(stack.address("identity")) as identity,
        channel(stack.address("tagging")) as tagging,
    ):
        stubs = _Stubs(tracking, identity, tagging, metadata)
        visitors = [f"probe:{uuid4()}" for _ in range(PROBES)]
        customers = await asyncio.gather(*(stubs.customer(it) for it in visitors))
        for night in range(2, 6):
            await stubs.track([_view(it, _night(night)) for it in visitors])
        noise = asyncio.create_task(_noise(stubs))
        await _require_untagged(stubs, customers)
        probes = []
        for visitor, customer in zip(visitors, customers, strict=True):
            probes.append(asyncio.create_task(_probe(stubs, visitor, customer)))
            await asyncio.sleep(1 / PROBES_PER_SECOND)
        try:
            return await asyncio.gather(*probes)
        finally:
            noise.cancel()


async def _require_untagged(stubs: _Stubs, customers: Sequence[str]) -> None:
    """Four nights do not make a night owl; otherwise the probes would find what was there before."""
    if any(await asyncio.gather(*(stubs.is_tagged(it) for it in customers))):
        raise AssertionError("tagged before the fifth night")


async def _probe(stubs: _Stubs, visitor: str, customer: str) -> float:
    """The fifth night makes a night owl: seconds from its answer until the tag is seen."""
    await stubs.track([_view(visitor, _night(1))])
    answered = perf_counter()
    while not await stubs.is_tagged(customer):
        if perf_counter() - answered > GIVE_UP_SECONDS:
            raise AssertionError(f"no effect after {GIVE_UP_SECONDS} seconds")
        await asyncio.sleep(POLL_SECONDS)
    return perf_counter() - answered


async def _noise(stubs: _Stubs) -> None:
    """Other people's behaviours, in small batches as SDKs send them."""
    while True:
        now = SystemClock().now()
        await stubs.track(
            [_view(f"noise:{uuid4()}", now) for _ in range((EVENTS_PER_SECOND - PROBES_PER_SECOND) // 10)]
        )
        await asyncio.sleep(0.1)


def _night(ago: int) -> datetime:
    """One o'clock at night, UTC, some nights ago."""
    today = SystemClock().now().astimezone(UTC).replace(hour=1, minute=0, second=0, microsecond=0)
    return today - timedelta(days=ago)


def _view(visitor: str, at: datetime) -> TrackedEvent:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return TrackedEvent(
        message_id=str(uuid4()),
        source_key="h5",
        event_type="content_viewed",
        identifiers=[Identifier(namespace="anonymous_id", value=visitor)],
        original_time=stamp,
        tz_offset_minutes=0,
        context=EventContext(channel="h5", content_id="H5-1", page_view_id=str(uuid4())),
    )
