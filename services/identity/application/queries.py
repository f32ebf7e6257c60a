"""What identity can be asked about one customer, answered from the event store: as of the last write."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis import context as contexts
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound, DomainError
from chassis.unit_of_work import replay
from services.identity.domain.claim import ClaimState, IdentifierClaim
from services.identity.domain.consent import Permissions, permissions_id
from services.identity.domain.customer import Customer
from services.identity.domain.errors import CustomerErased, CustomerNotFound
from services.identity.domain.identifiers import Identifier
from services.identity.domain.merging import Evidence, ExceededLimit, exceeded_limits, refusal
from services.identity.domain.namespace_settings import NamespaceSettings
from services.identity.domain.rules import PRESET, IdentityRules, settings_id


@dataclass(frozen=True, slots=True)
class Found:
    """A customer, and the node by which it was found."""

    customer: Customer
    node_id: UUID


async def get_customer(bus: CommandBus, node_id: UUID) -> Found:
    """The customer to whom `node_id` belongs now. Raises CustomerNotFound and CustomerErased."""
    return Found(await _found(bus, node_id, "customer_id"), node_id)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a merge would make of two customers, and why it would be refused."""

    survivor: Customer
    loser: Customer
    exceeded: Sequence[ExceededLimit]
    refusal: DomainError | None


async def preview_merge(
    bus: CommandBus, survivor_id: UUID, loser_id: UUID, evidence: Evidence, at: datetime
) -> Preview:
    """What merging the customers of these nodes would do at `at`. Raises CustomerNotFound."""
    survivor = await _found(bus, survivor_id, "survivor_id")
    loser = await _found(bus, loser_id, "loser_id")
    refused = refusal(survivor, loser, evidence)
    namespaces = (await rules_of_tenant(bus)).namespaces
    return Preview(survivor, loser, exceeded_limits([survivor, loser], at, namespaces), refused)


async def get_permissions(bus: CommandBus, node_id: UUID) -> tuple[Customer, list[Permissions]]:
    """The customer of the node, and the permissions of all nodes of the customer that have any. Raises CustomerNotFound."""
    customer = await _found(bus, node_id, "customer_id")
    return customer, await permissions_of(bus, customer)


async def permissions_of(bus: CommandBus, customer: Customer) -> list[Permissions]:
    """The permissions of all nodes of the customer that have any."""
    ids = [permissions_id(customer.tenant, it) for it in customer.nodes]
    streams = await asyncio.to_thread(bus.store.load, ids)
    found = [replay(it) for it in streams.values()]
    return [it for it in found if isinstance(it, Permissions)]


async def lookup_customer(bus: CommandBus, identifier: Identifier | None) -> Found:
    """The customer who has `identifier`. Raises CustomerNotFound, also for one that tells nobody any more."""
    claim = await lookup_claim(bus, identifier, "identifier")
    try:
        return await get_customer(bus, claim.node)
    except CustomerErased:
        raise CustomerNotFound(field="identifier") from None


async def lookup_claim(bus: CommandBus, identifier: Identifier | None, field: str) -> IdentifierClaim:
    """The claim of somebody on `identifier`, which is in `field` of the request. Raises CustomerNotFound."""
    if identifier is None:
        raise CustomerNotFound(field=field)
    try:
        claim = await bus.load(IdentifierClaim, identifier.claim_id)
    except AggregateNotFound:
        raise CustomerNotFound(field=field) from None
    if claim.state is not ClaimState.CLAIMED:
        raise CustomerNotFound(field=field)
    return claim


async def settings_of_tenant(bus: CommandBus) -> NamespaceSettings | None:
    """The settings of the tenant as of the last write; None for a brand that has changed nothing."""
    try:
        return await bus.load(NamespaceSettings, settings_id(contexts.current().tenant))
    except AggregateNotFound:
        return None


async def rules_of_tenant(bus: CommandBus) -> IdentityRules:
    """The rules of the tenant as of the last write."""
    settings = await settings_of_tenant(bus)
    return PRESET if settings is None else settings.rules


async def _found(bus: CommandBus, node_id: UUID, field: str) -> Customer:
    try:
        customer = await bus.load(Customer, node_id)
        while customer.merged_into is not None:
            customer = await bus.load(Customer, customer.merged_into)
    except AggregateNotFound:
        raise CustomerNotFound(field=field) from None
    if customer.is_erased:
        raise CustomerErased(field=field)
    return customer
