"""An erasure case: the way from somebody's request to be forgotten to the proof that every service has done so."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.identity.domain.errors import ErasureStarted, VerificationRequired

SERVICES: Final = ("campaigns", "membership", "tagging", "tracking")
"""Those that have to say that they removed what they had, before the keys are destroyed."""

LONGEST_DELAY: Final = timedelta(days=15)
"""For how long open business may put off what was asked for."""


class CaseState(StrEnum):
    """REQUESTED, and VERIFIED to come from the person; ERASING until all services are done, then ERASED.

    REJECTED when somebody thought better of it in time.
    """

    REQUESTED = "REQUESTED"
    VERIFIED = "VERIFIED"
    ERASING = "ERASING"
    ERASED = "ERASED"
    REJECTED = "REJECTED"


class ClosingReason(StrEnum):
    """Why nothing was erased: nobody wants it any more, or it had been done by another case."""

    CANCELLED = "CANCELLED"
    ALREADY_ERASED = "ALREADY_ERASED"


@dataclass(frozen=True, slots=True)
class Removal:
    """What one service removed, in rows by table, and the position in its log that says so."""

    service: str
    position: int
    removed: dict[str, int]
    completed_at: datetime


class ErasureCase(Aggregate):
    """One request to erase one customer, who may be part of another by the time it is carried out."""

    TOPIC = "identity.ErasureCase"

    class Requested(InitialEvent):
        """Somebody asked for it."""

        TOPIC = "identity.ErasureRequested"
        tenant: str
        customer: UUID
        legal_basis: str
        requested_at: datetime

    class Verified(Event):
        """It is the person concerned who asks; it begins at `due_at` unless it is cancelled before."""

        TOPIC = "identity.ErasureVerified"
        verified_by: str
        due_at: datetime
        verified_at: datetime

    class Postponed(Event):
        """Open business of the person has to be finished first."""

        TOPIC = "identity.ErasurePostponed"
        reason: str
        due_at: datetime
        postponed_at: datetime

    class Begun(Event):
        """`customer` is who the person is now, with all `node_ids`."""

        TOPIC = "identity.ErasureBegun"
        customer: UUID
        node_ids: tuple[UUID, ...]
        began_at: datetime

    class ServiceCompleted(Event):
        """One service has removed what it had."""

        TOPIC = "identity.ServiceErasureCompleted"
        customer: UUID
        removal: Removal

    class Completed(Event):
        """All have; `identifiers` are nobody's and `keys` are destroyed."""

        TOPIC = "identity.ErasureCompleted"
        identifiers: int
        keys: int
        completed_at: datetime

    class Closed(Event):
        """Nothing was erased by this case."""

        TOPIC = "identity.ErasureClosed"
        customer: UUID
        reason: ClosingReason
        closed_at: datetime

    @event(Requested)
    def __init__(self, id: UUID, tenant: str, customer: UUID, legal_basis: str, requested_at: datetime) -> None:
        self.tenant = tenant
        self.customer = customer
        self.legal_basis = legal_basis
        self.requested_at = requested_at
        self.state = CaseState.REQUESTED
        self.verified_by = ""
        self.verified_at: datetime | None = None
        self.due_at: datetime | None = None
        self.postponed_for = ""
        self.node_ids: tuple[UUID, ...] = ()
        self.began_at: datetime | None = None
        self.removals: dict[str, Removal] = {}
        self.identifiers = 0
        self.keys = 0
        self.ended_at: datetime | None = None
        self.closing_reason = ""

    @property
    def is_complete(self) -> bool:
        """Whether every service has removed what it had."""
        return self.removals.keys() >= set(SERVICES)

    def verify(self, verified_by: str, due_at: datetime, at: datetime) -> None:
        """Take the word of `verified_by` that the person asks. Raises VerificationRequired."""
        if not verified_by:
            raise VerificationRequired(field="verified_by")
        self._verified(verified_by=verified_by, due_at=due_at, verified_at=at)

    def postpone(self, reason: str, due_at: datetime, at: datetime) -> datetime:
        """Wait for open business, but never longer than LONGEST_DELAY; when to look again."""
        due_at = min(due_at, self.latest_start)
        self._postponed(reason=reason, due_at=due_at, postponed_at=at)
        return due_at

    @property
    def latest_start(self) -> datetime:
        """When it begins whatever is open."""
        return (self.verified_at or self.requested_at) + LONGEST_DELAY

    def begin(self, customer: UUID, node_ids: tuple[UUID, ...], at: datetime) -> None:
        self._begun(customer=customer, node_ids=node_ids, began_at=at)

    def acknowledge(self, service: str, position: int, removed: Mapping[str, int], at: datetime) -> bool:
        """Note that a service is done; whether that is news."""
        if self.state is not CaseState.ERASING or service not in SERVICES or service in self.removals:
            return False
        self._service_completed(customer=self.customer, removal=Removal(service, position, dict(removed), at))
        return True

    def complete(self, identifiers: int, keys: int, at: datetime) -> None:
        self._completed(identifiers=identifiers, keys=keys, completed_at=at)

    def cancel(self, at: datetime) -> bool:
        """Whether that ended the case; one that ended before stays as it is. Raises ErasureStarted."""
        if self.state in (CaseState.ERASING, CaseState.ERASED):
            raise ErasureStarted(field="case_id")
        if self.state is CaseState.REJECTED:
            return False
        self.close(ClosingReason.CANCELLED, at)
        return True

    def close(self, reason: ClosingReason, at: datetime) -> None:
        self._closed(customer=self.customer, reason=reason, closed_at=at)

    @event(Verified)
    def _verified(self, verified_by: str, due_at: datetime, verified_at: datetime) -> None:
        self.state = CaseState.VERIFIED
        self.verified_by = verified_by
        self.verified_at = verified_at
        self.due_at = due_at

    @event(Postponed)
    def _postponed(self, reason: str, due_at: datetime, postponed_at: datetime) -> None:
        self.postponed_for = reason
        self.due_at = due_at

    @event(Begun)
    def _begun(self, customer: UUID, node_ids: tuple[UUID, ...], began_at: datetime) -> None:
        self.state = CaseState.ERASING
        self.customer = customer
        self.node_ids = node_ids
        self.began_at = began_at

    @event(ServiceCompleted)
    def _service_completed(self, customer: UUID, removal: Removal) -> None:
        self.removals[removal.service] = removal

    @event(Completed)
    def _completed(self, identifiers: int, keys: int, completed_at: datetime) -> None:
        self.state = CaseState.ERASED
        self.identifiers = identifiers
        self.keys = keys
        self.ended_at = completed_at

    @event(Closed)
    def _closed(self, customer: UUID, reason: ClosingReason, closed_at: datetime) -> None:
        self.state = CaseState.REJECTED
        self.closing_reason = reason
        self.ended_at = closed_at
