"""What sources say of people, in tests: short forms on top of a brand."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.commands import Effect, Unit, UnitOfWork
from chassis.context import entered
from services.identity.application.attribute_commands import (
    BatchUpsertAttributes,
    DefineAttribute,
    forget_attributes,
)
from services.identity.application.attribute_queries import Attributes, get_attributes
from services.identity.application.attribute_upsert import Observation, UpsertAttributes, sealed_as
from services.identity.application.consent_commands import SetChannelReachability
from services.identity.application.pii_views import RecordPiiView
from services.identity.domain.attribute_forms import Value, read
from services.identity.domain.attribute_values import AttributeValues
from services.identity.domain.attributes import AttributeDefinition, AttributeSource, AttributeType
from services.identity.domain.survivorship import Resolved, Said, resolve_all
from tests.identity.brand import Brand

DECLARED, STAFF, WECHAT, IMPORT, INFERRED = (
    AttributeSource.CUSTOMER_DECLARED,
    AttributeSource.STAFF_VERIFIED,
    AttributeSource.WECHAT_AUTH,
    AttributeSource.IMPORT,
    AttributeSource.INFERRED,
)


def says(key: str, value: Value | None, source: AttributeSource = DECLARED, at: datetime | None = None) -> Observation:
    return Observation(key, source, value, at)


def told(brand: Brand, node: UUID, *observations: Observation) -> UUID:
    """Sources say this of the person of `node`; the customer it is about."""
    customer: UUID = brand.do(UpsertAttributes(node, observations)).id
    return customer


def told_all(brand: Brand, *items: Any) -> Any:
    return brand.do(BatchUpsertAttributes(items))


def defined(brand: Brand, definition: AttributeDefinition) -> None:
    brand.do(DefineAttribute(definition))


def forgotten(brand: Brand, node: UUID) -> None:
    """What is sealed of the node is destroyed, as erasing does."""

    def change(work: UnitOfWork) -> None:
        forget_attributes([node], work, brand.vault)
        brand.vault.destroy(work, [node])

    (outcome,) = brand.bus.run_now(Unit([(brand.context(), Effect(change))]))
    assert outcome.error is None


def everything_told(brand: Brand, node: UUID) -> None:
    """Everything that can happen to what is known of somebody happens once."""
    defined(brand, AttributeDefinition("shoe_size", AttributeType.NUMBER, pii=False))
    told(brand, node, says("name", "Ann Lee"), says("birthdate", "2015-01-01"), says("nickname", "Leo", WECHAT))
    brand.clock.set(brand.clock.now() + timedelta(days=1))
    told(brand, node, says("name", "Ann Lee"), says("birthdate", "2015-01-02"))
    brand.do(SetChannelReachability(node, "OA", False, "UNFOLLOWED"))
    brand.do(RecordPiiView(node, ("attribute.name",), "SERVICE_CALL"))


def kept(brand: Brand, node: UUID) -> Attributes:
    """All that is known of the customer of `node`, as the event store has it."""
    with entered(brand.context()):
        return asyncio.run(get_attributes(brand.bus, node))


def resolved(brand: Brand, node: UUID) -> Mapping[str, Resolved]:
    """What counts for the customer of `node`, by key."""
    known = kept(brand, node)
    said = [it for values in known.of_nodes for it in said_of(brand, values)]
    return {it.definition.key: it for it in resolve_all(known.definitions, said)}


def value(brand: Brand, node: UUID, key: str) -> Value | None:
    found = resolved(brand, node).get(key)
    return read(found.definition.type, found.text) if found else None


def said_of(brand: Brand, values: AttributeValues) -> list[Said]:
    """Every value of a node, opened."""
    found = []
    for (key, source), known in values.values.items():
        held = known.held
        text = held.text
        if held.sealed and held.sealed_for:
            text = brand.opened(held.sealed_for, sealed_as(key), held.sealed)
        if text is not None:
            found.append(Said(key, values.node, source, known.observed_at, text))
    return found
