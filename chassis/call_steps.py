"""The steps each call passes before a servicer sees it, and the answers of those that do not pass.

From the outside in: trace and metrics, errors, load and deadline, credentials and scope, the rules of the contract, the
context of the call.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid4

import grpc
import psycopg
import sqlalchemy.exc
import structlog
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, status_pb2

from buf.validate import validate_pb2
from chassis import status
from chassis.context import Call, Context, entered, last_position
from chassis.credentials import Caller, Verifier
from chassis.errors import BadFormat, DomainError, FieldRequired, FieldTooLong, MissingScope, Overloaded
from chassis.keyed_digest import KeyedDigest
from chassis.telemetry import Metrics, Tracing, valid_traceparent
from chassis.validation import RequestValidator
from scrm.auth.v1 import scope_pb2

DEFAULT_DEADLINE_SECONDS: Final = 30.0
LONGEST_DEADLINE_SECONDS: Final = 300.0
LONGEST_ID: Final = 128
_WRITTEN_OUT: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

ServicerContext: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Method: TypeAlias = Callable[[Any, ServicerContext], Awaitable[Any]]

_log = structlog.get_logger(__name__)


class UnguardedMethodError(Exception):
    """An RPC names no scope, or has a form that the steps are not made for."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the steps of every call need; `wait_for` waits until the read models have reached a position.

    `receipt_key` is behind the digests of requests: they are kept, and must not tell what was in a request.
    """

    service: str
    verifier: Verifier
    metrics: Metrics
    tracing: Tracing
    wait_for: Callable[[int], Awaitable[None]] | None = None
    most_calls: int = 1000
    receipt_key: bytes = field(default=b"", repr=False)


def scope_of(method: MethodDescriptor) -> str:
    """The scope that the contract names for an RPC. Raises `UnguardedMethodError` if it names none."""
    scope: str = method.GetOptions().Extensions[scope_pb2.scope]
    if not scope:
        raise UnguardedMethodError(f"{method.full_name} names no scope")
    return scope


def request_id_rule(request: Descriptor) -> str:
    """What a request says of its `request_id`: "required", "optional" (other keys make it safe to repeat) or "none"."""
    field = request.fields_by_name.get("request_id")
    if field is None:
        return "none"
    ignored = field.GetOptions().Extensions[validate_pb2.field].ignore
    return "required" if ignored == validate_pb2.IGNORE_UNSPECIFIED else "optional"


class Load:
    """Calls being answered now, and how many may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0

    def __enter__(self) -> None:
        if self._now >= self._most:
            raise Overloaded("more calls are waiting than the server takes")
        self._now += 1

    def __exit__(self, *_: object) -> None:
        self._now -= 1


class Steps:
    """What happens around one RPC."""

    def __init__(
        self, gate: Gate, load: Load, validator: RequestValidator, method: MethodDescriptor, servicer: Method
    ) -> None:
        self._gate = gate
        self._load = load
        self._check = validator.check
        self._servicer = servicer
        self._scope = scope_of(method)
        self._rpc = f"{method.containing_service.full_name}/{method.name}"
        self._span = {"rpc.system": "grpc", "rpc.method": self._rpc}
        self._request = message_factory.GetMessageClass(method.input_type)
        self._request_id = request_id_rule(method.input_type)
        self._digest = KeyedDigest(gate.receipt_key)
        self._duration = cache(lambda code: gate.metrics.calls.labels(self._rpc, code))

    async def answer(self, content: bytes, call: ServicerContext) -> bytes:
        """Answer the call whose request is `content`."""
        start = perf_counter()
        code = "OK"
        metadata: dict[str, Any] = dict(call.invocation_metadata() or ())
        traceparent = valid_traceparent(metadata.get("traceparent"))
        try:
            with self._load:
                if not self._gate.tracing.is_on:
                    return await self._in_time(content, call, metadata, traceparent)
                with self._gate.tracing.span(self._rpc, traceparent, self._span) as inner:
                    return await self._in_time(content, call, metadata, inner)
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 (the outermost step: whatever it is, the caller gets an answer)
            answer = self._refusal(error)
            code = code_pb2.Code.Name(answer.code)  # type: ignore[arg-type]
            return await call.abort_with_status(status.to_grpc(answer))
        finally:
            self._duration(code).observe(perf_counter() - start)

    async def _in_time(
        self, content: bytes, call: ServicerContext, metadata: dict[str, Any], traceparent: str | None
    ) -> bytes:
        remaining: float | None = call.time_remaining()
        if remaining is not None and remaining <= LONGEST_DEADLINE_SECONDS:
            return await self._admitted(content, call, metadata, traceparent)
        async with asyncio.timeout(DEFAULT_DEADLINE_SECONDS if remaining is None else LONGEST_DEADLINE_SECONDS):
            return await self._admitted(content, call, metadata, traceparent)

    async def _admitted(
        self, content: bytes, call: ServicerContext, metadata: dict[str, Any], traceparent: str | None
    ) -> bytes:
        caller = self._caller(metadata)
        request = self._checked(content)
        if "scrm-position" in metadata:
            await self._caught_up(metadata["scrm-position"])
        positions = [0]
        last_position.set(positions)
        with entered(self._context(caller, request, metadata, traceparent)):
            response = await self._servicer(request, call)
        if positions[0]:
            call.set_trailing_metadata((("scrm-position", str(positions[0])),))
        return _serialised(response)

    def _caller(self, metadata: dict[str, Any]) -> Caller:
        caller = self._gate.verifier.verify(metadata.get("authorization"))
        if self._scope not in caller.scopes:
            raise MissingScope(f"the scope {self._scope} is needed", scope=self._scope)
        return caller

    def _checked(self, content: bytes) -> Message:
        try:
            request = self._request.FromString(content)
        except DecodeError:
            raise BadFormat("the request is not a message of its type") from None
        self._check(request)
        return request

    async def _caught_up(self, position: object) -> None:
        if not isinstance(position, str) or not position.isdecimal() or len(position) > 18:
            raise BadFormat("scrm-position must be a number", field="scrm-position")
        if self._gate.wait_for is not None:
            await self._gate.wait_for(int(position))

    def _context(self, caller: Caller, request: Any, metadata: dict[str, Any], traceparent: str | None) -> Context:
        numbered = None if self._request_id == "none" else self._call(request)
        return self._circumstances(caller, metadata, traceparent, numbered)

    def _circumstances(
        self, caller: Caller, metadata: dict[str, Any], traceparent: str | None, numbered: Call | None
    ) -> Context:
        return Context(
            tenant=caller.tenant,
            actor=caller.subject,
            scopes=caller.scopes,
            call=numbered,
            traceparent=traceparent,
            correlation=_id(metadata, "scrm-correlation-id") or (numbered.request_id if numbered else None),
            causation=_id(metadata, "scrm-causation-id"),
            stores=caller.stores,
        )

    def _call(self, request: Any) -> Call | None:
        request_id: str = request.request_id
        if self._request_id == "optional" and not request_id:
            return None
        if not _WRITTEN_OUT.fullmatch(request_id):  # nearly all are as they will be kept
            try:
                request_id = str(UUID(request_id))
            except ValueError:
                wrong = BadFormat if request_id else FieldRequired
                raise wrong("request_id must be a UUID", field="request_id") from None
        return Call(self._rpc, request_id, self._digest.of(request.SerializeToString(deterministic=True)))

    def _refusal(self, error: Exception) -> status_pb2.Status:
        match error:
            case DomainError():
                return status.to_status(error, self._gate.service)
            case TimeoutError():
                return status.deadline_exceeded(self._gate.service)
            case psycopg.OperationalError() | sqlalchemy.exc.OperationalError() | sqlalchemy.exc.TimeoutError():
                _log.warning("database unavailable", rpc=self._rpc, error=type(error).__name__)
                return status.to_status(status.DatabaseUnavailable(), self._gate.service)
        error_id = str(uuid4())
        _log.error("call failed", rpc=self._rpc, error_id=error_id, exc_info=error)
        return status.internal(error_id, self._gate.service)


def _id(metadata: dict[str, Any], name: str) -> str | None:
    """An id that the caller made up, fit to be stored and put into headers."""
    value = metadata.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise BadFormat(f"{name} must be printable ASCII", field=name)
    if len(value) > LONGEST_ID:
        raise FieldTooLong(f"{name} is too long", field=name)
    return value


def _serialised(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
