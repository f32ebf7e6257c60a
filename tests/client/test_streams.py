"""Streams over a `Connection`: read with `async for`, refused by typed exceptions, gone on with where they broke."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
import pytest

from chassis import status
from chassis.errors import DomainError, FailedPrecondition, Interrupted
from scrm.tagging.v1.tagging_service_pb2 import ExportSegmentRequest, ExportSegmentResponse
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub
from scrm.tracking.v1.import_service_pb2 import ImportRowsRequest, ImportRowsResponse
from scrm.tracking.v1.import_service_pb2_grpc import ImportServiceStub
from scrm_client import Connection, Refused, whole
from scrm_client.refusals import Interrupted as WasInterrupted

EXPORT = ExportSegmentRequest(segment_id="s")


@dataclass
class Listener:
    """Tells three portions; `faults` end one stream each, after the portion of their number."""

    faults: list[tuple[int, DomainError]] = field(default_factory=list)
    heard: list[tuple[Any, dict[str, Any], float]] = field(default_factory=list)

    async def ExportSegment(self, request: Any, call: Any) -> AsyncIterator[Any]:
        self.heard.append((request, dict(call.invocation_metadata()), call.time_remaining()))
        after, fault = self.faults.pop(0) if self.faults else (-1, None)
        for number in range(int(request.page_token or 0), 3):
            if fault and number == after:
                answer = status.with_position(status.to_status(fault, "tagging"), str(number))
                await call.abort_with_status(status.to_grpc(answer))
            yield ExportSegmentResponse(size=number, next_page_token=str(number + 1) if number < 2 else "")

    async def ImportRows(self, requests: Any, call: Any) -> Any:
        async for it in requests:
            self.heard.append((it, dict(call.invocation_metadata()), call.time_remaining()))
            if self.faults:
                answer = status.with_position(status.to_status(self.faults[0][1], "tracking"), "1")
                await call.abort_with_status(status.to_grpc(answer))
        call.set_trailing_metadata((("scrm-position", "17"),))
        return ImportRowsResponse(rows=len(self.heard))


@asynccontextmanager
async def listening(listener: Listener) -> AsyncIterator[Any]:
    async with connected(listener) as connection:
        yield TaggingServiceStub(connection.channel)


@asynccontextmanager
async def connected(listener: Listener) -> AsyncIterator[Connection]:
    server = grpc.aio.server()
    give: Any = grpc.unary_stream_rpc_method_handler(
        listener.ExportSegment, ExportSegmentRequest.FromString, lambda it: it.SerializeToString()
    )
    take: Any = grpc.stream_unary_rpc_method_handler(
        listener.ImportRows, ImportRowsRequest.FromString, lambda it: it.SerializeToString()
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("scrm.tagging.v1.TaggingService", {"ExportSegment": give}),
            grpc.method_handlers_generic_handler("scrm.tracking.v1.ImportService", {"ImportRows": take}),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with Connection(f"127.0.0.1:{port}", "t") as connection:
            yield connection
    finally:
        await server.stop(0)


async def ended(kind: type[Refused], stream: AsyncIterator[Any], sizes: list[int]) -> Refused:
    """How a stream ended, after the `sizes` it told."""
    try:
        async for it in stream:
            sizes.append(it.size)  # noqa: PERF401 (what came before the end counts)
    except kind as refused:
        return refused
    raise AssertionError("it ended well")


Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Run:
    return loop.run_until_complete


def test_a_stream_has_a_token_and_minutes(run: Run) -> None:
    async def scenario() -> None:
        listener = Listener()
        async with listening(listener) as tagging:
            assert [it.size async for it in tagging.ExportSegment(EXPORT)] == [0, 1, 2]
        ((_, metadata, remaining),) = listener.heard
        assert metadata["authorization"] == "Bearer t"
        assert 60 < remaining <= 301

    run(scenario())


def test_what_ends_a_stream_is_a_refusal_of_its_own_that_says_how_far_it_was(run: Run) -> None:
    async def scenario() -> None:
        found: list[int] = []
        async with listening(Listener([(2, Interrupted())])) as tagging:
            refused = await ended(WasInterrupted, tagging.ExportSegment(EXPORT), found)
        assert found == [0, 1]
        assert refused.metadata["position"] == "2"
        assert refused.retry_after

    run(scenario())


def test_a_stream_is_read_whole_however_often_it_breaks(run: Run) -> None:
    async def scenario() -> None:
        listener = Listener([(1, Interrupted()), (2, Interrupted())])
        async with listening(listener) as tagging:
            assert [it.size async for it in whole(tagging.ExportSegment, EXPORT)] == [0, 1, 2]
        assert [it.page_token for it, _, _ in listener.heard] == ["", "1", "2"]
        assert EXPORT.page_token == ""

    run(scenario())


def test_what_no_trying_helps_is_told_at_once(run: Run) -> None:
    async def scenario() -> None:
        listener = Listener([(1, FailedPrecondition())])
        async with listening(listener) as tagging:
            await ended(Refused, whole(tagging.ExportSegment, EXPORT), [])
        assert len(listener.heard) == 1

    run(scenario())


async def sent(connection: Connection, *lines: int) -> Any:
    stub: Any = ImportServiceStub(connection.channel)
    return await stub.ImportRows(ImportRowsRequest(first_line=it) for it in lines)


def test_a_stream_of_requests_is_one_request_with_a_token_and_its_position_is_remembered(run: Run) -> None:
    async def scenario() -> None:
        listener = Listener()
        async with connected(listener) as connection:
            assert (await sent(connection, 1, 2, 3)).rows == 3
            assert connection.position("tracking") == 17
        assert [it.first_line for it, _, _ in listener.heard] == [1, 2, 3]
        (number,) = {UUID(it.request_id) for it, _, _ in listener.heard}
        assert number.version == 4
        assert {it["authorization"] for _, it, _ in listener.heard} == {"Bearer t"}

    run(scenario())


def test_a_stream_of_requests_that_is_refused_says_how_far_it_was_and_its_number(run: Run) -> None:
    async def scenario() -> None:
        listener = Listener([(0, FailedPrecondition())])
        async with connected(listener) as connection:
            with pytest.raises(Refused) as refused:
                await sent(connection, 1, 2, 3)
        assert refused.value.metadata["position"] == "1"
        assert refused.value.request_id == listener.heard[0][0].request_id

    run(scenario())
