"""Merges that people ask for, and taking any merge back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from chassis.errors import DomainError
from services.identity.domain.customer import Customer
from services.identity.domain.errors import (
    AlreadyUnmerged,
    MemberConflict,
    NeverMerge,
    SameCustomer,
    SurvivorNotKnown,
)
from services.identity.domain.namespaces import Namespaces
from services.identity.domain.resolution import count


class Evidence(StrEnum):
    """What shows that two customers are one person: identifiers, or somebody who says so."""

    IDENTIFIERS = "IDENTIFIERS"
    UNSPECIFIED = "UNSPECIFIED"
    STEWARD = "STEWARD"
    CUSTOMER = "CUSTOMER"
    SYSTEM = "SYSTEM"


class Merge(Aggregate):
    """One merge, to be found by its id: who went on for whom, and whether that still stands."""

    TOPIC = "identity.Merge"

    class Made(InitialEvent):
        """The customer `loser` became part of the customer `survivor`."""

        TOPIC = "identity.MergeMade"
        tenant: str
        survivor: UUID
        loser: UUID
        evidence: Evidence

    class Undone(Event):
        """The loser is somebody of their own again."""

        TOPIC = "identity.MergeUndone"
        undone_at: datetime

    @event(Made)
    def __init__(self, id: UUID, tenant: str, survivor: UUID, loser: UUID, evidence: Evidence) -> None:
        self.tenant = tenant
        self.survivor = survivor
        self.loser = loser
        self.undone = False

    def undo(self, at: datetime) -> None:
        """Raises AlreadyUnmerged."""
        if self.undone:
            raise AlreadyUnmerged(field="merge_id")
        self._undone(undone_at=at)

    @event(Undone)
    def _undone(self, undone_at: datetime) -> None:
        self.undone = True


@dataclass(frozen=True, slots=True)
class ExceededLimit:
    """More identifiers of a kind than one person has."""

    namespace: str
    scope: str
    count: int
    limit: int


def refusal(survivor: Customer, loser: Customer, evidence: Evidence) -> DomainError | None:
    """Why these two may not be merged on request; None if they may.

    Limits are no reason: whoever asks knows better than they do. Two member numbers are two accounts, which only a
    steward may declare to be one person's.
    """
    if survivor is loser or survivor.id == loser.id:
        return SameCustomer(field="loser_id")
    if survivor.is_kept_apart_from(loser) or loser.is_kept_apart_from(survivor):
        return NeverMerge(field="loser_id")
    if loser.is_known and not survivor.is_known:
        return SurvivorNotKnown(field="survivor_id")
    if evidence is not Evidence.STEWARD and _is_member(survivor) and _is_member(loser):
        return MemberConflict(field="loser_id")
    return None


def exceeded_limits(customers: Sequence[Customer], at: datetime, namespaces: Namespaces) -> list[ExceededLimit]:
    """Of what these together have too many."""
    counts = count(customers, at, namespaces)
    limits = ((key, number, namespaces[key[0]].limit.count) for key, number in sorted(counts.items()))
    return [ExceededLimit(*key, number, limit) for key, number, limit in limits if number > limit]


def _is_member(customer: Customer) -> bool:
    return any(it.namespace == "member_no" for it in customer.identifiers.values())
