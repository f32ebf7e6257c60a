"""What identity can be told to do: say who a call, or each of up to 500 calls, is about, and learn from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.identity.application.consent_commands import (
    RecordConsent,
    SetChannelReachability,
    WithdrawConsent,
    record_consent,
    set_channel_reachability,
    withdraw_consent,
)
from services.identity.application.link_commands import (
    LinkIdentifier,
    UnlinkIdentifier,
    link_identifier,
    named,
    unlink_identifier,
)
from services.identity.application.merge_commands import (
    MergeCustomers,
    RevokeNeverMerge,
    SetNeverMerge,
    UnmergeCustomer,
    merge_customers,
    revoke_never_merge,
    set_never_merge,
    unmerge_customer,
)
from services.identity.application.owners import fetch_owners
from services.identity.application.resolving import Resolution, ResolveIdentity, Resolving
from services.identity.domain.claim import IdentifierClaim


@dataclass(frozen=True, slots=True)
class BatchResolve:
    """Several calls in the order in which they are to be resolved; one that could not be read is its error."""

    items: tuple[ResolveIdentity | DomainError, ...]


def resolve_identity(command: ResolveIdentity, work: UnitOfWork) -> Resolution:
    """Who the call is about, after everything it tells is recorded.

    Raises NoUsableIdentifier, CustomerNotFound (for `customer_id`, or when nobody is found and nobody may be created),
    CustomerErased, CustomerIdTaken and FutureTimestamp.
    """
    return Resolving(command, work).resolve()


def batch_resolve(command: BatchResolve, work: UnitOfWork) -> Sequence[Resolution | DomainError]:
    """The resolution of each item, or why it was refused; a refused one changes nothing."""
    readable = [it for it in command.items if isinstance(it, ResolveIdentity)]
    claims = work.find_all(IdentifierClaim, list(_claims(readable)))
    fetch_owners(work, [it.node for it in claims.values()] + [it.customer_id for it in readable if it.customer_id])
    return work.each(command.items, lambda item: _resolve_item(item, work))


def _resolve_item(item: ResolveIdentity | DomainError, work: UnitOfWork) -> Resolution:
    if isinstance(item, DomainError):
        raise item
    return resolve_identity(item, work)


def _claims(commands: Sequence[ResolveIdentity]) -> Iterator[UUID]:
    return (identifier.claim_id for command in commands for identifier in command.reading.identifiers)


HANDLERS: Handlers = [
    handler(RecordConsent, record_consent, loads=lambda command: (command.node,)),
    handler(WithdrawConsent, withdraw_consent, loads=lambda command: (command.node,)),
    handler(SetChannelReachability, set_channel_reachability, loads=lambda command: (command.node,)),
    handler(LinkIdentifier, link_identifier, loads=named),
    handler(UnlinkIdentifier, unlink_identifier, loads=named),
    handler(MergeCustomers, merge_customers, loads=lambda command: (command.survivor_id, command.loser_id)),
    handler(UnmergeCustomer, unmerge_customer, loads=lambda command: (command.merge_id,)),
    handler(SetNeverMerge, set_never_merge, loads=lambda command: (command.customer_id, command.other_id)),
    handler(RevokeNeverMerge, revoke_never_merge, loads=lambda command: (command.customer_id, command.other_id)),
    handler(ResolveIdentity, resolve_identity, loads=lambda command: _claims([command])),
    handler(
        BatchResolve,
        batch_resolve,
        loads=lambda command: _claims([it for it in command.items if isinstance(it, ResolveIdentity)]),
    ),
]
