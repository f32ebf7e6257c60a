"""Work orders: what customers need done, from the first word to the last, and until when it should be.

Nothing here moves when customers are merged: a work order stays with the node it is about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.errors import IllegalTransition, NotResolved, WorkOrderMirrored
from services.identity.domain.sealing import Sealed
from services.identity.domain.service_hours import Allowance


class WorkOrderState(StrEnum):
    """How far it is."""

    NEW = "NEW"
    ASSIGNED = "ASSIGNED"
    IN_PROGRESS = "IN_PROGRESS"
    WAITING_CUSTOMER = "WAITING_CUSTOMER"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"
    REOPENED = "REOPENED"


class Priority(StrEnum):
    """How urgent it is."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"


ALLOWANCES: Final[Mapping[Priority, Allowance]] = {
    Priority.P1: Allowance(hours=4),
    Priority.P2: Allowance(days=1),
    Priority.P3: Allowance(days=3),
    Priority.P4: Allowance(days=7),
}
"""The working time within which it should be resolved (spec ID-8)."""

DONE: Final = frozenset({WorkOrderState.RESOLVED, WorkOrderState.CLOSED})
REOPEN_WITHIN: Final = timedelta(days=30)
CONTENT: Final = "work_order.content"
NOTE: Final = "work_order.note"
"""The fields for which personal text is sealed."""

_WAYS: Final[Mapping[WorkOrderState, frozenset[WorkOrderState]]] = {
    WorkOrderState.NEW: frozenset({WorkOrderState.ASSIGNED}),
    WorkOrderState.ASSIGNED: frozenset({WorkOrderState.ASSIGNED, WorkOrderState.IN_PROGRESS}),
    WorkOrderState.IN_PROGRESS: frozenset({WorkOrderState.WAITING_CUSTOMER, WorkOrderState.RESOLVED}),
    WorkOrderState.WAITING_CUSTOMER: frozenset({WorkOrderState.IN_PROGRESS, WorkOrderState.RESOLVED}),
    WorkOrderState.RESOLVED: frozenset({WorkOrderState.CLOSED, WorkOrderState.REOPENED}),
    WorkOrderState.CLOSED: frozenset({WorkOrderState.REOPENED}),
    WorkOrderState.REOPENED: frozenset({WorkOrderState.ASSIGNED, WorkOrderState.IN_PROGRESS}),
}


@dataclass(frozen=True, slots=True)
class Matter:
    """What a work order is about; `kind` is a code, `product` empty for none."""

    node: UUID
    kind: str
    priority: Priority
    topics: tuple[str, ...]
    product: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The row of another system of which a work order is the mirror."""

    source: str
    external_no: str
    version: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a work order is, who has it and what the customer thinks of it."""

    state: WorkOrderState = WorkOrderState.NEW
    assignee: UUID | None = None
    rating: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A work order as another system has it at `version`, created there at `created_at`; `due_at` follows from our hours."""

    matter: Matter
    content: Sealed | None
    progress: Progress
    created_at: datetime
    due_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Step:
    """One change of state."""

    former: WorkOrderState
    state: WorkOrderState
    assignee: UUID | None
    note: Sealed | None
    at: datetime


class WorkOrder(Aggregate):
    """Something that has to be done for a customer."""

    TOPIC = "identity.WorkOrder"

    class Created(InitialEvent):
        """Somebody asked for it, or another system told of it."""

        TOPIC = "identity.WorkOrderCreated"
        tenant: str
        matter: Matter
        content: Sealed | None
        progress: Progress
        origin: Origin | None
        created_at: datetime
        due_at: datetime

    class Transitioned(Event):
        """It moved on."""

        TOPIC = "identity.WorkOrderTransitioned"
        matter: Matter
        step: Step
        due_at: datetime

    class Mirrored(Event):
        """The other system has it like this now."""

        TOPIC = "identity.WorkOrderMirrored"
        origin: Origin
        former: Progress
        row: Row
        mirrored_at: datetime

    class SlaBreached(Event):
        """It is due and not resolved."""

        TOPIC = "identity.WorkOrderSlaBreached"
        matter: Matter
        due_at: datetime
        breached_at: datetime

    class Rated(Event):
        """The customer said what they think of it."""

        TOPIC = "identity.WorkOrderRated"
        matter: Matter
        rating: int
        rated_at: datetime

    @event(Created)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        matter: Matter,
        content: Sealed | None,
        progress: Progress,
        origin: Origin | None,
        created_at: datetime,
        due_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.matter = matter
        self.content = content
        self.state = progress.state
        self.assignee = progress.assignee
        self.rating = progress.rating
        self.origin = origin
        self.created_at = created_at
        self.due_at = due_at
        self.changed_at = created_at
        self.breached = False
        self.steps: list[Step] = []

    @classmethod
    def mirror(cls, tenant: str, origin: Origin, row: Row) -> "WorkOrder":
        """A work order that another system keeps."""
        return cls(
            id=mirror_id(tenant, origin.source, origin.external_no),
            tenant=tenant,
            matter=row.matter,
            content=row.content,
            progress=row.progress,
            origin=origin,
            created_at=row.created_at,
            due_at=row.due_at,
        )

    @property
    def is_done(self) -> bool:
        return self.state in DONE

    @property
    def breaches_at(self) -> datetime | None:
        """When it is too late to resolve it; None if it is resolved, or known to be too late."""
        return None if self.is_done or self.breached else self.due_at

    def require_way(self, to: WorkOrderState, at: datetime) -> None:
        """Raises IllegalTransition if it cannot go there from where it is, and WorkOrderMirrored."""
        if self.origin is not None:
            raise WorkOrderMirrored(source=self.origin.source)
        too_late = to is WorkOrderState.REOPENED and at > self.changed_at + REOPEN_WITHIN
        if to not in _WAYS[self.state] or too_late:
            raise IllegalTransition(field="to", **{"from": self.state, "to": to})

    def transition(self, step: Step, due_at: datetime) -> None:
        """Move on; to hand it to whoever has it, without a word, is no news. `due_at` is new when it is reopened.

        Raises as `require_way`.
        """
        self.require_way(step.state, step.at)
        if (step.state, step.assignee, step.note) != (self.state, self.assignee, None):
            self._transitioned(matter=self.matter, step=step, due_at=due_at)

    def rate(self, rating: int, at: datetime) -> None:
        """Keep what the customer thinks of it; the same again is no news. Raises NotResolved, and WorkOrderMirrored."""
        if self.origin is not None:
            raise WorkOrderMirrored(source=self.origin.source)
        if not self.is_done:
            raise NotResolved(state=self.state)
        if rating != self.rating:
            self._rated(matter=self.matter, rating=rating, rated_at=at)

    def follow(self, row: Row, at: datetime) -> bool:
        """Be like `row`, unless a newer one is known; whether it is news."""
        assert self.origin is not None  # noqa: S101 - found by the key of its origin
        if row.version <= self.origin.version:
            return False
        origin = Origin(self.origin.source, self.origin.external_no, row.version)
        former = Progress(self.state, self.assignee, self.rating)
        self._mirrored(origin=origin, former=former, row=row, mirrored_at=at)
        return True

    def breach(self, at: datetime) -> None:
        """Take note that it is due and not resolved."""
        if self.breaches_at is not None and self.breaches_at <= at:
            self._sla_breached(matter=self.matter, due_at=self.due_at, breached_at=at)

    @event(Transitioned)
    def _transitioned(self, matter: Matter, step: Step, due_at: datetime) -> None:
        self.breached = still_breached(self.breached, self.due_at, due_at)
        self.state, self.assignee, self.changed_at, self.due_at = step.state, step.assignee, step.at, due_at
        self.steps.append(step)

    @event(Mirrored)
    def _mirrored(self, origin: Origin, former: Progress, row: Row, mirrored_at: datetime) -> None:
        self.breached = still_breached(self.breached, self.due_at, row.due_at)
        self.origin, self.matter, self.content, self.due_at = origin, row.matter, row.content, row.due_at
        self.created_at, self.changed_at = row.created_at, mirrored_at
        if row.progress.state is not self.state:
            self.steps.append(Step(self.state, row.progress.state, row.progress.assignee, None, mirrored_at))
        self.state, self.assignee, self.rating = row.progress.state, row.progress.assignee, row.progress.rating

    @event(SlaBreached)
    def _sla_breached(self, matter: Matter, due_at: datetime, breached_at: datetime) -> None:
        self.breached = True

    @event(Rated)
    def _rated(self, matter: Matter, rating: int, rated_at: datetime) -> None:
        self.rating = rating


def still_breached(breached: bool, due_at: datetime, new_due_at: datetime) -> bool:
    """Whether it is too late for a work order that is due at another time from now on: that is seen anew."""
    return breached and new_due_at == due_at


def mirror_id(tenant: str, source: str, external_no: str) -> UUID:
    """The one work order that is the mirror of `external_no` of `source`."""
    return natural_id(tenant, "external_work_order", source, external_no)
