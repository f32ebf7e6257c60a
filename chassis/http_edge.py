"""The door for what is not gRPC-shaped: an HTTP server with limits, health, origins and metrics around a service's routes.

`HttpEdge(routes, metrics)`; `await start(host, port)`; `drain()`; `await stop(grace)`. Routes are Starlette's. What they raise becomes an
answer: a `DomainError` its status, anything else 500 without details. A body is read by `edge.body(request)`, which keeps all that
is held in memory at once below a limit.
"""

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final
from uuid import uuid4

import structlog
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chassis.call_steps import Load
from chassis.errors import BadFormat, DomainError, InvalidArgument, Overloaded, described
from chassis.telemetry import Metrics

LARGEST_BODY: Final = 4 << 20
MOST_HELD: Final = 64 << 20
MOST_REQUESTS: Final = 256
LARGEST_HEAD: Final = 64 << 10
HEAD_SECONDS: Final = 20.0
BODY_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 1
LIVE: Final = "/livez"
READY: Final = "/readyz"

_STATUS: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 503,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}
_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31  # zlib: the largest window, with the header of gzip

# Browsers of any site may ask: what they may do is decided by the key they bring, and never by a cookie.
_ALLOWED: Final = (
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding, anonymousid, sentat, isgzipped"),
    (b"access-control-max-age", b"86400"),
)

_log = structlog.get_logger(__name__)


class BodyTooLarge(InvalidArgument):
    """The body is larger than the door takes, as sent or when it is unpacked."""


class BodyTooSlow(DomainError):
    """The body did not arrive in time."""


class HttpEdge:
    """One HTTP server. Of more than `most_requests` at once the rest is told to come back, and so is who would make us hold more
    than `most_held` bytes of bodies."""

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        metrics: Metrics,
        *,
        most_requests: int = MOST_REQUESTS,
        most_held: int = MOST_HELD,
    ) -> None:
        health = [Route(LIVE, self._live), Route(READY, self._ready)]
        self._router = Router([*routes, *health], redirect_slashes=False)
        self._metrics = metrics
        self._load = Load(most_requests)
        self._most_held = most_held
        self._held = 0
        self._is_draining = False
        self._server: uvicorn.Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._at_end: list[Callable[[], None]] = []

    def add(self, routes: Sequence[BaseRoute]) -> None:
        """Serve more routes, of which those before have precedence."""
        self._router.routes.extend(routes)

    def at_end(self, end: Callable[[], None]) -> None:
        """Call `end`, which may take its time, when the last request is answered."""
        self._at_end.append(end)

    async def start(self, host: str, port: int) -> int:
        """Listen on `host` and `port` (0 for any); the port."""
        config = uvicorn.Config(
            self,
            http=_PatientToAPoint,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=65,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        await self._server.startup([self._socket])
        self._ticking = asyncio.create_task(self._server.main_loop(), name="edge")
        return int(self._socket.getsockname()[1])

    def drain(self) -> None:
        """Say that we are not ready any more, and still answer."""
        self._is_draining = True

    async def stop(self, grace: float) -> None:
        """Take no new connection, give requests that are answered `grace` seconds."""
        if self._server is None or self._ticking is None or self._socket is None:
            return
        self._server.should_exit = True
        await self._ticking
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        await self._server.shutdown([self._socket])
        for end in self._at_end:
            await asyncio.to_thread(end)

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body, unpacked where it is gzip, whatever its headers say; its bytes count as held until the block ends.

        Raises BodyTooLarge, BodyTooSlow, BadFormat for what cannot be unpacked, Overloaded.
        """
        held = [0]
        try:
            yield await self._read(request, held)
        finally:
            self._held -= held[0]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started, answered = perf_counter(), [0]
        origin = dict(scope["headers"]).get(b"origin", b"")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered[0] = message["status"]
                message["headers"] = [*message["headers"], *_origin_headers(origin)]
            await send(message)

        try:
            await self._answer(scope, receive, sending)
        except ClientDisconnect:
            answered[0] = 499
        except Exception as error:
            if answered[0]:
                raise
            await _refusal(error)(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.http.labels(route, str(answered[0])).observe(perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in (LIVE, READY):
            await self._router(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _Preflight()(scope, receive, send)
        else:
            with self._load:
                await self._router(scope, receive, send)

    async def _read(self, request: Request, held: list[int]) -> bytes:
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    self._hold(held, len(chunk))
                    if held[0] > LARGEST_BODY:
                        raise BodyTooLarge
                    chunks.append(chunk)
        except TimeoutError:
            raise BodyTooSlow from None
        content = b"".join(chunks)
        if content.startswith(_GZIP):
            content = unpacked(content, LARGEST_BODY)
            self._hold(held, len(content))
        return content

    def _hold(self, held: list[int], more: int) -> None:
        """Count `more` bytes as held, here and in `held`. Raises Overloaded."""
        if self._held + more > self._most_held:
            raise Overloaded("more is being sent than the server can hold")
        self._held += more
        held[0] += more

    async def _live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def _ready(self, _: Request) -> Response:
        return JSONResponse({"ready": not self._is_draining}, 503 if self._is_draining else 200)


def unpacked(content: bytes, most: int) -> bytes:
    """What is in gzip `content`, of one member or several. Raises BodyTooLarge beyond `most` bytes, BadFormat if it is damaged."""
    found, size = [], 0
    while content:
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            piece = member.decompress(content, most - size + 1)
        except zlib.error:
            raise BadFormat("the body is not gzip as it says") from None
        size += len(piece)
        if size > most:
            raise BodyTooLarge
        if not member.eof:
            raise BadFormat("the body ends too early")
        found.append(piece)
        content = member.unused_data.lstrip(b"\0")
    return b"".join(found)


class _PatientToAPoint(HttpToolsProtocol):
    """A connection on which a request has so much room and time for its first line and its headers, and no more."""

    _head = 0
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_waiting = self._waiting is not None
        super().data_received(data)
        if was_waiting and self._waiting is not None:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self.send_400_response("Too many headers.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        self._wait()

    def on_headers_complete(self) -> None:
        self._wait_no_more()
        super().on_headers_complete()

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class _Preflight(Response):
    def __init__(self) -> None:
        super().__init__(status_code=204)
        self.raw_headers += _ALLOWED


def _origin_headers(origin: bytes) -> list[tuple[bytes, bytes]]:
    if not origin:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),  # beacons are sent with them, and we use none
        (b"vary", b"Origin"),
    ]


def _refusal(error: Exception) -> Response:
    """The answer for what a route raised, in the words SDKs read: `code` and `message`."""
    if isinstance(error, BodyTooSlow):
        return _refused(408, error.reason, str(error))
    if isinstance(error, DomainError) and error.code in _STATUS:
        return _refused(_STATUS[error.code], error.reason, str(error))
    request_id = str(uuid4())
    _log.error("http.failed", request_id=request_id, error=described(error), exc_info=error)
    return _refused(500, "INTERNAL", f"internal error {request_id}")


def _refused(status: int, code: str, message: str) -> Response:
    headers = {"retry-after": str(RETRY_SECONDS)} if status in (408, 429, 503) else {}
    return JSONResponse({"success": False, "code": code, "message": message}, status, headers)
