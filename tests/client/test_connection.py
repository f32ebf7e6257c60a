"""Calls over a `Connection` have a token, a deadline, a request id and retries, and remember where the last write is."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import grpc
import pytest

from scrm.identity.v1 import identity_service_pb2_grpc, profile_service_pb2_grpc
from scrm.identity.v1.customer_pb2 import Identifier
from scrm.identity.v1.identity_service_pb2 import ResolveIdentityRequest, ResolveIdentityResponse
from scrm.identity.v1.profile_service_pb2 import SearchCustomersRequest, SearchCustomersResponse
from scrm_client import Connection, Refused, min_position

JANE = ResolveIdentityRequest(identifiers=[Identifier(namespace="email", value="jane@example.com")])
SEARCH = SearchCustomersRequest(query="jane@example.com")


class Listener:
    """A server that notes what it is asked; it fails as often as `fails` says and answers after `pause` seconds."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, dict[str, Any]]] = []
        self.fails = 0
        self.pause = 0.0

    async def ResolveIdentity(self, request: Any, call: Any) -> Any:
        await self._note(request, call)
        call.set_trailing_metadata((("scrm-position", "17"),))
        return ResolveIdentityResponse(customer_id="c")

    async def SearchCustomers(self, request: Any, call: Any) -> Any:
        await self._note(request, call)
        return SearchCustomersResponse()

    async def _note(self, request: Any, call: Any) -> None:
        self.heard.append((request, dict(call.invocation_metadata())))
        await asyncio.sleep(self.pause)
        if self.fails:
            self.fails -= 1
            await call.abort(grpc.StatusCode.UNAVAILABLE, "not now")


@asynccontextmanager
async def listening(**settings: Any) -> AsyncIterator[tuple[Listener, Connection]]:
    listener, server = Listener(), grpc.aio.server()
    handlers: dict[str, tuple[str, Any]] = {
        "scrm.identity.v1.IdentityService": ("ResolveIdentity", ResolveIdentityRequest),
        "scrm.identity.v1.ProfileService": ("SearchCustomers", SearchCustomersRequest),
    }
    for service, (name, request) in handlers.items():
        handler: Any = grpc.unary_unary_rpc_method_handler(
            getattr(listener, name), request.FromString, lambda it: it.SerializeToString()
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with Connection(f"127.0.0.1:{port}", **{"token": "t", **settings}) as connection:
            yield listener, connection
    finally:
        await server.stop(0)


async def resolve(connection: Connection) -> Any:
    return await identity_service_pb2_grpc.IdentityServiceStub(connection.channel).ResolveIdentity(JANE)


async def search(connection: Connection, **options: Any) -> Any:
    stub: Any = profile_service_pb2_grpc.ProfileServiceStub(connection.channel)
    return await stub.SearchCustomers(SEARCH, **options)


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, None]], None]:
    return loop.run_until_complete


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_what_finds_nobody_is_sent_again_with_the_same_id(run: Run) -> None:
    async def scenario() -> None:
        async with listening() as (listener, connection):
            listener.fails = 2
            answer = await resolve(connection)
            ids = {UUID(request.request_id) for request, _ in listener.heard}
            assert (answer.customer_id, len(listener.heard), len(ids)) == ("c", 3, 1)

    run(scenario())


def test_a_call_without_an_answer_is_refused_when_its_time_is_over(run: Run) -> None:
    async def scenario() -> None:
        async with listening(deadline=0.1) as (listener, connection):
            listener.pause = 20
            with pytest.raises(Refused) as refused:
                await resolve(connection)
            assert refused.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert refused.value.may_have_happened
            assert refused.value.request_id == listener.heard[0][0].request_id

    run(scenario())


def test_every_call_has_a_token_of_its_moment(run: Run) -> None:
    async def scenario() -> None:
        tokens = iter(["first", "second"])
        async with listening(token=lambda: next(tokens)) as (listener, connection):
            await search(connection)
            await search(connection)
            assert [it["authorization"] for _, it in listener.heard] == ["Bearer first", "Bearer second"]

    run(scenario())


@pytest.mark.parametrize(("reads_own_writes", "sent"), [(True, "17"), (False, None)])
def test_searches_wait_for_the_last_write_if_they_shall(run: Run, reads_own_writes: bool, sent: str | None) -> None:
    async def scenario() -> None:
        async with listening(reads_own_writes=reads_own_writes) as (listener, connection):
            assert connection.position("identity") == 0
            await resolve(connection)
            assert connection.position("identity") == 17
            await search(connection)
            await search(connection, metadata=min_position(12))
            assert [it.get("scrm-position") for _, it in listener.heard] == [None, sent, "12"]

    run(scenario())


def test_the_log_says_which_call_and_nothing_of_what_is_in_it(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with listening() as (listener, connection):
            await resolve(connection)
            listener.fails = 9
            with pytest.raises(Refused):
                await search(connection)

    with caplog.at_level(logging.DEBUG, logger="scrm_client"):
        run(scenario())
    first, second = (it.getMessage() for it in caplog.records if it.name == "scrm_client")
    assert first.startswith("/scrm.identity.v1.IdentityService/ResolveIdentity OK - ")
    assert second.startswith("/scrm.identity.v1.ProfileService/SearchCustomers UNAVAILABLE - ")
    assert "jane" not in first + second
