"""What identity can be asked about stores, staff and guides, answered from the event store, as the caller may see it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from chassis.unit_of_work import replay
from services.identity.application.queries import get_customer
from services.identity.domain.customer import Customer
from services.identity.domain.errors import CustomerNotFound, StaffNotFound, StoreNotFound, TransferNotFound
from services.identity.domain.org_settings import OrgSettings, settings_id
from services.identity.domain.relationships import Guidance, Relationship, connected, guide_at, relationship_id
from services.identity.domain.staff import Staff
from services.identity.domain.stores import Store
from services.identity.domain.transfers import Transfer

A = TypeVar("A", bound=Aggregate)


@dataclass(frozen=True, slots=True)
class Guide:
    """Who looks after a customer, and the store where that one works."""

    guidance: Guidance
    store: UUID | None


@dataclass(frozen=True, slots=True)
class Guides:
    """A customer with the guide, if there is one, and all staff whose codes were scanned, the last one first."""

    customer: Customer
    guide: Guide | None
    connected: Sequence[UUID]


async def get_store(bus: CommandBus, id: UUID) -> Store:
    """Raises StoreScope and StoreNotFound."""
    current().require_store(id)
    try:
        return await bus.load(Store, id)
    except AggregateNotFound:
        raise StoreNotFound(field="store_id") from None


async def get_staff(bus: CommandBus, id: UUID, at: datetime) -> Staff:
    """Somebody who works, at `at`, in a store that the caller may see. Raises StoreScope and StaffNotFound."""
    try:
        staff = await bus.load(Staff, id)
    except AggregateNotFound:
        current().require_store(None)
        raise StaffNotFound(field="staff_id") from None
    current().require_store(staff.store_at(at))
    return staff


async def get_settings(bus: CommandBus) -> OrgSettings:
    """The decisions of the brand, or what holds without any."""
    tenant = current().tenant
    try:
        return await bus.load(OrgSettings, settings_id(tenant))
    except AggregateNotFound:
        return OrgSettings.of_tenant(tenant)


async def get_transfer(bus: CommandBus, id: UUID, at: datetime) -> Transfer:
    """A transfer from somebody whose store the caller may see. Raises StoreScope and TransferNotFound."""
    try:
        transfer = await bus.load(Transfer, id)
    except AggregateNotFound:
        current().require_store(None)
        raise TransferNotFound(field="transfer_id") from None
    await get_staff(bus, transfer.from_staff, at)
    return transfer


async def get_guide(bus: CommandBus, node: UUID, at: datetime) -> Guides:
    """The customer of the node with the guide of `at`. Raises StoreScope and CustomerNotFound."""
    try:
        customer = (await get_customer(bus, node)).customer
    except CustomerNotFound:
        current().require_store(None)
        raise
    found = await _relationships(bus, customer)
    guide = await _guide(bus, found, at)
    current().require_store(guide.store if guide else None)
    return Guides(customer, guide, connected(found))


async def require_own_customer(bus: CommandBus, node: UUID, at: datetime) -> None:
    """Raises StoreScope unless the caller may see the customer of the node: whoever is bound to stores sees the customers of the
    guides there, and does not learn whether there are others."""
    if current().stores is not None:
        await get_guide(bus, node, at)


async def guide_of(bus: CommandBus, customer: Customer, at: datetime) -> Guide | None:
    """Who looks after the customer at `at`, whether the caller may see that or not."""
    return await _guide(bus, await _relationships(bus, customer), at)


async def _relationships(bus: CommandBus, customer: Customer) -> list[Relationship]:
    return await _all(bus, Relationship, [relationship_id(customer.tenant, it) for it in customer.nodes])


async def _guide(bus: CommandBus, of_nodes: Sequence[Relationship], at: datetime) -> Guide | None:
    guidance = guide_at(of_nodes, at)
    if guidance is None:
        return None
    return Guide(guidance, (await bus.load(Staff, guidance.staff)).store_at(at))


async def _all(bus: CommandBus, kind: type[A], ids: Sequence[UUID]) -> list[A]:
    streams = await asyncio.to_thread(bus.store.load, ids)
    return [it for it in map(replay, streams.values()) if isinstance(it, kind)]
