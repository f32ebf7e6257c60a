"""What the gateway adds to a call: the same read and the same durable write, made directly and in the three ways through Envoy."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import psutil
from google.protobuf import json_format
from google.protobuf.message import Message

from bench.alone import Alone, serving_alone
from bench.calls import authorization, channel, percentile, timed
from bench.figures import Figure
from bench.plain_http import Answer, Asked, Sockets
from deploy.local.envoy_process import Envoy
from deploy.local.processes import free_port
from deploy.local.stack import LocalStack
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1.customer_pb2 import Identifier
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

CALLERS: Final = 8
ROUNDS: Final = 3
READS: Final = 1_500
WRITES: Final = 600
DIRECT: Final = "direct"
_PACKAGE: Final = "/scrm.identity.v1.IdentityService/"

Send = Callable[[Message], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Rpc:
    """A call that is made `calls` times, each with a new `request`; `path` is its name in REST. `kind` says it in a word."""

    kind: str
    name: str
    calls: int
    request: Callable[[], Message]
    response: type[Message]
    path: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an RPC is called: `address` is host:port, of the service or of the gateway."""

    address: str
    rpc: Rpc
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Round:
    """`CALLERS` at once: calls/s, milliseconds of a call, and microseconds of Envoy's processor for one."""

    per_second: float
    p50: float
    p99: float
    envoy: float


def measure(stack: LocalStack) -> list[Figure]:
    """All ways alternate, `ROUNDS` times each, and the medians are told, so that a busy moment of the machine hits all."""
    with serving_alone(stack, "identity") as alone, _gateway(stack, alone) as envoy:
        reads = asyncio.run(_reads(stack, alone.address))
        return [it for rpc in (reads, _writes()) for it in asyncio.run(_compared(stack, rpc, alone.address, envoy))]


@contextmanager
def _gateway(stack: LocalStack, alone: Alone) -> Iterator[Envoy]:
    """A gateway as the stack has it, before the service alone."""
    host, port = alone.address.split(":")
    asked = {
        "listen": ("127.0.0.1", free_port()),
        "admin": ("127.0.0.1", free_port()),
        "backends": {"identity": (host, int(port))},
        "edge": None,
        "pages": None,
        "access_log": stack.log_of("access_alone"),
    }
    envoy = Envoy(Path(stack.state_dir) / "gateway_alone", replace(stack.envoy.gateway, **asked))  # type: ignore[arg-type]
    envoy.start()
    try:
        yield envoy
    finally:
        envoy.stop()


async def _reads(stack: LocalStack, address: str) -> Rpc:
    """The read of a customer, who is made for it."""
    async with channel(address) as opened:
        made = await IdentityServiceStub(opened).ResolveIdentity(_visitor(), metadata=authorization(stack))
    asked = pb.GetCustomerRequest(customer_id=made.customer_id)
    path = f"/v1/identity/customers/{made.customer_id}"
    return Rpc("read", "GetCustomer", READS, lambda: asked, pb.GetCustomerResponse, path, "a read as of the last write")


def _writes() -> Rpc:
    meaning = "an unseen visitor, durable"
    return Rpc(
        "write", "ResolveIdentity", WRITES, _visitor, pb.ResolveIdentityResponse, "/v1/identity:resolve", meaning
    )


def _visitor() -> pb.ResolveIdentityRequest:
    visitor = Identifier(namespace="anonymous_id", value=f"bench:{uuid4()}")
    return pb.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[visitor])


async def _compared(stack: LocalStack, rpc: Rpc, direct: str, envoy: Envoy) -> list[Figure]:
    headers = {key: str(value) for key, value in authorization(stack)}
    through = Place(envoy.address, rpc, headers)
    ways = {
        DIRECT: _grpc(replace(through, address=direct)),
        "grpc": _grpc(through),
        "grpc_web": _grpc_web(through),
        "rest": _rest(through),
    }
    process = psutil.Process(envoy.child.pid)
    async with AsyncExitStack() as opened:
        sending = {way: await opened.enter_async_context(it) for way, it in ways.items()}
        for send in sending.values():
            await _round(rpc, CALLERS * 4, send, process)
        rounds = [
            {way: await _round(rpc, rpc.calls, it, process) for way, it in sending.items()} for _ in range(ROUNDS)
        ]
    return _figures(rpc, {way: [it[way] for it in rounds] for way in ways})


async def _round(rpc: Rpc, calls: int, send: Send, process: psutil.Process) -> Round:
    requests = [rpc.request() for _ in range(calls)]
    before, started = _used(process), perf_counter()
    waited = await timed(CALLERS, calls, lambda number: send(requests[number]))
    took, used = perf_counter() - started, _used(process) - before
    return Round(calls / took, percentile(waited, 50), percentile(waited, 99), used / calls * 1e6)


def _used(process: psutil.Process) -> float:
    """Seconds of the processors."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _figures(rpc: Rpc, rounds: Mapping[str, Sequence[Round]]) -> list[Figure]:
    middle = {
        way: Round(*(median(it) for it in zip(*((r.per_second, r.p50, r.p99, r.envoy) for r in found), strict=True)))
        for way, found in rounds.items()
    }
    direct, found = middle[DIRECT], []
    for way, it in middle.items():
        name, said = f"gateway_{rpc.kind}_{way}", f"{rpc.name} ({rpc.meaning}), {_WORDS[way]}, {CALLERS} callers"
        found += [
            Figure(f"{name}_per_s", it.per_second, "calls/s", said),
            Figure(f"{name}_p50_ms", it.p50, "ms", "the same, median"),
            Figure(f"{name}_p99_ms", it.p99, "ms", "the same, 99th percentile"),
        ]
        if way != DIRECT:
            found += [
                Figure(
                    f"{name}_ratio",
                    it.per_second / direct.per_second,
                    "ratio",
                    "the same, calls/s beside the direct ones",
                ),
                Figure(f"{name}_envoy_us", it.envoy, "µs", "processor time of Envoy for one call"),
            ]
    return found


_WORDS: Final = {
    DIRECT: "gRPC past the gateway",
    "grpc": "gRPC through the gateway",
    "grpc_web": "gRPC-Web through the gateway",
    "rest": "REST-JSON through the gateway",
}


@asynccontextmanager
async def _grpc(place: Place) -> AsyncIterator[Send]:
    """One channel for all callers, as a service has it."""
    metadata = tuple(place.headers.items())
    async with channel(place.address) as opened:
        method: Any = opened.unary_unary(
            f"{_PACKAGE}{place.rpc.name}",
            request_serializer=lambda it: it.SerializeToString(),
            response_deserializer=place.rpc.response.FromString,
        )

        async def send(request: Message) -> Message:
            found: Message = await method(request, metadata=metadata, timeout=30)
            return found

        yield send


@asynccontextmanager
async def _grpc_web(place: Place) -> AsyncIterator[Send]:
    """A connection for each caller, as browsers have them; https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md"""
    headers = {**place.headers, "content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    async with Sockets.opened(place.address, CALLERS) as sockets:

        async def send(request: Message) -> Message:
            content = request.SerializeToString()
            framed = b"\0" + len(content).to_bytes(4, "big") + content
            answer = _good(await sockets.send(Asked("POST", f"{_PACKAGE}{place.rpc.name}", headers, framed)))
            end = 5 + int.from_bytes(answer[1:5], "big")
            if b"grpc-status:0" not in answer[end:]:
                raise AssertionError(f"refused: {answer[end:]!r}")
            return place.rpc.response.FromString(answer[5:end])

        yield send


@asynccontextmanager
async def _rest(place: Place) -> AsyncIterator[Send]:
    async with Sockets.opened(place.address, CALLERS) as sockets:

        async def send(request: Message) -> Message:
            answer = _good(await sockets.send(_as_rest(place, request)))
            return json_format.Parse(answer, place.rpc.response())

        yield send


def _as_rest(place: Place, request: Message) -> Asked:
    if isinstance(request, pb.GetCustomerRequest):
        return Asked("GET", place.rpc.path, place.headers)
    content = json.dumps(json_format.MessageToDict(request)).encode()
    return Asked("POST", place.rpc.path, {**place.headers, "content-type": "application/json"}, content)


def _good(answer: Answer) -> bytes:
    if answer.status != 200:
        raise AssertionError(f"refused: {answer.status} {answer.content!r}")
    return answer.content
