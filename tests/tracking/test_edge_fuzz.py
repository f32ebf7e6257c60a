"""Whatever is sent to the door, it answers without a defect of its own, holds little memory, and accounts for every message.

SCRM_EDGE_FUZZ says how many inputs there are.
"""

import asyncio
import os
from collections.abc import Sequence

import psutil

from chassis.clock import ReplayClock
from chassis.event_store import PostgresEventStore
from faults.nonsense import HEAVY, HttpRequest, Nonsense
from tests.tracking.edge import Door, opened
from tests.tracking.touches import NOON

INPUTS = int(os.environ.get("SCRM_EDGE_FUZZ", "2000"))
MOST_GROWTH = 200 << 20


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


async def _all(door: Door, requests: Sequence[HttpRequest]) -> list[tuple[int, int]]:
    """The status of each, and how many messages it was answered for; some at a time."""
    turn = asyncio.Semaphore(8)

    async def one(path: str, content: bytes) -> tuple[int, int]:
        async with turn:
            answer = await door.post(path, content)
        return answer.status_code, len(answer.json().get("results", []))

    return await asyncio.gather(*(one(path, content) for path, content, _ in requests))
