"""What identity can be asked about attributes, answered from the event store: as of the last write."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.commands import CommandBus
from chassis.context import current
from chassis.unit_of_work import replay
from services.identity.application.queries import get_customer
from services.identity.domain.attribute_catalogue import AttributeCatalogue, catalogue_id
from services.identity.domain.attribute_values import AttributeValues, values_id
from services.identity.domain.attributes import PRESET, AttributeDefinition
from services.identity.domain.customer import Customer


@dataclass(frozen=True, slots=True)
class Attributes:
    """A customer with all that is known of all nodes, as it is kept."""

    customer: Customer
    definitions: Mapping[str, AttributeDefinition]
    of_nodes: Sequence[AttributeValues]

    @property
    def minor(self) -> bool:
        """Whether the person of any node is under 14."""
        return any(it.minor for it in self.of_nodes)


async def get_attributes(bus: CommandBus, node: UUID) -> Attributes:
    """What is known of the customer of `node`. Raises CustomerNotFound."""
    customer = (await get_customer(bus, node)).customer
    tenant = customer.tenant
    ids = [catalogue_id(tenant), *(values_id(tenant, it) for it in customer.nodes)]
    streams = await asyncio.to_thread(bus.store.load, ids)
    found = [replay(it) for it in streams.values()]
    own = next((it.own for it in found if isinstance(it, AttributeCatalogue)), {})
    return Attributes(customer, {**PRESET, **own}, [it for it in found if isinstance(it, AttributeValues)])


async def attribute_definitions(bus: CommandBus) -> list[AttributeDefinition]:
    """All attributes of the tenant, by key."""
    id = catalogue_id(current().tenant)
    stream = (await asyncio.to_thread(bus.store.load, [id])).get(id)
    catalogue = replay(stream) if stream else None
    own = catalogue.own if isinstance(catalogue, AttributeCatalogue) else {}
    return [it for _, it in sorted({**PRESET, **own}.items())]
