"""What staff and other systems say of one identifier: it is this customer's, or it is not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from chassis.commands import UnitOfWork
from services.identity.application.owners import claim_all, keep, owner_of, release, rules_of
from services.identity.application.vault import Vault
from services.identity.domain.claim import ClaimState, IdentifierClaim
from services.identity.domain.customer import Customer, UnlinkReason
from services.identity.domain.errors import (
    IdentifierLimit,
    IdentifierNotFound,
    IdentifierTaken,
    IdentifierUnusable,
)
from services.identity.domain.identifiers import Identifier
from services.identity.domain.resolution import Encounter, Sight, decide


@dataclass(frozen=True, slots=True)
class LinkIdentifier:
    """The customer has this identifier; None for one that tells nobody."""

    customer_id: UUID
    identifier: Identifier | None


@dataclass(frozen=True, slots=True)
class UnlinkIdentifier:
    """The customer no longer has this identifier; None for one that tells nobody."""

    customer_id: UUID
    identifier: Identifier | None


def link_identifier(command: LinkIdentifier, work: UnitOfWork, vault: Vault) -> Customer:
    """The customer with the identifier; one who has it already stays as they are.

    Raises CustomerNotFound, IdentifierUnusable, IdentifierTaken and IdentifierLimit.
    """
    customer, identifier = owner_of(work, command.customer_id, "customer_id"), command.identifier
    if identifier is None:
        raise IdentifierUnusable(field="identifier")
    rules = rules_of(work)
    if identifier.key in rules.blocked:
        raise IdentifierUnusable(field="identifier")
    claim = work.find(IdentifierClaim, identifier.claim_id)
    if claim is not None and claim.state in (ClaimState.SHARED, ClaimState.BLOCKED):
        raise IdentifierUnusable(field="identifier", state=claim.state)
    if claim is not None and claim.is_claimed:
        if identifier.key in customer.identifiers:
            return customer
        raise IdentifierTaken(field="identifier")
    sight = Sight(identifier, None, rules.namespaces[identifier.namespace])
    decision = decide(Encounter([sight], customer, authenticated=False, at=work.now, namespaces=rules.namespaces))
    if decision.demoted:
        raise IdentifierLimit(field="identifier", ns=identifier.namespace, limit=sight.rules.limit.count)
    linked = identifier.linked(customer.id, work.now)
    sealed = vault.seal(work, customer.id, linked.sealed_as, identifier.spelling)
    customer.link([replace(linked, sealed=sealed)], work.now, rules.namespaces)
    claim_all(work, [identifier], {claim.id: claim} if claim else {}, customer.id, work.now)
    release(work, customer, decision.evicted, UnlinkReason.LIMIT_FIFO, work.now)
    keep(work, customer)
    return customer


def unlink_identifier(command: UnlinkIdentifier, work: UnitOfWork) -> Customer:
    """The customer without the identifier, which is nobody's. Raises CustomerNotFound and IdentifierNotFound."""
    customer, identifier = owner_of(work, command.customer_id, "customer_id"), command.identifier
    linked = customer.identifiers.get(identifier.key) if identifier is not None else None
    if linked is None:
        raise IdentifierNotFound(field="identifier")
    release(work, customer, [linked], UnlinkReason.REQUESTED, work.now)
    return customer


def named(command: LinkIdentifier | UnlinkIdentifier) -> Iterator[UUID]:
    """The aggregates that the command is sure to need."""
    yield command.customer_id
    if command.identifier is not None:
        yield command.identifier.claim_id
