"""What a call to another service carries, and what becomes of it when the other side is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from chassis.context import Call, Context, entered
from chassis.grpc_client import Channels, channel
from chassis.status import refusal
from tests.chassis import echo_contract as echo

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CONTEXT = Context(
    tenant="acme",
    actor="system/test",
    call=Call("rpc", "6f2f6b1e-9d1c-4a3e-8a93-6f8f3f1d2b11", b""),
    traceparent=TRACEPARENT,
    correlation="c-1",
)

Handle = Callable[[Any, Any], Awaitable[Any]]


class Tokens:
    def token(self, tenant: str, scopes: Any) -> str:
        return f"{tenant}:{','.join(sorted(scopes))}"


async def serve(handle: Handle, port: int = 0) -> tuple[grpc.aio.Server, int]:
    """A bare server, so that what arrives is seen as it arrives."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    handler = grpc.unary_unary_rpc_method_handler(
        handle, echo.SayRequest.FromString, echo.SayResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("scrm.echo.v1.EchoService", {"Say": handler}),)
    )
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, bound


def test_a_call_carries_token_trace_correlation_and_cause(loop: asyncio.AbstractEventLoop) -> None:
    seen: dict[str, Any] = {}

    async def handle(request: Any, call: Any) -> Any:
        seen.update(call.invocation_metadata(), remaining=call.time_remaining())
        return echo.SayResponse(text="tea")

    async def run() -> None:
        server, port = await serve(handle)
        channels = Channels(lambda service: f"127.0.0.1:{port}", Tokens())
        with entered(CONTEXT):
            assert (await echo.method(channels.to("echo"), "Say")(echo.SayRequest())).text == "tea"
        assert channels.to("echo") is channels.to("echo")
        await channels.close()
        await server.stop(0)

    loop.run_until_complete(run())
    assert seen["authorization"] == "Bearer acme:echo.read,echo.write"
    assert seen["traceparent"] == TRACEPARENT
    assert seen["scrm-correlation-id"] == "c-1"
    assert CONTEXT.call is not None
    assert seen["scrm-causation-id"] == CONTEXT.call.request_id
    assert 0 < seen["remaining"] <= 5.1  # five seconds, which gRPC rounds up on the wire


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_a_call_that_nobody_takes_or_stays_to_answer_is_sent_again(
    loop: asyncio.AbstractEventLoop, code: grpc.StatusCode
) -> None:
    attempts = 0

    async def handle(request: Any, call: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            await call.abort(code, "later")
        return echo.SayResponse(text="tea")

    async def run() -> None:
        server, port = await serve(handle)
        async with channel(f"127.0.0.1:{port}", lambda context: "t") as to:
            with entered(CONTEXT):
                await echo.method(to, "Say")(echo.SayRequest())
        await server.stop(0)

    loop.run_until_complete(run())
    assert attempts == 3


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_refusal_is_not_retried(loop: asyncio.AbstractEventLoop, code: grpc.StatusCode) -> None:
    attempts = 0

    async def handle(request: Any, call: Any) -> Any:
        nonlocal attempts
        attempts += 1
        await call.abort(code, "no")

    async def run() -> str:
        server, port = await serve(handle)
        try:
            async with channel(f"127.0.0.1:{port}", lambda context: "t") as to:
                with entered(CONTEXT), pytest.raises(grpc.aio.AioRpcError) as caught:
                    await echo.method(to, "Say")(echo.SayRequest())
                return refusal(caught.value).code
        finally:
            await server.stop(0)

    assert loop.run_until_complete(run()) == code.name
    assert attempts == 1


def test_a_call_without_an_answer_ends_at_the_deadline(loop: asyncio.AbstractEventLoop) -> None:
    async def handle(request: Any, call: Any) -> Any:
        await asyncio.Event().wait()

    async def run() -> str:
        server, port = await serve(handle)
        try:
            async with channel(f"127.0.0.1:{port}", lambda context: "t", deadline=0.05) as to:
                with entered(CONTEXT), pytest.raises(grpc.aio.AioRpcError) as caught:
                    await echo.method(to, "Say")(echo.SayRequest())
                return refusal(caught.value).code
        finally:
            await server.stop(0)

    assert loop.run_until_complete(run()) == "DEADLINE_EXCEEDED"


def test_a_call_outside_of_any_context_is_a_mistake(loop: asyncio.AbstractEventLoop) -> None:
    async def run() -> None:
        async with channel("127.0.0.1:1", lambda context: "t") as to:
            with pytest.raises(LookupError):
                await echo.method(to, "Say")(echo.SayRequest())

    loop.run_until_complete(run())


def test_streams_carry_the_context_too_and_may_last_longer(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[dict[str, Any]] = []

    def note(call: Any) -> None:
        seen.append({**dict(call.invocation_metadata()), "remaining": call.time_remaining()})

    async def recite(request: Any, call: Any) -> AsyncIterator[bytes]:
        note(call)
        yield echo.ReciteResponse(text="tea").SerializeToString()

    async def dictate(requests: Any, call: Any) -> bytes:
        note(call)
        heard = [echo.DictateRequest.FromString(it).word async for it in requests]
        return bytes(echo.DictateResponse(text=" ".join(heard)).SerializeToString())

    async def run() -> None:
        server = grpc.aio.server()
        handlers: dict[str, Any] = {
            "Recite": grpc.unary_stream_rpc_method_handler(recite),
            "Dictate": grpc.stream_unary_rpc_method_handler(dictate),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("scrm.echo.v1.EchoService", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with channel(f"127.0.0.1:{port}", lambda context: "t") as to:
            with entered(CONTEXT):
                assert [it.text async for it in echo.method(to, "Recite")(echo.ReciteRequest())] == ["tea"]
                words = [echo.DictateRequest(word=it) for it in "ab"]
                assert (await echo.method(to, "Dictate")(words)).text == "a b"
        await server.stop(0)

    loop.run_until_complete(run())
    for it in seen:
        assert (it["authorization"], it["traceparent"], it["scrm-correlation-id"]) == ("Bearer t", TRACEPARENT, "c-1")
        assert 60 < it["remaining"] <= 301
    assert len(seen) == 2
