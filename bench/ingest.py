"""Behaviours per second into tracking, to the durable answer, beside a bare COPY of the same rows."""

import asyncio
from time import perf_counter
from uuid import uuid4

import psycopg
from google.protobuf.timestamp_pb2 import Timestamp

from bench.calls import authorization, calls_per_second, channel
from bench.figures import Figure, at_least
from chassis.clock import SystemClock
from deploy.local.stack import LocalStack
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import TRACK_OUTCOME_ACCEPTED, EventContext, Identifier, TrackedEvent
from scrm.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

CALLERS = 8
BATCH = 500
BATCHES = 80


def measure(stack: LocalStack) -> list[Figure]:
    events = asyncio.run(_ingest(stack))
    rows = _copy_again(stack)
    return [
        Figure(
            "ingest_events_per_s",
            events,
            "events/s",
            f"TrackBatch of {BATCH}, {CALLERS} callers, to the durable answer",
        ),
        Figure(
            "copy_rows_per_s", rows, "rows/s", "one bare COPY of the same rows into the same table with its indexes"
        ),
        at_least("ingest_ratio", events / rows, 0.4, "ingest_events_per_s / copy_rows_per_s"),
    ]


async def _ingest(stack: LocalStack) -> float:
    """Requests are made beforehand: building them is the caller's work."""
    metadata = authorization(stack)
    requests = [_batch() for _ in range(BATCHES)]
    async with channel(stack.address("tracking")) as opened:
        track = TrackingServiceStub(opened).TrackBatch

        async def call(number: int) -> None:
            answer = await track(requests[number], metadata=metadata, timeout=60)
            if any(it.outcome != TRACK_OUTCOME_ACCEPTED for it in answer.results):
                raise AssertionError("an event was not accepted")

        await track(_batch(), metadata=metadata, timeout=60)
        return BATCH * await calls_per_second(CALLERS, BATCHES, call)


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


def _copy_again(stack: LocalStack) -> float:
    """The accepted rows once more: out of the partition, and in one COPY into a table made like it."""
    with psycopg.connect(stack.postgres.database("tracking").owner_dsn) as connection:
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
