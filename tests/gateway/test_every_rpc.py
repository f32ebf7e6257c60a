"""Every RPC is reached by native gRPC, gRPC-Web and REST-JSON through the gateway, and the same message arrives.

The REST calls are made from the OpenAPI document, so that what it says is what the gateway does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from chassis.grpc_server import scope_of
from deploy.local.contracts import DESCRIPTORS
from deploy.openapi.document import document
from tests.contracts import contracts
from tests.contracts.requests import good_request
from tests.gateway.conftest import Front
from tests.gateway.wires import Answered, by_grpc, by_grpc_web, by_rest

DOCUMENT = document(DESCRIPTORS)
RPCS = [it for it in contracts.rpcs() if it.containing_service.file.package != "scrm.ops.v1"]
Way = Callable[[str, MethodDescriptor, Message, Mapping[str, str]], Awaitable[Answered]]


async def rest(address: str, rpc: MethodDescriptor, request: Message, headers: Mapping[str, str]) -> Answered:
    return await by_rest(address, rpc, request, headers, DOCUMENT)


WAYS: dict[str, Way] = {"grpc": by_grpc, "grpc-web": by_grpc_web, "rest": rest}


def ways_of(rpc: Any) -> list[str]:
    """Those there are for an RPC: neither browsers nor REST send a stream of requests."""
    return ["grpc"] if rpc.client_streaming else list(WAYS)


EACH = [(rpc, way) for rpc in RPCS for way in ways_of(rpc)]
each_rpc_and_way = pytest.mark.parametrize(("rpc", "way"), EACH, ids=[f"{rpc.full_name}-{way}" for rpc, way in EACH])


@each_rpc_and_way
def test_what_is_sent_arrives(rpc: MethodDescriptor, way: str, front: Front, loop: asyncio.AbstractEventLoop) -> None:
    request = good_request(rpc.input_type)

    found = loop.run_until_complete(WAYS[way](front.address, rpc, request, front.bearer(scope_of(rpc))))

    assert found.code == "OK"
    assert front.parrot.heard == [request]


@each_rpc_and_way
def test_nobody_gets_through_without_a_token(
    rpc: MethodDescriptor, way: str, front: Front, loop: asyncio.AbstractEventLoop
) -> None:
    found = loop.run_until_complete(WAYS[way](front.address, rpc, good_request(rpc.input_type), {}))

    assert found.code == "UNAUTHENTICATED"
    assert front.parrot.heard == []


@each_rpc_and_way
def test_a_token_of_another_scope_is_refused(
    rpc: MethodDescriptor, way: str, front: Front, loop: asyncio.AbstractEventLoop
) -> None:
    found = loop.run_until_complete(WAYS[way](front.address, rpc, good_request(rpc.input_type), front.bearer("x.y")))

    assert found.code == "PERMISSION_DENIED"
    assert front.parrot.heard == []


def test_every_way_is_gone_by_most_rpcs_and_native_grpc_by_all() -> None:
    """The control of the rule for what is left out: it leaves out streams of requests and nothing else."""
    assert {rpc.full_name for rpc, way in EACH if way == "grpc"} == {it.full_name for it in RPCS}
    for way in ("grpc-web", "rest"):
        left_out = {it.full_name for it in RPCS} - {rpc.full_name for rpc, its in EACH if its == way}
        assert left_out == {it.full_name for it in RPCS if it.GetOptions().HasExtension(annotations_pb2.http) is False}


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_headers_that_claim_an_identity_have_no_effect(way: str, front: Front, loop: asyncio.AbstractEventLoop) -> None:
    rpc = next(it for it in RPCS if it.name == "GetCustomer")
    spoofed = {"x-auth-sub": "root", "x-auth-tenant": "globex", "x-jwt-payload": "e30", "x-forwarded-user": "root"}

    found = loop.run_until_complete(WAYS[way](front.address, rpc, good_request(rpc.input_type), spoofed))

    assert found.code == "UNAUTHENTICATED"
    assert front.parrot.heard == []


def test_a_browser_of_a_known_origin_may_ask_and_one_of_another_may_not(
    front: Front, loop: asyncio.AbstractEventLoop
) -> None:
    async def preflight(origin: str) -> httpx.Response:
        asked = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-grpc-web",
        }
        async with httpx.AsyncClient(verify=False) as client:
            return await client.options(
                f"http://{front.address}/scrm.identity.v1.IdentityService/GetCustomer", headers=asked
            )

    known, unknown = (
        loop.run_until_complete(preflight(it)) for it in ("http://localhost:3000", "https://elsewhere.example")
    )
    assert known.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "x-grpc-web" in known.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in unknown.headers


def test_what_there_is_not_is_said_in_json(front: Front, loop: asyncio.AbstractEventLoop) -> None:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(verify=False) as client:
            return await client.get(f"http://{front.address}/v1/nothing", headers=front.bearer("identity.read"))

    answer = loop.run_until_complete(ask())
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, found["code"]) == (404, 5)
