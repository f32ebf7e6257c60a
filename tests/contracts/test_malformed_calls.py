"""Every RPC of every service answers a malformed call with the typed error, before anybody reads the request.

The RPCs come from the descriptors, and so do the requests: good ones by the rules of the contract, and each of them spoilt in one
way. A servicer that counts its calls stands for the services; what a service does behind it is no matter of this test.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from chassis.credentials import KeySet, Verifier
from chassis.grpc_server import Gate, GrpcServer, Registration, request_id_rule, scope_of
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from tests.contracts import contracts
from tests.contracts.kinds import called, handler_of
from tests.contracts.requests import good_request, is_enum, is_text, spoilt

RPCS = contracts.rpcs()
each_rpc = pytest.mark.parametrize("rpc", RPCS, ids=[it.full_name for it in RPCS])


class Stub:
    """All services at once, of which nothing is known but their contracts."""

    def __init__(self) -> None:
        self.calls = 0

    def registrations(self) -> list[Registration]:
        return [(self._adder(service), self) for service in contracts.services()]

    def _adder(self, service: Any) -> Callable[[Any, Any], None]:
        handlers: dict[str, Any] = {it.name: handler_of(it, self._answer(it)) for it in service.methods}
        return lambda servicer, server: server.add_registered_method_handlers(service.full_name, handlers)

    def _answer(self, rpc: MethodDescriptor) -> Any:
        response = message_factory.GetMessageClass(rpc.output_type)

        async def answer(request: Message, call: Any) -> Message:
            self.calls += 1
            return response()

        return answer


class Wire:
    """Calls the stub, raw bytes and all."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials, stub: Stub) -> None:
        self._channel = channel
        self._credentials = credentials
        self._tokens: dict[tuple[tuple[str, ...], float], str] = {}
        self.stub = stub

    def token(self, *scopes: str, hours: float = 1) -> str:
        """Signing takes longer than all the rest, so every token is made once."""
        if (scopes, hours) not in self._tokens:
            self._tokens[scopes, hours] = self._credentials.mint("acme", scopes, ttl=timedelta(hours=hours))
        return self._tokens[scopes, hours]

    async def call(self, rpc: MethodDescriptor, content: bytes, token: str | None = None, **headers: str) -> None:
        """Raises AioRpcError; `token` "" for none at all, None for a good one."""
        bearer = self.token(scope_of(rpc)) if token is None else token
        metadata = {**({"authorization": f"Bearer {bearer}"} if bearer else {}), **headers}
        await called(self._channel, rpc, content, metadata=tuple(metadata.items()), timeout=20)

    async def refused(
        self, rpc: MethodDescriptor, content: Message | bytes, token: str | None = None
    ) -> Refusal | None:
        """How the call was refused; None if it was answered."""
        try:
            await self.call(rpc, content if isinstance(content, bytes) else content.SerializeToString(), token)
        except grpc.aio.AioRpcError as error:
            return refusal(error)
        return None


@asynccontextmanager
async def serving(credentials: Credentials) -> AsyncIterator[Wire]:
    stub = Stub()
    verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
    server = GrpcServer(Gate("contracts", verifier, Metrics(), Tracing()), stub.registrations())
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Wire(channel, credentials, stub)
    finally:
        await server.stop(0)


@pytest.fixture(scope="module")
def _wire(loop: asyncio.AbstractEventLoop, credentials: Credentials) -> Iterator[Wire]:
    context = serving(credentials)
    yield loop.run_until_complete(context.__aenter__())
    loop.run_until_complete(context.__aexit__(None, None, None))


@pytest.fixture
def wire(_wire: Wire) -> Wire:
    _wire.stub.calls = 0
    return _wire


def expect(found: Refusal | None, code: str, *reasons: str) -> Refusal:
    assert found is not None
    assert found.code == code, found
    assert not reasons or found.reason in reasons, found
    return found


@each_rpc
def test_a_good_call_reaches_the_servicer(rpc: MethodDescriptor, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
    """The control of all tests below: what they spoil is good."""
    assert loop.run_until_complete(wire.refused(rpc, good_request(rpc.input_type))) is None
    assert wire.stub.calls == 1


@each_rpc
def test_a_missing_field_is_named(rpc: MethodDescriptor, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
    empty = message_factory.GetMessageClass(rpc.input_type)()
    needed = good_request(rpc.input_type).ListFields()
    if not needed:
        pytest.skip("nothing is required")
    found = expect(loop.run_until_complete(wire.refused(rpc, empty)), "INVALID_ARGUMENT")
    assert found.fields
    assert found.reason in {"FIELD_REQUIRED", "UNKNOWN_ENUM", "BAD_FORMAT", "OUT_OF_RANGE"}
    assert wire.stub.calls == 0


@each_rpc
def test_a_mutation_needs_its_request_id(rpc: MethodDescriptor, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
    if request_id_rule(rpc.input_type) != "required":
        pytest.skip("changes nothing, or has keys of its own")
    request: Any = good_request(rpc.input_type)
    request.request_id = ""
    found = expect(loop.run_until_complete(wire.refused(rpc, request)), "INVALID_ARGUMENT", "FIELD_REQUIRED")
    assert found.fields == ("request_id",)


@each_rpc
def test_a_nul_in_any_text_is_refused(rpc: MethodDescriptor, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
    async def check() -> None:
        bad = list(spoilt(good_request(rpc.input_type), is_text, lambda text: text + "\0"))
        answers = await asyncio.gather(*(wire.refused(rpc, request) for _, request in bad))
        for (path, _), answer in zip(bad, answers, strict=True):
            found = expect(answer, "INVALID_ARGUMENT")
            assert any(it.startswith(path) for it in found.fields), (path, found)

    loop.run_until_complete(check())
    assert wire.stub.calls == 0


@each_rpc
def test_an_enum_number_nobody_knows_is_refused(
    rpc: MethodDescriptor, wire: Wire, loop: asyncio.AbstractEventLoop
) -> None:
    async def check() -> None:
        bad = list(spoilt(good_request(rpc.input_type), is_enum, lambda _: 9999))
        answers = await asyncio.gather(*(wire.refused(rpc, request) for _, request in bad))
        for (path, _), answer in zip(bad, answers, strict=True):
            found = expect(answer, "INVALID_ARGUMENT", "UNKNOWN_ENUM")
            assert any(it.startswith(path) for it in found.fields), (path, found)

    loop.run_until_complete(check())
    assert wire.stub.calls == 0


@each_rpc
def test_bytes_that_are_no_message_are_refused(
    rpc: MethodDescriptor, wire: Wire, loop: asyncio.AbstractEventLoop
) -> None:
    expect(loop.run_until_complete(wire.refused(rpc, b"\x0a\xff")), "INVALID_ARGUMENT", "BAD_FORMAT")
    assert wire.stub.calls == 0


@each_rpc
def test_a_message_of_5_megabytes_is_refused(
    rpc: MethodDescriptor, wire: Wire, loop: asyncio.AbstractEventLoop
) -> None:
    unknown_field = b"\xfa\xff\xff\xff\x0f" + b"\x80\xcb\xb1\x02" + bytes(5_000_000)
    content = good_request(rpc.input_type).SerializeToString() + unknown_field
    expect(loop.run_until_complete(wire.refused(rpc, content)), "RESOURCE_EXHAUSTED")
    assert wire.stub.calls == 0


@each_rpc
def test_nobody_calls_without_good_credentials(
    rpc: MethodDescriptor, wire: Wire, loop: asyncio.AbstractEventLoop
) -> None:
    scope, request = scope_of(rpc), good_request(rpc.input_type)
    service = scope.partition(".")[0]
    others = tuple(sorted({scope_of(it) for it in RPCS} - {scope}))

    async def refused(*tokens: str) -> list[Refusal | None]:
        return await asyncio.gather(*(wire.refused(rpc, request, it) for it in tokens))

    async def check() -> None:
        for found in await refused("", "x", wire.token(scope, hours=-1)):
            expect(found, "UNAUTHENTICATED", "INVALID_TOKEN")
        stolen = ((), others, (scope.upper(), f"{scope}x", service, "*", f"{service}.*"))
        for found in await refused(*(wire.token(*it) for it in stolen)):
            expect(found, "PERMISSION_DENIED", "MISSING_SCOPE")

    loop.run_until_complete(check())
    assert wire.stub.calls == 0
