"""A connection to the gateway: generated stubs on its channel get deadlines, retries, request ids, tokens and typed refusals.

    async with Connection("127.0.0.1:8080", token) as crm:
        identity = IdentityServiceStub(crm.channel)
        answer = await identity.Resolve(ResolveRequest(identifiers=[…]))

A call that finds nobody is sent again by grpc itself, which is safe: whatever changes something carries a request id, made up where it
has none. Nothing of what is asked or answered goes to the log, only which call, how it ended, how long it took and its request id.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from uuid import uuid4

import grpc
from google.protobuf.message import Message

from scrm_client.refusals import Refused, refusal

log = logging.getLogger("scrm_client")

DEADLINE_SECONDS: Final = 5.0
STREAM_DEADLINE_SECONDS: Final = 300.0
POSITION: Final = "scrm-position"

Continuation: TypeAlias = Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]]

_SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
_OPTIONS: Final = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 4 << 20),
)


def min_position(position: int) -> tuple[tuple[str, str], ...]:
    """The metadata of a list or search that has to show the write that was answered with `position`."""
    return ((POSITION, str(position)),)


class Connection:
    """One channel to the gateway at `address` (host:port).

    `token` is a bearer token, or gives one for each call. `credentials` are those of the channel (TLS); without, it is not encrypted.
    A call without a timeout gets `deadline` seconds, a stream five minutes. With `reads_own_writes`, lists and
    searches wait until they show what was written before over this connection to the same service.
    """

    def __init__(
        self,
        address: str,
        token: str | Callable[[], str],
        *,
        credentials: grpc.ChannelCredentials | None = None,
        deadline: float = DEADLINE_SECONDS,
        reads_own_writes: bool = False,
    ) -> None:
        self._positions: dict[str, int] = {}
        give = token if callable(token) else lambda: token
        carried: list[Any] = [
            _Calls(give, deadline, self._positions, reads_own_writes),
            _ServerStreams(give, STREAM_DEADLINE_SECONDS, self._positions, reads_own_writes),
            _ClientStreams(give, STREAM_DEADLINE_SECONDS, self._positions, reads_own_writes),
        ]
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=carried)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS, interceptors=carried)

    def position(self, service: str) -> int:
        """The position of the last write to `service` (such as "identity"); 0 before the first. See `min_position`."""
        return self._positions.get(service, 0)

    async def close(self) -> None:
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Carried:
    """What every call gets, and what is remembered of it."""

    def __init__(
        self, token: Callable[[], str], deadline: float, positions: dict[str, int], reads_own_writes: bool
    ) -> None:
        self._token = token
        self._deadline = deadline
        self._positions = positions
        self._reads_own_writes = reads_own_writes

    def _details(self, asked: grpc.aio.ClientCallDetails, path: str, *, is_write: bool) -> grpc.aio.ClientCallDetails:
        metadata = [*(asked.metadata or ()), ("authorization", f"Bearer {self._token()}")]
        position = self._positions.get(_service(path), 0)
        if self._reads_own_writes and position and not is_write and POSITION not in dict(metadata):
            metadata += min_position(position)
        return grpc.aio.ClientCallDetails(
            method=asked.method,
            timeout=self._deadline if asked.timeout is None else asked.timeout,
            metadata=grpc.aio.Metadata(*metadata),
            credentials=asked.credentials,
            wait_for_ready=asked.wait_for_ready,
        )

    async def _concluded(self, call: Any, path: str, started: float, request_id: str | None) -> None:
        """Wait for the one answer of a call. Raises Refused."""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise _refused(error, path, started, request_id) from error
        self._remember(path, await call.trailing_metadata())
        _note(path, "OK", started, request_id)

    def _remember(self, path: str, trailing: Any) -> None:
        found = dict(trailing or ()).get(POSITION)
        if found is not None:
            service = _service(path)
            self._positions[service] = max(int(found), self._positions.get(service, 0))


class _Calls(_Carried, grpc.aio.UnaryUnaryClientInterceptor):
    """Raises `Refused` where grpc would raise AioRpcError, as all of these."""

    async def intercept_unary_unary(
        self, continuation: Continuation, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        path = _path(client_call_details)
        request, request_id = numbered(request)
        details = self._details(client_call_details, path, is_write=request_id is not None)
        started = monotonic()
        call = await continuation(details, request)
        await self._concluded(call, path, started, request_id)
        return call


class _ServerStreams(_Carried, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Continuation, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        path, started = _path(client_call_details), monotonic()
        call = await continuation(self._details(client_call_details, path, is_write=False), request)

        async def read() -> AsyncIterator[Any]:
            try:
                async for answer in call:
                    yield answer
            except grpc.aio.AioRpcError as error:
                raise _refused(error, path, started) from error
            _note(path, "OK", started, None)

        return read()


class _ClientStreams(_Carried, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        path, started, request_id = _path(client_call_details), monotonic(), str(uuid4())

        async def one_request() -> AsyncIterator[Any]:
            nonlocal request_id
            async for it in _each(request_iterator):
                request, request_id = numbered(it, request_id)
                yield request

        details = self._details(client_call_details, path, is_write=True)
        call = await continuation(details, one_request())
        await self._concluded(call, path, started, request_id)
        return call


def numbered(request: Message, number: str = "") -> tuple[Message, Any]:
    """The request with its request id, `number` or one made up where it has none, and that id.

    As it is and None for what has no such field.
    """
    if "request_id" not in request.DESCRIPTOR.fields_by_name:
        return request, None
    given: str = getattr(request, "request_id")  # noqa: B009 (known only from the descriptor)
    if given:
        return request, given
    copy = type(request)()
    copy.CopyFrom(request)
    setattr(copy, "request_id", made := number or str(uuid4()))  # noqa: B010
    return copy, made


async def _each(requests: Any) -> AsyncIterator[Any]:
    """The messages that somebody sends, whether they are at hand or come one after the other."""
    if hasattr(requests, "__aiter__"):
        async for it in requests:
            yield it
    else:
        for it in requests:
            yield it


def _path(details: grpc.aio.ClientCallDetails) -> str:
    method: Any = details.method
    return method.decode() if isinstance(method, bytes) else str(method)


def _refused(error: grpc.aio.AioRpcError, path: str, started: float, request_id: str | None = None) -> Refused:
    found = refusal(error, request_id)
    _note(path, found.code.name, started, request_id, found.reason)
    return found


def _service(path: str) -> str:
    """`/scrm.identity.v1.IdentityService/Resolve` → `identity`."""
    return path.split(".")[1]


def _note(path: str, code: str, started: float, request_id: str | None, reason: str = "") -> None:
    milliseconds = round((monotonic() - started) * 1000, 1)
    level = logging.DEBUG if code == "OK" else logging.INFO
    log.log(level, "%s %s %s %s ms request_id=%s", path, code, reason or "-", milliseconds, request_id or "-")
