"""A connection to the gateway: generated stubs on its channel get deadlines, retries, request ids, tokens and typed refusals.

    async with Connection("127.0.0.1:8080", token) as crm:
        identity = IdentityServiceStub(crm.channel)
        answer = await identity.Resolve(ResolveRequest(identifiers=[…]))

A call that finds nobody is sent again by grpc itself, which is safe: whatever changes something carries a request id, made up where it
has none. Nothing of what is asked or answered goes to the log, only which call, how it ended, how long it took and its request id.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import grpc
from google.protobuf.message import Message

from scrm_client.refusals import refusal

log = logging.getLogger("scrm_client")

DEADLINE_SECONDS: Final = 5.0
POSITION: Final = "scrm-position"

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
    A call without a timeout gets `deadline` seconds. With `reads_own_writes`, lists and searches wait until they show what was written
    before over this connection to the same service.
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
        calls = _Calls(token if callable(token) else lambda: token, deadline, self._positions, reads_own_writes)
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=[calls])
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS, interceptors=[calls])

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


class _Calls(grpc.aio.UnaryUnaryClientInterceptor):
    """What every call gets; raises `Refused` where grpc would raise AioRpcError."""

    def __init__(
        self, token: Callable[[], str], deadline: float, positions: dict[str, int], reads_own_writes: bool
    ) -> None:
        self._token = token
        self._deadline = deadline
        self._positions = positions
        self._reads_own_writes = reads_own_writes

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        method: Any = client_call_details.method
        path = method.decode() if isinstance(method, bytes) else str(method)
        request, request_id = numbered(request)
        details = self._details(client_call_details, path, is_write=request_id is not None)
        started = monotonic()
        call = await continuation(details, request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            refused = refusal(error, request_id)
            _note(path, refused.code.name, started, request_id, refused.reason)
            raise refused from error
        self._remember(path, await call.trailing_metadata())
        _note(path, "OK", started, request_id)
        return call

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

    def _remember(self, path: str, trailing: Any) -> None:
        found = dict(trailing or ()).get(POSITION)
        if found is not None:
            service = _service(path)
            self._positions[service] = max(int(found), self._positions.get(service, 0))


def numbered(request: Message) -> tuple[Message, str | None]:
    """The request with its request id, made up where it has none, and that id; as it is and None for what has no such field."""
    if "request_id" not in request.DESCRIPTOR.fields_by_name:
        return request, None
    given: str = getattr(request, "request_id")  # noqa: B009 (known only from the descriptor)
    if given:
        return request, given
    copy = type(request)()
    copy.CopyFrom(request)
    setattr(copy, "request_id", made := str(uuid4()))  # noqa: B010
    return copy, made


def _service(path: str) -> str:
    """`/scrm.identity.v1.IdentityService/Resolve` → `identity`."""
    return path.split(".")[1]


def _note(path: str, code: str, started: float, request_id: str | None, reason: str = "") -> None:
    milliseconds = round((monotonic() - started) * 1000, 1)
    level = logging.DEBUG if code == "OK" else logging.INFO
    log.log(level, "%s %s %s %s ms request_id=%s", path, code, reason or "-", milliseconds, request_id or "-")
