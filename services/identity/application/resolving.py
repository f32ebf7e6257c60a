"""Carrying out a resolution: finds what the identifiers of a call lead to, has it decided, and records the decision."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.commands import UnitOfWork
from chassis.errors import AggregateExists
from services.identity.domain.claim import ClaimState, IdentifierClaim
from services.identity.domain.customer import (
    ConflictResolution,
    ConflictRule,
    Customer,
    CustomerState,
    MergeReason,
    UnlinkReason,
    default_assignment_key,
)
from services.identity.domain.errors import CustomerIdTaken, CustomerNotFound, FutureTimestamp, NoUsableIdentifier
from services.identity.domain.identifiers import Dropped, DropReason, Identifier, LinkedIdentifier
from services.identity.domain.resolution import Decision, Demotion, Encounter, Outcome, Sight, decide

if TYPE_CHECKING:
    from services.identity.application.commands import ResolveIdentity

CLOCK_TOLERANCE: Final = timedelta(minutes=5)

_DROPPED_BY_STATE: Final = {ClaimState.SHARED: DropReason.SHARED, ClaimState.BLOCKED: DropReason.BLOCKED}
_DROPPED_BY_RULE: Final = {
    ConflictRule.FOREIGN: DropReason.FOREIGN,
    ConflictRule.LIMIT: DropReason.LIMIT,
    ConflictRule.KNOWN_MEETS_KNOWN: DropReason.CONFLICT,
}


@dataclass(frozen=True, slots=True)
class Resolution:
    """The customer a call is about, and the node to which the facts of the call belong."""

    customer_id: UUID
    node_id: UUID
    state: CustomerState
    outcome: Outcome
    dropped: tuple[Dropped, ...]


class Resolving:
    """One resolution under way."""

    def __init__(self, command: "ResolveIdentity", work: UnitOfWork) -> None:
        self._command = command
        self._work = work
        self._at = command.occurred_at or work.now
        self._claims: dict[UUID, IdentifierClaim] = {}
        self._dropped: list[Dropped] = list(command.reading.dropped)

    def resolve(self) -> Resolution:
        """Decides everything before it changes anything: a refusal leaves no trace."""
        if self._at > self._work.now + CLOCK_TOLERANCE:
            raise FutureTimestamp(field="occur_time")
        encounter = self._encounter()
        decision = decide(encounter)
        customer = self._merge(decision) if decision.owners else self._register(decision)
        for demotion in decision.demoted:
            self._put_aside(demotion, customer)
        self._dropped += [_drop(it.identifier, DropReason.CONFLICT) for it in decision.left_out]
        dropped = tuple(sorted(self._dropped, key=lambda it: it.position))
        return Resolution(customer.id, self._node(decision, customer), customer.state, decision.outcome, dropped)

    def _encounter(self) -> Encounter:
        """The identifiers that still tell something, with their owners."""
        command, work = self._command, self._work
        identifiers = command.reading.identifiers
        self._claims = work.find_all(IdentifierClaim, [it.claim_id for it in identifiers])
        customer = canonical(work, command.customer_id) if command.customer_id else None
        if command.customer_id and customer is None:
            raise CustomerNotFound(field="customer_id")
        sights: list[Sight] = []
        for it in identifiers:
            claim = self._claims.get(it.claim_id)
            if claim is not None and claim.state in _DROPPED_BY_STATE:
                self._dropped.append(_drop(it, _DROPPED_BY_STATE[claim.state]))
            else:
                owner = canonical(work, claim.node) if claim is not None and claim.is_claimed else None
                sights.append(Sight(it, owner))
        if not sights and customer is None:
            raise NoUsableIdentifier(field="identifiers")
        return Encounter(sights, customer, command.authenticated, self._at)

    def _register(self, decision: Decision) -> Customer:
        """A new customer with everything the call brings."""
        command, work = self._command, self._work
        if not command.create_if_missing:
            raise CustomerNotFound
        id = command.new_customer_id or work.new_id()
        if command.new_customer_id and work.find(Aggregate, id) is not None:
            raise CustomerIdTaken(field="new_customer_id")
        linked = self._gained(decision, id)
        is_known = any(it.rules.strong for it in linked)
        customer = Customer(
            id=id,
            tenant=work.context.tenant,
            state=CustomerState.KNOWN if is_known else CustomerState.ANONYMOUS,
            assignment_key=command.assignment_key or default_assignment_key(id),
            identifiers=linked,
            registered_at=self._at,
        )
        try:
            work.add(customer)
        except AggregateExists:
            raise CustomerIdTaken(field="new_customer_id") from None
        self._claim(decision.kept, id)
        return customer

    def _merge(self, decision: Decision) -> Customer:
        """The customer who goes on for all owners, with what the call brings besides."""
        survivor, *losers = decision.owners
        for loser in losers:
            survivor.absorb(loser, self._work.new_id(), MergeReason.RESOLUTION, self._at)
        survivor.link(self._gained(decision, survivor.id), self._at, self._command.assignment_key)
        self._claim(decision.kept, survivor.id)
        survivor.unlink([it.key for it in decision.evicted], UnlinkReason.LIMIT_FIFO, self._at)
        for it in decision.evicted:
            self._work.get(IdentifierClaim, it.claim_id(survivor.tenant)).release(self._at)
        return survivor

    def _gained(self, decision: Decision, node: UUID) -> tuple[LinkedIdentifier, ...]:
        new = [it.identifier for it in decision.kept if it.owner is None]
        new += [it.sight.identifier for it in decision.demoted if it.reassign]
        return tuple(LinkedIdentifier(it.namespace, it.scope, it.value_hmac, node, it.verified, self._at) for it in new)

    def _claim(self, sights: Iterable[Sight], node: UUID) -> None:
        for sight in sights:
            if sight.owner is not None:
                continue
            it = sight.identifier
            claim = self._claims.get(it.claim_id)
            if claim is not None:
                claim.reclaim(node, self._at)
                continue
            self._work.add(
                IdentifierClaim(
                    id=it.claim_id,
                    tenant=self._work.context.tenant,
                    namespace=it.namespace,
                    scope=it.scope,
                    value_hmac=it.value_hmac,
                    node=node,
                    claimed_at=self._at,
                )
            )

    def _put_aside(self, demotion: Demotion, customer: Customer) -> None:
        """Leave the identifier where it is, or hand it over without its owner; either way it is on record."""
        identifier, owner = demotion.sight.identifier, demotion.sight.owner
        resolution = ConflictResolution.REASSIGNED if demotion.reassign else ConflictResolution.KEPT
        customer.note_conflict(identifier.key, owner.id if owner else None, demotion.rule, resolution, self._at)
        if not demotion.reassign:
            self._dropped.append(_drop(identifier, _DROPPED_BY_RULE[demotion.rule]))
        if owner is None:
            return
        claim = self._claims[identifier.claim_id]
        if demotion.reassign:
            owner.unlink([identifier.key], UnlinkReason.REASSIGNED, self._at)
            claim.reassign(owner.id, customer.id, self._at)
        if not identifier.rules.strong and customer.is_known:
            claim.see(customer.id, self._at)
            claim.share_if_common(self._known_users(claim), self._at)

    def _known_users(self, claim: IdentifierClaim) -> set[UUID]:
        seen = claim.seen_within_window(self._at)
        fetch_owners(self._work, seen)
        users = (canonical(self._work, it) for it in seen)
        return {it.id for it in users if it is not None and it.is_known}

    def _node(self, decision: Decision, customer: Customer) -> UUID:
        """Facts belong to the node of what tells most about who brought them."""
        if self._command.customer_id:
            return self._command.customer_id
        best = decision.kept[0]
        return customer.id if best.owner is None else self._claims[best.identifier.claim_id].node


def canonical(work: UnitOfWork, node: UUID) -> Customer | None:
    """The customer to whom `node` belongs now; None for a node this tenant does not have.

    Nothing is kept of the way there: an un-merge may cut it anywhere.
    """
    customer = work.find(Customer, node)
    while customer is not None and customer.merged_into is not None:
        customer = work.find(Customer, customer.merged_into)
    return customer


def fetch_owners(work: UnitOfWork, nodes: Sequence[UUID]) -> None:
    """Bring the customers of all `nodes` to hand: one query for each step of the longest chain of merges."""
    wanted = set(nodes)
    while wanted:
        found = work.find_all(Customer, wanted)
        wanted = {it.merged_into for it in found.values() if it.merged_into is not None}


def _drop(identifier: Identifier, reason: DropReason) -> Dropped:
    return Dropped(identifier.position, identifier.namespace, identifier.scope, reason)
