"""What is known of customers, put together for comparing them: attributes, devices and phone numbers."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.context import Context, entered
from chassis.log import EventStore
from chassis.read_models import ReadModels
from chassis.unit_of_work import replay
from services.identity.adapters.attribute_reading import opened
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.match_policy import TRAITS
from services.identity.domain.attribute_forms import Address, Value, read
from services.identity.domain.attributes import PRESET
from services.identity.domain.customer import Customer
from services.identity.domain.match_candidate import LIVING
from services.identity.domain.sealing import SealedValue
from services.identity.domain.survivorship import Said, resolve_all
from services.identity.domain.traits import Known
from services.identity.read_models.attribute_values import values_of
from services.identity.read_models.customer_directory import customers as directory
from services.identity.read_models.device_use import devices_of

ACTOR: Final = "match"

_MINE: Final = "SELECT c.node FROM customer_nodes c WHERE c.customer = n.customer"
_TELLING: Final = sa.text(
    "SELECT n.node FROM customer_nodes n WHERE n.node = ANY(CAST(:nodes AS uuid[])) AND ("  # noqa: S608
    f" EXISTS (SELECT FROM attribute_values v WHERE v.node IN ({_MINE}) AND v.key = ANY(CAST(:traits AS text[])))"
    f" OR EXISTS (SELECT FROM device_uses d WHERE d.node IN ({_MINE})))"
)
"""A phone number alone makes no key."""


class SqlTraitBook:
    """Customers and their identifiers come from the event store, devices from their read model."""

    def __init__(self, store: EventStore, read_models: ReadModels, unsealer: Unsealer) -> None:
        self._store = store
        self._read_models = read_models
        self._unsealer = unsealer

    async def known(self, tenant: str, nodes: Collection[UUID]) -> Sequence[Known]:
        return await asyncio.to_thread(self._known, tenant, nodes) if nodes else ()

    async def telling(self, tenant: str, nodes: Collection[UUID]) -> Collection[UUID]:
        if not nodes:
            return ()
        parameters = {"nodes": list(nodes), "traits": sorted(TRAITS)}
        return await asyncio.to_thread(
            self._read_models.query_now, lambda rows: set(rows.scalars(_TELLING, parameters)), tenant
        )

    async def customers(self, tenant: str, after: UUID | None, limit: int) -> Sequence[UUID]:
        query = (
            sa.select(directory.c.customer)
            .where(directory.c.state.in_(sorted(LIVING)))
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
            found |= {it.id: it for it in of_tenant if it.state in LIVING}
            wanted = {it.merged_into for it in of_tenant if it.merged_into is not None} - found.keys()
        return [found[id] for id in sorted(found)]

    def _read(self, rows: sa.Connection, customers: Sequence[Customer]) -> list[Known]:
        nodes = [node for it in customers for node in it.nodes]
        devices = devices_of(rows, nodes)
        attributes = self._attributes(rows, customers, nodes)
        phones = self._phones(rows, customers)
        return [
            replace(
                _known(it.id, attributes.get(it.id, ())),
                devices=frozenset(one.bytes for node in it.nodes for one in devices.get(node, ())),
                phones=tuple(phones.get(it.id, ())),
            )
            for it in customers
        ]

    def _attributes(
        self, rows: sa.Connection, customers: Sequence[Customer], nodes: Collection[UUID]
    ) -> dict[UUID, list[Said]]:
        """All that was said of the customers, by customer."""
        customer_of = {node: it.id for it in customers for node in it.nodes}
        found: dict[UUID, list[Said]] = {}
        for it in opened(rows, self._unsealer, values_of(rows, nodes, TRAITS)):
            found.setdefault(customer_of[it.node], []).append(it)
        return found

    def _phones(self, rows: sa.Connection, customers: Sequence[Customer]) -> dict[UUID, list[str]]:
        """The phone numbers of the customers, without those of the erased."""
        sealed = [
            (customer.id, SealedValue(it.node, it.sealed_as, it.sealed))
            for customer in customers
            for it in customer.identifiers.values()
            if it.namespace == "phone" and it.sealed
        ]
        numbers = self._unsealer.open(rows, [it for _, it in sealed])
        found: dict[UUID, list[str]] = {}
        for (customer, _), number in zip(sealed, numbers, strict=True):
            if number is not None:
                found.setdefault(customer, []).append(number)
        return found


def _known(customer: UUID, said: Sequence[Said]) -> Known:
    """What counts of what was said; of several addresses the one of the best source."""
    values = {it.definition.key: read(it.definition.type, it.text) for it in resolve_all(PRESET, said)}
    addresses = values.get("address")
    home = addresses[0] if isinstance(addresses, tuple) and addresses else None
    return Known(
        customer,
        name=_text(values, "name"),
        birthdate=_text(values, "birthdate"),
        gender=_text(values, "gender"),
        address=_address(home) if isinstance(home, Address) else None,
        district=_district(home) if isinstance(home, Address) else None,
    )


def _text(values: Mapping[str, Value], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None


def _address(it: Address) -> str | None:
    """An address without a street is none; country, region and postal code are too often left out."""
    return f"{it.city} {it.district} {it.street}" if it.street else None


def _district(it: Address) -> str | None:
    return f"{it.city} {it.district}" if it.district else None
