"""Carrying out a resolution: finds what the identifiers of a call lead to, has it decided, and records the decision."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.commands import UnitOfWork
from chassis.errors import AggregateExists
from services.identity.application.candidates import propose
from services.identity.application.owners import (
    await_expiry,
    canonical,
    claim_all,
    fetch_owners,
    keep,
    merge,
    release,
    require_past,
    rules_of,
)
from services.identity.application.vault import Seal, Vault
from services.identity.domain.claim import ClaimState, IdentifierClaim
from services.identity.domain.customer import (
    RESOLUTION,
    ConflictResolution,
    ConflictRule,
    Customer,
    CustomerState,
    UnlinkReason,
    default_assignment_key,
)
from services.identity.domain.errors import CustomerErased, CustomerIdTaken, CustomerNotFound, NoUsableIdentifier
from services.identity.domain.identifiers import (
    Dropped,
    DropReason,
    Identifier,
    LinkedIdentifier,
    Reading,
    best_first,
)
from services.identity.domain.match_candidate import SHOWN_TOGETHER
from services.identity.domain.resolution import Decision, Demotion, Encounter, Outcome, Sight, decide
from services.identity.domain.rules import PRESET

_DROPPED_BY_STATE: Final = {ClaimState.SHARED: DropReason.SHARED, ClaimState.BLOCKED: DropReason.BLOCKED}
_DROPPED_BY_RULE: Final = {
    ConflictRule.FOREIGN: DropReason.FOREIGN,
    ConflictRule.LIMIT: DropReason.LIMIT,
    ConflictRule.KNOWN_MEETS_KNOWN: DropReason.CONFLICT,
    ConflictRule.NEVER_MERGE: DropReason.NEVER_MERGE,
}


@dataclass(frozen=True, slots=True)
class ResolveIdentity:
    """Who is it that showed these identifiers at `occurred_at` (None: now)?

    `authenticated` when the person proved in this call to be whom the strong identifiers say. `customer_id` is the
    customer the caller knows the call to be about. If a customer is created, it gets `new_customer_id` and
    `assignment_key`; an anonymous one that becomes known takes over `assignment_key` too, unless it has a chosen one.
    """

    reading: Reading
    authenticated: bool = False
    occurred_at: datetime | None = None
    customer_id: UUID | None = None
    new_customer_id: UUID | None = None
    assignment_key: str | None = None
    create_if_missing: bool = True


@dataclass(frozen=True, slots=True)
class Resolution:
    """The customer a call is about, and the node to which the facts of the call belong."""

    customer_id: UUID
    node_id: UUID
    state: CustomerState
    outcome: Outcome
    dropped: tuple[Dropped, ...]


def needed(commands: Iterable[ResolveIdentity]) -> Iterator[UUID]:
    """The aggregates that resolving these calls of one tenant is sure to need."""
    settings = None
    for command in commands:
        if settings is None and command.reading.settings is not None:
            settings = command.reading.settings
            yield settings
        for it in command.reading.identifiers:
            yield it.claim_id


def bring_to_hand(commands: Sequence[ResolveIdentity], work: UnitOfWork, vault: Vault) -> None:
    """Claims, their owners and their data keys for all of these calls: a query each, and one for each further step of a chain
    of merges."""
    claims = work.find_all(IdentifierClaim, list(needed(commands)))
    named = [it.customer_id for it in commands if it.customer_id]
    fetch_owners(work, [it.node for it in claims.values()] + named)
    vault.prepare(work, {node for it in commands for node in _gaining(it, claims, work)})


def _gaining(item: ResolveIdentity, claims: Mapping[UUID, IdentifierClaim], work: UnitOfWork) -> set[UUID]:
    """Customers there are already who may get an identifier by the call."""
    ids = [it.claim_id for it in item.reading.identifiers]
    known = {claims[id].node for id in ids if id in claims} | ({item.customer_id} if item.customer_id else set())
    if not known or all(id in claims for id in ids):
        return set()
    return {it.id for it in (canonical(work, node) for node in known) if it is not None}


class Resolving:
    """One resolution under way."""

    def __init__(self, command: ResolveIdentity, work: UnitOfWork, vault: Vault) -> None:
        self._command = command
        self._work = work
        self._vault = vault
        self._at = work.now
        self._rules = rules_of(work)
        self._claims: dict[UUID, IdentifierClaim] = {}
        self._dropped: list[Dropped] = list(command.reading.dropped)

    def resolve(self) -> Resolution:
        """Decides everything before it changes anything: a refusal leaves no trace."""
        self._at = require_past(self._command.occurred_at, self._work, "occur_time")
        encounter = self._encounter()
        decision = decide(encounter)
        customer = self._merge(decision) if decision.owners else self._register(decision)
        keep(self._work, customer)
        for demotion in decision.demoted:
            self._put_aside(demotion, customer)
        self._ask_about(decision.unproven)
        self._dropped += [_drop(it.identifier, DropReason.CONFLICT) for it in decision.left_out]
        dropped = tuple(sorted(self._dropped, key=lambda it: it.position))
        return Resolution(customer.id, self._node(decision, customer), customer.state, decision.outcome, dropped)

    def _encounter(self) -> Encounter:
        """The identifiers that still tell something, with their owners."""
        command, work = self._command, self._work
        identifiers: Sequence[Identifier] = command.reading.identifiers
        if self._rules is not PRESET:  # it may have been read by rules that have changed since
            identifiers = self._current(identifiers)
        self._claims = work.find_all(IdentifierClaim, [it.claim_id for it in identifiers])
        customer = canonical(work, command.customer_id) if command.customer_id else None
        if command.customer_id and customer is None:
            raise CustomerNotFound(field="customer_id")
        _require_unerased(customer, "customer_id")
        sights: list[Sight] = []
        for it in identifiers:
            claim = self._claims.get(it.claim_id)
            if claim is not None and claim.state in _DROPPED_BY_STATE:
                self._dropped.append(_drop(it, _DROPPED_BY_STATE[claim.state]))
            else:
                owner = canonical(work, claim.node) if claim is not None and claim.is_claimed else None
                _require_unerased(owner, "identifiers")
                sights.append(Sight(it, owner, self._rules.namespaces[it.namespace]))
        if not sights and customer is None:
            raise NoUsableIdentifier(field="identifiers")
        return Encounter(sights, customer, command.authenticated, self._at, self._rules.namespaces)

    def _current(self, identifiers: Iterable[Identifier]) -> list[Identifier]:
        """Those that are not blocked, best first."""
        usable: list[Identifier] = []
        for it in best_first(identifiers, self._rules.namespaces):
            if it.key in self._rules.blocked:
                self._dropped.append(_drop(it, DropReason.BLOCKED))
            else:
                usable.append(it)
        return usable

    def _register(self, decision: Decision) -> Customer:
        """A new customer with everything the call brings."""
        command, work = self._command, self._work
        if not command.create_if_missing:
            raise CustomerNotFound
        id = command.new_customer_id or work.new_id()
        if command.new_customer_id and work.find(Aggregate, id) is not None:
            raise CustomerIdTaken(field="new_customer_id")
        linked = self._gained(decision, id, self._vault.seal_new)
        via = next((it.namespace for it in linked if self._rules.namespaces[it.namespace].strong), None)
        customer = Customer(
            id=id,
            tenant=work.context.tenant,
            state=CustomerState.KNOWN if via else CustomerState.ANONYMOUS,
            assignment_key=command.assignment_key or default_assignment_key(id),
            identifiers=linked,
            via_namespace=via,
            registered_at=self._at,
        )
        try:
            work.add(customer)
        except AggregateExists:
            raise CustomerIdTaken(field="new_customer_id") from None
        self._claim(decision.kept, id)
        if via is None:
            await_expiry(work, id)
        return customer

    def _merge(self, decision: Decision) -> Customer:
        """The customer who goes on for all owners, with what the call brings besides."""
        survivor, *losers = decision.owners
        shown = [it.owner.identifiers[it.identifier.key] for it in decision.kept if it.owner is not None]
        for loser in losers:
            met_by = [it for it in shown if it.key in survivor.identifiers or it.key in loser.identifiers]
            merge(self._work, survivor, loser, RESOLUTION, self._at, met_by)
        self._learn(survivor, shown, self._gained(decision, survivor.id, self._vault.seal))
        self._claim(decision.kept, survivor.id)
        release(self._work, survivor, decision.evicted, UnlinkReason.LIMIT_FIFO, self._at)
        return survivor

    def _learn(self, customer: Customer, shown: Sequence[LinkedIdentifier], gained: Sequence[LinkedIdentifier]) -> None:
        """A customer may have had what is strong since its namespace changed."""
        namespaces, assignment_key = self._rules.namespaces, self._command.assignment_key
        customer.link(gained, self._at, namespaces, assignment_key)
        customer.recognise(shown, self._at, namespaces, assignment_key)

    def _gained(self, decision: Decision, node: UUID, seal: Seal) -> tuple[LinkedIdentifier, ...]:
        new = [it.identifier for it in decision.kept if it.owner is None]
        new += [it.sight.identifier for it in decision.demoted if it.reassign]
        linked = ((it, it.linked(node, self._at)) for it in new)
        return tuple(replace(to, sealed=seal(self._work, node, to.sealed_as, it.spelling)) for it, to in linked)

    def _claim(self, sights: Iterable[Sight], node: UUID) -> None:
        claim_all(self._work, (it.identifier for it in sights if it.owner is None), self._claims, node, self._at)

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
            owner.unlink([identifier.key], UnlinkReason.REASSIGNED, self._at, self._rules.namespaces)
            claim.reassign(owner.id, customer.id, self._at, strong=demotion.sight.rules.strong)
        if not demotion.sight.rules.strong and customer.is_known:
            claim.see(customer.id, self._at)
            claim.share_if_common(self._known_users(claim), self._at)

    def _ask_about(self, unproven: Sequence[Customer]) -> None:
        """Let a steward say whether they are one person, each with the first of them."""
        for other in unproven[1:]:
            propose(self._work, unproven[0], other, SHOWN_TOGETHER)

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


def _require_unerased(customer: Customer | None, field: str) -> None:
    """Raises CustomerErased: what is heard of somebody while they are erased is dropped."""
    if customer is not None and customer.is_erased:
        raise CustomerErased(field=field)


def _drop(identifier: Identifier, reason: DropReason) -> Dropped:
    return Dropped(identifier.position, identifier.namespace, identifier.scope, reason)
