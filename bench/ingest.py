"""Behaviours per second into tracking, to the durable answer, beside a bare COPY of the same rows; and what each costs."""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Final
from uuid import uuid4

import grpc
import psutil
import psycopg
from google.protobuf.timestamp_pb2 import Timestamp

from bench.alone import Alone, serving_alone
from bench.calls import authorization, calls_per_second, channel, processor_seconds
from bench.figures import Figure, at_least
from chassis.clock import SystemClock
from deploy.local.postgres import Database
from deploy.local.stack import LocalStack
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import TRACK_OUTCOME_ACCEPTED, EventContext, Identifier, TrackedEvent, TrackResult

CALLERS = 8
BATCH = 500
BATCHES = 80
_METHOD: Final = "/scrm.tracking.v1.TrackingService/TrackBatch"


@dataclass(frozen=True, slots=True)
class Cost:
    """Events a second, and the microseconds of processor time that one takes our process and PostgreSQL."""

    events_per_s: float
    server_us: float
    postgres_us: float


def cost_of(stack: LocalStack, alone: Alone, batches: int) -> Cost:
    """Of so many batches of events never seen before."""

    def spent() -> tuple[float, float]:
        backends = psutil.Process(stack.pid("postgres")).children()
        return processor_seconds(psutil.Process(alone.pid)), sum(map(processor_seconds, backends))

    before = spent()
    events_per_s = asyncio.run(_ingest(stack, alone.address, batches))
    server, postgres = (now - was for was, now in zip(before, spent(), strict=True))
    count = BATCH * (batches + 1) / 1e6
    return Cost(events_per_s, server / count, postgres / count)


def measure(stack: LocalStack) -> list[Figure]:
    with serving_alone(stack, "tracking") as alone:
        cost = cost_of(stack, alone, BATCHES)
        rows = _copy_again(alone.database)
    crowded = asyncio.run(_ingest(stack, stack.address("tracking"), BATCHES))
    return [
        Figure(
            "ingest_events_per_s",
            cost.events_per_s,
            "events/s",
            f"TrackBatch of {BATCH}, {CALLERS} callers, to the durable answer",
        ),
        Figure(
            "ingest_events_per_s_with_all",
            crowded,
            "events/s",
            "the same while five services resolve, relay and consume every event beside it",
        ),
        Figure(
            "copy_rows_per_s", rows, "rows/s", "one bare COPY of the same rows into the same table with its indexes"
        ),
        at_least("ingest_ratio", cost.events_per_s / rows, 0.5, "ingest_events_per_s / copy_rows_per_s"),
        Figure("ingest_server_us", cost.server_us, "µs", "processor time of our process for one event"),
        Figure("ingest_postgres_us", cost.postgres_us, "µs", "processor time of PostgreSQL for one event"),
    ]


async def _ingest(stack: LocalStack, address: str, batches: int) -> float:
    """Requests are made and serialised beforehand, answers compared as bytes: that is the caller's work, on these processors."""
    metadata = authorization(stack)
    requests = [_batch().SerializeToString() for _ in range(batches + 1)]
    accepted = pb.TrackBatchResponse(results=[TrackResult(outcome=TRACK_OUTCOME_ACCEPTED)] * BATCH).SerializeToString()
    async with channel(address) as opened:
        track: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(_METHOD)

        async def call(number: int) -> None:
            if await track(requests[number], metadata=metadata, timeout=60) != accepted:
                raise AssertionError("an event was not accepted")

        await call(batches)
        return BATCH * await calls_per_second(CALLERS, batches, call)


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


def _copy_again(database: Database) -> float:
    """The accepted rows once more: out of the partition, and in one COPY into a table made like it."""
    with psycopg.connect(database.owner_dsn) as connection:
        [table] = connection.execute(
            "SELECT relid::regclass::text FROM pg_stat_user_tables WHERE relname LIKE 'accepted\\_%' ORDER BY n_live_tup DESC LIMIT 1"
        ).fetchone() or ("",)
        with connection.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)".encode()) as out:
            content = b"".join(bytes(it) for it in out)
        [count] = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (0,)  # noqa: S608 - from the catalogue
        connection.execute(f"CREATE TABLE copied (LIKE {table} INCLUDING DEFAULTS INCLUDING INDEXES)".encode())
        connection.commit()
        started = perf_counter()
        with connection.cursor().copy("COPY copied FROM STDIN (FORMAT binary)") as into:
            into.write(content)
        connection.commit()
        seconds = perf_counter() - started
        connection.execute("DROP TABLE copied")
    return float(count / seconds)
