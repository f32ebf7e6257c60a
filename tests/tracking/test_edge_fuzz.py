"""Whatever is sent to the door, it answers without a defect of its own, holds little memory, and accounts for every message.

SCRM_EDGE_FUZZ says how many inputs there are.
"""

import asyncio
import gzip
import json
import os
from random import Random
from typing import Any

import orjson
import psutil

from chassis.clock import ReplayClock
from chassis.event_store import PostgresEventStore
from tests.tracking.edge import Door, opened
from tests.tracking.touches import NOON

INPUTS = int(os.environ.get("SCRM_EDGE_FUZZ", "2000"))
MOST_GROWTH = 200 << 20

NAMES = ["messageId", "type", "event", "userId", "anonymousId", "properties", "traits", "context", "timestamp", "sentAt",
         "originalTimestamp", "previousId", "groupId", "name", "channel", "integrations"]  # fmt: skip
PLACES = ["/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch", "/v1/track", "/v1/t", "/v1/identify", "/v1/page",
          "/v1/screen", "/v1/group", "/v1/alias"]  # fmt: skip
WORDS = ["", "a", "\0", "\u0085", "e\u0301", "💩" * 50, "x" * 300, "x" * 5000, "null", "0", "2026-05-01T12:00:00Z", "2026-13-99",
         "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "+8613800000001", "a@b.cn", "track", "Order Completed",
         "Product Viewed", "content_viewed", "1e5", "-1", "NaN", "Asia/Tokyo", "../../etc/passwd", "custom.", "__proto__"]  # fmt: skip
NUMBERS = [0, 1, -1, 7.5, 2**31, 2**53, 2**63, 2**64, -(2**64), 10**30, 1e300, 1e-300, True, False, None]


class Nonsense:
    """Random values, more wrong than right."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def value(self, depth: int = 0) -> Any:
        kind = self._random.random()
        if kind < 0.45 or depth > 3:
            return self._random.choice(WORDS)
        if kind < 0.7:
            return self._random.choice(NUMBERS)
        if kind < 0.85:
            return [self.value(depth + 1) for _ in range(self._random.randrange(4))]
        return {self._random.choice([*WORDS, *NAMES]): self.value(depth + 1) for _ in range(self._random.randrange(4))}

    def message(self) -> Any:
        if self._random.random() < 0.1:
            return self.value()
        right = {
            "messageId": str(self._random.getrandbits(64)),
            "type": "track",
            "event": "checkin",
            "anonymousId": "a-1",
        }
        wrong = {it: self.value() for it in self._random.sample(NAMES, self._random.randrange(6))}
        return {**right, "properties": {"a": 1}, **wrong}

    def request(self) -> tuple[str, bytes, int | None]:
        """Where to, what, and how many messages there are in it; None for what nobody can count."""
        path = self._random.choice(PLACES)
        is_batch = "batch" in path or path in ("/v1/b", "/v1/import")
        messages = [self.message() for _ in range(self._random.randrange(1, 6))] if is_batch else [self.message()]
        count: int | None = len(messages) if is_batch or isinstance(messages[0], dict) else None
        content = _written({"batch": messages, "sentAt": self.value(3)} if is_batch else messages[0])
        spoil = self._random.random()
        if spoil < 0.08:
            cut = self._random.randrange(len(content))
            return path, content[:cut], None
        if spoil < 0.16:
            at = self._random.randrange(len(content))
            return path, content[:at] + self._random.randbytes(3) + content[at + 1 :], None
        if spoil < 0.24:
            content = gzip.compress(content, 1)
            return path, content if spoil < 0.2 else content[: len(content) // 2], count if spoil < 0.2 else None
        return path, content, count


def _written(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


DEEP = 50_000
HEAVY: list[tuple[bytes, int]] = [
    (b"[" * DEEP, 400),
    (b'{"batch":' + b"[" * DEEP + b"]" * DEEP + b"}", 400),
    (b'{"batch":[' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"]}", 400),
    (gzip.compress(b" " * (1 << 27), 1), 400),
    (gzip.compress(gzip.compress(b" " * (1 << 26))), 400),
    (b'{"batch":[' + b"[]," * 1_000_000 + b"1]}", 400),
    (b'{"batch":[' + b'{"messageId":' + b"9" * 1_000_000 + b"}]}", 200),
    (b'{"batch":[{"type":"track","event":"x","messageId":"d","properties":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}]}", 200),
    (b'{"batch":[{"type":"track","event":"x","messageId":"k","properties":{'
     + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}}]}", 200),
    (b'{"batch":[{"type":"track","event":"x","messageId":"w","properties":{"a":[' + b"[]," * 1_300_000 + b"1]}}]}", 200),
    (b'{"batch":[{"type":"track","event":"' + b"x" * 1_000_000 + b'"}]}', 200),
]  # fmt: skip


def test_nothing_that_is_sent_breaks_the_door_or_gets_lost(
    postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop
) -> None:
    async def check() -> None:
        async with opened(postgres_store, ReplayClock(NOON)) as door:
            nonsense = Nonsense(11)
            requests = [nonsense.request() for _ in range(INPUTS)]
            answered = await _all(door, requests)
            assert {status for status, _ in answered} == {200, 400}
            assert door.counted() == sum(count for _, count in answered), "every message is in the accounts"
            expected = [(it, count) for (_, _, count), it in zip(requests, answered, strict=True) if count is not None]
            wrong = [it for it, count in expected if it != (200, count)]
            assert wrong == [], "a request that can be read is answered message by message"
            assert door.counted() > INPUTS
            assert len(door.accepted()) > INPUTS / 4, "not everything was nonsense"

    loop.run_until_complete(check())


def test_what_is_heavy_costs_little_memory(postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop) -> None:
    async def check() -> None:
        async with opened(postgres_store, ReplayClock(NOON)) as door:
            process = psutil.Process()
            before = process.memory_info().rss
            for content, status in HEAVY:
                assert (await door.post("/v1/batch", content, "shop")).status_code == status, content[:40]
            answers = await asyncio.gather(*(door.post("/v1/batch", content, "shop") for content, _ in HEAVY * 2))
            assert {it.status_code for it in answers} <= {200, 400, 429}
            assert process.memory_info().rss - before < MOST_GROWTH
            assert await door.said(
                "/v1/t", {"event": "checkin", "messageId": "m", "anonymousId": "a", "timestamp": 1777636800000}
            ) == ["ACCEPTED"]

    loop.run_until_complete(check())


async def _all(door: Door, requests: list[tuple[str, bytes, int | None]]) -> list[tuple[int, int]]:
    """The status of each, and how many messages it was answered for; some at a time."""
    turn = asyncio.Semaphore(8)

    async def one(path: str, content: bytes) -> tuple[int, int]:
        async with turn:
            answer = await door.post(path, content)
        return answer.status_code, len(answer.json().get("results", []))

    return await asyncio.gather(*(one(path, content) for path, content, _ in requests))
