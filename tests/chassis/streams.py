"""What the tests of relay, consumers, projections and timers share: a log in memory, things running, waiting with a deadline."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from time import monotonic
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.wrappers_pb2 import Int64Value

from chassis.broker import Broker, BrokerRefusal, Parcel, Stored, StreamSpec
from chassis.envelope import Address, Incoming, Offset, Outgoing, seal
from chassis.loops import Loop
from chassis.pulse import News
from deploy.local.broker import NatsServer

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PATIENCE = 20.0
_DUPLICATE_ID = 10201


class ListLog:
    """A public log in memory. What a message says is a number; `silent` positions publish nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.news = News.ROWS
        self.entries: list[list[Outgoing]] = []
        self.reads = 0

    def say(self, *numbers: int, key: str | UUID = "k", tenant: str = "acme") -> int:
        """One position with a message per number; its position."""
        position = len(self.entries) + 1
        self.entries.append([saying(position, number, key, tenant) for number in numbers])
        return position

    def say_each(self, numbers: Iterable[int], keys: int = 7) -> None:
        for number in numbers:
            self.say(number, key=f"k{number % keys}")

    def read(self, after: int, limit: int) -> list[Outgoing]:
        self.reads += 1
        found: list[Outgoing] = []
        for messages in self.entries[after:]:
            found += messages
            if len(found) >= limit:
                break
        return found

    def head(self) -> int:
        return len(self.entries)

    async def head_now(self) -> int:
        return self.head()


def saying(position: int, number: int, key: str | UUID = "k", tenant: str = "acme") -> Outgoing:
    return Outgoing(
        position,
        tenant,
        "int64_value",
        key,
        Int64Value(value=number).SerializeToString(),
        NOON + timedelta(milliseconds=position),
        "google.protobuf.Int64Value",
    )


def number_in(message: Incoming) -> int:
    return message.parse(Int64Value).value


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str = "", seconds: float = PATIENCE) -> None:
    """Wait until `holds` says so; fails the test after `seconds`."""
    deadline = monotonic() + seconds
    while True:
        answer = holds()
        if isawaitable(answer):
            answer = await answer
        if answer:
            return
        assert monotonic() < deadline, f"in vain: {what or holds}"
        await asyncio.sleep(0.005)


async def settled(*loops: Loop) -> bool:
    """Whether none of `loops` has anything left to do: not at two looks in a row, between which nothing has moved. What one of them did
    during the first may be work for one that had been looked at by then."""
    try:
        found = [it for loop in loops for it in await loop.progress()]
        if any(it.backlog for it in found):
            return False
        return found == [it for loop in loops for it in await loop.progress()]
    except sa.exc.OperationalError:  # a connection that was cut a moment ago
        return False


@asynccontextmanager
async def running(*loops: Loop) -> AsyncIterator[None]:
    """Runs `loops` for the body of the with statement."""
    tasks = [asyncio.create_task(it.run()) for it in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def connected(server: NatsServer) -> AsyncIterator[Broker]:
    """A broker on `server`, which has no streams before and after."""
    broker = Broker(server.url, monitor_url=server.monitor_url)
    await broker.connect()
    await clear(broker)
    try:
        yield broker
    finally:
        await clear(broker)
        await broker.close()


async def clear(broker: Broker) -> None:
    for name in (await broker.request("STREAM.NAMES", {}))["streams"] or []:
        await broker.delete_stream(name)


async def stored_in(broker: Broker, stream: str) -> list[Stored]:
    """Everything in a stream."""
    info = await broker.stream(stream)
    if info is None:
        return []
    sequences = range(info.first_sequence, info.last_sequence + 1)
    found = [await broker.message(stream, seq=it) for it in sequences]
    return [it for it in found if it is not None]


def numbers_in(messages: Iterable[Stored]) -> list[int]:
    return [Int64Value.FromString(it.payload).value for it in messages]


def addresses_in(messages: Iterable[Stored]) -> list[Any]:
    return [Address.of(it.headers["ce-id"]) for it in messages]


async def fill(broker: Broker, stream: str, outgoing: Iterable[Outgoing], epoch: int = 1) -> None:
    """Append messages to a stream as a relay would, whether they are there already or not."""
    await broker.ensure_stream(StreamSpec(stream, ["scrm.*.protobuf.v1.int64_value.*"]))
    positions: dict[int, int] = {}
    parcels = []
    for it in outgoing:
        part = positions[it.position] = positions.get(it.position, -1) + 1
        parcels.append(seal(it, Address(stream, epoch, Offset(it.position, part))))
    info = await broker.stream(stream)
    assert info is not None
    last = info.last_sequence
    for start in range(0, len(parcels), 500):
        last = await _insist(broker, parcels[start : start + 500], last)


async def _insist(broker: Broker, parcels: list[Parcel], last: int) -> int:
    """Publish even what was published before, as soon as the server's own window for duplicates is over."""
    deadline = monotonic() + PATIENCE
    while True:
        try:
            return await broker.publish_batch(parcels, last)
        except BrokerRefusal as refusal:
            if refusal.code != _DUPLICATE_ID or monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
