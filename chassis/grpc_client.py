"""Channels to other services: retries, deadlines, credentials and the context of the running call.

Every RPC of ours may be sent again (a mutation has its request id), so calls that find nobody are retried by grpc
itself, and so are those of which another than the caller says CANCELLED: a process that ended while it had them. What is called
happens for the tenant, in the trace and the correlation of the current context.
"""

import json
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import grpc

from chassis.context import Context, current
from chassis.credentials import TokenSource

DEADLINE_SECONDS: Final = 5.0
STREAM_DEADLINE_SECONDS: Final = 300.0

_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
    }
)
OPTIONS: Final = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 4 << 20),
)
"""How callers reach us whatever restarts: spread over all replicas, and sent again where nobody took the call or stayed to answer."""

TokenFor: TypeAlias = Callable[[Context], str]
Continuation: TypeAlias = Callable[[grpc.aio.ClientCallDetails, Any], Any]


def channel(address: str, token_for: TokenFor, *, deadline: float = DEADLINE_SECONDS) -> grpc.aio.Channel:
    """A channel to `address` (such as `dns:///identity:50051`) for generated stubs.

    A call without a timeout gets `deadline` seconds, a stream as many as one may last.
    `token_for` gives the bearer token for the context it is made in.
    """
    return grpc.aio.insecure_channel(
        address,
        options=OPTIONS,
        interceptors=[
            _CarryByCall(token_for, deadline),
            _CarryByServerStream(token_for, STREAM_DEADLINE_SECONDS),
            _CarryByClientStream(token_for, STREAM_DEADLINE_SECONDS),
        ],
    )


class Channels:
    """The channels of one process to the other services, one each, with this service's own tokens."""

    def __init__(self, addresses: Callable[[str], str], tokens: TokenSource) -> None:
        self._address = addresses
        self._tokens = tokens
        self._open: dict[str, grpc.aio.Channel] = {}

    def to(self, service: str) -> grpc.aio.Channel:
        """The channel to `service`; its calls may read and write there for the tenant of the current context."""
        if service not in self._open:
            scopes = (f"{service}.read", f"{service}.write")
            self._open[service] = channel(
                self._address(service), lambda context: self._tokens.token(context.tenant, scopes)
            )
        return self._open[service]

    async def close(self) -> None:
        for it in self._open.values():
            await it.close()
        self._open.clear()


class _Carry:
    """Adds token, trace, correlation and causation of the current context, and a deadline, to a call."""

    def __init__(self, token_for: TokenFor, deadline: float) -> None:
        self._token_for = token_for
        self._deadline = deadline

    def details(self, asked: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        metadata = list(asked.metadata or ())
        metadata.extend(_carried(self._token_for))
        return grpc.aio.ClientCallDetails(
            method=asked.method,
            timeout=self._deadline if asked.timeout is None else asked.timeout,
            metadata=grpc.aio.Metadata(*metadata),
            credentials=asked.credentials,
            wait_for_ready=asked.wait_for_ready,
        )


class _CarryByCall(_Carry, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Continuation, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self.details(client_call_details), request)


class _CarryByServerStream(_Carry, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Continuation, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self.details(client_call_details), request)


class _CarryByClientStream(_Carry, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await continuation(self.details(client_call_details), request_iterator)


def _carried(token_for: TokenFor) -> list[tuple[str, str]]:
    context = current()
    carried = [("authorization", f"Bearer {token_for(context)}")]
    request_id = context.call.request_id if context.call else None
    for name, value in (
        ("traceparent", context.traceparent),
        ("scrm-correlation-id", context.correlation),
        ("scrm-causation-id", request_id or context.causation),
    ):
        if value:
            carried.append((name, value))
    return carried
