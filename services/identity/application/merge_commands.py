"""What people say of two customers: they are one person, they are two after all, and never confuse them again."""

from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from chassis.commands import UnitOfWork
from services.identity.application.owners import await_expiry, keep, merge, owner_of, rules_of
from services.identity.application.vault import Vault
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer, IdentifierMove
from services.identity.domain.errors import (
    CustomerErased,
    IdentifierLimit,
    IdentifierNotFound,
    MergeNotFound,
    SameCustomer,
)
from services.identity.domain.identifiers import Identifier, IdentifierKey, LinkedIdentifier
from services.identity.domain.merging import Evidence, Merge, exceeded_limits, refusal


class Side(StrEnum):
    """One of the two customers of a merge that is taken back."""

    SURVIVOR = "SURVIVOR"
    RESTORED = "RESTORED"


@dataclass(frozen=True, slots=True)
class MergeCustomers:
    """The two are one person, as `evidence` shows; `reason` is a code of the caller's."""

    survivor_id: UUID
    loser_id: UUID
    reason: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Disposition:
    """Where an identifier goes when a merge is taken back; None for one that tells nobody."""

    identifier: Identifier | None
    side: Side


@dataclass(frozen=True, slots=True)
class UnmergeCustomer:
    """The two of this merge are two persons; identifiers go with their nodes, except those in `dispositions`."""

    merge_id: UUID
    dispositions: tuple[Disposition, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class SetNeverMerge:
    """The two are two persons, whatever identifiers they show."""

    customer_id: UUID
    other_id: UUID


@dataclass(frozen=True, slots=True)
class RevokeNeverMerge:
    """The two may turn out to be one person again."""

    customer_id: UUID
    other_id: UUID


@dataclass(frozen=True, slots=True)
class Merged:
    """The merge and the one customer."""

    merge_id: UUID
    customer: Customer


@dataclass(frozen=True, slots=True)
class Unmerged:
    """The two customers."""

    restored: Customer
    survivor: Customer


def merge_customers(command: MergeCustomers, work: UnitOfWork) -> Merged:
    """Raises CustomerNotFound, CustomerErased, SameCustomer, NeverMerge, SurvivorNotKnown and MemberConflict."""
    survivor = owner_of(work, command.survivor_id, "survivor_id")
    loser = owner_of(work, command.loser_id, "loser_id")
    refused = refusal(survivor, loser, command.evidence)
    if refused is not None:
        raise refused
    merge_id = merge(work, survivor, loser, command.reason, work.now, evidence=command.evidence)
    keep(work, survivor)
    return Merged(merge_id, survivor)


def unmerge_customer(command: UnmergeCustomer, work: UnitOfWork, vault: Vault) -> Unmerged:
    """Detach exactly the nodes of the merge, wherever its survivor is now; both sides are kept apart from then on.

    Raises MergeNotFound, AlreadyUnmerged, CustomerErased, IdentifierNotFound and IdentifierLimit.
    """
    found = work.find(Merge, command.merge_id)
    if found is None:
        raise MergeNotFound(field="merge_id")
    found.undo(work.now)
    restored = work.get(Customer, found.loser)
    above = [work.get(Customer, found.survivor)]
    while (higher := above[-1].merged_into) is not None:
        above.append(work.get(Customer, higher))
    holder = above[-1]
    if holder.is_erased:
        raise CustomerErased(field="merge_id")
    moves = tuple(_sealed_anew(it, work, vault) for it in _moves(command, holder, restored, found.survivor))
    belongings = holder.belongings_of(restored.nodes, moves)
    for customer in above:
        customer.let_go(restored, found.id, moves, work.now)
    restored.restore(found.id, belongings, moves, command.reason, work.now)
    restored.recognise(belongings.identifiers, work.now, rules_of(work).namespaces)
    if not restored.is_known:
        await_expiry(work, restored.id)
    for it in moves:
        came_to, left = (restored, holder) if it.node in restored.nodes else (holder, restored)
        _require_room(it.identifier, came_to, work)
        claim = work.get(IdentifierClaim, it.identifier.claim_id(holder.tenant))
        claim.settle(left.id, came_to.id, it.node, work.now)
    _keep_apart(holder, found.survivor, restored, restored.id, work)
    return Unmerged(restored, holder)


def set_never_merge(command: SetNeverMerge, work: UnitOfWork) -> None:
    """Raises CustomerNotFound and SameCustomer."""
    one, other = _two(command, work)
    _keep_apart(one, command.customer_id, other, command.other_id, work)


def revoke_never_merge(command: RevokeNeverMerge, work: UnitOfWork) -> None:
    """Raises CustomerNotFound and SameCustomer."""
    one, other = _two(command, work)
    one.allow_reunion(other, work.now)
    other.allow_reunion(one, work.now)


def _two(command: SetNeverMerge | RevokeNeverMerge, work: UnitOfWork) -> tuple[Customer, Customer]:
    one = owner_of(work, command.customer_id, "customer_id")
    other = owner_of(work, command.other_id, "other_customer_id")
    if one is other:
        raise SameCustomer(field="other_customer_id")
    return one, other


def _keep_apart(one: Customer, node: UUID, other: Customer, other_node: UUID, work: UnitOfWork) -> None:
    one.keep_apart(node, other_node, work.now)
    other.keep_apart(other_node, node, work.now)


def _moves(
    command: UnmergeCustomer, holder: Customer, restored: Customer, survivor: UUID
) -> tuple[IdentifierMove, ...]:
    """The identifiers that are not to stay with their nodes. Raises IdentifierNotFound."""
    moves: dict[IdentifierKey, IdentifierMove] = {}
    for position, it in enumerate(command.dispositions):
        linked = holder.identifiers.get(it.identifier.key) if it.identifier is not None else None
        if linked is None:
            raise IdentifierNotFound(field=f"identifier_dispositions[{position}].identifier")
        goes = it.side is Side.RESTORED
        if goes != (linked.node in restored.nodes):
            moves[linked.key] = IdentifierMove(linked, restored.id if goes else survivor)
    return tuple(moves.values())


def _sealed_anew(move: IdentifierMove, work: UnitOfWork, vault: Vault) -> IdentifierMove:
    """The move with the value sealed for the node that it goes to."""
    it = move.identifier
    if not it.sealed:
        return move
    return replace(move, sealed=vault.reseal(work, it.sealed_as, it.sealed, (it.node, move.node)))


def _require_room(identifier: LinkedIdentifier, customer: Customer, work: UnitOfWork) -> None:
    """Raises IdentifierLimit for one that its new customer has no room for."""
    for it in exceeded_limits([customer], work.now, rules_of(work).namespaces):
        if it.namespace == identifier.namespace and it.scope in ("", identifier.scope):
            raise IdentifierLimit(field="identifier_dispositions", ns=it.namespace, limit=it.limit)
