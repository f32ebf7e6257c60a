"""Whose customer somebody is: the one guide who looks after them, and when guides' codes were scanned or clicked.

Both are kept by node, like everything that is known of somebody. The guide of a customer follows from all nodes: of several guides
that who followed up last counts, and while nobody did, that who was assigned last. What is said of a customer counts for all nodes
the customer has then. So a merge or its undoing changes nothing that is stored.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.staff import Staff


class AssignmentSource(StrEnum):
    """How somebody came to have a guide."""

    SCAN = "SCAN"
    MANUAL = "MANUAL"
    ORDER = "ORDER"
    TRANSFER = "TRANSFER"


class TouchKind(StrEnum):
    """What was done with the code or link of a guide."""

    SCAN = "SCAN"
    CLICK = "CLICK"


@dataclass(frozen=True, slots=True)
class Guidance:
    """`staff` looks after the node since `since`; the guide was assigned at `claimed_at`, which a transfer to a colleague does not
    change, and followed up last at `followed_at`."""

    staff: UUID
    source: AssignmentSource
    since: datetime
    claimed_at: datetime
    followed_at: datetime | None = None

    @property
    def rank(self) -> tuple[bool, datetime, datetime]:
        """Of several guides of one customer that with the greatest counts."""
        return self.followed_at is not None, self.followed_at or self.claimed_at, self.claimed_at


@dataclass(frozen=True, slots=True)
class Word:
    """What was said of a node at `at`: its guide, or that there is none any more; and in place of anything older for the nodes
    `beside`, which belonged to the same customer then."""

    at: datetime
    guidance: Guidance | None
    beside: frozenset[UUID]

    @property
    def decided_at(self) -> datetime:
        """When it was said who is the guide, or that nobody is."""
        return self.guidance.claimed_at if self.guidance else self.at


@dataclass(frozen=True, slots=True)
class Touch:
    """The code or link of `staff` was used."""

    staff: UUID
    kind: TouchKind
    at: datetime


class Relationship(Aggregate):
    """What one node has to do with the staff of the brand."""

    TOPIC = "identity.Relationship"

    class Opened(InitialEvent):
        """The first thing of this kind was heard of the node."""

        TOPIC = "identity.RelationshipOpened"
        tenant: str
        node: UUID

    class Assigned(Event):
        """The customer has a guide, or another one, whoever was that of the nodes `beside`; `store` is where they worked."""

        TOPIC = "identity.CustomerAssigned"
        node: UUID
        staff: UUID
        store: UUID | None
        beside: frozenset[UUID]
        source: AssignmentSource
        assigned_at: datetime

    class Transferred(Event):
        """The guide handed the node over to a colleague; `store` is where that one worked."""

        TOPIC = "identity.CustomerTransferred"
        node: UUID
        from_staff: UUID
        staff: UUID
        store: UUID | None
        reason: str
        transferred_at: datetime

    class Unassigned(Event):
        """The customer has no guide any more: neither this node nor those `beside` it; `staff` was the guide."""

        TOPIC = "identity.CustomerUnassigned"
        node: UUID
        staff: UUID
        beside: frozenset[UUID]
        reason: str
        unassigned_at: datetime

    class FollowedUp(Event):
        """The guide of the node did something with the customer."""

        TOPIC = "identity.GuideFollowedUp"
        node: UUID
        followed_at: datetime
        noted_at: datetime

    class Touched(Event):
        """The code or link of a guide was used."""

        TOPIC = "identity.GuideTouched"
        node: UUID
        touch: Touch

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, node: UUID) -> None:
        self.tenant = tenant
        self.node = node
        self.words: list[Word] = []
        self.touches: list[Touch] = []

    @classmethod
    def of_node(cls, tenant: str, node: UUID) -> "Relationship":
        return cls(relationship_id(tenant, node), tenant, node)

    @property
    def guide(self) -> UUID | None:
        """Who looks after this node, whatever is said of others."""
        guidance = self.words[-1].guidance if self.words else None
        return guidance.staff if guidance else None

    def word_at(self, at: datetime) -> Word | None:
        """What held at `at`."""
        return next((it for it in reversed(self.words) if it.at <= at), None)

    def assign(self, staff: Staff, source: AssignmentSource, beside: frozenset[UUID], at: datetime) -> None:
        """Have this guide from now on."""
        store = staff.store_at(at)
        self._assigned(node=self.node, staff=staff.id, store=store, beside=beside, source=source, assigned_at=at)

    def transfer(self, staff: Staff, reason: str, at: datetime) -> None:
        """Be handed over to a colleague of the guide, which there is."""
        assert self.guide is not None  # noqa: S101 - whoever transfers looks
        store = staff.store_at(at)
        self._transferred(
            node=self.node, from_staff=self.guide, staff=staff.id, store=store, reason=reason, transferred_at=at
        )

    def unassign(self, staff: UUID, beside: frozenset[UUID], reason: str, at: datetime) -> None:
        """Have no guide any more."""
        self._unassigned(node=self.node, staff=staff, beside=beside, reason=reason, unassigned_at=at)

    def follow_up(self, followed_at: datetime, at: datetime) -> None:
        """Note when the guide, which there is, did something with the customer, unless something later is known."""
        guidance = self.words[-1].guidance
        if guidance is not None and (guidance.followed_at is None or guidance.followed_at < followed_at):
            self._followed_up(node=self.node, followed_at=followed_at, noted_at=at)

    def touch(self, touch: Touch) -> bool:
        """Note that a code or link was used; whether that was not known."""
        if touch in self.touches:
            return False
        self._touched(node=self.node, touch=touch)
        return True

    @event(Assigned)
    def _assigned(
        self,
        node: UUID,
        staff: UUID,
        store: UUID | None,
        beside: frozenset[UUID],
        source: AssignmentSource,
        assigned_at: datetime,
    ) -> None:
        self.words.append(Word(assigned_at, Guidance(staff, source, assigned_at, assigned_at), beside))

    @event(Transferred)
    def _transferred(
        self, node: UUID, from_staff: UUID, staff: UUID, store: UUID | None, reason: str, transferred_at: datetime
    ) -> None:
        former = self.words[-1]
        assert former.guidance is not None  # noqa: S101 - only who has a guide is handed over
        guidance = replace(former.guidance, staff=staff, source=AssignmentSource.TRANSFER, since=transferred_at)
        self.words.append(replace(former, at=transferred_at, guidance=guidance))

    @event(Unassigned)
    def _unassigned(
        self, node: UUID, staff: UUID, beside: frozenset[UUID], reason: str, unassigned_at: datetime
    ) -> None:
        self.words.append(Word(unassigned_at, None, beside))

    @event(FollowedUp)
    def _followed_up(self, node: UUID, followed_at: datetime, noted_at: datetime) -> None:
        word = self.words[-1]
        assert word.guidance is not None  # noqa: S101 - only a guide follows up
        self.words.append(replace(word, at=noted_at, guidance=replace(word.guidance, followed_at=followed_at)))

    @event(Touched)
    def _touched(self, node: UUID, touch: Touch) -> None:
        self.touches.append(touch)


def relationship_id(tenant: str, node: UUID) -> UUID:
    """The relationship of one node."""
    return natural_id(tenant, "relationship", node)


def guide_at(of_nodes: Iterable[Relationship], at: datetime) -> Guidance | None:
    """The guide of the customer of these nodes at `at`: of those in whose place nothing was said since, the one who followed up last,
    or while nobody did, was assigned last."""
    said = [(it.node, word) for it in of_nodes if (word := it.word_at(at)) is not None]
    standing = [
        (word.guidance.rank, node, word.guidance)
        for node, word in said
        if word.guidance is not None and not _is_overruled(node, word, said)
    ]
    return max(standing, key=lambda it: it[:2])[2] if standing else None


def connected(of_nodes: Iterable[Relationship]) -> list[UUID]:
    """All staff whose codes the customer of these nodes scanned, the last one first."""
    last: dict[UUID, datetime] = {}
    for touch in (touch for it in of_nodes for touch in it.touches if touch.kind is TouchKind.SCAN):
        last[touch.staff] = max(touch.at, last.get(touch.staff, touch.at))
    return sorted(last, key=lambda it: (last[it], it), reverse=True)


def _is_overruled(node: UUID, word: Word, said: Sequence[tuple[UUID, Word]]) -> bool:
    """Whether something else was said later for this node among others."""
    return any(node in it.beside and it.decided_at >= word.decided_at for _, it in said)
