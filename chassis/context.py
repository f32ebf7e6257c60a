"""Who acts, for which tenant, in which call and trace: carried along and stored with every event."""

from contextvars import ContextVar
from typing import NamedTuple
from uuid import UUID

from chassis.errors import StoreScope


class Call(NamedTuple):
    """One request as the caller numbered it: the same `request_id` means the same request.

    `fingerprint` is a keyed digest of the request's content; it tells a retry from a reused id.
    """

    rpc: str
    request_id: str
    fingerprint: bytes


class Context(NamedTuple):
    """The circumstances of one call, command or consumed message.

    `stores` are those whose affairs the caller may see; None for callers that are bound to no store.
    """

    tenant: str
    actor: str
    scopes: frozenset[str] = frozenset()
    call: Call | None = None
    traceparent: str | None = None
    correlation: str | None = None
    causation: str | None = None
    stores: frozenset[UUID] | None = None

    @classmethod
    def system(cls, tenant: str, actor: str) -> "Context":
        """The service itself acting for `tenant`, in the role named by `actor`."""
        return cls(tenant=tenant, actor=f"system/{actor}")

    def sees(self, store: UUID | None) -> bool:
        """Whether the caller may see what belongs to `store`; what belongs to none is for callers bound to none."""
        return self.stores is None or store in self.stores

    def require_store(self, store: UUID | None) -> None:
        """Raises StoreScope unless the caller may see what belongs to `store`.

        Of something that does not exist `store` is None: so a caller bound to stores cannot tell it from something of another
        store. Ask this before anything that would be NOT_FOUND.
        """
        if not self.sees(store):
            raise StoreScope


_current: ContextVar[Context] = ContextVar("scrm_context")
last_position: ContextVar[list[int] | None] = ContextVar("scrm_last_position", default=None)
"""A one-element list the command bus fills with the log position of the call's commit."""


def current() -> Context:
    """The context of the running call; LookupError outside of one."""
    return _current.get()


class entered:  # noqa: N801 (reads as a statement)
    """Make `context` the current one for the body of the with statement."""

    __slots__ = ("_before", "_context")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> Context:
        self._before = _current.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _current.reset(self._before)
