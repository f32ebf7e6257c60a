"""The steps of a call that streams: those of any call (chassis.call_steps), and what only a stream needs.

A server stream answers one request with many messages; each names by its `next_page_token` where the following begins (empty at the end),
so that a stream that broke is gone on with by the `page_token` of another call. A client stream brings many messages, each checked like
a request of its own, and gets one answer. Every error that ends a stream tells the position reached.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2

from chassis import status
from chassis.call_steps import Gate, Load, ServicerContext, Steps, UnguardedMethodError
from chassis.context import entered, last_position
from chassis.errors import BadFormat, FieldRequired, Interrupted
from chassis.telemetry import valid_traceparent
from chassis.validation import RequestValidator

STREAM_SECONDS: Final = 300.0
"""How long a stream may last, whatever deadline its caller sets: no connection is older than that, and a reader who is slow on
purpose must not hold a place for ever. Who has not done by then goes on from the position."""

SHARE: Final = 4
"""One call of so many may be a stream: those that last for minutes leave room for those that last for milliseconds."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Room:
    """What all streams of a server share: `ending` is done when the server stops."""

    calls: Load
    streams: Load
    ending: asyncio.Future[None]


@dataclass(slots=True)
class _Course:
    """How far a stream has come."""

    messages: int = 0
    position: str = ""


class Requests(AsyncIterator[Any]):
    """The messages of a client stream, one at a time: the next is read when it is asked for.

    Who takes them in says by `reached` how far that is; the caller is told when the stream ends before its time. Raises what is
    wrong with a message, and Interrupted when the server stops.
    """

    def __init__(self, read: Callable[[], Awaitable[Message | None]], course: _Course) -> None:
        self._read = read
        self._course = course
        self._ahead: Message | None = None

    def reached(self, position: object) -> None:
        """Everything before `position` has had its effect."""
        self._course.position = str(position)

    async def first(self) -> Message:
        """The first message, which the iteration begins with. Raises FieldRequired for a stream without any."""
        self._ahead = await self._read()
        if self._ahead is None:
            raise FieldRequired("a stream has at least one message")
        return self._ahead

    async def __anext__(self) -> Any:
        found, self._ahead = await self._read() if self._ahead is None else self._ahead, None
        if found is None:
            raise StopAsyncIteration
        self._course.messages += 1
        return found


class StreamSteps(Steps):
    """What happens around one RPC that streams."""

    def __init__(
        self, gate: Gate, room: Room, validator: RequestValidator, method: MethodDescriptor, servicer: Any
    ) -> None:
        super().__init__(gate, room.calls, validator, method, servicer)
        if method.server_streaming and not _is_resumable(method):
            raise UnguardedMethodError(f"{method.full_name} is a stream that nobody can go on with where it broke")
        self._room = room

    async def give(self, content: bytes, call: ServicerContext) -> None:
        """Answer the request `content` by a stream."""

        async def work(metadata: dict[str, Any], traceparent: str | None, course: _Course) -> None:
            caller = self._caller(metadata)
            request: Any = self._checked(content)
            course.position = request.page_token
            if "scrm-position" in metadata:
                await self._caught_up(metadata["scrm-position"])
            with entered(self._context(caller, request, metadata, traceparent)):
                answers: Any = self._servicer(request, call)
                async with aclosing(answers):
                    async for answer in answers:
                        await call.write(answer.SerializeToString())
                        course.messages += 1
                        course.position = answer.next_page_token
                        if course.position and self._room.ending.done():
                            raise Interrupted

        await self._around(call, work)

    async def take(self, _: object, call: ServicerContext) -> bytes:
        """Answer a stream of requests; it is read from `call`."""

        async def work(metadata: dict[str, Any], traceparent: str | None, course: _Course) -> bytes:
            caller = self._caller(metadata)
            requests = Requests(self._reader(call), course)
            await requests.first()
            positions = [0]
            last_position.set(positions)
            # There is no receipt for a stream: what is in it is known by ids of its own.
            with entered(self._circumstances(caller, metadata, traceparent, None)):
                response: Message = await self._servicer(requests, call)
            if positions[0]:
                call.set_trailing_metadata((("scrm-position", str(positions[0])),))
            return response.SerializeToString()

        return await self._around(call, work)

    def _reader(self, call: ServicerContext) -> Callable[[], Awaitable[Message | None]]:
        numbers: set[str] = set()

        async def read() -> Message | None:
            content = await self._unless_ending(call.read())
            if content is grpc.aio.EOF:
                return None
            request: Any = self._checked(content)
            if self._request_id != "none":
                numbers.add(request.request_id)
                if len(numbers) > 1:
                    raise BadFormat("all messages of a stream are one request", field="request_id")
            found: Message = request
            return found

        return read

    async def _unless_ending(self, reading: Awaitable[Any]) -> Any:
        """What is read, unless the server stops before it comes."""
        task = asyncio.ensure_future(reading)
        try:
            await asyncio.wait({task, self._room.ending}, return_when=asyncio.FIRST_COMPLETED)
            if self._room.ending.done():
                raise Interrupted
            return task.result()
        finally:
            task.cancel()

    async def _around(
        self, call: ServicerContext, work: Callable[[dict[str, Any], str | None, _Course], Awaitable[T]]
    ) -> T:
        """The outermost steps: trace and metrics, errors, load and deadline."""
        start, code, course = perf_counter(), "OK", _Course()
        metadata: dict[str, Any] = dict(call.invocation_metadata() or ())
        traceparent = valid_traceparent(metadata.get("traceparent"))
        try:
            span = self._gate.tracing.span(self._rpc, traceparent, self._span)
            with self._room.calls, self._room.streams, span as inner:
                async with asyncio.timeout(STREAM_SECONDS):
                    return await work(metadata, inner, course)
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 (the outermost step: whatever it is, the caller gets an answer)
            answer = status.with_position(self._refusal(error), course.position)
            code = code_pb2.Code.Name(answer.code)  # type: ignore[arg-type]
            return await call.abort_with_status(status.to_grpc(answer))
        finally:
            seconds = perf_counter() - start
            self._gate.metrics.streams.labels(self._rpc, code).observe(seconds)
            self._gate.metrics.stream_messages.labels(self._rpc).inc(course.messages)
            _log.info("stream ended", rpc=self._rpc, code=code, messages=course.messages, seconds=round(seconds, 3))


def _is_resumable(method: MethodDescriptor) -> bool:
    asked, told = method.input_type.fields_by_name, method.output_type.fields_by_name
    return "page_token" in asked and "next_page_token" in told
