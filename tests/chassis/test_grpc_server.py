"""What every call passes before a servicer sees it, and what callers are told when it does not pass."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis import context
from chassis.context import Context
from chassis.credentials import KeySet, Verifier
from chassis.errors import FailedPrecondition, ProjectionLagging, Unavailable
from chassis.grpc_server import Gate, GrpcServer, UnguardedMethodError
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from tests.chassis import echo_contract as echo

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class OutOfTea(FailedPrecondition):
    """There is no tea."""


@dataclass
class EchoServicer:
    """Says back what it is told, after `before`; keeps the contexts it was called in."""

    before: Callable[[], Awaitable[None]] | None = None
    contexts: list[Context] = field(default_factory=list)

    async def Say(self, request: Any, call: Any) -> Any:
        self.contexts.append(context.current())
        if self.before:
            await self.before()
        return echo.SayResponse(text=request.name)

    async def ListSayings(self, request: Any, call: Any) -> Any:
        self.contexts.append(context.current())
        return echo.ListSayingsResponse(sayings=["tea"])


@dataclass
class Caller:
    """Calls the server of one test."""

    channel: grpc.aio.Channel
    credentials: Credentials
    metrics: Metrics
    server: GrpcServer

    async def say(self, request: Any = None, **options: Any) -> Any:
        return await self.call("Say", good() if request is None else request, **options)

    async def call(
        self,
        name: str,
        request: Any,
        *,
        token: str | None = None,
        scopes: tuple[str, ...] = ("echo.read", "echo.write"),
        metadata: dict[str, str] | None = None,
        timeout: float | None = 20,  # noqa: ASYNC109 (of grpc)
    ) -> Any:
        bearer = self.credentials.mint("acme", scopes) if token is None else token
        headers = {"authorization": f"Bearer {bearer}", **(metadata or {})}
        return await echo.method(self.channel, name)(request, timeout=timeout, metadata=tuple(headers.items()))

    async def refused(self, request: Any = None, **options: Any) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.say(request, **options)
        return refusal(caught.value)


def good(**fields: Any) -> Any:
    return echo.SayRequest(**{"request_id": str(uuid4()), "name": "tea", **fields})


Serve = Callable[..., AbstractAsyncContextManager[Caller]]


@pytest.fixture
def serve(credentials: Credentials) -> Serve:
    @asynccontextmanager
    async def served(servicer: Any = None, **gate: Any) -> AsyncIterator[Caller]:
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        metrics = Metrics()
        server = GrpcServer(
            Gate("echo", verifier, metrics, gate.pop("tracing", Tracing()), **gate),
            [(echo.add_echo_servicer, servicer or EchoServicer())],
            reflect=False,
        )
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                yield Caller(channel, credentials, metrics, server)
            finally:
                await server.stop(0)

    return served


def raising(error: Exception) -> EchoServicer:
    async def fail() -> None:
        raise error

    return EchoServicer(fail)


def test_a_call_is_answered_in_the_context_its_token_and_headers_give(
    serve: Serve, loop: asyncio.AbstractEventLoop
) -> None:
    servicer = EchoServicer()
    request = good()

    async def call() -> None:
        async with serve(servicer) as caller:
            answer = await caller.say(
                request,
                metadata={"traceparent": TRACEPARENT, "scrm-correlation-id": "c-1", "scrm-causation-id": "c-0"},
            )
            assert answer.text == "tea"

    loop.run_until_complete(call())
    found = servicer.contexts[0]
    assert (found.tenant, found.actor, found.traceparent) == ("acme", "developer", TRACEPARENT)
    assert (found.correlation, found.causation) == ("c-1", "c-0")
    assert found.call is not None
    assert (found.call.rpc, found.call.request_id) == ("scrm.echo.v1.EchoService/Say", request.request_id)


def test_the_fingerprint_does_not_depend_on_the_order_of_a_map(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    servicer = EchoServicer()
    request = good(labels={"a": "1", "b": "2"})
    one = request.SerializeToString(deterministic=True)
    plain = good(request_id=request.request_id).SerializeToString()
    other = plain + b"".join(echo.SayRequest(labels={it: request.labels[it]}).SerializeToString() for it in "ba")

    async def call() -> None:
        async with serve(servicer) as caller:
            await caller.say(one)
            await caller.say(other)
            await caller.say(good(request_id=request.request_id, name="milk"))

    loop.run_until_complete(call())
    first, second, third = (it.call.fingerprint for it in servicer.contexts if it.call)
    assert first == second != third


@pytest.mark.parametrize(
    ("request_", "reason", "field_"),
    [
        (good(name=""), "FIELD_REQUIRED", "name"),
        (good(name="much too long"), "FIELD_TOO_LONG", "name"),
        (good(name="te\0a"), "BAD_FORMAT", "name"),
        (good(name="te\x1ba"), "BAD_FORMAT", "name"),
        (good(name="t\u0301"), None, None),
        (good(name="te\u0301"), "BAD_FORMAT", "name"),
        (good(name="te\n\ta"), None, None),
        (good(mood=1), None, None),
        (good(mood=7), "UNKNOWN_ENUM", "mood"),
        (good(count=101), "OUT_OF_RANGE", "count"),
        (good(items=[echo.Item(text="a"), echo.Item(text="\0")]), "BAD_FORMAT", "items[1].text"),
        (good(labels={"a": "\x07"}), "BAD_FORMAT", "labels[0]"),
        (good(request_id=""), "FIELD_REQUIRED", "request_id"),
        (good(request_id="7"), "BAD_FORMAT", "request_id"),
        (b"\xff\xff", "BAD_FORMAT", None),
    ],
)
def test_a_malformed_request_is_refused_naming_the_field(
    serve: Serve, loop: asyncio.AbstractEventLoop, request_: Any, reason: str | None, field_: str | None
) -> None:
    async def call() -> None:
        async with serve() as caller:
            if reason is None:
                await caller.say(request_)
                return
            found = await caller.refused(request_)
            assert (found.code, found.reason, found.domain) == ("INVALID_ARGUMENT", reason, "echo.scrm")
            assert found.fields[:1] == ((field_,) if field_ else ())

    loop.run_until_complete(call())


def test_all_violations_are_told_at_once(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def call() -> Refusal:
        async with serve() as caller:
            return await caller.refused(good(name="", count=101, mood=9))

    assert set(loop.run_until_complete(call()).fields) == {"name", "count", "mood"}


def test_a_refusal_of_the_domain_arrives_with_reason_and_metadata(
    serve: Serve, loop: asyncio.AbstractEventLoop
) -> None:
    async def call() -> Refusal:
        async with serve(raising(OutOfTea("no tea left", kind="green"))) as caller:
            return await caller.refused()

    found = loop.run_until_complete(call())
    assert (found.code, found.reason, found.domain) == ("FAILED_PRECONDITION", "OUT_OF_TEA", "echo.scrm")
    assert (found.message, found.metadata, found.retry_after_ms) == ("no tea left", {"kind": "green"}, None)


def test_a_passing_trouble_says_when_to_try_again(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def call() -> Refusal:
        async with serve(raising(Unavailable("later"))) as caller:
            return await caller.refused()

    found = loop.run_until_complete(call())
    assert found.code == "UNAVAILABLE"
    assert found.retry_after_ms is not None


def test_a_defect_of_ours_tells_the_caller_nothing_but_an_id(
    serve: Serve, loop: asyncio.AbstractEventLoop, capsys: pytest.CaptureFixture[str]
) -> None:
    async def call() -> Refusal:
        async with serve(raising(ValueError("secret detail"))) as caller:
            return await caller.refused()

    found = loop.run_until_complete(call())
    assert (found.code, found.message, found.reason) == ("INTERNAL", "internal error", "INTERNAL")
    assert found.request_id
    assert found.request_id in capsys.readouterr().out


def test_a_caller_without_a_valid_token_or_scope_is_refused(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def call() -> None:
        async with serve() as caller:
            assert (await caller.refused(token="nonsense")).reason == "INVALID_TOKEN"
            assert (await caller.refused(scopes=("echo.read",))).reason == "MISSING_SCOPE"
            expired = caller.credentials.mint("acme", ["echo.write"], ttl=timedelta(hours=-1))
            assert (await caller.refused(token=expired)).code == "UNAUTHENTICATED"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await echo.method(caller.channel, "Say")(good())
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED

    loop.run_until_complete(call())


def test_a_method_without_a_scope_keeps_the_server_from_starting(
    credentials: Credentials, loop: asyncio.AbstractEventLoop
) -> None:
    async def start() -> None:
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        GrpcServer(Gate("echo", verifier, Metrics(), Tracing()), [(echo.add_open_servicer, EchoServicer())])

    with pytest.raises(UnguardedMethodError, match="names no scope"):
        loop.run_until_complete(start())


def test_a_call_with_a_deadline_is_cut_at_it_and_one_without_gets_one(
    serve: Serve, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    async def call(seconds: float | None) -> Refusal:
        async with serve(EchoServicer(for_ever)) as caller:
            return await caller.refused(timeout=seconds)

    assert loop.run_until_complete(call(0.05)).code == "DEADLINE_EXCEEDED"
    monkeypatch.setattr("chassis.call_steps.DEFAULT_DEADLINE_SECONDS", 0.05)
    assert loop.run_until_complete(call(None)).reason == "DEADLINE_EXCEEDED"


def test_calls_beyond_the_limit_are_refused_at_once_and_the_others_answered(
    serve: Serve, loop: asyncio.AbstractEventLoop
) -> None:
    async def call() -> list[str]:
        gate = asyncio.Event()

        async def wait() -> None:
            await gate.wait()

        async with serve(EchoServicer(wait), most_calls=3) as caller:
            calls = [asyncio.ensure_future(caller.say()) for _ in range(8)]
            refused = 0
            for done in asyncio.as_completed(calls):
                refused += await reason(done) == "OVERLOADED"
                if refused == 5:
                    gate.set()
            return [await reason(it) for it in calls]

    async def reason(answer: Awaitable[Any]) -> str:
        try:
            await answer
        except grpc.aio.AioRpcError as error:
            return refusal(error).reason
        return "answered"

    outcomes = loop.run_until_complete(call())
    assert (outcomes.count("answered"), outcomes.count("OVERLOADED")) == (3, 5)


def test_a_message_above_four_mebibytes_is_refused(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def call() -> Refusal:
        async with serve() as caller:
            return await caller.refused(good(name="x" * 5_000_000))

    assert loop.run_until_complete(call()).code == "RESOURCE_EXHAUSTED"


def test_a_read_waits_for_the_position_asked_for(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    asked: list[int] = []

    async def wait_for(position: int) -> None:
        asked.append(position)
        if position > 10:
            raise ProjectionLagging

    async def call() -> None:
        async with serve(wait_for=wait_for) as caller:
            await caller.say(metadata={"scrm-position": "10"})
            assert (await caller.refused(metadata={"scrm-position": "11"})).reason == "PROJECTION_LAGGING"
            assert (await caller.refused(metadata={"scrm-position": "-1"})).reason == "BAD_FORMAT"

    loop.run_until_complete(call())
    assert asked == [10, 11]


def test_the_position_of_a_write_comes_back_as_a_trailer(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def write() -> None:
        holder = context.last_position.get()
        assert holder is not None
        holder[0] = 42

    async def call() -> dict[str, Any]:
        async with serve(EchoServicer(write)) as caller:
            token = caller.credentials.mint("acme", ["echo.write"])
            answered = echo.method(caller.channel, "Say")(good(), metadata=(("authorization", f"Bearer {token}"),))
            await answered
            return dict(await answered.trailing_metadata())

    assert loop.run_until_complete(call())["scrm-position"] == "42"


def test_ids_made_up_by_callers_are_short_and_printable(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def call() -> None:
        async with serve() as caller:
            assert (await caller.refused(metadata={"scrm-correlation-id": "x" * 129})).reason == "FIELD_TOO_LONG"

    loop.run_until_complete(call())


def test_health_needs_no_token_and_turns_to_not_serving_on_drain(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def call() -> list[int]:
        async with serve() as caller:
            stub: Any = health_pb2_grpc.HealthStub(caller.channel)
            found = [(await stub.Check(health_pb2.HealthCheckRequest())).status]
            await caller.server.drain()
            found.append((await stub.Check(health_pb2.HealthCheckRequest())).status)
            await caller.say()
            return found

    status = health_pb2.HealthCheckResponse
    assert loop.run_until_complete(call()) == [status.SERVING, status.NOT_SERVING]


def test_a_call_running_when_the_server_stops_is_answered(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def call() -> str:
        entered, gate = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            entered.set()
            await gate.wait()

        async with serve(EchoServicer(wait)) as caller:
            answer = asyncio.ensure_future(caller.say())
            await entered.wait()
            stopping = asyncio.ensure_future(caller.server.stop(10))
            gate.set()
            text = str((await answer).text)
            await stopping
            return text

    assert loop.run_until_complete(call()) == "tea"


def test_calls_are_counted_by_code(serve: Serve, loop: asyncio.AbstractEventLoop) -> None:
    async def call() -> Metrics:
        async with serve() as caller:
            await caller.say()
            await caller.refused(good(name=""))
            found: Metrics = caller.metrics
            return found

    metrics = loop.run_until_complete(call())
    for code in ("OK", "INVALID_ARGUMENT"):
        labels = {"rpc": "scrm.echo.v1.EchoService/Say", "code": code}
        assert metrics.registry.get_sample_value("scrm_grpc_seconds_count", labels) == 1
