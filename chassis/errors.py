"""What can go wrong, as types: one class per gRPC status code, one subclass per reason."""

import re
from typing import ClassVar

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class DomainError(Exception):
    """A refusal a caller can understand and act on.

    `reason` is the class name in UPPER_SNAKE, `field` names the request field at fault, `metadata`
    are short facts that help the caller. None of them may hold personal data.
    """

    code: ClassVar[str] = "UNKNOWN"
    reason: str = "UNKNOWN"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "reason" not in cls.__dict__:
            cls.reason = _WORD.sub("_", cls.__name__).upper()

    def __init__(self, message: str = "", *, field: str | None = None, **metadata: object) -> None:
        super().__init__(message or _sentence(self))
        self.field = field
        self.metadata = {name: str(value) for name, value in metadata.items()}


class InvalidArgument(DomainError):
    """Malformed or impossible whatever the state is."""

    code = "INVALID_ARGUMENT"


class NotFound(DomainError):
    """Unknown to this tenant."""

    code = "NOT_FOUND"


class AlreadyExists(DomainError):
    """A natural key is taken by something else."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(DomainError):
    """Valid, but not in this state."""

    code = "FAILED_PRECONDITION"


class Aborted(DomainError):
    """Lost a race; trying again may succeed."""

    code = "ABORTED"


class PermissionDenied(DomainError):
    """The caller lacks the scope."""

    code = "PERMISSION_DENIED"


class Unauthenticated(DomainError):
    """The caller did not prove who it is."""

    code = "UNAUTHENTICATED"


class ResourceExhausted(DomainError):
    """A quota or the capacity of the server is used up for now."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(DomainError):
    """Cannot answer at the moment; trying again later may succeed."""

    code = "UNAVAILABLE"


TRANSIENT = (Aborted, ResourceExhausted, Unavailable)
"""Errors that say nothing about the request itself: never stored as its answer."""


class FieldRequired(InvalidArgument):
    """A field that must be set is empty."""


class FieldTooLong(InvalidArgument):
    """A value is longer than its field allows."""


class BadFormat(InvalidArgument):
    """A value does not have the form its field asks for."""


class ValueOutOfRange(InvalidArgument):
    """A number, instant or size is outside the range its field allows."""

    reason = "OUT_OF_RANGE"


class UnknownEnum(InvalidArgument):
    """An enumeration has no such value."""


class RequestIdReused(InvalidArgument):
    """The request id was used before for another request."""


class AggregateNotFound(NotFound):
    """There is nothing with this id for this tenant."""


class AggregateExists(AlreadyExists):
    """The id chosen for something new is in use."""


class VersionConflict(Aborted):
    """Somebody else changed the same thing first."""


class ProjectionLagging(Unavailable):
    """A read model has not reached the position the caller asked for."""


class Interrupted(Unavailable):
    """The server stops and ended a stream; what follows begins at the position it tells."""


class MissingScope(PermissionDenied):
    """The credentials do not grant the scope this call needs."""


class StoreScope(PermissionDenied):
    """It is not within the stores of the caller."""


class Overloaded(ResourceExhausted):
    """More calls are waiting than the server takes."""


def described(error: BaseException) -> str:
    """What kind of error it is, for logs: its text is left out, since it may quote anything."""
    kind = type(error).__name__
    if isinstance(error, DomainError):
        return error.reason
    cause: object = getattr(error, "orig", error)
    state = getattr(cause, "sqlstate", None)
    return f"{kind} ({type(cause).__name__} {state})" if state else kind


def _sentence(error: DomainError) -> str:
    text = (type(error).__doc__ or type(error).__name__).strip().splitlines()[0]
    return text.rstrip(".")
