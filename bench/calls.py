"""Calling the services of the local stack from a benchmark."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

import grpc
import psutil

from chassis import grpc_client
from chassis.clock import SystemClock
from chassis.context import Context, entered
from demo.barrier import Barrier
from deploy.local.contracts import scopes
from deploy.local.stack import LocalStack
from scrm.ops.v1.operations_service_pb2_grpc import OperationsServiceStub

TENANT = "bench"
Metadata = tuple[tuple[str, str | bytes], ...]


def authorization(stack: LocalStack) -> Metadata:
    """The header of a caller who may do everything for the tenant of the benchmark."""
    return (("authorization", f"Bearer {stack.credentials.mint(TENANT, scopes())}"),)


@asynccontextmanager
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(address) as opened:
        await opened.channel_ready()
        yield opened


async def rested(stack: LocalStack) -> None:
    """Wait until no service has anything left to do, so that one measurement does not pay for the one before."""
    token = stack.credentials.mint(TENANT, scopes())
    channels = {it: grpc_client.channel(stack.address(it), lambda _: token, deadline=120) for it in stack.services}
    try:
        with entered(Context.system(TENANT, "bench")):
            barrier = Barrier({name: OperationsServiceStub(it) for name, it in channels.items()})
            await barrier.settled(SystemClock().now(), patience_seconds=1200)
    finally:
        await asyncio.gather(*(it.close() for it in channels.values()))


async def calls_per_second(callers: int, calls: int, call: Callable[[int], Awaitable[object]]) -> float:
    """`call(number)` made `calls` times by `callers` at once; how many of them a second."""
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    started = perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return calls / (perf_counter() - started)


async def timed(callers: int, count: int, call: Callable[[int], Awaitable[object]]) -> list[float]:
    """The seconds of each call; caller `n` makes the calls `n`, `n + callers`, …"""
    waited: list[float] = []

    async def caller(first: int) -> None:
        for number in range(first, count, callers):
            started = perf_counter()
            await call(number)
            waited.append(perf_counter() - started)

    await asyncio.gather(*(caller(it) for it in range(callers)))
    return waited


def percentile(waited: Sequence[float], percent: int) -> float:
    """Milliseconds, by nearest rank."""
    return sorted(waited)[-(-len(waited) * percent // 100) - 1] * 1000


def processor_seconds(process: psutil.Process) -> float:
    """What a process has spent; nothing if it has just ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
