"""Messages per second through the HTTP door, as an SDK sends them, to the durable answer."""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import orjson

from bench.alone import serving_alone
from bench.calls import authorization, calls_per_second, channel
from bench.figures import Figure
from chassis.clock import SystemClock
from chassis.service import EDGE, SERVE
from deploy.local.stack import LocalStack
from scrm.tracking.v1 import source_pb2
from scrm.tracking.v1 import source_service_pb2 as pb
from scrm.tracking.v1.source_service_pb2_grpc import SourceServiceStub

CALLERS = 8
BATCH = 100
BATCHES = 250
SINGLES = 4_000
_OK: Final = b"HTTP/1.1 200"


def measure(stack: LocalStack) -> list[Figure]:
    with serving_alone(stack, "tracking", (SERVE, EDGE)) as alone:
        return asyncio.run(_figures(stack, alone.address, alone.edge_port))


async def _figures(stack: LocalStack, address: str, port: int) -> list[Figure]:
    async with channel(address) as opened:
        source = pb.RegisterSourceRequest(request_id=str(uuid4()), key="bench", kind=source_pb2.SOURCE_KIND_SERVER)
        key = (await SourceServiceStub(opened).RegisterSource(source, metadata=authorization(stack))).write_key
    batches = BATCH * await _per_second(
        port, [_request(key, "/v1/batch", {"batch": _messages(BATCH), "sentAt": _now()}) for _ in range(BATCHES)]
    )
    singles = await _per_second(
        port, [_request(key, "/v1/t", {**_messages(1)[0], "sentAt": _now()}) for _ in range(SINGLES)]
    )
    return [
        Figure(
            "edge_events_per_s",
            batches,
            "events/s",
            f"messages of the Segment protocol in batches of {BATCH}, {CALLERS} callers, to the durable answer",
        ),
        Figure(
            "edge_single_events_per_s",
            singles,
            "events/s",
            f"the same, each in a request of its own, {CALLERS} callers",
        ),
    ]


async def _per_second(port: int, requests: Sequence[bytes]) -> float:
    """Requests are made beforehand, and answers hardly read: that is the caller's work, on these processors."""
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = [
        await asyncio.open_connection("127.0.0.1", port) for _ in range(CALLERS)
    ]

    async def call(number: int) -> None:
        reader, writer = free.pop()
        writer.write(requests[number])
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(_OK):
            raise AssertionError("a batch was not accepted")
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(size)
        if body.count(b'"ACCEPTED"') != body.count(b'"outcome"'):
            raise AssertionError("a message was not accepted")
        free.append((reader, writer))

    found = await calls_per_second(CALLERS, len(requests), call)
    for _, writer in free:
        writer.close()
    return found


def _request(key: str, path: str, body: object) -> bytes:
    content = orjson.dumps(body)
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: bench",
        f"Authorization: Basic {b64encode(f'{key}:'.encode()).decode()}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + content


def _now() -> str:
    return SystemClock().now().isoformat()


def _messages(count: int) -> list[dict[str, object]]:
    """As analytics-python sends them."""
    now = _now()
    return [
        {
            "type": "track",
            "messageId": str(uuid4()),
            "event": "Product Viewed",
            "anonymousId": str(uuid4()),
            "userId": None,
            "timestamp": now,
            "properties": {"product_id": f"SKU-{number % 12}", "category": "tea", "price": 12.5, "currency": "EUR"},
            "context": {"library": {"name": "analytics-python", "version": "2.4.0"}, "timezone": "Europe/Berlin"},
            "integrations": {},
        }
        for number in range(count)
    ]
