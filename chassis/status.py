"""Errors on the wire: a domain error as `google.rpc.Status`, and what a caller reads out of one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from chassis.errors import TRANSIENT, BadFormat, DomainError, InvalidArgument, Unavailable

RETRY_AFTER: Final = {"ABORTED": 50, "UNAVAILABLE": 200, "RESOURCE_EXHAUSTED": 500}  # milliseconds

# ErrorInfo of AIP-193 asks for short metadata; a long value is somebody's input, which has no place in an error.
_LONGEST_METADATA: Final = 256


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that breaks a rule: the path as in `items[3].name`, the id of the rule, a sentence."""

    field: str
    rule: str
    description: str
    reason: type[InvalidArgument] = BadFormat


class MalformedRequest(InvalidArgument):
    """The request breaks rules of its contract; its reason on the wire is that of the first violation."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        first = violations[0]
        super().__init__(f"{first.field}: {first.description}", field=first.field)
        self.violations = tuple(violations)


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached at the moment."""


def to_status(error: DomainError, service: str) -> status_pb2.Status:
    """The error as a caller of `service` (such as "identity") sees it: code, ErrorInfo, BadRequest, RetryInfo."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=str(error))
    reason = error.violations[0].reason.reason if isinstance(error, MalformedRequest) else error.reason
    metadata = {name: value[:_LONGEST_METADATA] for name, value in error.metadata.items()}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=f"{service}.scrm", metadata=metadata))
    violations = _violations(error)
    if violations:
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    if isinstance(error, TRANSIENT):
        delay = Duration()
        delay.FromMilliseconds(RETRY_AFTER[error.code])
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def internal(request_id: str, service: str) -> status_pb2.Status:
    """The answer to a defect of our own: nothing but an id by which the log can be searched."""
    status = status_pb2.Status(code=code_pb2.INTERNAL, message="internal error")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="INTERNAL", domain=f"{service}.scrm"))
    status.details.add().Pack(error_details_pb2.RequestInfo(request_id=request_id))
    return status


def deadline_exceeded(service: str) -> status_pb2.Status:
    """The answer to a call that took longer than any call may."""
    status = status_pb2.Status(code=code_pb2.DEADLINE_EXCEEDED, message="the call took too long")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="DEADLINE_EXCEEDED", domain=f"{service}.scrm"))
    return status


def with_position(status: status_pb2.Status, position: str) -> status_pb2.Status:
    """The same, which says how far a stream had come: to go on from there, under "position" in the ErrorInfo."""
    if not position:
        return status
    told = status_pb2.Status(code=status.code, message=status.message)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            info.metadata["position"] = position
            told.details.add().Pack(info)
        else:
            told.details.append(detail)
    return told


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a caller learns from a failed call; `reason` is empty where nobody of us answered."""

    code: str
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    request_id: str = ""
    retry_after_ms: int | None = None

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in RETRY_AFTER or self.code in {"DEADLINE_EXCEEDED", "CANCELLED"}


def refusal(error: grpc.RpcError) -> Refusal:
    """Read the error of a client's call, whether sync or aio."""
    code = error.code()
    plain = Refusal(code=code.name, message=error.details() or "")
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == "grpc-status-details-bin":
            return _read(plain, status_pb2.Status.FromString(value))
    return plain


def to_grpc(status: status_pb2.Status) -> grpc.Status:
    """The form that `abort_with_status` takes."""
    return rpc_status.to_status(status)


def _violations(error: DomainError) -> list[error_details_pb2.BadRequest.FieldViolation]:
    wire = error_details_pb2.BadRequest.FieldViolation
    if isinstance(error, MalformedRequest):
        return [
            wire(field=it.field, description=it.description, reason=it.rule.replace(".", "_").upper())
            for it in error.violations
        ]
    if isinstance(error, InvalidArgument) and error.field:
        return [wire(field=error.field, description=str(error), reason=error.reason)]
    return []


def _read(plain: Refusal, status: status_pb2.Status) -> Refusal:
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    request = error_details_pb2.RequestInfo()
    delay: int | None = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        detail.Unpack(request)
        if detail.Unpack(retry):
            delay = retry.retry_delay.ToMilliseconds()
    return Refusal(
        code=plain.code,
        message=plain.message,
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        fields=tuple(it.field for it in bad.field_violations),
        request_id=request.request_id,
        retry_after_ms=delay,
    )
