"""Customers by any of their nodes, and what they gain and lose: always the customer and the claim together."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.identity.application.consents import withhold
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer, UnlinkReason
from services.identity.domain.errors import CustomerErased, CustomerNotFound, FutureTimestamp
from services.identity.domain.identifiers import Identifier, LinkedIdentifier
from services.identity.domain.merging import Evidence, Merge
from services.identity.domain.namespace_settings import NamespaceSettings
from services.identity.domain.rules import PRESET, IdentityRules, settings_id

EXPIRY_TIMER: Final = "anonymous_expiry"
CLOCK_TOLERANCE: Final = timedelta(minutes=5)


def rules_of(work: UnitOfWork) -> IdentityRules:
    """The rules of the tenant as of the last write: what is decided by them is decided again if they change meanwhile."""
    settings = work.find(NamespaceSettings, settings_id(work.context.tenant))
    return PRESET if settings is None else settings.rules


def keep(work: UnitOfWork, customer: Customer) -> None:
    """Note that the customer was seen now; an anonymous one whom nobody sees for long expires from then on.

    The timer that waits already is not moved: when it is due it finds out for how long to wait on. It may come too late only where
    it was set by another lifetime.
    """
    had_expired = customer.has_expired
    if customer.see(work.now):
        since = rules_of(work).lifetime_since
        if had_expired or (since is not None and since >= customer.registered_at):
            await_expiry(work, customer.id)


def await_expiry(work: UnitOfWork, node: UUID, seen_at: datetime | None = None) -> None:
    """Look at the anonymous customer again when it was not seen since `seen_at` (None: now) for as long as it is kept."""
    due_at = (seen_at or work.now) + rules_of(work).anonymous_lifetime
    work.schedule(Timer(EXPIRY_TIMER, str(node), due_at))


def canonical(work: UnitOfWork, node: UUID) -> Customer | None:
    """The customer to whom `node` belongs now; None for a node this tenant does not have.

    Nothing is kept of the way there: an un-merge may cut it anywhere.
    """
    customer = work.find(Customer, node)
    while customer is not None and customer.merged_into is not None:
        customer = work.find(Customer, customer.merged_into)
    return customer


def owner_of(work: UnitOfWork, node: UUID, field: str) -> Customer:
    """`canonical`. Raises CustomerNotFound and CustomerErased for `field` of the request."""
    customer = canonical(work, node)
    if customer is None:
        raise CustomerNotFound(field=field)
    if customer.is_erased:
        raise CustomerErased(field=field)
    return customer


def require_past(at: datetime | None, work: UnitOfWork, field: str) -> datetime:
    """`at`, or now. Raises FutureTimestamp for `field` of the request if it is more than five minutes ahead."""
    if at is not None and at > work.now + CLOCK_TOLERANCE:
        raise FutureTimestamp(field=field)
    return at or work.now


def fetch_owners(work: UnitOfWork, nodes: Sequence[UUID]) -> None:
    """Bring the customers of all `nodes` to hand: one query for each step of the longest chain of merges."""
    wanted = set(nodes)
    while wanted:
        found = work.find_all(Customer, wanted)
        wanted = {it.merged_into for it in found.values() if it.merged_into is not None}


def claim_all(
    work: UnitOfWork,
    identifiers: Iterable[Identifier],
    claims: Mapping[UUID, IdentifierClaim],
    node: UUID,
    at: datetime,
) -> None:
    """Make identifiers that are nobody's those of `node`; `claims` has, by their ids, those that were anybody's before."""
    for it in identifiers:
        claim = claims.get(it.claim_id)
        if claim is not None:
            claim.reclaim(node, at)
            if claim.opt_outs:
                withhold(work, work.get(Customer, node), node, claim.opt_outs, at)
            continue
        work.add(
            IdentifierClaim(
                id=it.claim_id,
                tenant=work.context.tenant,
                namespace=it.namespace,
                scope=it.scope,
                value_hmac=it.value_hmac,
                node=node,
                claimed_at=at,
            )
        )


def release(
    work: UnitOfWork, customer: Customer, identifiers: Sequence[LinkedIdentifier], reason: UnlinkReason, at: datetime
) -> None:
    """Take these identifiers from the customer; they are nobody's afterwards."""
    if not identifiers:
        return
    customer.unlink([it.key for it in identifiers], reason, at, rules_of(work).namespaces)
    ids = [it.claim_id(customer.tenant) for it in identifiers]
    work.find_all(IdentifierClaim, ids)  # in one query
    for id in ids:
        work.get(IdentifierClaim, id).release(at)


def merge(
    work: UnitOfWork,
    survivor: Customer,
    loser: Customer,
    reason: str,
    at: datetime,
    met_by: Sequence[LinkedIdentifier] = (),
    evidence: Evidence = Evidence.IDENTIFIERS,
) -> UUID:
    """Make `loser` a part of `survivor`, whose identifiers `met_by` one call showed; the id by which it can be taken back."""
    merge_id = work.new_id()
    survivor.absorb(loser, merge_id, reason, at, met_by)
    work.add(Merge(id=merge_id, tenant=work.context.tenant, survivor=survivor.id, loser=loser.id, evidence=evidence))
    return merge_id
