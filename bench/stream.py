"""The place of tracking in a benchmark of tagging: behaviours into its stream, and who is told of to have entered a segment."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import time
from typing import Final, NamedTuple, Self
from uuid import UUID, uuid4

from nats.aio.msg import Msg

from chassis.broker import BATCH_LIMIT, Broker, Parcel, StreamSpec
from chassis.envelope import Address, Offset, Outgoing, seal, subject_pattern, tenant_token
from chassis.epochs import BASES
from deploy.local.stack import LocalStack
from scrm.tagging.v1.events_pb2 import SegmentEntered
from scrm.tracking.v1.events_pb2 import BehaviourTracked

NAME: Final = "tracking_behaviours"
_TYPE: Final = BehaviourTracked.DESCRIPTOR.full_name
_EVENT: Final = "behaviour_tracked"
_PATIENCE: Final = 300.0


class Behaved(NamedTuple):
    """What somebody did, and when."""

    node: UUID
    kind: str
    at: datetime


class Stream:
    """The stream of behaviours, written as tracking's relay does: in atomic batches, in the order of a log."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._last = 0
        self._position = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, stack: LocalStack) -> AsyncIterator[Self]:
        broker = Broker(stack.nats.url, monitor_url=stack.nats.monitor_url)
        await broker.connect()
        try:
            found = cls(broker)
            info = await broker.ensure_stream(StreamSpec(NAME, [subject_pattern(_TYPE, _EVENT)], {BASES: "0"}))
            found._last = found._position = info.last_sequence
            yield found
        finally:
            await broker.close()

    async def publish(self, tenant: str, events: Sequence[Behaved]) -> None:
        """Returns when all are stored."""
        for first in range(0, len(events), BATCH_LIMIT // 2):
            some = events[first : first + BATCH_LIMIT // 2]
            self._last = await self.broker.publish_batch([self._sealed(tenant, it) for it in some], self._last)

    def _sealed(self, tenant: str, it: Behaved) -> Parcel:
        self._position += 1
        message = BehaviourTracked(
            message_id=str(uuid4()),
            source_key="bench",
            event_type=it.kind,
            category="I",
            node_id=str(it.node),
            channel="h5",
            content_id="H5-1",
            properties_json=b'{"n": 7}',
        )
        message.occur_time.FromDatetime(it.at)
        message.receive_time.FromDatetime(it.at)
        payload = message.SerializeToString()
        outgoing = Outgoing(self._position, tenant, _EVENT, it.node, payload, it.at, _TYPE)
        return seal(outgoing, Address(NAME, 1, Offset(self._position)))


@dataclass(slots=True)
class Entries:
    """Who was told of to have entered which segment: by segment and customer, the second at which that was heard, the one it was due."""

    _heard: dict[str, dict[str, tuple[float, float]]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    @asynccontextmanager
    async def heard(cls, stream: Stream, tenant: str) -> AsyncIterator[Self]:
        found = cls()
        subject = f"scrm.{tenant_token(tenant)}.tagging.v1.segment_entered.*"
        subscription = await stream.broker.subscribe(subject, found._receive)
        try:
            yield found
        finally:
            await stream.broker.unsubscribe(subscription)

    async def _receive(self, message: Msg) -> None:
        now, it = time(), SegmentEntered.FromString(message.data)
        self._heard[it.segment_id].setdefault(it.customer_id, (now, it.enter_time.ToDatetime(UTC).timestamp()))

    async def after(self, segment: str, since: Mapping[UUID, float]) -> list[float]:
        """The seconds from each second of `since` until its customer was told of; waits for all of them."""
        found = await self._all(segment, since)
        return [found[str(it)][0] - second for it, second in since.items()]

    async def late(self, segment: str, whom: Mapping[UUID, float]) -> list[float]:
        """The seconds from the instant each was due at until it was told of."""
        found = await self._all(segment, whom)
        return [heard - due for heard, due in (found[str(it)] for it in whom)]

    async def _all(self, segment: str, whom: Mapping[UUID, float]) -> Mapping[str, tuple[float, float]]:
        wanted = {str(it) for it in whom}
        async with asyncio.timeout(_PATIENCE):
            while not wanted <= self._heard[segment].keys():  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.02)
        return self._heard[segment]
