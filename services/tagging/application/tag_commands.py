"""Commands on the tags of a customer."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Audiences, Customer
from services.tagging.application.rule_review import calendar_of, reviewed
from services.tagging.application.standing import Case, cases, conclude, taxonomy_of
from services.tagging.domain.claims import GIVEN, GIVING, Assignment, Cause, Origin
from services.tagging.domain.errors import (
    ConsentMissing,
    CustomerErased,
    CustomerNotFound,
    StaffScope,
    TagNotActive,
    TagNotManual,
)
from services.tagging.domain.rules import RULE_TAGS
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, TagStatus, undeclared
from services.tagging.domain.tags import CustomerTags


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gives tags, beside the caller: a flow or a model by its id, or an import. `reason` is a word, not a text."""

    flow: str = ""
    model: str = ""
    imported: bool = False
    reason: str = ""

    def source(self, actor: str) -> str:
        if self.flow:
            return f"{Origin.FLOW}:{self.flow}"
        if self.model:
            return f"{Origin.MODEL}:{self.model}"
        return Origin.IMPORT.value if self.imported else f"{Origin.STAFF}:{actor}"


BY_HAND = Giver()


@dataclass(frozen=True, slots=True)
class AssignTags:
    """Give a customer tags: pairs of tag and value."""

    customer_id: UUID
    tags: Sequence[tuple[str, str]]
    giver: Giver = BY_HAND


def assign_tags(command: AssignTags, work: UnitOfWork, audiences: Audiences) -> CustomerTags:
    giving = Giving.of(work, command.giver)
    wanted = [giving.accept(tag, value) for tag, value in command.tags]

    def assign(case: Case) -> None:
        giving.give(case, wanted)

    return _change(command.customer_id, work, audiences, assign)


@dataclass(frozen=True, slots=True)
class RemoveTags:
    """Take tags from a customer, whichever of its nodes was given them; with a value, only that and what implies it."""

    customer_id: UUID
    tags: Sequence[str | tuple[str, str]]


def remove_tags(command: RemoveTags, work: UnitOfWork, audiences: Audiences) -> CustomerTags:
    giving = Giving.of(work, BY_HAND)
    wanted = [(it, None) if isinstance(it, str) else it for it in command.tags]
    if facts := [tag for tag, _ in wanted if giving.definition(tag).kind is TagKind.FACT]:
        raise TagNotManual(tag=facts[0])

    def remove(case: Case) -> None:
        for tag, value in wanted:
            before = dict(case.tags.assignments)
            if case.tags.remove(tag, value, work.context.actor, work.now):
                for key in before.keys() - case.tags.assignments.keys():
                    for it in case.parts:
                        it.withdraw(key, work.now)
        case.tags.settle(Cause.MANUAL, case.standing)

    return _change(command.customer_id, work, audiences, remove)


@dataclass(frozen=True, slots=True)
class ReviewCustomers:
    """Decide the rule tags of customers anew, because a moment has come."""

    customer_ids: Sequence[UUID]


def review_customers(command: ReviewCustomers, work: UnitOfWork, audiences: Audiences) -> None:
    """Whoever is part of another customer meanwhile is left out."""
    audiences.lock(work)
    found = audiences.customers(work, command.customer_ids)
    whole = [found[it] for it in dict.fromkeys(command.customer_ids) if it in found and found[it].id == it]
    if whole:
        reviewed(work, audiences, whole, Cause.TIME)


@dataclass(frozen=True, slots=True)
class SettleTags:
    """Find out which assignments of a customer hold, because one expires or does not outrank another any more."""

    customer_id: UUID


def settle_tags(command: SettleTags, work: UnitOfWork, audiences: Audiences) -> None:
    audiences.lock(work)
    customer = audiences.customers(work, (command.customer_id,)).get(command.customer_id)
    if customer is None or customer.id != command.customer_id:
        return
    found = cases(work, audiences, {customer.id: customer.ordinal})
    for it in found.values():
        it.tags.settle(Cause.TIME, it.standing)
        for part in (it.tags, *it.parts):
            for claim in [one for one in part.given() if one.expired(work.now)]:
                part.withdraw(claim.key, work.now, claim.origin)
    audiences.retag(work, conclude(work, found.values(), fired=True), BitMap())


@dataclass(frozen=True, slots=True)
class Giving:
    """What is the same for all assignments of one command: by whom, when, and what their tags are."""

    source: str
    origin: str
    reason: str
    now: datetime
    definition: Callable[[str], TagDefinition]
    ends: Callable[[int], datetime]

    @classmethod
    def of(cls, work: UnitOfWork, giver: Giver) -> "Giving":
        return cls.by(work, giver.source(work.context.actor), giver.reason)

    @classmethod
    def by(cls, work: UnitOfWork, source: str, reason: str) -> "Giving":
        taxonomy, calendar = taxonomy_of(work), calendar_of(work)
        return cls(
            source,
            source.partition(":")[0],
            reason,
            work.now,
            taxonomy.definition if taxonomy else undeclared,
            lambda days: calendar.midnight(calendar.day(work.now) + days),
        )

    def accept(self, tag: str, value: str) -> tuple[TagDefinition, str]:
        """What a tag is, and the value in its spelling. Raises TagNotManual, TagNotActive, ValueNotAllowed."""
        it = self.definition(tag)
        by_hand = self.origin == Origin.STAFF and not it.manual_allowed
        if tag in RULE_TAGS or by_hand or it.kind in (TagKind.RULE, TagKind.FACT):
            raise TagNotManual(tag=tag)
        if it.status is not TagStatus.ACTIVE:
            raise TagNotActive(field="tag_key", tag=tag, merged_into=it.merged_into)
        return it, it.value(value)

    def give(self, case: Case, tags: Sequence[tuple[TagDefinition, str]]) -> bool:
        """Give the customer tags; whether that changed anything. Raises ConsentMissing, TooManyTags."""
        for it, _ in tags:
            if case.barred(it.key):
                raise ConsentMissing(field="tag_key", tag=it.key)
        changed = [case.tags.put(self._assignment(case, *it), case.standing) for it in tags]
        return any(changed)

    def _assignment(self, case: Case, it: TagDefinition, value: str) -> Assignment:
        return Assignment(
            tag=it.key,
            value=value,
            node=case.tags.customer,
            source=self.source,
            cause=GIVING[self.origin],
            at=self.now,
            slot=it.slot(value),
            mode=it.mode,
            expires_at=self.ends(it.ttl_days) if it.ttl_days else None,
            reason=self.reason,
        )


def within_stores(
    work: UnitOfWork, audiences: Audiences, customers: Sequence[Customer], stores: Collection[UUID] | None
) -> set[UUID]:
    """Those of `customers` that somebody bound to `stores` may tag: the customers of guides who work there."""
    if stores is None:
        return {it.id for it in customers}
    found = audiences.stores(work, [it.id for it in customers])
    return {it.id for it in customers if found.get(it.id) in stores}


def note_given(work: UnitOfWork, audiences: Audiences, done: Sequence[Case]) -> None:
    """Keep who was ever given which tag, for what was given with this command."""
    given = {
        (it.tag, case.tags.customer)
        for case in done
        for it in case.tags.given()
        if it.at == work.now and it.node == case.tags.customer and it.origin in GIVEN
    }
    audiences.note_holders(work, given)


def _change(customer_id: UUID, work: UnitOfWork, audiences: Audiences, how: Callable[[Case], None]) -> CustomerTags:
    """The tags of a customer after `how`. Raises CustomerNotFound, CustomerErased and StaffScope."""
    audiences.lock(work)
    customer = audiences.customers(work, (customer_id,)).get(customer_id)
    stores = work.context.stores
    if stores is not None and not (customer and within_stores(work, audiences, (customer,), stores)):
        raise StaffScope(field="customer_id")
    if customer is None:
        erased = audiences.erased(work, (customer_id,))
        raise CustomerErased(field="customer_id") if erased else CustomerNotFound(field="customer_id")
    (case,) = cases(work, audiences, {customer.id: customer.ordinal}).values()
    how(case)
    note_given(work, audiences, (case,))
    changes = conclude(work, (case,))
    if changes:
        audiences.retag(work, changes, BitMap())
    return case.tags
