"""How long who follows a link stands before it, and how long a long trail takes to be read, each beside a raw ceiling of the same run."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from hashlib import md5
from itertools import count
from time import perf_counter
from typing import Final
from uuid import UUID, uuid4

import grpc
import psycopg

from bench.alone import Alone, serving_alone
from bench.calls import TENANT, authorization, channel, percentile, timed
from bench.figures import Figure, at_most
from chassis.clock import SystemClock
from chassis.service import EDGE, SERVE
from deploy.local.postgres import Database
from deploy.local.stack import LocalStack
from scrm.tracking.v1 import link_pb2
from scrm.tracking.v1 import link_service_pb2 as links
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.link_service_pb2_grpc import LinkServiceStub
from scrm.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

FOLLOWERS: Final = 4
HITS: Final = 4_000
LINKS: Final = 50
PEOPLE: Final = 1_000
EVENTS: Final = 5_000
"""Of each of the people, so that there are five million behaviours."""

READS: Final = 60
PAGE: Final = 100
_APART: Final = timedelta(minutes=7)

_PERSON: Final = "md5('person ' || {})::uuid"
# Person by person in pieces, so that what is written at once fits into memory.
_FILL: Final = f"""
INSERT INTO behaviours (position, tenant, node, occurred_at, received_at, message_id, source_key, event_type, category, late, channel, app,
    page, content_id, page_view_id, code_key, delivery_id, share_id, staff_code, properties)
SELECT e * {PEOPLE} + p, %s, {_PERSON.format("p")}, %s::timestamptz + e * interval '7 minutes', %s::timestamptz + e * interval '7 minutes',
    'm' || e || '-' || p, 'bench', CASE e %% 3 WHEN 0 THEN 'content_viewed' WHEN 1 THEN 'content_engaged' ELSE 'checkin' END, 'I', false,
    'web', '', '/', CASE WHEN e %% 3 < 2 THEN 'C' || e %% 100 ELSE '' END, CASE WHEN e %% 3 < 2 THEN p || '-' || e / 3 ELSE '' END,
    '', '', '', '', CASE e %% 3 WHEN 1 THEN '{{"active_buckets": 4, "wall_ms": 60000}}' ELSE '{{}}' END
FROM generate_series(1, {EVENTS}) e, generate_series(%s::int, %s::int) p
"""  # noqa: S608
_READ: Final = f"SELECT * FROM behaviours WHERE tenant = %s AND node = {_PERSON.format('%s::int')} ORDER BY occurred_at"  # noqa: S608


def measure(stack: LocalStack) -> list[Figure]:
    with serving_alone(stack, "tracking", (SERVE, EDGE, "project")) as alone:
        return [*asyncio.run(_redirects(stack, alone)), *_trails(stack, alone)]


async def _redirects(stack: LocalStack, alone: Alone) -> list[Figure]:
    codes = await _make_links(stack, alone.address)
    paths = [f"/l/{TENANT}.{code}" for code in codes]
    await _waited(alone.edge_port, paths, len(paths), b"302")  # each is looked up once
    redirects = await _waited(alone.edge_port, paths, HITS, b"302")
    empty = await _waited(alone.edge_port, ["/livez"], HITS, b"200")
    said = f"{FOLLOWERS} at once, the hit durable before the answer"
    return [
        at_most("redirect_p99_ms", percentile(redirects, 99), 10, f"following a tracked link, {said}", "ms"),
        Figure("redirect_p50_ms", percentile(redirects, 50), "ms", "the same, median"),
        Figure("empty_answer_p99_ms", percentile(empty, 99), "ms", "an answer of the same server that needs nothing"),
    ]


async def _make_links(stack: LocalStack, address: str) -> list[str]:
    metadata = authorization(stack)
    async with channel(address) as opened:
        stub = LinkServiceStub(opened)
        hosts = links.UpdateLinkHostsRequest(request_id=str(uuid4()), hosts=["shop.example.com"])
        await stub.UpdateLinkHosts(hosts, metadata=metadata)
        found = []
        for number in range(LINKS):
            link = links.CreateTrackedLinkRequest(
                request_id=str(uuid4()),
                target=f"https://shop.example.com/{number}",
                kind=link_pb2.LINK_KIND_EXTERNAL,
            )
            found.append((await stub.CreateTrackedLink(link, metadata=metadata)).link.short_code)
    return found


async def _waited(port: int, paths: Sequence[str], hits: int, status: bytes) -> list[float]:
    """Seconds from each request to the end of its answer's head."""
    requests = [f"GET {it} HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\n\r\n".encode() for it in paths]
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(FOLLOWERS)]

    async def call(number: int) -> None:
        reader, writer = opened[number % FOLLOWERS]
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ", 2)[1] != status:
            raise AssertionError("a link did not lead on")
        size = int((head.lower().partition(b"content-length:")[2] or b"0\r\n").partition(b"\r\n")[0])
        await reader.readexactly(size)

    found = await timed(FOLLOWERS, hits, call)
    for _, writer in opened:
        writer.close()
    return found


def _trails(stack: LocalStack, alone: Alone) -> list[Figure]:
    begin = SystemClock().now() - timedelta(days=60)
    _fill(alone.database, begin)
    trails = asyncio.run(_read_trails(stack, alone.address, None))
    middles = asyncio.run(_read_trails(stack, alone.address, begin + EVENTS // 2 * _APART))
    raw = _read_rows(alone.database)
    said = f"a page of {PAGE} of the trail of a customer with {EVENTS:,} behaviours among {EVENTS * PEOPLE:,}"
    return [
        Figure("trail_p99_ms", percentile(trails, 99), "ms", said),
        Figure("trail_p50_ms", percentile(trails, 50), "ms", "the same, median"),
        Figure("trail_middle_p99_ms", percentile(middles, 99), "ms", "the same from the middle of the trail on"),
        Figure("trail_middle_p50_ms", percentile(middles, 50), "ms", "the same, median"),
        Figure(
            "trail_rows_p99_ms", percentile(raw, 99), "ms", "the same rows read by one query and nothing made of them"
        ),
    ]


def _fill(database: Database, begin: datetime) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as rows:
        rows.execute("ALTER TABLE behaviours NO FORCE ROW LEVEL SECURITY")
        for first in range(1, PEOPLE + 1, 50):
            rows.execute(_FILL.encode(), [TENANT, begin, begin, first, first + 49])
        rows.execute("VACUUM ANALYZE behaviours")
        rows.execute("ALTER TABLE behaviours FORCE ROW LEVEL SECURITY")


async def _read_trails(stack: LocalStack, address: str, start: datetime | None) -> list[float]:
    """The seconds that pages took; from `start` on, or from the beginning. For each another person, of whom nobody has read yet."""
    people = count(1) if start is None else count(1 + READS)
    metadata = authorization(stack)
    async with channel(address) as opened:
        stub = TrackingServiceStub(opened)

        async def call(_: int) -> None:
            request = pb.GetTrailRequest(customer_id=_person(next(people) * 13 % PEOPLE + 1), page_size=PAGE)
            if start is not None:
                request.start_time.FromDatetime(start)
            answer = await stub.GetTrail(request, metadata=metadata)
            if len(answer.entries) != PAGE:
                raise AssertionError("the trail is not as long as it should be")

        await _until_served(lambda: call(0))
        return await timed(1, READS, call)


async def _until_served(call: Callable[[], Awaitable[object]]) -> None:
    """Until the read models are there that a trail is read with."""
    for _ in range(100):
        try:
            await call()
            return
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.1)
    await call()


def _read_rows(database: Database) -> list[float]:
    waited = []
    with psycopg.connect(database.writer_dsn) as rows:
        for number in range(READS):
            started = perf_counter()
            found = rows.execute(_READ.encode(), [TENANT, number * 17 % PEOPLE + 1]).fetchall()
            waited.append(perf_counter() - started)
            if len(found) != EVENTS:
                raise AssertionError("a person has not as many behaviours as they should")
    return waited


def _person(number: int) -> str:
    """The node of a person, as PostgreSQL makes it."""
    return str(UUID(md5(f"person {number}".encode(), usedforsecurity=False).hexdigest()))
