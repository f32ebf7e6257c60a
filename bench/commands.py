"""Durable unary commands: first sights of a visitor, through our bus and through the library's stock Application."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import uuid4

from bench.alone import serving_alone
from bench.calls import authorization, calls_per_second, channel
from bench.figures import Figure, at_least
from deploy.local.contracts import ROOT
from deploy.local.processes import Child, Program, free_port
from deploy.local.stack import LocalStack
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1.customer_pb2 import Identifier
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

CALLERS = 64
CALLS = 6_000
STOCK_CALLS = 1_500
ROUNDS = 3


def measure(stack: LocalStack) -> list[Figure]:
    """Both alternate, `ROUNDS` times each; the medians are compared, so that a busy moment of the machine hits both.

    The stock Application has nobody who reads its events, and so has our server here; what is left of it with all five
    services at work on every event, on the same processors, is a figure of its own.
    """
    with _stock_server(stack) as stock, serving_alone(stack, "identity") as alone:
        rounds = [asyncio.run(_round(stack, alone.address, stock)) for _ in range(ROUNDS)]
    ours, theirs = (median(it) for it in zip(*rounds, strict=True))
    crowded = asyncio.run(_per_second(stack, stack.address("identity"), STOCK_CALLS))
    return [
        Figure(
            "commands_per_s", ours, "commands/s", f"ResolveIdentity of an unseen visitor, durable, {CALLERS} callers"
        ),
        Figure(
            "commands_per_s_with_all",
            crowded,
            "commands/s",
            "the same while five services relay, project and consume every event beside it",
        ),
        Figure("stock_per_s", theirs, "commands/s", "the same with the stock Application, one commit each"),
        at_least("commands_ratio", ours / theirs, 4, "commands_per_s / stock_per_s"),
    ]


async def _round(stack: LocalStack, ours: str, stock: str) -> tuple[float, float]:
    return await _per_second(stack, ours, CALLS), await _per_second(stack, stock, STOCK_CALLS)


async def _per_second(stack: LocalStack, address: str, calls: int) -> float:
    metadata = authorization(stack)
    async with channel(address) as opened:
        resolve = IdentityServiceStub(opened).ResolveIdentity

        async def call(number: int) -> None:
            visitor = Identifier(namespace="anonymous_id", value=f"bench:{uuid4()}")
            request = pb.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[visitor])
            answer = await resolve(request, metadata=metadata, timeout=30)
            if answer.outcome != pb.OUTCOME_CREATED:
                raise AssertionError(f"an unseen visitor was {answer.outcome}")

        await calls_per_second(CALLERS, CALLERS * 2, call)
        return await calls_per_second(CALLERS, calls, call)


@contextmanager
def _stock_server(stack: LocalStack) -> Iterator[str]:
    """The stock server in a process and a database of its own; its address."""
    database = stack.postgres.create_database("bench_stock")
    address = f"127.0.0.1:{free_port()}"
    command = (sys.executable, "-m", "bench.stock_server", address, database.owner_dsn, str(stack.credentials.jwks))
    child = Child(Program("stock", command, Path(stack.state_dir) / "logs" / "stock.log", folder=ROOT))
    child.start()
    try:
        child.wait_until(lambda: "serving" in child.log_tail())
        yield address
    finally:
        child.stop()
