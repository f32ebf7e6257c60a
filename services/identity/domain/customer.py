"""A customer: one person as one brand knows them, made of the nodes that turned out to be the same person.

A node is a customer as first created; its id is the id of that customer. Every identifier and every fact keeps the node
it came to, for ever. A merge only says that the nodes of one customer belong to another from now on, so that it can be
taken back by moving exactly these nodes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.identity.domain.identifiers import IdentifierKey, LinkedIdentifier


class CustomerState(StrEnum):
    """ANONYMOUS until the first strong identifier, then KNOWN; MERGED when part of another customer."""

    ANONYMOUS = "ANONYMOUS"
    KNOWN = "KNOWN"
    MERGED = "MERGED"


class MergeReason(StrEnum):
    """What joined two customers."""

    RESOLUTION = "RESOLUTION"


class UnlinkReason(StrEnum):
    """Why an identifier left a customer."""

    REASSIGNED = "REASSIGNED"
    LIMIT_FIFO = "LIMIT_FIFO"


class ConflictRule(StrEnum):
    """Which rule kept an identifier of a call away from the customer of the call.

    FOREIGN: a device or anonymous id of another known customer. LIMIT: joining would give one customer more identifiers
    of a kind than anybody has. KNOWN_MEETS_KNOWN: two known customers met without sufficient proof of being one.
    """

    FOREIGN = "FOREIGN"
    LIMIT = "LIMIT"
    KNOWN_MEETS_KNOWN = "KNOWN_MEETS_KNOWN"


class ConflictResolution(StrEnum):
    """What became of the identifier: it stayed with its owner (or nobody's), or went to the customer of the call."""

    KEPT = "KEPT"
    REASSIGNED = "REASSIGNED"


@dataclass(frozen=True, slots=True)
class Merge:
    """One merge as the survivor remembers it: whom it took in, and with which nodes."""

    loser_id: UUID
    node_ids: tuple[UUID, ...]


class Customer(Aggregate):
    """One person as one brand knows them, whatever channel they came through."""

    TOPIC = "identity.Customer"

    class Registered(InitialEvent):
        """A person was seen for the first time."""

        TOPIC = "identity.CustomerRegistered"
        tenant: str
        state: CustomerState
        assignment_key: str
        identifiers: tuple[LinkedIdentifier, ...]
        registered_at: datetime

    class IdentifiersLinked(Event):
        """More ways to reach this person were learnt."""

        TOPIC = "identity.IdentifiersLinked"
        identifiers: tuple[LinkedIdentifier, ...]
        linked_at: datetime

    class IdentifiersUnlinked(Event):
        """Some identifiers are no longer this person's."""

        TOPIC = "identity.IdentifiersUnlinked"
        identifiers: tuple[LinkedIdentifier, ...]
        reason: UnlinkReason
        unlinked_at: datetime

    class BecameKnown(Event):
        """An anonymous person got the first strong identifier."""

        TOPIC = "identity.CustomerBecameKnown"
        via_namespace: str
        assignment_key: str
        became_known_at: datetime

    class Merged(Event):
        """Another customer turned out to be this person; `identifiers` are what it brings along."""

        TOPIC = "identity.CustomersMerged"
        merge_id: UUID
        loser_id: UUID
        node_ids: tuple[UUID, ...]
        identifiers: tuple[LinkedIdentifier, ...]
        reason: MergeReason
        merged_at: datetime

    class MergedInto(Event):
        """This customer turned out to be another one, who goes on for both."""

        TOPIC = "identity.CustomerMergedInto"
        merge_id: UUID
        survivor_id: UUID
        former_state: CustomerState
        merged_at: datetime

    class ConflictDetected(Event):
        """An identifier that cannot be this person's too came in a call of this person."""

        TOPIC = "identity.IdentityConflictDetected"
        namespace: str
        scope: str
        value_hmac: bytes
        owner: UUID | None
        rule: ConflictRule
        resolution: ConflictResolution
        detected_at: datetime

    @event(Registered)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        state: CustomerState,
        assignment_key: str,
        identifiers: tuple[LinkedIdentifier, ...],
        registered_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.state = state
        self.assignment_key = assignment_key
        self.registered_at = registered_at
        self.nodes: dict[UUID, None] = {id: None}
        self.identifiers: dict[IdentifierKey, LinkedIdentifier] = {it.key: it for it in identifiers}
        self.lost: dict[IdentifierKey, LinkedIdentifier] = {}
        self.merges: dict[UUID, Merge] = {}
        self.merged_into: UUID | None = None
        self.conflicts: set[tuple[IdentifierKey, UUID | None, ConflictRule]] = set()

    @property
    def is_known(self) -> bool:
        return self.state is CustomerState.KNOWN

    @property
    def has_own_assignment_key(self) -> bool:
        """Whether the key was chosen rather than made from the id."""
        return self.assignment_key != default_assignment_key(self.id)

    @property
    def seniority(self) -> tuple[bool, bool, datetime, UUID]:
        """Sorts customers that are one person; the first survives. A member number counts most, then being known."""
        is_member = any(it.namespace == "member_no" for it in self.identifiers.values())
        return not is_member, not self.is_known, self.registered_at, self.id

    def link(self, identifiers: Sequence[LinkedIdentifier], at: datetime, assignment_key: str | None = None) -> None:
        """Accept more ways to reach this person; a strong one makes an anonymous person known.

        Whoever becomes known takes over `assignment_key`, unless one was chosen before.
        """
        if not identifiers:
            return
        self._identifiers_linked(identifiers=tuple(identifiers), linked_at=at)
        strong = next((it.namespace for it in identifiers if it.rules.strong), None)
        if strong is not None and self.state is CustomerState.ANONYMOUS:
            adopted = assignment_key if assignment_key and not self.has_own_assignment_key else self.assignment_key
            self._became_known(via_namespace=strong, assignment_key=adopted, became_known_at=at)

    def unlink(self, keys: Collection[IdentifierKey], reason: UnlinkReason, at: datetime) -> None:
        """Let go of those of `keys` that this person has."""
        leaving = tuple(self.identifiers[key] for key in keys if key in self.identifiers)
        if leaving:
            self._identifiers_unlinked(identifiers=leaving, reason=reason, unlinked_at=at)

    def absorb(self, loser: "Customer", merge_id: UUID, reason: MergeReason, at: datetime) -> None:
        """Go on for both: everything of `loser` belongs to this customer from now on."""
        self._merged(
            merge_id=merge_id,
            loser_id=loser.id,
            node_ids=tuple(loser.nodes),
            identifiers=tuple(loser.identifiers.values()),
            reason=reason,
            merged_at=at,
        )
        loser.give_way_to(self.id, merge_id, at)

    def give_way_to(self, survivor_id: UUID, merge_id: UUID, at: datetime) -> None:
        """Be a part of the survivor from now on."""
        self._merged_into(merge_id=merge_id, survivor_id=survivor_id, former_state=self.state, merged_at=at)

    def note_conflict(
        self,
        key: IdentifierKey,
        owner: UUID | None,
        rule: ConflictRule,
        resolution: ConflictResolution,
        at: datetime,
    ) -> None:
        """Record that `key`, which `owner` has, came in a call of this person; the same conflict only once."""
        if (key, owner, rule) not in self.conflicts:
            namespace, scope, value_hmac = key
            self._conflict_detected(
                namespace=namespace,
                scope=scope,
                value_hmac=value_hmac,
                owner=owner,
                rule=rule,
                resolution=resolution,
                detected_at=at,
            )

    @event(IdentifiersLinked)
    def _identifiers_linked(self, identifiers: tuple[LinkedIdentifier, ...], linked_at: datetime) -> None:
        self.identifiers.update((it.key, it) for it in identifiers)

    @event(IdentifiersUnlinked)
    def _identifiers_unlinked(
        self, identifiers: tuple[LinkedIdentifier, ...], reason: UnlinkReason, unlinked_at: datetime
    ) -> None:
        for it in identifiers:
            self.identifiers.pop(it.key, None)
            if it.rules.limit.ever:
                self.lost[it.key] = it

    @event(BecameKnown)
    def _became_known(self, via_namespace: str, assignment_key: str, became_known_at: datetime) -> None:
        self.state = CustomerState.KNOWN
        self.assignment_key = assignment_key

    @event(Merged)
    def _merged(
        self,
        merge_id: UUID,
        loser_id: UUID,
        node_ids: tuple[UUID, ...],
        identifiers: tuple[LinkedIdentifier, ...],
        reason: MergeReason,
        merged_at: datetime,
    ) -> None:
        self.nodes.update(dict.fromkeys(node_ids))
        self.identifiers.update((it.key, it) for it in identifiers)
        self.merges[merge_id] = Merge(loser_id, node_ids)

    @event(MergedInto)
    def _merged_into(self, merge_id: UUID, survivor_id: UUID, former_state: CustomerState, merged_at: datetime) -> None:
        self.state = CustomerState.MERGED
        self.merged_into = survivor_id

    @event(ConflictDetected)
    def _conflict_detected(
        self,
        namespace: str,
        scope: str,
        value_hmac: bytes,
        owner: UUID | None,
        rule: ConflictRule,
        resolution: ConflictResolution,
        detected_at: datetime,
    ) -> None:
        self.conflicts.add(((namespace, scope, value_hmac), owner, rule))


def default_assignment_key(customer_id: UUID) -> str:
    """The assignment key of a customer for whom nobody chose one."""
    return str(customer_id)
