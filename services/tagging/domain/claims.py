"""What a customer is said to be: every source of tags has its say, and the one that counts most holds (spec TG-2)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.tagging.domain.rules import Evidence
from services.tagging.domain.tag_definitions import ValueMode, lineage

PRECEDENCE: Final = timedelta(days=90)
"""So long a source that counts more outranks a newer one that counts less: what staff know ages."""


class Cause(StrEnum):
    """What made a tag come or go; MERGE: a merge, or that one was taken back. CONSENT: it was withdrawn."""

    EVENT = "EVENT"
    TIME = "TIME"
    MERGE = "MERGE"
    MANUAL = "MANUAL"
    BACKFILL = "BACKFILL"
    ERASURE = "ERASURE"
    IMPORT = "IMPORT"
    FLOW = "FLOW"
    MODEL = "MODEL"
    EXPIRED = "EXPIRED"
    SUPERSEDED = "SUPERSEDED"
    CONSENT = "CONSENT"
    TAG_MERGE = "TAG_MERGE"


class Origin(StrEnum):
    """Kinds of sources; what comes before the colon in a source."""

    FACT = "FACT"
    IMPORT = "IMPORT"
    MODEL = "MODEL"
    RULE = "RULE"
    FLOW = "FLOW"
    STAFF = "STAFF"


RANK: Final[Mapping[str, int]] = {
    Origin.FACT: 0,
    Origin.IMPORT: 1,
    Origin.MODEL: 2,
    Origin.RULE: 2,
    Origin.FLOW: 3,
    Origin.STAFF: 4,
}
GIVEN: Final = frozenset({Origin.STAFF, Origin.FLOW, Origin.MODEL, Origin.IMPORT})
"""Sources whose word belongs to a node; what a RULE or FACT says of a customer follows from its facts."""
INFERRED: Final = frozenset({Origin.RULE, Origin.MODEL, Origin.FACT})
"""Sources that do not get their way as long as somebody removed the tag by hand."""
GIVING: Final[Mapping[str, Cause]] = {
    Origin.STAFF: Cause.MANUAL,
    Origin.FLOW: Cause.FLOW,
    Origin.MODEL: Cause.MODEL,
    Origin.IMPORT: Cause.IMPORT,
}
"""What makes a tag come that a source gives."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A tag with its value ("" for a flag), the node it belongs to, and where it came from.

    Assignments with one `slot` compete ("": those of the tag). `reason` is a word of whoever assigned it, not a text.
    """

    tag: str
    value: str
    node: UUID
    source: str
    cause: Cause
    at: datetime
    evidence: Evidence | None = None
    slot: str = ""
    mode: ValueMode = ValueMode.UNDECLARED
    expires_at: datetime | None = None
    reason: str = ""

    @property
    def key(self) -> str:
        """The place it takes among the tags of a customer."""
        return self.slot or self.tag

    @property
    def is_one_of_several(self) -> bool:
        """Whether the tag may have other values beside this one."""
        return self.slot == f"{self.tag}={self.value}"

    @property
    def origin(self) -> str:
        return self.source.partition(":")[0]

    def expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def repeats(self, before: "Assignment") -> bool:
        """Whether this says no more than what the same source said before."""
        if self.origin in GIVEN:
            lasting = before.expires_at is None or (
                self.expires_at is not None and self.expires_at <= before.expires_at
            )
            return (self.tag, self.value, self.node) == (before.tag, before.value, before.node) and lasting
        return (self.tag, self.value, self.at, self.evidence) == (before.tag, before.value, before.at, before.evidence)


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about the tags of a customer beside its own claims.

    `others` are the claims given to its other nodes, `excluded` says until when a tag is kept from rules and models,
    `barred` which tags the customer has not agreed to.
    """

    now: datetime
    others: tuple[Assignment, ...] = ()
    excluded: Mapping[str, datetime] | None = None
    barred: Callable[[str], bool] = lambda tag: False

    def admits(self, claim: Assignment) -> bool:
        """Whether a claim counts now."""
        if claim.expired(self.now) or self.barred(claim.tag):
            return False
        until = (self.excluded or {}).get(claim.tag) if claim.origin in INFERRED else None
        return until is None or until <= self.now

    def strongest(self, claims: Iterable[Assignment], customer: UUID) -> Assignment | None:
        """The claim that holds, if any counts."""
        return max(filter(self.admits, claims), key=lambda it: self._weight(it, customer), default=None)

    def next_change(self, held: Assignment, rivals: Iterable[Assignment]) -> datetime | None:
        """When `held` stops to hold by time alone, given who is there to take its place."""
        ends = [] if held.expires_at is None else [held.expires_at]
        ages = held.at + PRECEDENCE
        if ages > self.now and any(it.at > held.at for it in rivals if self.admits(it)):
            ends.append(ages)
        return min(ends, default=None)

    def _weight(self, it: Assignment, customer: UUID) -> tuple[int, datetime, bool, str, str]:
        rank = RANK.get(it.origin, 0) if it.at + PRECEDENCE > self.now else -1
        return rank, it.at, it.node == customer, str(it.node), it.source


def repointed(it: Assignment, into: str) -> Assignment:
    """The same assignment, of another tag."""
    slot = f"{into}={it.value}" if it.is_one_of_several else it.slot
    return replace(it, tag=into, slot=slot)


def said(tag: str, value: str) -> str:
    """Name of the set of customers of whom a rule or fact says so, whether it holds or not."""
    return f"said:{tag}={value}"


def sets_of(assignments: Iterable[Assignment]) -> set[str]:
    """Names of the sets that a customer with these assignments is in: tags, and values with those they imply."""
    found: set[str] = set()
    for it in assignments:
        found.add(it.tag)
        if it.value and not it.mode.measured:
            found.update(f"{it.tag}={value}" for value in lineage(it.value))
    return found
