"""How a call can be refused: by HTTP status, with the reasons each service has."""

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from chassis.errors import DomainError

ANSWERS: Final[Mapping[int, tuple[str, str]]] = {
    400: (
        "Malformed",
        "The request breaks a rule of its contract (`BadRequest` names the field), or does not fit the state.",
    ),
    401: ("Unauthenticated", "The token is missing, expired or not for this system."),
    403: ("Denied", "The token lacks the scope of the call, or the caller may not act here."),
    404: ("Unknown", "There is nothing of that id for this tenant."),
    409: ("Conflict", "Something else has the key, or another writer was faster: the latter may be tried again."),
    429: ("TooMuch", "Too many calls at once; `RetryInfo` says when to come back."),
    500: ("Internal", "A defect of ours; the id in the message finds it in the log."),
    503: ("Unavailable", "The service or its database cannot be reached; a retry with the same request_id is safe."),
    504: (
        "TooLate",
        "The deadline passed; what became of the call is unknown, a retry with the same request_id is safe.",
    ),
}
"""By HTTP status; https://cloud.google.com/apis/design/errors maps the codes of gRPC to them."""

_STATUS: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}


@cache
def reasons_of(package: str) -> Mapping[int, tuple[str, ...]]:
    """The reasons of the service's own, such as those of "scrm.identity.v1", by HTTP status."""
    module = importlib.import_module(f"services.{package.split('.')[1]}.domain.errors")
    found: dict[int, tuple[str, ...]] = {}
    for kind in _refusals(DomainError):
        if kind.__module__ == module.__name__ and kind.code in _STATUS:
            status = _STATUS[kind.code]
            found[status] = (*found.get(status, ()), kind.reason)
    return {status: tuple(sorted(reasons)) for status, reasons in sorted(found.items())}


def _refusals(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for it in kind.__subclasses__():
        yield it
        yield from _refusals(it)
