"""Why a call was refused, as exceptions: one class for each reason.

The reasons of a service are beside its contracts (`scrm.identity.v1.refusals.IdentifierTaken`), made from its error_reason.proto; those
that all services share are here. What carries no reason, such as a refusal by the gateway, is a plain `Refused`.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import grpc
from google.rpc import error_details_pb2, status_pb2

_DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of the request that breaks a rule of the contract: its path, and a sentence."""

    field: str
    description: str


class Refused(Exception):
    """A call was not carried out, or nobody knows whether it was.

    `code` is that of gRPC, `reason` and `metadata` are stable and meant for programs, `retry_after` (seconds) is there when trying
    again may help. `request_id` is the one the call carried: sent again with it, the call has no second effect.
    """

    domain: ClassVar[str] = ""
    reason: str = ""
    _classes: ClassVar[dict[tuple[str, str], type["Refused"]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        Refused._classes[cls.domain, cls.reason] = cls

    def __init__(self, code: grpc.StatusCode, message: str, request_id: str | None = None) -> None:
        super().__init__(f"{code.name} {self.reason}: {message}" if self.reason else f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.request_id = request_id
        self.metadata: Mapping[str, str] = {}
        self.violations: Sequence[Violation] = ()
        self.retry_after: float | None = None

    @property
    def may_have_happened(self) -> bool:
        """Whether the call may have had its effect although no answer came: then send it again with the same `request_id`."""
        return self.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN)


class FieldRequired(Refused):
    """A field that must be set is empty."""

    reason = "FIELD_REQUIRED"


class FieldTooLong(Refused):
    """A value is longer than its field allows."""

    reason = "FIELD_TOO_LONG"


class BadFormat(Refused):
    """A value does not have the form its field asks for."""

    reason = "BAD_FORMAT"


class OutOfRange(Refused):
    """A number, instant or size is outside the range its field allows."""

    reason = "OUT_OF_RANGE"


class UnknownEnum(Refused):
    """An enumeration has no such value."""

    reason = "UNKNOWN_ENUM"


class RequestIdReused(Refused):
    """The request id was used before for another request."""

    reason = "REQUEST_ID_REUSED"


class AggregateNotFound(Refused):
    """There is nothing with this id for this tenant."""

    reason = "AGGREGATE_NOT_FOUND"


class AggregateExists(Refused):
    """The id chosen for something new is in use."""

    reason = "AGGREGATE_EXISTS"


class VersionConflict(Refused):
    """Somebody else changed the same thing first."""

    reason = "VERSION_CONFLICT"


class ProjectionLagging(Refused):
    """A read model has not reached the position the caller asked for."""

    reason = "PROJECTION_LAGGING"


class Interrupted(Refused):
    """The server stops and ended a stream; what follows begins at the position it tells."""

    reason = "INTERRUPTED"


class MissingScope(Refused):
    """The credentials do not grant the scope this call needs."""

    reason = "MISSING_SCOPE"


class StoreScope(Refused):
    """It is not within the stores of the caller."""

    reason = "STORE_SCOPE"


class Overloaded(Refused):
    """More calls are waiting than the server takes."""

    reason = "OVERLOADED"


def refusal(error: grpc.aio.AioRpcError, request_id: str | None = None) -> Refused:
    """The exception for what grpc raised."""
    status = _status(error.trailing_metadata())
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    has_retry = False
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
        has_retry = detail.Unpack(retry) or has_retry
    made = _class_of(info.domain, info.reason)(error.code(), error.details() or "", request_id)
    made.reason = info.reason
    made.metadata = dict(info.metadata)
    made.violations = tuple(Violation(it.field, it.description) for it in bad.field_violations)
    made.retry_after = retry.retry_delay.ToTimedelta().total_seconds() if has_retry else None
    return made


def _class_of(domain: str, reason: str) -> type[Refused]:
    service = domain.partition(".")[0]
    if service.isidentifier():
        with suppress(ModuleNotFoundError):  # of a service that is newer than this package
            importlib.import_module(f"scrm.{service}.v1.refusals")
    found = Refused._classes  # noqa: SLF001
    return found.get((domain, reason)) or found.get(("", reason)) or Refused


def _status(metadata: Iterable[tuple[str, Any]] | None) -> status_pb2.Status:
    for key, value in metadata or ():
        if key == _DETAILS:
            return status_pb2.Status.FromString(value)
    return status_pb2.Status()
