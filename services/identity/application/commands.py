"""What identity can be told to do: say who a call, or each of up to 500 calls, is about, and learn from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.identity.application.owners import canonical, fetch_owners
from services.identity.application.resolving import Resolution, ResolveIdentity, Resolving
from services.identity.application.vault import Vault
from services.identity.domain.claim import IdentifierClaim


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
    readable = [it for it in command.items if isinstance(it, ResolveIdentity)]
    claims = work.find_all(IdentifierClaim, list(_claims(readable)))
    fetch_owners(work, [it.node for it in claims.values()] + [it.customer_id for it in readable if it.customer_id])
    vault.prepare(work, {node for it in readable for node in _gaining(it, claims, work)})
    return work.each(command.items, lambda item: _resolve_item(item, work, vault))


def resolve_handlers(vault: Vault) -> Handlers:
    return [
        handler(
            ResolveIdentity,
            lambda command, work: resolve_identity(command, work, vault),
            loads=lambda command: _claims([command]),
        ),
        handler(
            BatchResolve,
            lambda command, work: batch_resolve(command, work, vault),
            loads=lambda command: _claims([it for it in command.items if isinstance(it, ResolveIdentity)]),
        ),
    ]


def _resolve_item(item: ResolveIdentity | DomainError, work: UnitOfWork, vault: Vault) -> Resolution:
    if isinstance(item, DomainError):
        raise item
    return resolve_identity(item, work, vault)


def _claims(commands: Sequence[ResolveIdentity]) -> Iterator[UUID]:
    return (identifier.claim_id for command in commands for identifier in command.reading.identifiers)


def _gaining(item: ResolveIdentity, claims: Mapping[UUID, IdentifierClaim], work: UnitOfWork) -> set[UUID]:
    """Customers there are already who may get an identifier by the call."""
    ids = [it.claim_id for it in item.reading.identifiers]
    known = {claims[id].node for id in ids if id in claims} | ({item.customer_id} if item.customer_id else set())
    if not known or all(id in claims for id in ids):
        return set()
    return {it.id for it in (canonical(work, node) for node in known) if it is not None}
