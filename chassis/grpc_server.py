"""The gRPC server of every service, with health and reflection.

The steps of a call (chassis.call_steps) are wrapped around a method once, when its servicer is registered, so that a
call pays for no interceptor machinery, and an RPC without a scope stops the server from starting.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from chassis.call_steps import (
    Gate,
    Load,
    ServicerContext,
    Steps,
    UnguardedMethodError,
    request_id_rule,
    scope_of,
)
from chassis.stream_steps import SHARE, Requests, Room, StreamSteps
from chassis.validation import RequestValidator

__all__ = [
    "Gate",
    "GrpcServer",
    "Registration",
    "Requests",
    "ServicerContext",
    "UnguardedMethodError",
    "request_id_rule",
    "scope_of",
]

LARGEST_MESSAGE: Final = 4 << 20
# Calls grpc itself takes beyond those we take, so that health checks and our own refusals get through.
_SPARE_CALLS: Final = 64

Registration: TypeAlias = tuple[Callable[[Any, Any], None], Any]
"""A generated `add_XServicer_to_server` and the servicer."""

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it silently
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.max_connection_age_ms", 300_000),  # so that new replicas get their share
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # Callers measure their bandwidth by pings, and under load more than the usual two come in a row: no reason to hang up.
    ("grpc.http2.max_ping_strikes", 100),
)


class GrpcServer:
    """A server for the given servicers, with health and, if wanted, reflection."""

    def __init__(self, gate: Gate, registrations: Sequence[Registration], *, reflect: bool = False) -> None:
        self._gate = gate
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=gate.most_calls + _SPARE_CALLS)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        room = Room(Load(gate.most_calls), Load(max(1, gate.most_calls // SHARE)), self._ending)
        registrar = _Registrar(self._server, gate, room)
        for add, servicer in registrations:
            add(servicer, registrar)
        self._services = registrar.services
        if reflect:
            reflection.enable_server_reflection([*self._services, reflection.SERVICE_NAME], self._server)

    async def start(self, address: str) -> int:
        """Listen on `address` (host:port, port 0 for any) and become SERVING; the port."""
        port = self._server.add_insecure_port(address)
        await self._server.start()
        for name in ("", *self._services):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def drain(self) -> None:
        """Answer NOT_SERVING to health checks from now on, and still take calls."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no new call, give those running `grace` seconds; streams end at their next message and tell the position."""
        if not self._ending.done():
            self._ending.set_result(None)
        await self._server.stop(grace)


class _Registrar:
    """Stands for the server when servicers are added: wraps their methods and passes them on."""

    def __init__(self, server: grpc.aio.Server, gate: Gate, room: Room) -> None:
        self._server = server
        self._gate = gate
        self._room = room
        self._validator = RequestValidator()
        self.services: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """The form without registered methods; what is in it arrives by `add_registered_method_handlers` too."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        wrapped = {name: self._wrapped(service, name, handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))
        self.services.append(service)

    def _wrapped(self, service: str, name: str, handler: Any) -> Any:
        method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        # Without (de)serialisers grpc hands us bytes, so that what fails there is answered by us.
        match handler.request_streaming, handler.response_streaming:
            case False, False:
                steps = Steps(self._gate, self._room.calls, self._validator, method, handler.unary_unary)
                return grpc.unary_unary_rpc_method_handler(steps.answer)
            case False, True:
                giving = StreamSteps(self._gate, self._room, self._validator, method, handler.unary_stream)
                return grpc.unary_stream_rpc_method_handler(giving.give)
            case True, False:
                taking = StreamSteps(self._gate, self._room, self._validator, method, handler.stream_unary)
                return grpc.stream_unary_rpc_method_handler(taking.take)
        raise UnguardedMethodError(f"{method.full_name} streams both ways, which no gateway carries to browsers")
