"""Anonymous customers whom nobody has seen for long: their identifiers become nobody's."""

from dataclasses import dataclass
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.identity.application.owners import await_expiry, release, rules_of
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer, CustomerState, UnlinkReason


@dataclass(frozen=True, slots=True)
class ExpireAnonymous:
    """It is time to see whether the anonymous customer was seen."""

    customer_id: UUID


def expire_anonymous(command: ExpireAnonymous, work: UnitOfWork) -> None:
    """Whoever is known by now, is part of another, or was seen since, stays."""
    customer = work.find(Customer, command.customer_id)
    if customer is None or customer.state is not CustomerState.ANONYMOUS or customer.has_expired:
        return
    if customer.last_seen_at + rules_of(work).anonymous_lifetime > work.now:
        await_expiry(work, customer.id, customer.last_seen_at)
        return
    identifiers = tuple(customer.identifiers.values())
    work.find_all(IdentifierClaim, [it.claim_id(customer.tenant) for it in identifiers])
    release(work, customer, identifiers, UnlinkReason.EXPIRED, work.now)
    customer.expire(work.now)


EXPIRY_HANDLERS: Handlers = [
    handler(ExpireAnonymous, expire_anonymous, loads=lambda command: (command.customer_id,)),
]
