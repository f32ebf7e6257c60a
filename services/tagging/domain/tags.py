"""The tags of one customer (spec TG-2): what rules, facts and people say of it, and what of that holds."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.claims import (
    GIVEN,
    GIVING,
    INFERRED,
    Assignment,
    Cause,
    Origin,
    Standing,
    repointed,
    said,
    sets_of,
)
from services.tagging.domain.errors import TooManyTags
from services.tagging.domain.rules import Course
from services.tagging.domain.tag_definitions import ValueMode, lineage

__all__ = ["Assignment", "Cause", "CustomerTags", "tag_id", "tags_id"]

MOST_TAGS: Final = 200
EXCLUSION: Final = timedelta(days=30)
"""So long a rule or model does not bring back what was removed by hand."""

BY_FACTS: Final = frozenset({Origin.RULE, Origin.FACT})
"""Sources whose word follows from the facts of a customer."""
_GIVEN_CAUSES: Final = frozenset(GIVING.values())
EXITS: Final = frozenset({Cause.EVENT, Cause.TIME, Cause.BACKFILL, Cause.MERGE, Cause.ERASURE, Cause.CONSENT})
"""What ends the claim of a rule or fact together with the tag."""


def tags_id(tenant: str, customer: UUID) -> UUID:
    """The aggregate of one customer's tags."""
    return natural_id(tenant, "customer_tags", customer)


def tag_id(tenant: str, tag: str) -> UUID:
    return natural_id(tenant, "tag", tag)


class CustomerTags(Aggregate):
    """What one customer is tagged with; at most one assignment holds in each slot.

    While the customer is part of another it has no tag: whoever it is part of has them. What was given to this very
    node is kept here all the same, so that a merge or its undoing moves nothing.
    """

    TOPIC = "tagging.CustomerTags"

    class Opened(InitialEvent):
        TOPIC = "tagging.CustomerTagsOpened"
        tenant: str
        customer: UUID

    class Assigned(Event):
        """An assignment holds from now on; `since`, where that is not the time of the assignment."""

        TOPIC = "tagging.TagAssigned"
        class_version = 2
        customer: UUID
        assignment: Assignment
        cause: Cause
        since: datetime | None

        @staticmethod
        def upcast_v1_v2(fields: dict[str, Any]) -> None:
            """Before tags were defined: one value of any kind, for ever."""
            fields["assignment"] |= {"slot": "", "mode": ValueMode.UNDECLARED, "expires_at": None, "reason": ""}
            fields["since"] = None

    class Offered(Event):
        """A source said something that does not hold, because another one counts more."""

        TOPIC = "tagging.TagOffered"
        customer: UUID
        assignment: Assignment

    class Removed(Event):
        """An assignment does not hold any more; `by` is who removed it by hand."""

        TOPIC = "tagging.TagRemoved"
        class_version = 2
        customer: UUID
        tag: str
        value: str
        node: UUID
        source: str
        cause: Cause
        at: datetime
        slot: str
        by: str

        @staticmethod
        def upcast_v1_v2(fields: dict[str, Any]) -> None:
            fields |= {"slot": "", "by": ""}

    class Withdrawn(Event):
        """What was said of this node does not count any more; `origin` "": whatever was given to it in that slot."""

        TOPIC = "tagging.TagWithdrawn"
        class_version = 2
        customer: UUID
        tag: str
        at: datetime
        origin: str

        @staticmethod
        def upcast_v1_v2(fields: dict[str, Any]) -> None:
            fields["origin"] = ""

    class Excluded(Event):
        """A tag was removed by hand: rules and models do not bring it back until then."""

        TOPIC = "tagging.TagExcluded"
        customer: UUID
        tag: str
        until: datetime

    class Repointed(Event):
        """What was given as one tag counts as another."""

        TOPIC = "tagging.TagRepointed"
        customer: UUID
        tag: str
        into: str
        at: datetime

    class Forgotten(Event):
        """Everything about the tags of this node is to be forgotten."""

        TOPIC = "tagging.TagsForgotten"
        customer: UUID
        at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, customer: UUID) -> None:
        self.tenant = tenant
        self.customer = customer
        self.assignments: dict[str, Assignment] = {}
        self.claims: dict[str, dict[str, Assignment]] = {}
        self.excluded: dict[str, datetime] = {}

    @classmethod
    def open(cls, tenant: str, customer: UUID) -> "CustomerTags":
        return cls(tags_id(tenant, customer), tenant, customer)

    def given(self) -> Iterator[Assignment]:
        """What was given to this very node."""
        for by_origin in self.claims.values():
            yield from (it for it in by_origin.values() if it.origin in GIVEN)

    def sets(self) -> set[str]:
        """Names of the sets the customer is in: those of its tags, and of what rules and facts say."""
        told = {
            said(it.tag, it.value) for found in self.claims.values() for it in found.values() if it.origin in BY_FACTS
        }
        return sets_of(self.assignments.values()) | told

    def follow_rule(self, tag: str, course: Course, cause: Cause, standing: Standing) -> bool:
        """Have the tag of a rule, or not, since when and why `course` says; whether that changed anything."""
        at = course.since or standing.now
        if course.assigned:
            it = Assignment(tag, "", self.customer, f"RULE:{tag}", cause, at, course.evidence)
            return self.put(it, standing)
        return self.drop(tag, Origin.RULE, cause, at, standing)

    def put(self, new: Assignment, standing: Standing) -> bool:
        """Take in what a source says, and let it hold unless another counts more; whether that changed anything.

        What the customer has by another node is assigned to its own node too, and stays if the other leaves. Raises
        TooManyTags.
        """
        held, before = self.assignments.get(new.key), self.claims.get(new.key, {}).get(new.origin)
        holds = standing.strongest([*self._rivals(new, standing), new], self.customer) is new
        said_before = before is not None and new.repeats(before) and not before.expired(standing.now)
        if said_before and (held == before or not holds):
            return False
        if held is None and holds and new.origin in GIVEN and len(self.assignments) >= MOST_TAGS:
            raise TooManyTags(limit=MOST_TAGS)
        if holds:
            self._hold(new, new.cause)
        else:
            self._offered(customer=self.customer, assignment=new)
            self._settle(new.key, new.cause, standing)
        return True

    def drop(self, key: str, origin: str, cause: Cause, at: datetime, standing: Standing) -> bool:
        """A source does not say any more what it said in a slot; whether that changed anything."""
        before = self.claims.get(key, {}).get(origin)
        if before is None:
            return False
        next_one = standing.strongest(self._rivals(before, standing), self.customer)
        if self.assignments.get(key) != before or next_one is not None:
            self.withdraw(key, at, origin)
            self._settle(key, cause, standing)
        else:
            self._remove(key, cause, at)
        return True

    def remove(self, tag: str, value: str | None, by: str, now: datetime) -> bool:
        """Remove a tag by hand, or one value with those below it; whether that changed anything."""
        keys = [
            key
            for key, it in self.assignments.items()
            if it.tag == tag and (value is None or value in (it.value, *lineage(it.value)))
        ]
        for key in keys:
            inferred = self.assignments[key].origin in INFERRED or INFERRED & self.claims.get(key, {}).keys()
            self._remove(key, Cause.MANUAL, now, by)
            if inferred and self.excluded.get(tag, now) <= now:
                self._excluded(customer=self.customer, tag=tag, until=now + EXCLUSION)
        return bool(keys)

    def withdraw(self, key: str, now: datetime, origin: str = "") -> None:
        """Forget what was given to the node in a slot, or what one kind of source said there."""
        origins = self.claims.get(key, {}).keys()
        if origin in origins if origin else GIVEN & origins:
            self._withdrawn(customer=self.customer, tag=key, at=now, origin=origin)

    def repoint(self, tag: str, into: str, now: datetime) -> bool:
        """Let what was given as `tag` count as `into`; whether there was any."""
        concerned = any(it.tag == tag for it in self.given())
        if concerned:
            self._repointed(customer=self.customer, tag=tag, into=into, at=now)
        return concerned

    def settle(self, cause: Cause, standing: Standing) -> None:
        """Have in each slot what counts most of all that is said of the nodes of this customer."""
        for key in sorted({*self.assignments, *self.claims, *(it.key for it in standing.others)}):
            self._settle(key, cause, standing)

    def due(self, standing: Standing) -> datetime | None:
        """When time alone changes what holds, if ever."""
        found = [until for until in (standing.excluded or {}).values() if until > standing.now]
        for key, held in self.assignments.items():
            change = standing.next_change(held, self._claims(key, standing))
            if change is not None:
                found.append(change)
        return min(found, default=None)

    def leave(self, now: datetime) -> None:
        """Lose every tag, because the customer is part of another."""
        for key in sorted(self.assignments):
            self._remove(key, Cause.MERGE, now)
        for key, origin in [(key, it) for key, found in sorted(self.claims.items()) for it in found]:
            if origin in BY_FACTS:
                self.withdraw(key, now, origin)

    def erase(self, now: datetime) -> None:
        """Have no tag any more, and know of none that was given."""
        for key in sorted(self.assignments):
            self._remove(key, Cause.ERASURE, now)
        for key in sorted(self.claims):
            self.withdraw(key, now)
        self._forgotten(customer=self.customer, at=now)

    def _claims(self, key: str, standing: Standing) -> list[Assignment]:
        return [*self.claims.get(key, {}).values(), *(it for it in standing.others if it.key == key)]

    def _rivals(self, new: Assignment, standing: Standing) -> list[Assignment]:
        """What is said in a slot, but for what the same source said before."""
        mine = self.claims.get(new.key, {}).get(new.origin)
        return [it for it in self._claims(new.key, standing) if it is not mine]

    def _settle(self, key: str, cause: Cause, standing: Standing) -> None:
        held = self.assignments.get(key)
        best = standing.strongest(self._claims(key, standing), self.customer)
        if best is not None:
            if best != held:
                self._hold(best, cause, standing.now if cause is Cause.TIME else None)
        elif held is not None:
            ended, at = cause, standing.now
            if held.expired(standing.now):
                ended, at = Cause.EXPIRED, held.expires_at or standing.now
            elif standing.barred(held.tag):
                ended = Cause.CONSENT
            self._remove(key, ended, at)

    def _hold(self, it: Assignment, cause: Cause, since: datetime | None = None) -> None:
        """Let `it` hold, in place of what did. A merge is told as such: another value of the same tag just comes."""
        held, merging = self.assignments.get(it.key), cause is Cause.MERGE
        if held is not None and (held.tag != it.tag or (held.value != it.value and not merging)):
            self._remove(it.key, cause if merging else Cause.SUPERSEDED, since or it.at)
        self._assigned(customer=self.customer, assignment=it, cause=cause, since=since)

    def _remove(self, key: str, cause: Cause, at: datetime, by: str = "") -> None:
        held = self.assignments[key]
        self._removed(
            customer=self.customer,
            tag=held.tag,
            value=held.value,
            node=held.node,
            source=held.source,
            cause=cause,
            at=at,
            slot=held.slot,
            by=by,
        )

    def _forget(self, key: str, *origins: str) -> None:
        found = self.claims.get(key, {})
        for it in origins:
            found.pop(it, None)
        if not found:
            self.claims.pop(key, None)

    @event(Assigned)
    def _assigned(self, customer: UUID, assignment: Assignment, cause: Cause, since: datetime | None) -> None:
        self.assignments[assignment.key] = assignment
        if cause in _GIVEN_CAUSES or assignment.origin in BY_FACTS:
            self.claims.setdefault(assignment.key, {})[assignment.origin] = assignment

    @event(Offered)
    def _offered(self, customer: UUID, assignment: Assignment) -> None:
        self.claims.setdefault(assignment.key, {})[assignment.origin] = assignment

    @event(Removed)
    def _removed(
        self,
        customer: UUID,
        tag: str,
        value: str,
        node: UUID,
        source: str,
        cause: Cause,
        at: datetime,
        slot: str,
        by: str,
    ) -> None:
        key, origin = slot or tag, source.partition(":")[0]
        del self.assignments[key]
        if cause is Cause.MANUAL:
            self._forget(key, *GIVEN)
        elif (cause is Cause.EXPIRED and node == self.customer) or (cause in EXITS and origin in BY_FACTS):
            self._forget(key, origin)

    @event(Withdrawn)
    def _withdrawn(self, customer: UUID, tag: str, at: datetime, origin: str) -> None:
        self._forget(tag, *([origin] if origin else GIVEN))

    @event(Excluded)
    def _excluded(self, customer: UUID, tag: str, until: datetime) -> None:
        self.excluded[tag] = until

    @event(Repointed)
    def _repointed(self, customer: UUID, tag: str, into: str, at: datetime) -> None:
        for claim in [it for it in self.given() if it.tag == tag]:
            self._forget(claim.key, claim.origin)
            moved = repointed(claim, into)
            known = self.claims.get(moved.key, {}).get(moved.origin)
            if known is None or known.at < moved.at:
                self.claims.setdefault(moved.key, {})[moved.origin] = moved

    @event(Forgotten)
    def _forgotten(self, customer: UUID, at: datetime) -> None:
        self.claims.clear()
        self.excluded.clear()
