"""What a process says of its progress: at rest only if nothing waits, and with a digest that tells whether anything moved."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from chassis.loops import Progress
from chassis.operations import OperationsServicer
from scrm.ops.v1 import operations_service_pb2 as pb

NOW = datetime(1997, 1, 2, tzinfo=UTC)


class FrozenClock:
    def now(self) -> datetime:
        return NOW


class FakeLoop:
    """Tells what it is given to tell, and notes in `looked` when it was asked."""

    def __init__(self, name: str, looked: list[str], *found: Progress) -> None:
        self.name = name
        self.found: Sequence[Progress] = found
        self._looked = looked

    async def run(self) -> None: ...

    async def progress(self) -> list[Progress]:
        self._looked.append(self.name)
        return list(self.found)


async def _no_head() -> int:
    raise AssertionError("the head is known from the log")


async def _look(*loops: FakeLoop) -> pb.GetProgressResponse:
    return await OperationsServicer("echo", FrozenClock(), _no_head, loops).GetProgress(pb.GetProgressRequest(), None)


def _loops(looked: list[str], *, lag: int = 0, handled: int = 7) -> tuple[FakeLoop, FakeLoop]:
    relay = FakeLoop("relay", looked, Progress("log", "echo", 41, 0, head=41))
    consumer = FakeLoop("consume", looked, Progress("consumer", "greetings", handled, lag, head=9, stream="hello"))
    return relay, consumer


def test_nothing_left_is_at_rest(loop: Any) -> None:
    found = loop.run_until_complete(_look(*_loops([])))
    assert found.settled
    assert found.log_head == 41
    assert found.clock_time.ToDatetime(tzinfo=UTC) == NOW
    assert [(it.consumer, it.stream, it.last_sequence, it.lag) for it in found.consumers] == [
        ("greetings", "hello", 9, 0)
    ]


def test_a_backlog_of_any_loop_is_no_rest(loop: Any) -> None:
    found = loop.run_until_complete(_look(*_loops([], lag=2)))
    assert not found.settled
    assert [it.lag for it in found.consumers] == [2]


def test_loops_are_looked_at_against_the_flow(loop: Any) -> None:
    looked: list[str] = []
    loop.run_until_complete(_look(*_loops(looked)))
    assert looked == ["consume", "relay"]


def test_the_chain_tells_whether_anything_moved(loop: Any) -> None:
    first, again, moved = (loop.run_until_complete(_look(*_loops([], handled=it))).chain for it in (7, 7, 8))
    assert first == again
    assert moved != first


def test_the_clock_is_told_without_a_look_at_any_loop() -> None:
    looked: list[str] = []
    servicer = OperationsServicer("echo", FrozenClock(), _no_head, [FakeLoop("timers", looked)])
    told = asyncio.run(servicer.GetClock(pb.GetClockRequest(), None)).clock_time
    assert looked == []
    assert told.ToDatetime(UTC) == NOW
