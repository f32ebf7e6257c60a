"""Streams through the gateway: message by message as they are made, and what a caller sees of one that breaks."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import httpx
import pytest

from chassis.errors import Interrupted
from chassis.grpc_server import scope_of
from chassis.status import refusal
from deploy.local import gateway
from deploy.local.contracts import DESCRIPTORS, ROOT, streams
from scrm.tagging.v1.segment_pb2 import SnapshotMember
from scrm.tagging.v1.tagging_service_pb2 import ExportSegmentRequest, ExportSegmentResponse
from tests.contracts import contracts
from tests.contracts.requests import good_request
from tests.gateway.conftest import Front
from tests.gateway.wires import _frames, _trailers, grpc_code, path_of

EXPORT = next(it for it in contracts.rpcs() if it.name == "ExportSegment")
IMPORT = next(it for it in contracts.rpcs() if it.name == "ImportRows")
SEGMENT = "0b7e3b5e-5f0f-4c3d-9a57-3a3c2f1f7b11"
PORTIONS = [ExportSegmentResponse(size=3, next_page_token=it) for it in ("a", "b", "")]


@pytest.fixture
def telling(front: Front) -> Iterator[Front]:
    yield front
    front.parrot.streams.clear()


def by_rest(front: Front, loop: asyncio.AbstractEventLoop) -> tuple[int, str, bytes]:
    """Status, type and content of an export."""

    async def ask() -> tuple[int, str, bytes]:
        url = f"http://{front.address}/v1/tagging/segments/{SEGMENT}:export?pageSize=2"
        async with httpx.AsyncClient(timeout=20, verify=False) as client:
            answer = await client.get(url, headers=front.bearer("tagging.read"))
        return answer.status_code, answer.headers["content-type"], answer.content

    return loop.run_until_complete(ask())


def by_grpc_web(front: Front, loop: asyncio.AbstractEventLoop, rpc: Any, *requests: Any) -> tuple[list[bytes], str]:
    """The messages of a stream over gRPC-Web, and the code it ended with."""
    contents = [it.SerializeToString() for it in requests]

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(timeout=20, verify=False) as client:
            return await client.post(
                f"http://{front.address}{path_of(rpc)}",
                content=b"".join(b"\0" + len(it).to_bytes(4, "big") + it for it in contents),
                headers={
                    **front.bearer(scope_of(rpc)),
                    "content-type": "application/grpc-web+proto",
                    "x-grpc-web": "1",
                },
            )

    answer = loop.run_until_complete(ask())
    frames = list(_frames(answer.content))
    trailers = {**answer.headers, **{k: v for flag, it in frames if flag & 0x80 for k, v in _trailers(it)}}
    return [it for flag, it in frames if not flag & 0x80], grpc_code(int(trailers["grpc-status"]))


def test_rest_has_a_stream_as_one_array(telling: Front, loop: asyncio.AbstractEventLoop) -> None:
    telling.parrot.streams[EXPORT.full_name] = PORTIONS

    status, kind, content = by_rest(telling, loop)

    assert (status, kind) == (200, "application/json")
    assert json.loads(content) == [
        {"size": "3", "nextPageToken": "a"},
        {"size": "3", "nextPageToken": "b"},
        {"size": "3"},
    ]
    assert telling.parrot.heard == [ExportSegmentRequest(segment_id=SEGMENT, page_size=2)]


def test_to_rest_a_stream_that_breaks_differs_by_nothing_but_the_token_of_its_last_element(
    telling: Front, loop: asyncio.AbstractEventLoop
) -> None:
    telling.parrot.streams[EXPORT.full_name] = [*PORTIONS[:2], Interrupted()]

    status, _, content = by_rest(telling, loop)

    assert (status, json.loads(content)[-1]) == (200, {"size": "3", "nextPageToken": "b"})


def test_a_stream_that_never_began_is_refused_like_any_call(telling: Front, loop: asyncio.AbstractEventLoop) -> None:
    telling.parrot.streams[EXPORT.full_name] = [Interrupted()]

    status, _, content = by_rest(telling, loop)

    assert (status, json.loads(content)["details"][0]["reason"]) == (503, "INTERRUPTED")


def test_grpc_web_has_the_messages_and_then_why_the_stream_ended(
    telling: Front, loop: asyncio.AbstractEventLoop
) -> None:
    telling.parrot.streams[EXPORT.full_name] = [*PORTIONS[:2], Interrupted()]

    found, code = by_grpc_web(telling, loop, EXPORT, ExportSegmentRequest(segment_id=SEGMENT))

    assert [ExportSegmentResponse.FromString(it) for it in found] == PORTIONS[:2]
    assert code == "UNAVAILABLE"


def test_native_grpc_has_the_position_too(telling: Front, loop: asyncio.AbstractEventLoop) -> None:
    telling.parrot.streams[EXPORT.full_name] = [*PORTIONS[:2], Interrupted()]

    async def ask() -> tuple[int, dict[str, str]]:
        told = 0
        async with grpc.aio.insecure_channel(telling.address) as channel:
            call: Any = channel.unary_stream(path_of(EXPORT))
            metadata = tuple(telling.bearer("tagging.read").items())
            try:
                async for _ in call(good_request(EXPORT.input_type).SerializeToString(), metadata=metadata, timeout=20):
                    told += 1
            except grpc.aio.AioRpcError as error:
                return told, refusal(error).metadata
        return told, {}

    assert loop.run_until_complete(ask()) == (2, {"position": "b"})


def test_a_body_with_several_requests_is_a_stream_to_the_service(
    telling: Front, loop: asyncio.AbstractEventLoop
) -> None:
    """What a browser cannot do is to send while it goes on; a body that is whole gets through."""
    pieces = [good_request(IMPORT.input_type) for _ in range(3)]
    for it in pieces[1:]:
        it.request_id = pieces[0].request_id  # type: ignore[attr-defined]

    found, code = by_grpc_web(telling, loop, IMPORT, *pieces)

    assert (len(found), code) == (1, "OK")
    assert telling.parrot.heard == pieces


def test_the_example_in_python_reads_a_segment_through_the_gateway(
    telling: Front, loop: asyncio.AbstractEventLoop
) -> None:
    telling.parrot.streams[EXPORT.full_name] = [
        ExportSegmentResponse(members=[SnapshotMember(customer_id=it)], next_page_token=following)
        for it, following in (("one", "a"), ("two", ""))
    ]
    told = {
        "PYTHONPATH": f"{ROOT / 'clients' / 'python'}{os.pathsep}{ROOT / 'gen'}",
        "SCRM_GATEWAY": telling.address,
        "SCRM_TOKEN": telling.bearer("tagging.read")["authorization"].removeprefix("Bearer "),
    }
    command = [sys.executable, ROOT / "clients" / "python" / "examples" / "export_segment.py", SEGMENT]

    run = partial(subprocess.run, command, env=os.environ | told, capture_output=True, text=True, timeout=60)
    done = loop.run_until_complete(asyncio.to_thread(run))

    assert (done.stdout.split(), done.returncode) == (["one", "two"], 0), done.stderr


def test_streams_have_routes_of_their_own_that_do_not_cut_them() -> None:
    paths = {path_of(it) for it in contracts.rpcs() if it.client_streaming or it.server_streaming}
    assert {path_of(EXPORT), path_of(IMPORT)} <= paths
    found = gateway.Gateway(
        listen=("127.0.0.1", 1),
        admin=("127.0.0.1", 2),
        backends=dict.fromkeys(contracts.SERVICES, ("127.0.0.1", 3)),
        descriptors=DESCRIPTORS,
        jwks=DESCRIPTORS,
    )
    routes = gateway._virtual_host(found)["routes"]
    of_streams = {it["match"]["path"]: it["route"] for it in routes if it["match"].get("path") in paths}
    assert of_streams.keys() == paths == {it for name in contracts.SERVICES for it in streams(f"scrm.{name}.")}
    assert {it["timeout"] for it in of_streams.values()} == {"0s"}
    first = [it["match"].get("path") or it["match"]["prefix"] for it in routes]
    assert all(first.index(path) < first.index("/scrm.tagging.") for path in paths)
