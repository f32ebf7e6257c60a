"""A customer: one person as one brand knows them, made of the nodes that turned out to be the same person.

A node is a customer as first created; its id is the id of that customer. Every identifier and every fact keeps the node
it came to, for ever. A merge only says that the nodes of one customer belong to another from now on, so that it can be
taken back by moving exactly these nodes.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.identity.domain.identifiers import IdentifierKey, LinkedIdentifier
from services.identity.domain.namespaces import Namespaces
from services.identity.domain.sealing import Sealed


class CustomerState(StrEnum):
    """ANONYMOUS until the first strong identifier, then KNOWN; MERGED when part of another customer.

    ERASING while everything known of the person is being removed everywhere, then ERASED for ever.
    """

    ANONYMOUS = "ANONYMOUS"
    KNOWN = "KNOWN"
    MERGED = "MERGED"
    ERASING = "ERASING"
    ERASED = "ERASED"


RESOLUTION: Final = "RESOLUTION"
"""The reason of a merge that the rules of identity made; whoever asks for one gives a code of their own."""

NOTED_FOR: Final = timedelta(days=1)
"""For so long the sight of an anonymous customer need not be noted again."""

_WEAK_BY_PRESET: Final = frozenset({"device_id", "anonymous_id"})
_EVER_BY_PRESET: Final = frozenset({"member_no", "wechat_unionid"})


class UnlinkReason(StrEnum):
    """Why an identifier left a customer."""

    REASSIGNED = "REASSIGNED"
    LIMIT_FIFO = "LIMIT_FIFO"
    REQUESTED = "REQUESTED"
    EXPIRED = "EXPIRED"
    ERASED = "ERASED"


class ConflictRule(StrEnum):
    """Which rule kept an identifier of a call away from the customer of the call.

    FOREIGN: a device or anonymous id of another known customer. LIMIT: joining would give one customer more identifiers
    of a kind than anybody has. KNOWN_MEETS_KNOWN: two known customers met without sufficient proof of being one.
    NEVER_MERGE: somebody said that its owner is another person.
    """

    FOREIGN = "FOREIGN"
    LIMIT = "LIMIT"
    KNOWN_MEETS_KNOWN = "KNOWN_MEETS_KNOWN"
    NEVER_MERGE = "NEVER_MERGE"


class ConflictResolution(StrEnum):
    """What became of the identifier: it stayed with its owner (or nobody's), or went to the customer of the call."""

    KEPT = "KEPT"
    REASSIGNED = "REASSIGNED"


@dataclass(frozen=True, slots=True)
class Separation:
    """`node` of this customer and `other`, a node of somebody else, are two persons, whatever identifiers they show."""

    node: UUID
    other: UUID


@dataclass(frozen=True, slots=True)
class IdentifierMove:
    """An identifier that belongs to `node` from now on, with its value sealed for that."""

    identifier: LinkedIdentifier
    node: UUID
    sealed: Sealed = field(default=b"", repr=False)

    @property
    def moved(self) -> LinkedIdentifier:
        return replace(self.identifier, node=self.node, sealed=self.sealed)


@dataclass(frozen=True, slots=True)
class Belongings:
    """What nodes have besides themselves: identifiers, those lost for good that still count, and from whom they are kept apart."""

    identifiers: tuple[LinkedIdentifier, ...] = ()
    lost: tuple[LinkedIdentifier, ...] = ()
    apart: tuple[Separation, ...] = ()


def no_values(fields: dict[str, Any]) -> None:
    """Version 1 of an event had identifiers without their sealed values, which is what the default of the field says."""


class Customer(Aggregate):
    """One person as one brand knows them, whatever channel they came through."""

    TOPIC = "identity.Customer"

    class Registered(InitialEvent):
        """A person was seen for the first time."""

        TOPIC = "identity.CustomerRegistered"
        class_version = 3
        upcast_v1_v2 = staticmethod(no_values)
        tenant: str
        state: CustomerState
        assignment_key: str
        identifiers: tuple[LinkedIdentifier, ...]
        via_namespace: str | None
        registered_at: datetime

        @staticmethod
        def upcast_v2_v3(fields: dict[str, Any]) -> None:
            """Before rules could change: what made the person known was the first of the identifiers that is strong by preset."""
            strong = (it["namespace"] for it in fields["identifiers"] if it["namespace"] not in _WEAK_BY_PRESET)
            fields["via_namespace"] = next(strong, None) if fields["state"] == CustomerState.KNOWN else None

    class IdentifiersLinked(Event):
        """More ways to reach this person were learnt."""

        TOPIC = "identity.IdentifiersLinked"
        class_version = 2
        upcast_v1_v2 = staticmethod(no_values)
        identifiers: tuple[LinkedIdentifier, ...]
        linked_at: datetime

    class IdentifiersUnlinked(Event):
        """Some identifiers are no longer this person's; those `remembered` count against the limits all the same."""

        TOPIC = "identity.IdentifiersUnlinked"
        class_version = 3
        upcast_v1_v2 = staticmethod(no_values)
        identifiers: tuple[LinkedIdentifier, ...]
        remembered: tuple[LinkedIdentifier, ...]
        reason: UnlinkReason
        unlinked_at: datetime

        @staticmethod
        def upcast_v2_v3(fields: dict[str, Any]) -> None:
            """Before rules could change: kinds of which one person has only one ever, by preset."""
            fields["remembered"] = [it for it in fields["identifiers"] if it["namespace"] in _EVER_BY_PRESET]

    class BecameKnown(Event):
        """An anonymous person got the first strong identifier."""

        TOPIC = "identity.CustomerBecameKnown"
        via_namespace: str
        assignment_key: str
        became_known_at: datetime

    class Seen(Event):
        """An anonymous person was seen again, at least a day after the last time that was noted."""

        TOPIC = "identity.AnonymousSeen"
        seen_at: datetime

    class Expired(Event):
        """An anonymous person was not seen for so long that their identifiers are nobody's."""

        TOPIC = "identity.AnonymousExpired"
        last_seen_at: datetime
        expired_at: datetime

    class Merged(Event):
        """Another customer turned out to be this person; `met_by` are the identifiers of both that one call showed."""

        TOPIC = "identity.CustomersMerged"
        class_version = 2
        upcast_v1_v2 = staticmethod(no_values)
        merge_id: UUID
        loser_id: UUID
        node_ids: tuple[UUID, ...]
        brought: Belongings
        met_by: tuple[LinkedIdentifier, ...]
        reason: str
        merged_at: datetime

    class MergedInto(Event):
        """This customer turned out to be another one, who goes on for both."""

        TOPIC = "identity.CustomerMergedInto"
        merge_id: UUID
        survivor_id: UUID
        former_state: CustomerState
        merged_at: datetime

    class PartLeft(Event):
        """Some nodes of this customer are somebody of their own again, with all that is theirs after `moves`."""

        TOPIC = "identity.CustomerPartLeft"
        class_version = 2
        upcast_v1_v2 = staticmethod(no_values)
        merge_id: UUID
        node_ids: tuple[UUID, ...]
        moves: tuple[IdentifierMove, ...]
        left_at: datetime

    class Restored(Event):
        """The merge in which this customer became part of another is taken back."""

        TOPIC = "identity.CustomerRestored"
        class_version = 2
        upcast_v1_v2 = staticmethod(no_values)
        merge_id: UUID
        survivor_id: UUID
        node_ids: tuple[UUID, ...]
        state: CustomerState
        belongings: Belongings
        moves: tuple[IdentifierMove, ...]
        reason: str
        restored_at: datetime

    class KeptApart(Event):
        """Somebody said that this customer and another are two persons."""

        TOPIC = "identity.CustomerKeptApart"
        separation: Separation
        kept_at: datetime

    class ReunionAllowed(Event):
        """Nothing keeps this customer and another apart any more."""

        TOPIC = "identity.CustomerReunionAllowed"
        separations: tuple[Separation, ...]
        allowed_at: datetime

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

    class ErasureOpened(Event):
        """Somebody asked that everything known of this person be erased."""

        TOPIC = "identity.CustomerErasureOpened"
        case_id: UUID
        opened_at: datetime

    class ErasureClosed(Event):
        """Nobody asks for that any more."""

        TOPIC = "identity.CustomerErasureClosed"
        case_id: UUID
        closed_at: datetime

    class ErasureBegun(Event):
        """Everything known of this person, by all nodes, is being removed; nothing new is taken in."""

        TOPIC = "identity.CustomerErasing"
        case_id: UUID
        node_ids: tuple[UUID, ...]
        former_state: CustomerState
        began_at: datetime

    class Erased(Event):
        """Nothing is known of this person any more."""

        TOPIC = "identity.CustomerErased"
        case_id: UUID
        node_ids: tuple[UUID, ...]
        erased_at: datetime

    @event(Registered)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        state: CustomerState,
        assignment_key: str,
        identifiers: tuple[LinkedIdentifier, ...],
        via_namespace: str | None,
        registered_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.state = state
        self.assignment_key = assignment_key
        self.registered_at = registered_at
        self.last_seen_at = registered_at
        self.has_expired = False
        self.nodes: dict[UUID, None] = {id: None}
        self.identifiers: dict[IdentifierKey, LinkedIdentifier] = {it.key: it for it in identifiers}
        self.lost: dict[IdentifierKey, LinkedIdentifier] = {}
        self.apart: set[Separation] = set()
        self.merged_into: UUID | None = None
        self.former_state = state
        self.conflicts: set[tuple[IdentifierKey, UUID | None, ConflictRule]] = set()
        self.erasure_case: UUID | None = None

    @property
    def is_known(self) -> bool:
        return self.state is CustomerState.KNOWN

    @property
    def is_erased(self) -> bool:
        """Whether nothing of this person may be read or learnt any more."""
        return self.state in (CustomerState.ERASING, CustomerState.ERASED)

    @property
    def has_own_assignment_key(self) -> bool:
        """Whether the key was chosen rather than made from the id."""
        return self.assignment_key != default_assignment_key(self.id)

    @property
    def seniority(self) -> tuple[bool, bool, datetime, UUID]:
        """Sorts customers that are one person; the first survives. A member number counts most, then being known."""
        is_member = any(it.namespace == "member_no" for it in self.identifiers.values())
        return not is_member, not self.is_known, self.registered_at, self.id

    def link(
        self,
        identifiers: Sequence[LinkedIdentifier],
        at: datetime,
        namespaces: Namespaces,
        assignment_key: str | None = None,
    ) -> None:
        """Accept more ways to reach this person, and `recognise` by them."""
        if identifiers:
            self._identifiers_linked(identifiers=tuple(identifiers), linked_at=at)
            self.recognise(identifiers, at, namespaces, assignment_key)

    def recognise(
        self,
        shown: Iterable[LinkedIdentifier],
        at: datetime,
        namespaces: Namespaces,
        assignment_key: str | None = None,
    ) -> None:
        """An anonymous person is known from the first strong identifier on.

        Whoever becomes known takes over `assignment_key`, unless one was chosen before.
        """
        if self.state is not CustomerState.ANONYMOUS:
            return
        via = next((it.namespace for it in shown if namespaces[it.namespace].strong), None)
        if via is not None:
            adopted = assignment_key if assignment_key and not self.has_own_assignment_key else self.assignment_key
            self._became_known(via_namespace=via, assignment_key=adopted, became_known_at=at)

    def unlink(
        self, keys: Collection[IdentifierKey], reason: UnlinkReason, at: datetime, namespaces: Namespaces
    ) -> None:
        """Let go of those of `keys` that this person has."""
        leaving = tuple(self.identifiers[key] for key in keys if key in self.identifiers)
        if leaving:
            remembered = tuple(it for it in leaving if namespaces[it.namespace].limit.ever)
            self._identifiers_unlinked(identifiers=leaving, remembered=remembered, reason=reason, unlinked_at=at)

    def see(self, at: datetime) -> bool:
        """Note that this person, who is anonymous, was seen at `at`; False if that was noted within the last day."""
        if self.state is not CustomerState.ANONYMOUS or (at - self.last_seen_at < NOTED_FOR and not self.has_expired):
            return False
        self._seen(seen_at=at)
        return True

    def expire(self, at: datetime) -> None:
        """Nobody has seen this person, who is anonymous, for long; what was counted stays counted."""
        self._expired(last_seen_at=self.last_seen_at, expired_at=at)

    def absorb(
        self, loser: "Customer", merge_id: UUID, reason: str, at: datetime, met_by: Sequence[LinkedIdentifier] = ()
    ) -> None:
        """Go on for both: everything of `loser` belongs to this customer from now on."""
        self._merged(
            merge_id=merge_id,
            loser_id=loser.id,
            node_ids=tuple(loser.nodes),
            brought=loser.belongings,
            met_by=tuple(met_by),
            reason=reason,
            merged_at=at,
        )
        loser.give_way_to(self.id, merge_id, at)

    def give_way_to(self, survivor_id: UUID, merge_id: UUID, at: datetime) -> None:
        """Be a part of the survivor from now on."""
        self._merged_into(merge_id=merge_id, survivor_id=survivor_id, former_state=self.state, merged_at=at)

    @property
    def belongings(self) -> Belongings:
        """What all nodes have."""
        return Belongings(tuple(self.identifiers.values()), tuple(self.lost.values()), tuple(sorted_apart(self.apart)))

    def belongings_of(self, nodes: Collection[UUID], moves: Iterable[IdentifierMove] = ()) -> Belongings:
        """What these nodes have after `moves`."""
        identifiers = self.identifiers | {it.identifier.key: it.moved for it in moves}
        return Belongings(
            tuple(it for it in identifiers.values() if it.node in nodes),
            tuple(it for it in self.lost.values() if it.node in nodes),
            tuple(it for it in sorted_apart(self.apart) if it.node in nodes),
        )

    def let_go(self, part: "Customer", merge_id: UUID, moves: Sequence[IdentifierMove], at: datetime) -> None:
        """`part` is somebody of their own again, with all that is theirs after `moves`."""
        self._part_left(merge_id=merge_id, node_ids=tuple(part.nodes), moves=tuple(moves), left_at=at)

    def restore(
        self, merge_id: UUID, belongings: Belongings, moves: Sequence[IdentifierMove], reason: str, at: datetime
    ) -> None:
        """Be somebody of one's own again, as before the merge but with `belongings`, which follow from `moves`."""
        assert self.merged_into is not None  # noqa: S101 - a merge that stands has a survivor
        self._restored(
            merge_id=merge_id,
            survivor_id=self.merged_into,
            node_ids=tuple(self.nodes),
            state=self.former_state,
            belongings=belongings,
            moves=tuple(moves),
            reason=reason,
            restored_at=at,
        )

    def keep_apart(self, node: UUID, other: UUID, at: datetime) -> None:
        """`node`, which is this customer's, and `other` are two persons."""
        separation = Separation(node, other)
        if separation not in self.apart:
            self._kept_apart(separation=separation, kept_at=at)

    def allow_reunion(self, other: "Customer", at: datetime) -> None:
        """Nothing keeps this customer and `other` apart any more."""
        separations = tuple(it for it in sorted_apart(self.apart) if it.other in other.nodes)
        if separations:
            self._reunion_allowed(separations=separations, allowed_at=at)

    def open_erasure(self, case_id: UUID, at: datetime) -> None:
        """Remember the one open case of this person."""
        self._erasure_opened(case_id=case_id, opened_at=at)

    def close_erasure(self, case_id: UUID, at: datetime) -> None:
        """Stay, although somebody had asked for the opposite."""
        if self.erasure_case == case_id:
            self._erasure_closed(case_id=case_id, closed_at=at)

    def begin_erasure(self, case_id: UUID, at: datetime) -> None:
        """Take in nothing more from now on."""
        self._erasure_begun(case_id=case_id, node_ids=tuple(self.nodes), former_state=self.state, began_at=at)

    def finish_erasure(self, case_id: UUID, at: datetime) -> None:
        """Be nobody from now on."""
        self._erased(case_id=case_id, node_ids=tuple(self.nodes), erased_at=at)

    def is_kept_apart_from(self, other: "Customer") -> bool:
        return any(it.other in other.nodes for it in self.apart)

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
        for it in identifiers:
            self.identifiers[it.key] = it
            self.lost.pop(it.key, None)

    @event(IdentifiersUnlinked)
    def _identifiers_unlinked(
        self,
        identifiers: tuple[LinkedIdentifier, ...],
        remembered: tuple[LinkedIdentifier, ...],
        reason: UnlinkReason,
        unlinked_at: datetime,
    ) -> None:
        for it in identifiers:
            self.identifiers.pop(it.key, None)
        self.lost.update((it.key, it) for it in remembered)

    @event(BecameKnown)
    def _became_known(self, via_namespace: str, assignment_key: str, became_known_at: datetime) -> None:
        self.state = CustomerState.KNOWN
        self.assignment_key = assignment_key

    @event(Seen)
    def _seen(self, seen_at: datetime) -> None:
        self.last_seen_at = seen_at
        self.has_expired = False

    @event(Expired)
    def _expired(self, last_seen_at: datetime, expired_at: datetime) -> None:
        self.has_expired = True

    @event(Merged)
    def _merged(
        self,
        merge_id: UUID,
        loser_id: UUID,
        node_ids: tuple[UUID, ...],
        brought: Belongings,
        met_by: tuple[LinkedIdentifier, ...],
        reason: str,
        merged_at: datetime,
    ) -> None:
        self.nodes.update(dict.fromkeys(node_ids))
        self.identifiers.update((it.key, it) for it in brought.identifiers)
        self.lost.update((it.key, it) for it in brought.lost)
        self.apart.update(brought.apart)

    @event(MergedInto)
    def _merged_into(self, merge_id: UUID, survivor_id: UUID, former_state: CustomerState, merged_at: datetime) -> None:
        self.state = CustomerState.MERGED
        self.former_state = former_state
        self.merged_into = survivor_id

    @event(PartLeft)
    def _part_left(
        self,
        merge_id: UUID,
        node_ids: tuple[UUID, ...],
        moves: tuple[IdentifierMove, ...],
        left_at: datetime,
    ) -> None:
        kept = self.belongings_of(self.nodes.keys() - set(node_ids), moves)
        self.nodes = {it: None for it in self.nodes if it not in node_ids}
        self._hold(kept)

    @event(Restored)
    def _restored(
        self,
        merge_id: UUID,
        survivor_id: UUID,
        node_ids: tuple[UUID, ...],
        state: CustomerState,
        belongings: Belongings,
        moves: tuple[IdentifierMove, ...],
        reason: str,
        restored_at: datetime,
    ) -> None:
        self.state = state
        self.merged_into = None
        self._hold(belongings)

    def _hold(self, belongings: Belongings) -> None:
        self.identifiers = {it.key: it for it in belongings.identifiers}
        self.lost = {it.key: it for it in belongings.lost}
        self.apart = set(belongings.apart)

    @event(KeptApart)
    def _kept_apart(self, separation: Separation, kept_at: datetime) -> None:
        self.apart.add(separation)

    @event(ReunionAllowed)
    def _reunion_allowed(self, separations: tuple[Separation, ...], allowed_at: datetime) -> None:
        self.apart.difference_update(separations)

    @event(ErasureOpened)
    def _erasure_opened(self, case_id: UUID, opened_at: datetime) -> None:
        self.erasure_case = case_id

    @event(ErasureClosed)
    def _erasure_closed(self, case_id: UUID, closed_at: datetime) -> None:
        self.erasure_case = None

    @event(ErasureBegun)
    def _erasure_begun(
        self, case_id: UUID, node_ids: tuple[UUID, ...], former_state: CustomerState, began_at: datetime
    ) -> None:
        self.state = CustomerState.ERASING
        self.erasure_case = case_id

    @event(Erased)
    def _erased(self, case_id: UUID, node_ids: tuple[UUID, ...], erased_at: datetime) -> None:
        self.state = CustomerState.ERASED
        self.identifiers = {}
        self.lost = {}
        self.conflicts = set()

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


def sorted_apart(separations: Iterable[Separation]) -> list[Separation]:
    """The same separations always in the same order."""
    return sorted(separations, key=lambda it: (it.node, it.other))


def default_assignment_key(customer_id: UUID) -> str:
    """The assignment key of a customer for whom nobody chose one."""
    return str(customer_id)
