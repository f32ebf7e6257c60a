"""Commands on the tags of a customer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Audiences, Customer
from services.tagging.application.rule_review import Changes, change, reviewed
from services.tagging.domain.errors import CustomerErased, CustomerNotFound
from services.tagging.domain.tags import Cause, CustomerTags, tags_id


@dataclass(frozen=True, slots=True)
class AssignTags:
    """Give a customer tags by hand: pairs of tag and value."""

    customer_id: UUID
    tags: Sequence[tuple[str, str]]


def assign_tags(command: AssignTags, work: UnitOfWork, audiences: Audiences) -> CustomerTags:
    source = f"STAFF:{work.context.actor}"
    changes: Changes = {}

    def assign(theirs: CustomerTags, customer: Customer) -> None:
        for tag, value in command.tags:
            if theirs.assign(tag, value, source, work.now):
                change(changes, tag).add.add(customer.ordinal)

    tags = _change(command.customer_id, work, audiences, assign)
    if changes:
        audiences.note_holders(work, [(tag, tags.customer) for tag in changes])
        audiences.retag(work, changes, BitMap())
    return tags


@dataclass(frozen=True, slots=True)
class RemoveTags:
    """Take tags given by hand from a customer, whichever of its nodes was given them."""

    customer_id: UUID
    tags: Sequence[str]


def remove_tags(command: RemoveTags, work: UnitOfWork, audiences: Audiences) -> CustomerTags:
    changes: Changes = {}

    def remove(theirs: CustomerTags, customer: Customer) -> None:
        for tag in command.tags:
            if theirs.remove(tag, work.now):
                change(changes, tag).remove.add(customer.ordinal)

    tags = _change(command.customer_id, work, audiences, remove)
    if changes:
        parts = [tags_id(work.context.tenant, node) for node in audiences.nodes(work, tags.customer)]
        for theirs in work.find_all(CustomerTags, parts).values():
            for tag in changes:
                theirs.withdraw(tag, work.now)
        audiences.retag(work, changes, BitMap())
    return tags


@dataclass(frozen=True, slots=True)
class ReviewCustomer:
    """Decide the rule tags of a customer anew, because a moment has come."""

    customer_id: UUID


def review_customer(command: ReviewCustomer, work: UnitOfWork, audiences: Audiences) -> None:
    audiences.lock(work)
    customer = audiences.customers(work, (command.customer_id,)).get(command.customer_id)
    if customer is not None and customer.id == command.customer_id:
        reviewed(work, audiences, (customer,), Cause.TIME)


def _change(
    customer_id: UUID,
    work: UnitOfWork,
    audiences: Audiences,
    how: Callable[[CustomerTags, Customer], None],
) -> CustomerTags:
    """The tags of a customer after `how`. Raises CustomerNotFound and CustomerErased."""
    audiences.lock(work)
    customer = audiences.customers(work, (customer_id,)).get(customer_id)
    if customer is None:
        erased = audiences.erased(work, (customer_id,))
        raise CustomerErased(field="customer_id") if erased else CustomerNotFound(field="customer_id")
    found = work.find(CustomerTags, tags_id(work.context.tenant, customer.id))
    tags = found or CustomerTags.open(work.context.tenant, customer.id)
    how(tags, customer)
    if found is None and tags.assignments:
        work.add(tags)
    return tags
