"""What identity can be asked about one customer, answered from the event store: as of the last write."""

from dataclasses import dataclass
from uuid import UUID

from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from services.identity.domain.claim import ClaimState, IdentifierClaim
from services.identity.domain.customer import Customer
from services.identity.domain.errors import CustomerNotFound
from services.identity.domain.identifiers import Identifier


@dataclass(frozen=True, slots=True)
class Found:
    """A customer, and the node by which it was found."""

    customer: Customer
    node_id: UUID


async def get_customer(bus: CommandBus, node_id: UUID) -> Found:
    """The customer to whom `node_id` belongs now. Raises CustomerNotFound."""
    try:
        customer = await bus.load(Customer, node_id)
        while customer.merged_into is not None:
            customer = await bus.load(Customer, customer.merged_into)
    except AggregateNotFound:
        raise CustomerNotFound(field="customer_id") from None
    return Found(customer, node_id)


async def lookup_customer(bus: CommandBus, identifier: Identifier | None) -> Found:
    """The customer who has `identifier`. Raises CustomerNotFound, also for one that tells nobody any more."""
    if identifier is None:
        raise CustomerNotFound(field="identifier")
    try:
        claim = await bus.load(IdentifierClaim, identifier.claim_id)
    except AggregateNotFound:
        raise CustomerNotFound(field="identifier") from None
    if claim.state is not ClaimState.CLAIMED:
        raise CustomerNotFound(field="identifier")
    return await get_customer(bus, claim.node)
