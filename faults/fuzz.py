"""Fuzz: whatever is sent to the HTTP door and to TrackBatch, it is answered without a defect, and every message is in the accounts.

The process may hold little more afterwards than when it had just started. A door that believes what it reads must be found out.
"""

import asyncio
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar
from uuid import uuid4

import grpc
import orjson
import psutil
import psycopg

from chassis.service import EDGE, SERVE
from deploy.local.contracts import scopes
from deploy.local.processes import Child
from deploy.local.stack import LocalStack, Service
from faults.journal import Finding
from faults.nonsense import HEAVY, HttpRequest, Nonsense
from faults.verdict import Control, Scale, Verdict
from faults.workplace import workplace
from scrm.tracking.v1 import source_pb2
from scrm.tracking.v1 import source_service_pb2 as sources
from scrm.tracking.v1.source_service_pb2_grpc import SourceServiceStub
from scrm.tracking.v1.tracking_service_pb2 import TrackBatchResponse

T = TypeVar("T")

TENANT: Final = "faults"
HTTP: Final = {Scale.FULL: 24_000, Scale.SMALL: 800}
GRPC: Final = {Scale.FULL: 8_000, Scale.SMALL: 600}
"""Requests and calls, of a few messages each in the small form, and of up to forty in the full one."""

LARGEST: Final = {Scale.FULL: 40, Scale.SMALL: 5}
FEWEST: Final = {Scale.FULL: 200_000, Scale.SMALL: 1_500}
"""Messages that have to be read and accounted for, beside the requests that nobody can read."""

CALLERS: Final = 64
WARM: Final = 0.1
"""Of the inputs, and all of the heavy ones, after which memory is looked at for the first time; all heavy ones come once more."""

MOST_GROWTH_MB: Final = {Scale.FULL: 64.0, Scale.SMALL: 200.0}
_MOMENTS: Final = ("MB held at the start", "MB held when warm", "MB held at the end")
_CONTROL_INPUTS: Final = 300
_RIGHT: Final = {200, 400, 413, 429}
_METHOD: Final = "/scrm.tracking.v1.TrackingService/TrackBatch"
_REFUSALS: Final = {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}


@dataclass(slots=True)
class Answers:
    """Answers by what they were, how many messages they were answered for, and those that are wrong."""

    seen: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.seen.total()


def run(scale: Scale) -> Verdict:
    with workplace("fuzz") as folder:
        stack = LocalStack(folder, ("tracking",))
        try:
            stack.prepare()
            with _serving(stack, "services.tracking") as service:
                answers, held = asyncio.run(_fuzzed(stack, service, scale))
            accounted = _accounted(stack)
            with _serving(stack, "faults.fragile_tracking") as service:
                found = asyncio.run(_controlled(stack, service))
        finally:
            stack.stop()
    finding = Finding(problems=answers.wrong[:5])
    finding.require_equal("messages in the accounts", accounted, answers.messages)
    finding.require_equal("answers", answers.count, HTTP[scale] + GRPC[scale] + 2 * len(HEAVY))
    if answers.messages < FEWEST[scale]:
        finding.problems.append(f"only {answers.messages:,} messages were read")
    return Verdict(
        fault="fuzz",
        done=f"{HTTP[scale]:,} HTTP requests and {GRPC[scale]:,} calls of TrackBatch, more wrong than right",
        acknowledged=answers.messages,
        lost=max(0, answers.messages - accounted),
        doubled=max(0, accounted - answers.messages),
        worst=held[-1] - held[0],
        bar=MOST_GROWTH_MB[scale],
        unit="MB",
        control=Control(
            "a door that believes what it reads", f"{found} of {_CONTROL_INPUTS} answers are 5xx", found > 0
        ),
        problems=finding.problems,
        figures=dict(sorted(answers.seen.items())) | dict(zip(_MOMENTS, held, strict=True)),
    )


@contextmanager
def _serving(stack: LocalStack, module: str) -> Iterator[Service]:
    """`module` with the roles that answer, and nothing behind them."""
    roles = (SERVE, EDGE)
    service = Service("tracking", stack.environment_of("tracking"), stack.log_of(module), roles)
    service.child = Child(replace(service.child.program, command=(sys.executable, "-m", module, *roles)))
    try:
        service.start()
        yield service
    finally:
        service.stop()


async def _fuzzed(stack: LocalStack, service: Service, scale: Scale) -> tuple[Answers, list[float]]:
    """All answers, and how many megabytes the process held at the start, when it was warm, and at the end."""
    answers, nonsense, process = Answers(), Nonsense(2026, LARGEST[scale]), psutil.Process(service.child.pid)
    token = _token(stack)
    headers, metadata = await _opened_source(service, token), (("authorization", f"Bearer {token}"),)
    parts = (WARM, 1 - WARM)
    held = [process.memory_info().rss / 1e6]
    async with grpc.aio.insecure_channel(service.address) as channel:
        track: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        for part in parts:
            await _each(HEAVY, 2, lambda it: _posted(stack, headers, HttpRequest("/v1/batch", it[0], None), answers))
            requests = (nonsense.request() for _ in range(round(HTTP[scale] * part)))
            await _each(requests, CALLERS, lambda it: _posted(stack, headers, it, answers))
            batches = (nonsense.batch() for _ in range(round(GRPC[scale] * part)))
            await _each(
                batches, CALLERS, lambda it: _called(partial(track, metadata=metadata, timeout=60), it, answers)
            )
            held.append(process.memory_info().rss / 1e6)
    return answers, held


async def _controlled(stack: LocalStack, service: Service) -> int:
    """How many answers of the fragile door are defects."""
    answers, nonsense = Answers(), Nonsense(1)
    headers = await _opened_source(service, _token(stack))
    requests = [nonsense.request() for _ in range(_CONTROL_INPUTS)]
    await _each(requests, CALLERS, lambda it: _posted(stack, headers, it, answers))
    return sum(count for what, count in answers.seen.items() if what.startswith("HTTP 5"))


async def _each(inputs: Iterable[T], callers: int, send: Callable[[T], Awaitable[None]]) -> None:
    """Every input is sent, by so many callers at once."""
    rest = iter(inputs)

    async def caller() -> None:
        for it in rest:
            await send(it)

    await asyncio.gather(*(caller() for _ in range(callers)))


async def _posted(stack: LocalStack, headers: bytes, request: HttpRequest, answers: Answers) -> None:
    """Send a request on a connection of its own: what is broken may not spoil the next one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports.edge)
    try:
        head = b"POST %s HTTP/1.1\r\nHost: f\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n"
        writer.write(head % (request.path.encode(), headers, len(request.content)) + request.content)
        answer = await reader.read()
    finally:
        writer.close()
    status = int(answer.split(b" ", 2)[1]) if answer else 0
    answers.seen[f"HTTP {status}"] += 1
    results = len(orjson.loads(answer.partition(b"\r\n\r\n")[2]).get("results", ())) if status == 200 else 0
    answers.messages += results
    if status not in _RIGHT or (request.messages is not None and (status, results) != (200, request.messages)):
        answers.wrong.append(f"HTTP {status} for {request.messages} messages in {request.content[:200]!r}")


async def _called(track: Callable[[bytes], Awaitable[bytes]], content: bytes, answers: Answers) -> None:
    try:
        answer = await track(content)
    except grpc.aio.AioRpcError as error:
        answers.seen[error.code().name] += 1
        if error.code().name not in _REFUSALS:
            answers.wrong.append(f"{error.code().name} for {content[:200]!r}")
        return
    answers.seen["OK"] += 1
    answers.messages += len(TrackBatchResponse.FromString(answer).results)


async def _opened_source(service: Service, token: str) -> bytes:
    """The header that opens a new source."""
    request = sources.RegisterSourceRequest(
        request_id=str(uuid4()), key=f"s{uuid4().hex[:8]}", kind=source_pb2.SOURCE_KIND_SERVER
    )
    async with grpc.aio.insecure_channel(service.address) as channel:
        await channel.channel_ready()
        stub = SourceServiceStub(channel)
        answer = await stub.RegisterSource(request, metadata=(("authorization", f"Bearer {token}"),))
    return b"Authorization: Basic %s\r\n" % b64encode(f"{answer.write_key}:".encode())


def _token(stack: LocalStack) -> str:
    return stack.credentials.mint(TENANT, scopes())


def _accounted(stack: LocalStack) -> int:
    """The messages in the accounts, whatever became of them."""
    with psycopg.connect(stack.postgres.dsn("tracking")) as rows:
        [count] = rows.execute("SELECT coalesce(sum(count), 0)::int FROM tallies").fetchone() or (0,)
    return int(count)
