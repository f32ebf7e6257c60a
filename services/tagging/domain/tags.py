"""The tags of one customer (spec TG-2): what rules and people assigned, and why."""

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
    """What made a tag come or go."""

    EVENT = "EVENT"
    TIME = "TIME"
    MERGE = "MERGE"
    MANUAL = "MANUAL"
    BACKFILL = "BACKFILL"


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


class CustomerTags(Aggregate):
    """What one customer is tagged with; at most one assignment per tag."""

    TOPIC = "tagging.CustomerTags"

    class Opened(InitialEvent):
        TOPIC = "tagging.CustomerTagsOpened"
        tenant: str
        customer: UUID

    class Assigned(Event):
        TOPIC = "tagging.TagAssigned"
        customer: UUID
        assignment: Assignment

    class Removed(Event):
        TOPIC = "tagging.TagRemoved"
        customer: UUID
        tag: str
        value: str
        node: UUID
        source: str
        cause: Cause
        at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, customer: UUID) -> None:
        self.tenant = tenant
        self.customer = customer
        self.assignments: dict[str, Assignment] = {}

    @classmethod
    def open(cls, tenant: str, customer: UUID) -> "CustomerTags":
        return cls(tags_id(tenant, customer), tenant, customer)

    def follow_rule(self, tag: str, course: Course, cause: Cause, now: datetime) -> bool:
        """Have the tag of a rule, or not, as `course` says; whether that changed anything."""
        if course.assigned == (tag in self.assignments):
            return False
        at = course.since or now
        if course.assigned:
            self._assign(Assignment(tag, "", self.customer, f"RULE:{tag}", cause, at, course.evidence))
        else:
            self._remove(tag, cause, at)
        return True

    def assign(self, tag: str, value: str, source: str, now: datetime) -> bool:
        """Assign by hand; whether that changed anything. Raises TagNotManual, TooManyTags."""
        held = self.assignments.get(tag)
        if tag in RULE_TAGS:
            raise TagNotManual(tag=tag)
        if held is not None and held.value == value:
            return False
        if held is None and len(self.assignments) >= MOST_TAGS:
            raise TooManyTags(limit=MOST_TAGS)
        self._assign(Assignment(tag, value, self.customer, source, Cause.MANUAL, now))
        return True

    def remove(self, tag: str, now: datetime) -> bool:
        """Remove by hand; whether that changed anything. Raises TagNotManual."""
        if tag in RULE_TAGS:
            raise TagNotManual(tag=tag)
        if tag not in self.assignments:
            return False
        self._remove(tag, Cause.MANUAL, now)
        return True

    def absorb(self, loser: "CustomerTags", now: datetime) -> list[str]:
        """Take over the manual tags of a merged customer, who is left without any tag; the tags that are new here.

        Where both have a tag, the newer assignment stays. Rule tags are decided anew on the facts of both.
        """
        gained = []
        for tag, theirs in sorted(loser.assignments.items()):
            ours = self.assignments.get(tag)
            if tag not in RULE_TAGS and (ours is None or ours.at < theirs.at):
                self._assign(theirs)
                if ours is None:
                    gained.append(tag)
        loser.leave(Cause.MERGE, now)
        return gained

    def leave(self, cause: Cause, at: datetime) -> list[str]:
        """Lose every tag; an empty list, as nobody gained any."""
        for tag in sorted(self.assignments):
            self._remove(tag, cause, at)
        return []

    def _assign(self, assignment: Assignment) -> None:
        self._assigned(customer=self.customer, assignment=assignment)

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
    def _assigned(self, customer: UUID, assignment: Assignment) -> None:
        self.assignments[assignment.tag] = assignment

    @event(Removed)
    def _removed(
        self, customer: UUID, tag: str, value: str, node: UUID, source: str, cause: Cause, at: datetime
    ) -> None:
        del self.assignments[tag]
