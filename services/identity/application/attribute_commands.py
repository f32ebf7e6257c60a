"""What sources say of people, and which attributes a brand wants to know of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.identity.application.attribute_upsert import (
    COMING_OF_AGE,
    UpsertAttributes,
    Upserting,
    review_minority,
    values_of,
)
from services.identity.application.owners import canonical, fetch_owners, owner_of
from services.identity.application.vault import Vault
from services.identity.domain.attribute_catalogue import AttributeCatalogue, catalogue_id
from services.identity.domain.attribute_values import PURGED_WITH_CHANNEL, AttributeValues, values_id
from services.identity.domain.attributes import AttributeDefinition
from services.identity.domain.customer import Customer


@dataclass(frozen=True, slots=True)
class DefineAttribute:
    """A brand wants to know something more of people."""

    definition: AttributeDefinition


@dataclass(frozen=True, slots=True)
class BatchUpsertAttributes:
    """What sources say of several people; an item that could not be read is its error."""

    items: tuple[UpsertAttributes | DomainError, ...]


@dataclass(frozen=True, slots=True)
class EndMinority:
    """The person of `node` may have turned 14."""

    node: UUID


def define_attribute(command: DefineAttribute, work: UnitOfWork) -> AttributeDefinition:
    """The attribute. Raises AttributeKeyTaken, AttributeLimit, and what is wrong with the definition."""
    tenant = work.context.tenant
    catalogue = work.find(AttributeCatalogue, catalogue_id(tenant))
    if catalogue is None:
        catalogue = AttributeCatalogue.of_tenant(tenant)
        work.add(catalogue)
    catalogue.define(command.definition, work.now)
    return command.definition


def upsert_attributes(command: UpsertAttributes, work: UnitOfWork, vault: Vault) -> Customer:
    """The customer concerned, after all that is news was recorded at the node: all of it, or nothing.

    Raises CustomerNotFound, UnknownAttribute, FutureTimestamp, ConsentMissing, BirthdateChangeLimit, CustomerErased, and what is
    wrong with a value.
    """
    customer = owner_of(work, command.node, "customer_id")
    Upserting(command, customer, work, vault).upsert()
    return customer


def batch_upsert_attributes(
    command: BatchUpsertAttributes, work: UnitOfWork, vault: Vault
) -> Sequence[Customer | DomainError]:
    """The customer of each item, or why it was refused; a refused one changes nothing."""
    fetch_attributes(work, vault, {it.node for it in command.items if isinstance(it, UpsertAttributes)})
    return work.each(command.items, lambda item: _upsert_item(item, work, vault))


def fetch_attributes(work: UnitOfWork, vault: Vault, nodes: Collection[UUID]) -> None:
    """Bring to hand all that upserts at these nodes, which need not exist yet, look at: a query for each kind of thing."""
    fetch_owners(work, list(nodes))
    tenant = work.context.tenant
    customers = {it.id: it for it in (canonical(work, node) for node in nodes) if it is not None}
    beside = {node for it in customers.values() for node in it.nodes} | set(nodes)
    ids = [values_id(tenant, it) for it in beside]
    work.find_all(Aggregate, [catalogue_id(tenant), *ids])
    found = work.find_all(AttributeValues, ids).values()
    vault.prepare(work, {*nodes, *(it for values in found for it in values.sealed_under)})


def end_minority(command: EndMinority, work: UnitOfWork, vault: Vault) -> None:
    """Say that somebody is a child no longer, if it is so."""
    values = work.find(AttributeValues, values_id(work.context.tenant, command.node))
    if values is not None:
        review_minority(values, work, vault)


def purge_channel_values(node: UUID, until: datetime, work: UnitOfWork, vault: Vault) -> None:
    """Destroy all that the person of `node` let the official account know; what was so until `until` is not taken up again."""
    values = values_of(work, node)
    work.add(values)
    for source in sorted(PURGED_WITH_CHANNEL):
        vault.destroy(work, [values.sealing_id(source)])
        values.purge(source, until, work.now)
    review_minority(values, work, vault)


def forget_attributes(nodes: Collection[UUID], work: UnitOfWork, vault: Vault) -> None:
    """Destroy what is known of erased nodes beside what their own data keys hold, and wait for none of their birthdays."""
    found = work.find_all(AttributeValues, [values_id(work.context.tenant, it) for it in nodes])
    vault.destroy(work, {it for values in found.values() for it in values.sealed_under} - set(nodes))
    for values in found.values():
        work.unschedule(COMING_OF_AGE, str(values.node))


def attribute_handlers(vault: Vault) -> Handlers:
    return [
        handler(DefineAttribute, define_attribute),
        handler(
            UpsertAttributes,
            lambda command, work: upsert_attributes(command, work, vault),
            loads=lambda command: (command.node,),
        ),
        handler(BatchUpsertAttributes, lambda command, work: batch_upsert_attributes(command, work, vault)),
        handler(EndMinority, lambda command, work: end_minority(command, work, vault)),
    ]


def _upsert_item(item: UpsertAttributes | DomainError, work: UnitOfWork, vault: Vault) -> Customer:
    if isinstance(item, DomainError):
        raise item
    return upsert_attributes(item, work, vault)
