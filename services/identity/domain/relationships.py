"""Whose customer somebody is: the one guide who looks after them, and when guides' codes were scanned or clicked.

Both are kept by node, like everything that is known of somebody. The guide of a customer follows from all nodes: the one who has a
guide, and of several the one assigned last. So a merge or its undoing changes nothing that is stored.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id


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
    """`staff` looks after the node since `since`. Of the nodes of one customer that with the latest `claimed_at` decides: when
    somebody was assigned, which a transfer to a colleague does not change."""

    staff: UUID
    source: AssignmentSource
    since: datetime
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class Word:
    """What was said of a node at `at`: its guide, or that there is none any more, for it and for the nodes `beside`, which belonged to
    the same customer then."""

    at: datetime
    guidance: Guidance | None
    beside: frozenset[UUID] = frozenset()


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
        """The node has a guide, or another one; `store` is where they worked."""

        TOPIC = "identity.CustomerAssigned"
        node: UUID
        staff: UUID
        store: UUID | None
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

    def assign(self, staff: UUID, store: UUID | None, source: AssignmentSource, at: datetime) -> None:
        """Have this guide from now on."""
        self._assigned(node=self.node, staff=staff, store=store, source=source, assigned_at=at)

    def transfer(self, staff: UUID, store: UUID | None, reason: str, at: datetime) -> None:
        """Be handed over to a colleague of the guide, which there is."""
        assert self.guide is not None  # noqa: S101 - whoever transfers looks
        self._transferred(
            node=self.node, from_staff=self.guide, staff=staff, store=store, reason=reason, transferred_at=at
        )

    def unassign(self, staff: UUID, beside: frozenset[UUID], reason: str, at: datetime) -> None:
        """Have no guide any more."""
        self._unassigned(node=self.node, staff=staff, beside=beside, reason=reason, unassigned_at=at)

    def touch(self, touch: Touch) -> bool:
        """Note that a code or link was used; whether that was not known."""
        if touch in self.touches:
            return False
        self._touched(node=self.node, touch=touch)
        return True

    @event(Assigned)
    def _assigned(
        self, node: UUID, staff: UUID, store: UUID | None, source: AssignmentSource, assigned_at: datetime
    ) -> None:
        self.words.append(Word(assigned_at, Guidance(staff, source, assigned_at, assigned_at)))

    @event(Transferred)
    def _transferred(
        self, node: UUID, from_staff: UUID, staff: UUID, store: UUID | None, reason: str, transferred_at: datetime
    ) -> None:
        former = self.words[-1].guidance
        claimed_at = former.claimed_at if former else transferred_at
        self.words.append(Word(transferred_at, Guidance(staff, AssignmentSource.TRANSFER, transferred_at, claimed_at)))

    @event(Unassigned)
    def _unassigned(
        self, node: UUID, staff: UUID, beside: frozenset[UUID], reason: str, unassigned_at: datetime
    ) -> None:
        self.words.append(Word(unassigned_at, None, beside))

    @event(Touched)
    def _touched(self, node: UUID, touch: Touch) -> None:
        self.touches.append(touch)


def relationship_id(tenant: str, node: UUID) -> UUID:
    """The relationship of one node."""
    return natural_id(tenant, "relationship", node)


def guide_at(of_nodes: Iterable[Relationship], at: datetime) -> Guidance | None:
    """The guide of the customer of these nodes at `at`: of those nodes whose guide nobody took away since, the one assigned last."""
    said = [(it.node, word) for it in of_nodes if (word := it.word_at(at)) is not None]
    standing = [
        (word.guidance.claimed_at, node, word.guidance)
        for node, word in said
        if word.guidance is not None and not _is_withdrawn(node, word.guidance, said)
    ]
    return max(standing, key=lambda it: it[:2])[2] if standing else None


def _is_withdrawn(node: UUID, guidance: Guidance, said: Sequence[tuple[UUID, Word]]) -> bool:
    """Whether it was said later, for this node among others, that the customer has no guide."""
    return any(it.guidance is None and node in it.beside and it.at >= guidance.claimed_at for _, it in said)
