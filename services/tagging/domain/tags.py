"""The tags of one customer (spec TG-2): what rules and people assigned, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.errors import TagNotManual, TooManyTags
from services.tagging.domain.rules import RULE_TAGS, Course, Evidence

MOST_TAGS: Final = 200


class Cause(StrEnum):
    """What made a tag come or go; MERGE: a merge, or that one was taken back."""

    EVENT = "EVENT"
    TIME = "TIME"
    MERGE = "MERGE"
    MANUAL = "MANUAL"
    BACKFILL = "BACKFILL"
    ERASURE = "ERASURE"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A tag with its value ("" for a flag), the node it belongs to, and where it came from."""

    tag: str
    value: str
    node: UUID
    source: str
    cause: Cause
    at: datetime
    evidence: Evidence | None = None


def tags_id(tenant: str, customer: UUID) -> UUID:
    """The aggregate of one customer's tags."""
    return natural_id(tenant, "customer_tags", customer)


def tag_id(tenant: str, tag: str) -> UUID:
    return natural_id(tenant, "tag", tag)


def latest(given: Iterable[Mapping[str, Assignment]], customer: UUID) -> dict[str, Assignment]:
    """Of what the nodes of `customer` were given by hand, the newest assignment of each tag; its own among equals."""
    found: dict[str, Assignment] = {}
    for it in sorted(
        (it for theirs in given for it in theirs.values()), key=lambda it: (it.at, it.node == customer, it.node)
    ):
        found[it.tag] = it
    return found


class CustomerTags(Aggregate):
    """What one customer is tagged with; at most one assignment per tag.

    While the customer is part of another it has no tag: whoever it is part of has them. What people gave to this very
    node is kept here all the same, so that a merge or its undoing moves nothing.
    """

    TOPIC = "tagging.CustomerTags"

    class Opened(InitialEvent):
        TOPIC = "tagging.CustomerTagsOpened"
        tenant: str
        customer: UUID

    class Assigned(Event):
        TOPIC = "tagging.TagAssigned"
        customer: UUID
        assignment: Assignment
        cause: Cause

    class Removed(Event):
        TOPIC = "tagging.TagRemoved"
        customer: UUID
        tag: str
        value: str
        node: UUID
        source: str
        cause: Cause
        at: datetime

    class Withdrawn(Event):
        """What this node was given was taken from the customer that it is part of."""

        TOPIC = "tagging.TagWithdrawn"
        customer: UUID
        tag: str
        at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, customer: UUID) -> None:
        self.tenant = tenant
        self.customer = customer
        self.assignments: dict[str, Assignment] = {}
        self.given: dict[str, Assignment] = {}

    @classmethod
    def open(cls, tenant: str, customer: UUID) -> "CustomerTags":
        return cls(tags_id(tenant, customer), tenant, customer)

    def follow_rule(self, tag: str, course: Course, cause: Cause, now: datetime) -> bool:
        """Have the tag of a rule, or not, since when and why `course` says; whether that changed anything."""
        held, at = self.assignments.get(tag), course.since or now
        if course.assigned:
            if held is not None and (held.at, held.evidence) == (at, course.evidence):
                return False
            self._assign(Assignment(tag, "", self.customer, f"RULE:{tag}", cause, at, course.evidence), cause)
        elif held is None:
            return False
        else:
            self._remove(tag, cause, at)
        return True

    def assign(self, tag: str, value: str, source: str, now: datetime) -> bool:
        """Assign by hand; whether that changed anything. Raises TagNotManual, TooManyTags.

        What the customer has by another node is assigned to its own node too, and stays if the other leaves.
        """
        held = self.assignments.get(tag)
        if tag in RULE_TAGS:
            raise TagNotManual(tag=tag)
        if held is not None and (held.value, held.node) == (value, self.customer):
            return False
        if held is None and len(self.assignments) >= MOST_TAGS:
            raise TooManyTags(limit=MOST_TAGS)
        self._assign(Assignment(tag, value, self.customer, source, Cause.MANUAL, now), Cause.MANUAL)
        return True

    def remove(self, tag: str, now: datetime) -> bool:
        """Remove by hand; whether that changed anything. Raises TagNotManual."""
        if tag in RULE_TAGS:
            raise TagNotManual(tag=tag)
        if tag not in self.assignments:
            return False
        self._remove(tag, Cause.MANUAL, now)
        return True

    def withdraw(self, tag: str, now: datetime) -> None:
        """Forget that the node was given the tag by hand, because the customer it is part of lost it by hand."""
        if tag in self.given:
            self._withdrawn(customer=self.customer, tag=tag, at=now)

    def regroup(self, given: Mapping[str, Assignment], now: datetime) -> tuple[list[str], list[str]]:
        """Have by hand exactly what is `given` to the nodes that are this customer now; tags that came and that went.

        Rule tags stay: they are decided anew on the facts of these nodes.
        """
        held = {tag: it for tag, it in self.assignments.items() if tag not in RULE_TAGS}
        went = sorted(held.keys() - given.keys())
        for tag in went:
            self._remove(tag, Cause.MERGE, now)
        for tag, it in sorted(given.items()):
            if held.get(tag) != it:
                self._assign(it, Cause.MERGE)
        return sorted(given.keys() - held.keys()), went

    def leave(self, now: datetime) -> list[str]:
        """Lose every tag, because the customer is part of another; the tags."""
        lost = sorted(self.assignments)
        for tag in lost:
            self._remove(tag, Cause.MERGE, now)
        return lost

    def erase(self, now: datetime) -> None:
        """Have no tag any more, and know of none that was given."""
        for tag in sorted(self.assignments):
            self._remove(tag, Cause.ERASURE, now)
        for tag in sorted(self.given):
            self.withdraw(tag, now)

    def _assign(self, assignment: Assignment, cause: Cause) -> None:
        self._assigned(customer=self.customer, assignment=assignment, cause=cause)

    def _remove(self, tag: str, cause: Cause, at: datetime) -> None:
        held = self.assignments[tag]
        self._removed(
            customer=self.customer,
            tag=tag,
            value=held.value,
            node=held.node,
            source=held.source,
            cause=cause,
            at=at,
        )

    @event(Assigned)
    def _assigned(self, customer: UUID, assignment: Assignment, cause: Cause) -> None:
        self.assignments[assignment.tag] = assignment
        if cause is Cause.MANUAL:
            self.given[assignment.tag] = assignment

    @event(Removed)
    def _removed(
        self, customer: UUID, tag: str, value: str, node: UUID, source: str, cause: Cause, at: datetime
    ) -> None:
        del self.assignments[tag]
        if cause is Cause.MANUAL:
            self.given.pop(tag, None)

    @event(Withdrawn)
    def _withdrawn(self, customer: UUID, tag: str, at: datetime) -> None:
        del self.given[tag]
