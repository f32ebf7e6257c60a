"""Redelivery: every message comes three to ten times, out of order and across restarts, and has its effect once all the same.

Copies are appended to the streams, so that no window of the broker recognises them, and consumers are made to forget how far they
were. What is left to tell a repeated message from a new one are the positions in PostgreSQL; without them the same messages count twice.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic, sleep
from typing import Final
from unittest.mock import patch

import psycopg
import sqlalchemy as sa
from psycopg.sql import SQL, Identifier

from chassis import consumer as consumers
from chassis.broker import Broker, Parcel, Stored
from chassis.clock import SystemClock
from chassis.commands import CommandBus, UnitOfWork
from chassis.consumer import Consumer, Incoming, Subscription
from chassis.envelope import Offset
from chassis.event_store import PostgresEventStore
from chassis.positions import Positions
from deploy.local.stack import LocalStack
from faults import judging, read_models
from faults.stage import Stage, opened
from faults.verdict import Control, Scale, Verdict
from faults.workplace import with_chassis

SERVICES: Final = ("identity", "tracking", "tagging", "membership")
CONSUMING: Final = ("tagging", "membership")
STREAMS: Final = ("identity", "tracking", "tracking_behaviours")
FACTS: Final = {Scale.FULL: 3_000, Scale.SMALL: 250}
COPIES: Final = {Scale.FULL: 2, Scale.SMALL: 1}
RESTARTS: Final = {Scale.FULL: 2, Scale.SMALL: 1}
_COUNTED: Final = ("stored_events", "receipts", "inbox", "parked")
_BATCH: Final = 50
_PATIENCE_SECONDS: Final = 120


class ForgetfulPositions(Positions):
    """The negative control: knows where it has got to, but does not compare."""

    def __getitem__(self, partition: int) -> Offset:
        return Offset(0)


def run(scale: Scale) -> Verdict:
    with opened("redelivery", SERVICES) as stage:
        _make_facts(stage, FACTS[scale])
        before = _state(stage.stack)
        messages = asyncio.run(_repeat_all(stage.stack, COPIES[scale]))
        stage.caller.rest()
        again = 0
        for _ in range(RESTARTS[scale]):
            _forget_and_restart(stage.stack)
            stage.caller.rest()
            again += asyncio.run(_delivered(stage.stack))
        finding = read_models.compare(before, _state(stage.stack), "after every message was delivered again")
        finding.add(judging.judge(stage.brand, stage.stack))
        finding.add(stage.findings())
        ours, forgetful = asyncio.run(_compare_counts(stage.stack))
    deliveries = (1 + COPIES[scale]) * (1 + RESTARTS[scale])
    finding.lost += [f"message {it}" for it in messages if not ours[it]]
    finding.doubled += [f"message {it}" for it in messages if ours[it] > 1]
    twice = sum(it > 1 for it in forgetful.values())
    return Verdict(
        fault="redelivery",
        done=f"every message {deliveries} times: {COPIES[scale]} shuffled copies in the streams, consumers killed and set back"
        f" {RESTARTS[scale]} times",
        acknowledged=len(messages),
        lost=len(finding.lost),
        doubled=len(finding.doubled),
        control=Control(
            "positions that are not compared", f"{twice:,} of {len(messages):,} messages count twice or more", twice > 0
        ),
        problems=finding.problems,
        figures={"messages handed out again by restarts": again, "read models and logs compared": len(before)},
    )


def _make_facts(stage: Stage, count: int) -> None:
    stage.traffic.start()
    give_up = monotonic() + _PATIENCE_SECONDS
    while sum(stage.journal.counts().values()) < count and monotonic() < give_up:
        sleep(0.05)
    stage.traffic.finish()
    stage.caller.rest()


def _state(stack: LocalStack) -> Mapping[str, str]:
    """The hashes of all read models, and how many events, receipts and messages there are."""
    found = read_models.hashes(stack)
    for service in CONSUMING:
        with psycopg.connect(stack.postgres.dsn(service)) as rows:
            for table in _COUNTED:
                counted = rows.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()
                found[f"{service}/{table}"] = str(counted)
    return found


def _forget_and_restart(stack: LocalStack) -> None:
    """Kill the consumers, remove what saves them from reading everything again, and start them."""
    for service in CONSUMING:
        stack.kill(service)
        with psycopg.connect(stack.postgres.dsn(service)) as rows:
            rows.execute("DELETE FROM consumer_cursors")
        stack.component(service).child.start()


async def _repeat_all(stack: LocalStack, copies: int) -> Sequence[str]:
    """Append every message of every stream so many times, shuffled; the ids of all messages.

    The last stays last: it is the relay's cursor.
    """
    dice = random.Random(7)  # noqa: S311 - repeatable
    ids: list[str] = []
    async with _connected(stack) as broker:
        for stream in STREAMS:
            stored = await _stored(broker, stream)
            ids += [it.headers["ce-id"] for it in stored]
            for _ in range(copies):
                shuffled = [*dice.sample(stored[:-1], len(stored) - 1), *stored[-1:]]
                await _append(broker, stream, shuffled)
    return ids


async def _delivered(stack: LocalStack) -> int:
    """How many messages the server has handed out to the consumers since they were started."""
    delivered = 0
    async with _connected(stack) as broker:
        for stream in STREAMS:
            found = await broker.request(f"CONSUMER.LIST.{stream}", {})
            mine = [it for it in found["consumers"] if it["name"].startswith(CONSUMING)]
            delivered += sum(it["delivered"]["consumer_seq"] for it in mine)
    return delivered


async def _stored(broker: Broker, stream: str) -> list[Stored]:
    info = await broker.stream(stream)
    if info is None:
        raise AssertionError(f"there is no stream {stream}")
    found = [await broker.message(stream, seq=it) for it in range(info.first_sequence, info.last_sequence + 1)]
    return [it for it in found if it is not None]


async def _append(broker: Broker, stream: str, messages: Sequence[Stored]) -> None:
    """With the headers they had, but without the id by which the broker would know them again."""
    info = await broker.stream(stream)
    last = info.last_sequence if info else 0
    parcels = [Parcel(it.subject, _headers(it.headers), it.payload) for it in messages]
    for start in range(0, len(parcels), 200):
        last = await broker.publish_batch(parcels[start : start + 200], last)


def _headers(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items() if not name.startswith("Nats-"))


async def _compare_counts(stack: LocalStack) -> tuple[Counter[str], Counter[str]]:
    """How often each message counts for a consumer like any other, and for one that does not compare positions."""
    ours = await _counts(stack, "counting")
    with patch.object(consumers, "Positions", ForgetfulPositions):
        forgetful = await _counts(stack, "counting_forgetful")
    return ours, forgetful


async def _counts(stack: LocalStack, name: str) -> Counter[str]:
    """Let a new consumer read all streams twice, with a row for every message it is given."""
    database = with_chassis(stack.postgres, name)
    store = PostgresEventStore(database.writer_dsn)
    bus = CommandBus(store, SystemClock(), [])
    with store.engine.begin() as rows:
        rows.execute(sa.text("CREATE TABLE counted (id text NOT NULL)"))
    bus.start()
    try:
        async with _connected(stack) as broker:
            for _ in range(2):
                with store.engine.begin() as rows:
                    rows.execute(sa.text("DELETE FROM consumer_cursors"))
                await _read_all(
                    Consumer(Subscription(name, STREAMS, _count), store.engine, broker, bus, batch_limit=_BATCH)
                )
        with store.engine.connect() as rows:
            return Counter(rows.scalars(sa.text("SELECT id FROM counted")))
    finally:
        bus.stop()
        store.close()


def _count(batch: Sequence[Incoming], work: UnitOfWork) -> None:
    work.rows.execute(sa.text("INSERT INTO counted VALUES (:id)"), [{"id": it.id} for it in batch])


async def _read_all(consumer: Consumer) -> None:
    """Run `consumer` until nothing is left for it to read."""
    running = asyncio.create_task(consumer.run())
    give_up = monotonic() + _PATIENCE_SECONDS
    try:
        while any(it.backlog for it in await consumer.progress()):
            if monotonic() > give_up:
                raise TimeoutError("the counting consumer does not get to the end")
            await asyncio.sleep(0.02)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@asynccontextmanager
async def _connected(stack: LocalStack) -> AsyncIterator[Broker]:
    broker = Broker(stack.nats.url, monitor_url=stack.nats.monitor_url, name="faults")
    await broker.connect()
    try:
        yield broker
    finally:
        await broker.close()
