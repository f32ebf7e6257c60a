"""Behaviours per second into tracking, to the durable answer, beside a bare COPY of the same rows; and what each costs.

What both have alike, so that the ratio is of what we add and of nothing else: the rows; the table, its partitions, indexes and defaults,
with the rows of the rounds before in it; one connection in the writer's role, and a synchronous commit; the transactions, of as many rows
each as the writer committed together; and that all that is sent was made beforehand, requests as well as rows. COPY has no caller beside it
on the same processors, writes no key by which a message is known again, and does not look at what it is given: with that we are compared.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from os import urandom
from statistics import median
from time import perf_counter, process_time
from typing import Any, Final
from uuid import uuid4

import grpc
import psutil
import psycopg
from google.protobuf.timestamp_pb2 import Timestamp

from bench.alone import Alone, second_replica, serving_alone
from bench.calls import TENANT, authorization, calls_per_second, channel, processor_seconds
from bench.figures import Figure, at_least
from chassis.clock import SystemClock
from deploy.local.postgres import Database
from deploy.local.stack import LocalStack
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import TRACK_OUTCOME_ACCEPTED, EventContext, Identifier, TrackedEvent, TrackResult

CALLERS = 8
BATCH = 500
BATCHES = 120
ROUNDS: Final = 3

_METHOD: Final = "/scrm.tracking.v1.TrackingService/TrackBatch"
_COLUMNS: Final = "tenant, received_at, traceparent, source_key, event_type, occurred_at, late, message_id, payload"  # as the writer's
_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER: Final = b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Cost:
    """Events a second, and the microseconds of processor time that one takes our processes, PostgreSQL, and who calls."""

    events_per_s: float
    server_us: float
    postgres_us: float
    caller_us: float


def cost_of(stack: LocalStack, replicas: Sequence[Alone], batches: int) -> Cost:
    """Of so many batches of events never seen before."""

    def spent() -> tuple[float, float]:
        backends = psutil.Process(stack.pid("postgres")).children()
        return sum(processor_seconds(psutil.Process(it.pid)) for it in replicas), sum(map(processor_seconds, backends))

    before = spent()
    events_per_s, called = asyncio.run(_ingest(stack, [it.address for it in replicas], batches))
    server, postgres = (now - was for was, now in zip(before, spent(), strict=True))
    count = BATCH * (batches + 1) / 1e6
    return Cost(events_per_s, server / count, postgres / count, called / count)


def measure(stack: LocalStack) -> list[Figure]:
    with serving_alone(stack, "tracking") as alone:
        rounds = [_round(stack, alone) for _ in range(ROUNDS)]
        with second_replica(stack, "tracking", alone) as second:
            both = [cost_of(stack, (alone, second), BATCHES) for _ in range(ROUNDS)]
    crowded, _ = asyncio.run(_ingest(stack, [stack.address("tracking")], BATCHES))
    costs, rows, keyed, at_once = zip(*rounds, strict=True)
    ceiling = median(rows)
    events = median(it.events_per_s for it in costs)
    two = median(it.events_per_s for it in both)
    said = f"TrackBatch of {BATCH}, {CALLERS} callers, to the durable answer"
    return [
        Figure("ingest_events_per_s", events, "events/s", said),
        Figure("ingest_events_per_s_with_two", two, "events/s", "the same to two processes of the service"),
        Figure("ingest_events_per_s_with_all", crowded, "events/s", "while five services work on every event beside it"),
        Figure("copy_rows_per_s", ceiling, "rows/s", "bare COPY of the same rows into the same table, in the same transactions"),
        Figure("copy_rows_per_s_at_once", median(at_once), "rows/s", "the same in one transaction"),
        Figure("copy_rows_per_s_with_keys", median(keyed), "rows/s", "the same with as many keys, as in ours: what PostgreSQL can"),
        at_least("ingest_ratio", events / ceiling, 0.5, "ingest_events_per_s / copy_rows_per_s"),
        Figure("ingest_ratio_with_two", two / ceiling, "ratio", "ingest_events_per_s_with_two / copy_rows_per_s"),
        Figure("ingest_server_us", median(it.server_us for it in costs), "µs", "processor time of our process for one event"),
        Figure("ingest_postgres_us", median(it.postgres_us for it in costs), "µs", "processor time of PostgreSQL for one event"),
        Figure("ingest_caller_us", median(it.caller_us for it in costs), "µs", "processor time of the callers for one event"),
    ]  # fmt: skip


def _round(stack: LocalStack, alone: Alone) -> tuple[Cost, float, float, float]:
    """Our cost, and what COPY makes of the same rows a second: in our transactions, in these with keys, and in one."""
    with psycopg.connect(alone.database.owner_dsn) as rows:
        [last] = rows.execute("SELECT coalesce(max(position), 0) FROM accepted").fetchone() or (0,)
    cost = cost_of(stack, [alone], BATCHES)
    groups, content = _taken_in(alone.database, last)
    database = alone.database
    return (
        cost,
        _copied(database, groups, content),
        _copied(database, groups, content, with_keys=True),
        _copied(database, [len(content)], content),
    )


async def _ingest(stack: LocalStack, addresses: Sequence[str], batches: int) -> tuple[float, float]:
    """Events a second, and the seconds of processor time of the callers.

    Requests are made and serialised beforehand, answers compared as bytes: that is the caller's work, on these processors.
    """
    metadata = authorization(stack)
    requests = [_batch().SerializeToString() for _ in range(batches + 1)]
    accepted = pb.TrackBatchResponse(results=[TrackResult(outcome=TRACK_OUTCOME_ACCEPTED)] * BATCH).SerializeToString()
    async with AsyncExitStack() as opened:
        channels = [await opened.enter_async_context(channel(it)) for it in addresses]
        methods: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [it.unary_unary(_METHOD) for it in channels]

        async def call(number: int) -> None:
            track = methods[number % len(methods)]
            if await track(requests[number], metadata=metadata, timeout=60) != accepted:
                raise AssertionError("an event was not accepted")

        await call(batches)
        started = process_time()
        per_second = BATCH * await calls_per_second(CALLERS, batches, call)
        return per_second, process_time() - started


def _batch() -> pb.TrackBatchRequest:
    at = Timestamp()
    at.FromDatetime(SystemClock().now())
    return pb.TrackBatchRequest(
        events=[
            TrackedEvent(
                message_id=str(uuid4()),
                source_key="h5",
                event_type="content_viewed",
                identifiers=[Identifier(namespace="anonymous_id", value=f"v:{uuid4()}")],
                original_time=at,
                tz_offset_minutes=480,
                context=EventContext(channel="h5", content_id=f"H5-{number % 12}", page_view_id=str(uuid4())),
            )
            for number in range(BATCH)
        ]
    )


def _taken_in(database: Database, after: int) -> tuple[list[int], list[bytes]]:
    """The rows accepted since a position, and how many of them were committed together each time."""
    with psycopg.connect(database.owner_dsn) as connection:
        groups = connection.execute(
            "SELECT count(*) FROM accepted WHERE position > %s GROUP BY xmin ORDER BY min(position)", [after]
        ).fetchall()
        found = f"SELECT {_COLUMNS} FROM accepted WHERE position > {after} ORDER BY position"  # noqa: S608 - both ours
        with connection.cursor().copy(f"COPY ({found}) TO STDOUT (FORMAT binary)".encode()) as out:
            content = b"".join(bytes(it) for it in out)
    return [count for (count,) in groups], list(_rows(content))


def _rows(content: bytes) -> Iterable[bytes]:
    """The rows of a binary COPY."""
    at = len(_COPY_HEADER)
    while content[at : at + 2] != _COPY_TRAILER:
        begin, columns = at, int.from_bytes(content[at : at + 2])
        at += 2
        for _ in range(columns):
            at += 4 + max(0, int.from_bytes(content[at : at + 4], signed=True))
        yield content[begin:at]


def _copied(database: Database, groups: Sequence[int], rows: Sequence[bytes], *, with_keys: bool = False) -> float:
    """Rows a second by COPY, so many of them in each transaction; with as many new keys of messages, in their order, if so wanted."""
    left = iter(rows)
    sent = [(_file(islice(left, size)), _file(_keys(size)) if with_keys else b"") for size in groups]
    with psycopg.connect(database.writer_dsn) as connection:
        connection.execute("SELECT 1")
        connection.commit()
        started = perf_counter()
        for content, keys in sent:
            if keys:
                _send(connection, "message_keys (key, tenant, fingerprint)", keys)
            _send(connection, f"accepted ({_COLUMNS})", content)
            connection.commit()
        return len(rows) / (perf_counter() - started)


def _file(rows: Iterable[bytes]) -> bytes:
    return b"".join((_COPY_HEADER, *rows, _COPY_TRAILER))


def _keys(count: int) -> list[bytes]:
    tenant = len(TENANT).to_bytes(4) + TENANT.encode()
    uuid = (16).to_bytes(4)
    keys = sorted(urandom(16) for _ in range(count))
    return [b"".join(((3).to_bytes(2), uuid, key, tenant, uuid, key)) for key in keys]


def _send(connection: psycopg.Connection[Any], into: str, content: bytes) -> None:
    with connection.cursor().copy(f"COPY {into} FROM STDIN (FORMAT binary)".encode()) as copy:
        copy.write(content)
