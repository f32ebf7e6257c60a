"""What is known of customers, put together for comparing them: devices and phone numbers."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.context import Context, entered
from chassis.log import EventStore
from chassis.read_models import ReadModels
from chassis.unit_of_work import replay
from services.identity.adapters.unsealing import Unsealer
from services.identity.domain.customer import Customer, CustomerState
from services.identity.domain.sealing import SealedValue
from services.identity.domain.traits import Known
from services.identity.read_models.customer_directory import customers as directory
from services.identity.read_models.device_use import devices_of

ACTOR: Final = "match"


class SqlTraitBook:
    """Customers and their identifiers come from the event store, devices from their read model."""

    def __init__(self, store: EventStore, read_models: ReadModels, unsealer: Unsealer) -> None:
        self._store = store
        self._read_models = read_models
        self._unsealer = unsealer

    async def known(self, tenant: str, nodes: Collection[UUID]) -> Sequence[Known]:
        return await asyncio.to_thread(self._known, tenant, nodes) if nodes else ()

    async def customers(self, tenant: str, after: UUID | None, limit: int) -> Sequence[UUID]:
        query = (
            sa.select(directory.c.customer)
            .where(directory.c.state.in_([CustomerState.ANONYMOUS, CustomerState.KNOWN]))
            .order_by(directory.c.customer)
            .limit(limit)
        )
        if after is not None:
            query = query.where(directory.c.customer > after)
        return await asyncio.to_thread(self._read_models.query_now, lambda rows: list(rows.scalars(query)), tenant)

    def _known(self, tenant: str, nodes: Collection[UUID]) -> list[Known]:
        customers = self._customers(tenant, nodes)
        with entered(Context.system(tenant, ACTOR)):
            return self._read_models.query_now(lambda rows: self._read(rows, customers), tenant)

    def _customers(self, tenant: str, nodes: Collection[UUID]) -> list[Customer]:
        """The customers to whom the nodes belong; one query for each step of the longest chain of merges."""
        found: dict[UUID, Customer] = {}
        wanted = set(nodes)
        while wanted:
            loaded = [replay(it) for it in self._store.load(wanted).values()]
            of_tenant = [it for it in loaded if isinstance(it, Customer) and it.tenant == tenant]
            found |= {it.id: it for it in of_tenant if it.merged_into is None}
            wanted = {it.merged_into for it in of_tenant if it.merged_into is not None} - found.keys()
        return [found[id] for id in sorted(found)]

    def _read(self, rows: sa.Connection, customers: Sequence[Customer]) -> list[Known]:
        devices = devices_of(rows, [node for it in customers for node in it.nodes])
        sealed = [
            (customer.id, SealedValue(it.node, it.sealed_as, it.sealed))
            for customer in customers
            for it in customer.identifiers.values()
            if it.namespace == "phone" and it.sealed
        ]
        phones: dict[UUID, list[str]] = {}
        opened = self._unsealer.open(rows, [it for _, it in sealed])
        for (customer, _), number in zip(sealed, opened, strict=True):
            if number is not None:
                phones.setdefault(customer, []).append(number)
        return [
            Known(
                it.id,
                devices=frozenset(one.bytes for node in it.nodes for one in devices.get(node, ())),
                phones=tuple(phones.get(it.id, ())),
            )
            for it in customers
        ]
