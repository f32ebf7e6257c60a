"""What identity can be told to do: say who a call, or each of up to 500 calls, is about, and learn from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.identity.application.resolving import (
    Resolution,
    ResolveIdentity,
    Resolving,
    bring_to_hand,
    needed,
)
from services.identity.application.vault import Vault


@dataclass(frozen=True, slots=True)
class BatchResolve:
    """Several calls in the order in which they are to be resolved; one that could not be read is its error."""

    items: tuple[ResolveIdentity | DomainError, ...]


def resolve_identity(command: ResolveIdentity, work: UnitOfWork, vault: Vault) -> Resolution:
    """Who the call is about, after everything it tells is recorded.

    Raises NoUsableIdentifier, CustomerNotFound (for `customer_id`, or when nobody is found and nobody may be created),
    CustomerErased, CustomerIdTaken and FutureTimestamp.
    """
    return Resolving(command, work, vault).resolve()


def batch_resolve(command: BatchResolve, work: UnitOfWork, vault: Vault) -> Sequence[Resolution | DomainError]:
    """The resolution of each item, or why it was refused; a refused one changes nothing."""
    bring_to_hand(_readable(command), work, vault)
    return work.each(command.items, lambda item: _resolve_item(item, work, vault))


def resolve_handlers(vault: Vault) -> Handlers:
    return [
        handler(
            ResolveIdentity,
            lambda command, work: resolve_identity(command, work, vault),
            loads=lambda command: needed([command]),
        ),
        handler(
            BatchResolve,
            lambda command, work: batch_resolve(command, work, vault),
            loads=lambda command: needed(_readable(command)),
        ),
    ]


def _resolve_item(item: ResolveIdentity | DomainError, work: UnitOfWork, vault: Vault) -> Resolution:
    if isinstance(item, DomainError):
        raise item
    return resolve_identity(item, work, vault)


def _readable(command: BatchResolve) -> list[ResolveIdentity]:
    return [it for it in command.items if isinstance(it, ResolveIdentity)]
