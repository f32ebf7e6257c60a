"""Two customers who may be one person: found by their traits or by a call that showed both, decided by a steward."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.customer import Customer, CustomerState
from services.identity.domain.errors import CandidateNotOpen
from services.identity.domain.identifiers import IdentifierKey
from services.identity.domain.match_model import Band, Step, Weighed
from services.identity.domain.merging import Evidence, refusal
from services.identity.domain.namespaces import Namespaces
from services.identity.domain.sealing import Sealed

CANDIDATE: Final = "CANDIDATE"
"""The reason of a merge that follows from an accepted candidate."""

NOTE: Final = "match_note"
"""The field as which the note of a steward is sealed, for the customer `a` of the pair."""

LIVING: Final = frozenset({CustomerState.ANONYMOUS, CustomerState.KNOWN})
"""In these states there is somebody to be asked about."""

HEAVIER_BY: Final = 0.01
"""How much more than before a rejected pair has to weigh to be asked about again."""


class CandidateState(StrEnum):
    """OPEN waits for a steward; EXPIRED was overtaken by something else."""

    OPEN = "OPEN"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class MatchRule(StrEnum):
    """What found the pair: the weight of its traits, or a call that showed identifiers of both without proof."""

    TRAITS = "TRAITS"
    KNOWN_MEETS_KNOWN = "KNOWN_MEETS_KNOWN"


class ExpiryReason(StrEnum):
    """Why nobody needs to decide any more: the two are one, one of them is part of a third, they may not be joined, or what is
    known of them by now speaks against it."""

    ONE_CUSTOMER = "ONE_CUSTOMER"
    MERGED = "MERGED"
    BARRED = "BARRED"
    UNLIKE = "UNLIKE"


@dataclass(frozen=True, slots=True)
class Finding:
    """Why the two may be one person. Nothing is weighed yet (None) of a pair that only a call brought together."""

    rule: MatchRule
    band: Band
    weight: float | None = None
    probability: float | None = None
    steps: tuple[Step, ...] = ()
    model_version: int = 0

    def beside(self, earlier: "Finding") -> "Finding":
        """Both findings as one: that a call showed both of them stands, whatever their traits weigh."""
        if MatchRule.KNOWN_MEETS_KNOWN not in (self.rule, earlier.rule):
            return self
        weighed = self if self.weight is not None else earlier
        return replace(weighed, rule=MatchRule.KNOWN_MEETS_KNOWN, band=Band.HIGH)

    def says_more_than(self, rejected: "Finding") -> bool:
        """Whether a steward who rejected the pair has a reason to look again."""
        if self.rule is MatchRule.KNOWN_MEETS_KNOWN and rejected.rule is MatchRule.TRAITS:
            return True
        return (self.weight or 0) > (rejected.weight or 0) + HEAVIER_BY


SHOWN_TOGETHER: Final = Finding(MatchRule.KNOWN_MEETS_KNOWN, Band.HIGH)
"""A call that was not authenticated showed identifiers of both."""


def weighed_finding(weighed: Weighed, model_version: int) -> Finding:
    """What a model says of a pair that is in a band."""
    if weighed.band is None:
        raise ValueError("a pair below all bands is no candidate")
    return Finding(MatchRule.TRAITS, weighed.band, weighed.weight, weighed.probability, weighed.steps, model_version)


class MatchCandidate(Aggregate):
    """One pair of customers (`a` < `b`); there is one for each pair, and it is open or not."""

    TOPIC = "identity.MatchCandidate"

    class Found(InitialEvent):
        """The two may be one person."""

        TOPIC = "identity.MatchCandidateFound"
        tenant: str
        a: UUID
        b: UUID
        finding: Finding
        found_at: datetime

    class FoundAgain(Event):
        """There is more, or something else, to be said of the two than was known; it waits for a steward (again)."""

        TOPIC = "identity.MatchCandidateFoundAgain"
        a: UUID
        b: UUID
        finding: Finding
        found_at: datetime

    class Decided(Event):
        """A steward, or the threshold for merging unasked, said whether the two are one person."""

        TOPIC = "identity.MatchCandidateDecided"
        a: UUID
        b: UUID
        decision: CandidateState
        merge_id: UUID | None
        note: Sealed
        decided_at: datetime

    class Expired(Event):
        """Nobody needs to decide any more."""

        TOPIC = "identity.MatchCandidateExpired"
        a: UUID
        b: UUID
        reason: ExpiryReason
        expired_at: datetime

    @event(Found)
    def __init__(self, id: UUID, tenant: str, a: UUID, b: UUID, finding: Finding, found_at: datetime) -> None:
        self.tenant = tenant
        self.a = a
        self.b = b
        self.finding = finding
        self.state = CandidateState.OPEN

    @classmethod
    def of_pair(cls, tenant: str, one: UUID, other: UUID, finding: Finding, at: datetime) -> "MatchCandidate":
        a, b = sorted((one, other))
        return cls(candidate_id(tenant, a, b), tenant, a, b, finding, at)

    @property
    def is_open(self) -> bool:
        return self.state is CandidateState.OPEN

    def find_again(self, finding: Finding, at: datetime) -> bool:
        """Take note of another finding; whether it has to be (re)considered.

        An open candidate keeps the newest finding. A rejected one is opened again only by a finding that says more.
        One that was accepted is opened again: the two are two customers, so the merge was taken back.
        """
        found = finding.beside(self.finding) if self.is_open else finding
        if self.is_open and found == self.finding:
            return False
        if self.state is CandidateState.REJECTED and not found.says_more_than(self.finding):
            return False
        self._found_again(a=self.a, b=self.b, finding=found, found_at=at)
        return True

    def decide(self, decision: CandidateState, at: datetime, merge_id: UUID | None = None, note: Sealed = b"") -> None:
        """ACCEPTED (with the merge) or REJECTED. Raises CandidateNotOpen."""
        if not self.is_open:
            raise CandidateNotOpen(field="candidate_id", state=self.state)
        self._decided(a=self.a, b=self.b, decision=decision, merge_id=merge_id, note=note, decided_at=at)

    def expire(self, reason: ExpiryReason, at: datetime) -> None:
        """Nobody is asked any more; that a call showed both of them stands, whatever is known of them."""
        if self.is_open and not (reason is ExpiryReason.UNLIKE and self.finding.rule is MatchRule.KNOWN_MEETS_KNOWN):
            self._expired(a=self.a, b=self.b, reason=reason, expired_at=at)

    @event(FoundAgain)
    def _found_again(self, a: UUID, b: UUID, finding: Finding, found_at: datetime) -> None:
        self.finding = finding
        self.state = CandidateState.OPEN

    @event(Decided)
    def _decided(
        self, a: UUID, b: UUID, decision: CandidateState, merge_id: UUID | None, note: Sealed, decided_at: datetime
    ) -> None:
        self.state = decision

    @event(Expired)
    def _expired(self, a: UUID, b: UUID, reason: ExpiryReason, expired_at: datetime) -> None:
        self.state = CandidateState.EXPIRED


def candidate_id(tenant: str, a: UUID, b: UUID) -> UUID:
    """The one candidate of a pair, `a` < `b`."""
    return natural_id(tenant, "match_candidate", a, b)


def senior_first(one: Customer, other: Customer) -> Sequence[Customer]:
    """Who of the two would go on for both, then the other one."""
    return sorted((one, other), key=lambda it: it.seniority)


def may_be_one(one: Customer, other: Customer, namespaces: Namespaces) -> bool:
    """Whether a steward may be asked about the two.

    Not those who are one customer, are kept apart, or may not be merged at all, nor those who have different identifiers of
    a kind of which a person has one: two unionids are two persons.
    """
    if not {one.state, other.state} <= LIVING:
        return False
    survivor, loser = senior_first(one, other)
    if refusal(survivor, loser, Evidence.STEWARD) is not None:
        return False
    unique, others = _unique(one, namespaces), _unique(other, namespaces)
    return all(unique[key] & others[key] for key in unique.keys() & others.keys())


def is_member(customer: Customer) -> bool:
    """Whether points and money hang on the customer."""
    return any(it.namespace == "member_no" for it in customer.identifiers.values())


def _unique(customer: Customer, namespaces: Namespaces) -> dict[tuple[str, str], set[IdentifierKey]]:
    """The identifiers that count of each kind, or scope of a kind, of which a person has one."""
    found: dict[tuple[str, str], set[IdentifierKey]] = {}
    lost = (it for it in customer.lost.values() if namespaces[it.namespace].limit.ever)
    for it in (*customer.identifiers.values(), *lost):
        limit = namespaces[it.namespace].limit
        if limit.count == 1:
            found.setdefault((it.namespace, it.scope if limit.per_scope else ""), set()).add(it.key)
    return found
