"""A broadcast: one message, in one or several variants, to a frozen audience at one instant."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.campaigns.domain.buckets import experiment_seed
from services.campaigns.domain.design import GRACE, HOLDOUT, REMAINDER, Design
from services.campaigns.domain.errors import (
    ArmUnknown,
    BroadcastNotApproved,
    BroadcastNotAssigning,
    BroadcastNotCancellable,
    BroadcastNotDraft,
    BroadcastNotSending,
    DesignFrozen,
    NoExperiment,
    NoRemainder,
    PageOutOfTurn,
    ScheduleInPast,
)

EMPTY_AUDIENCE = "EMPTY_AUDIENCE"
"""The reason for which a broadcast is cancelled that would reach nobody."""


class State(StrEnum):
    """How far a broadcast is."""

    DRAFT = "DRAFT"
    APPROVED = "APPROVED"
    ASSIGNING = "ASSIGNING"
    SENDING = "SENDING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


def without_channel(fields: dict[str, Any]) -> None:
    """When all messages went by a channel without a name."""
    for arm in fields["design"]["arms"]:
        arm["channel"] = ""


class Broadcast(Aggregate):
    """DRAFT → APPROVED → ASSIGNING → SENDING → COMPLETED (→ SENDING again after a roll-out).

    Every unit of the audience is assigned before the first message is sent. Units are kept in
    batches of their own, one per page of the audience; `unfinished` holds the numbers of those that
    still have something to send.
    """

    TOPIC = "campaigns.Broadcast"

    class Created(InitialEvent):
        TOPIC = "campaigns.BroadcastCreated"
        class_version = 2
        upcast_v1_v2 = staticmethod(without_channel)
        tenant: str
        title: str
        design: Design
        experiment: str | None
        segment: UUID | None
        snapshot: UUID | None
        schedule_at: datetime | None
        created_at: datetime

    class Redesigned(Event):
        TOPIC = "campaigns.BroadcastRedesigned"
        class_version = 2
        upcast_v1_v2 = staticmethod(without_channel)
        design: Design

    class Approved(Event):
        TOPIC = "campaigns.BroadcastApproved"
        schedule_at: datetime
        approved_at: datetime

    class Cancelled(Event):
        TOPIC = "campaigns.BroadcastCancelled"
        cancelled_at: datetime
        reason: str

    class Opened(Event):
        TOPIC = "campaigns.BroadcastOpened"
        opens_at: datetime
        opened_at: datetime
        global_control: int

    class AudienceFrozen(Event):
        TOPIC = "campaigns.BroadcastAudienceFrozen"
        snapshot: UUID
        size: int

    class PageAssigned(Event):
        TOPIC = "campaigns.BroadcastPageAssigned"
        number: int
        next_page: str
        counts: dict[str, int]
        global_control: int
        outside: int

    class Started(Event):
        TOPIC = "campaigns.BroadcastStarted"
        snapshot: UUID | None
        experiment: str | None
        opens_at: datetime | None
        started_at: datetime
        targeted: int
        global_control: int
        outside: int
        counts: dict[str, int]

    class BatchFinished(Event):
        TOPIC = "campaigns.BroadcastBatchFinished"
        number: int

    class RolledOut(Event):
        TOPIC = "campaigns.BroadcastRolledOut"
        arm: str
        reason: str
        rolled_out_at: datetime

    class Completed(Event):
        TOPIC = "campaigns.BroadcastCompleted"
        completed_at: datetime

    @event(Created)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        title: str,
        design: Design,
        experiment: str | None,
        segment: UUID | None,
        snapshot: UUID | None,
        schedule_at: datetime | None,
        created_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.title = title
        self.design = design
        self.experiment = experiment
        self.segment = segment
        self.snapshot = snapshot
        self.schedule_at = schedule_at
        self.created_at = created_at
        self.state = State.DRAFT
        self.approved_at: datetime | None = None
        self.opens_at: datetime | None = None
        self.opened_at: datetime | None = None
        self.started_at: datetime | None = None
        self.cancelled_at: datetime | None = None
        self.cancel_reason = ""
        self.completed_at: datetime | None = None
        self.size: int | None = None
        self.global_control = 0
        self.next_page = ""
        self.pages = 0
        self.targeted = 0
        self.removed = 0
        self.outside = 0
        self.counts: dict[str, int] = {}
        self.unfinished: set[int] = set()
        self.rolled_out: str | None = None
        self.rolled_out_at: datetime | None = None
        self.roll_out_reason = ""

    @property
    def seed(self) -> str:
        """The purpose under which the units of this broadcast are split."""
        return experiment_seed(self.experiment or str(self.id))

    @property
    def closes_at(self) -> datetime | None:
        """When orders cease to be observed; None before the start is scheduled."""
        opens = self.opens_at or self.schedule_at
        return opens + self.design.observation if opens else None

    @property
    def deadline(self) -> datetime | None:
        """When the window of the decision closes; None before the start is scheduled."""
        opens = self.opens_at or self.schedule_at
        return opens + self.design.window if opens else None

    @property
    def final_at(self) -> datetime | None:
        """From when on no fact changes the result any more."""
        return self.closes_at + GRACE if self.closes_at else None

    def arm_of(self, variant: str) -> str | None:
        """The arm whose text units of `variant` get now; None while they get nothing."""
        if variant == REMAINDER:
            return self.rolled_out
        return None if variant == HOLDOUT else variant

    def redesign(self, design: Design) -> None:
        """Replace the design of the experiment."""
        if self.experiment is None:
            raise NoExperiment
        if self.state is not State.DRAFT:
            raise DesignFrozen(state=self.state)
        design.check()
        if design != self.design:
            self._redesigned(design=design)

    @event(Redesigned)
    def _redesigned(self, design: Design) -> None:
        self.design = design

    def approve(self, now: datetime) -> datetime:
        """Release it to be sent at the scheduled instant, or at once; returns that instant."""
        if self.state is not State.DRAFT:
            raise BroadcastNotDraft(state=self.state)
        if self.schedule_at is not None and self.schedule_at < now:
            raise ScheduleInPast
        at = self.schedule_at or now
        self._approved(schedule_at=at, approved_at=now)
        return at

    @event(Approved)
    def _approved(self, schedule_at: datetime, approved_at: datetime) -> None:
        self.schedule_at = schedule_at
        self.approved_at = approved_at
        self.state = State.APPROVED

    def cancel(self, now: datetime, reason: str = "") -> None:
        """Send nothing more; what is reserved may still be settled."""
        if self.state is State.CANCELLED:
            return
        if self.state is State.COMPLETED:
            raise BroadcastNotCancellable(state=self.state)
        self._cancelled(cancelled_at=now, reason=reason)

    @event(Cancelled)
    def _cancelled(self, cancelled_at: datetime, reason: str) -> None:
        self.cancelled_at = cancelled_at
        self.cancel_reason = reason
        self.state = State.CANCELLED

    def open(self, now: datetime, global_control: int) -> None:
        """Begin to assign units. `global_control`: buckets kept out of every broadcast.

        Conversions count from the scheduled instant, or from now when it was approved only then:
        no order can count that was seen before the approval was known.
        """
        if self.state is not State.APPROVED:
            raise BroadcastNotApproved(state=self.state)
        opens = self.schedule_at
        if opens is None or self.approved_at is None or self.approved_at >= opens:
            opens = now
        self._opened(opens_at=opens, opened_at=now, global_control=global_control)

    @event(Opened)
    def _opened(self, opens_at: datetime, opened_at: datetime, global_control: int) -> None:
        self.opens_at = opens_at
        self.opened_at = opened_at
        self.global_control = global_control
        self.state = State.ASSIGNING

    def freeze_audience(self, snapshot: UUID, size: int, now: datetime) -> None:
        """Remember of which snapshot the units are the members; with nobody in it, it is over."""
        self._require_assigning()
        if self.size is not None:
            return
        if size == 0:
            self.cancel(now, EMPTY_AUDIENCE)
            return
        self._audience_frozen(snapshot=snapshot, size=size)

    @event(AudienceFrozen)
    def _audience_frozen(self, snapshot: UUID, size: int) -> None:
        self.snapshot = snapshot
        self.size = size

    def assign_page(self, page: str, next_page: str, counts: dict[str, int], removed: int, outside: int) -> int:
        """Take one page of the audience into account, in turn; returns the number of its batch."""
        self._require_assigning()
        if page != self.next_page or (self.pages > 0 and not page):
            raise PageOutOfTurn
        number = self.pages
        self._page_assigned(
            number=number,
            next_page=next_page,
            counts=counts,
            global_control=removed,
            outside=outside,
        )
        return number

    @event(PageAssigned)
    def _page_assigned(
        self,
        number: int,
        next_page: str,
        counts: dict[str, int],
        global_control: int,
        outside: int,
    ) -> None:
        self.pages = number + 1
        self.next_page = next_page
        self.removed += global_control
        self.outside += outside
        for variant, count in counts.items():
            self.counts[variant] = self.counts.get(variant, 0) + count

    def start_sending(self, now: datetime) -> None:
        """All pages are assigned: sending may begin."""
        self._require_assigning()
        if self.pages == 0 or self.next_page:
            raise PageOutOfTurn
        self._started(
            snapshot=self.snapshot,
            experiment=self.experiment,
            opens_at=self.opens_at,
            started_at=now,
            targeted=self.removed + self.outside + sum(self.counts.values()),
            global_control=self.removed,
            outside=self.outside,
            counts=dict(self.counts),
        )

    @event(Started)
    def _started(
        self,
        snapshot: UUID | None,
        experiment: str | None,
        opens_at: datetime | None,
        started_at: datetime,
        targeted: int,
        global_control: int,
        outside: int,
        counts: dict[str, int],
    ) -> None:
        self.started_at = started_at
        self.targeted = targeted
        self.removed = global_control
        self.outside = outside
        self.counts = counts
        self._open_batches()

    def finish_batch(self, number: int, now: datetime) -> None:
        """A batch has nothing left to send; with the last one the broadcast is complete."""
        if number not in self.unfinished:
            return
        self._batch_finished(number=number)
        if not self.unfinished and self.state is State.SENDING:
            self._completed(completed_at=now)

    @event(BatchFinished)
    def _batch_finished(self, number: int) -> None:
        self.unfinished.discard(number)

    @event(Completed)
    def _completed(self, completed_at: datetime) -> None:
        self.completed_at = completed_at
        self.state = State.COMPLETED

    def roll_out(self, arm: str, reason: str, now: datetime) -> None:
        """Send the text of `arm` to the remainder, which has waited so far."""
        if self.experiment is None:
            raise NoExperiment
        if self.design.remainder is None or self.rolled_out is not None:
            raise NoRemainder
        if self.state not in (State.SENDING, State.COMPLETED):
            raise BroadcastNotSending(state=self.state)
        if self.design.arm(arm) is None:
            raise ArmUnknown(field="arm", arm=arm)
        self._rolled_out(arm=arm, reason=reason, rolled_out_at=now)

    @event(RolledOut)
    def _rolled_out(self, arm: str, reason: str, rolled_out_at: datetime) -> None:
        self.rolled_out = arm
        self.roll_out_reason = reason
        self.rolled_out_at = rolled_out_at
        self._open_batches()

    def require_sending(self) -> None:
        """Refuse a reservation unless messages may go out now."""
        if self.state is not State.SENDING:
            raise BroadcastNotSending(state=self.state)

    def _require_assigning(self) -> None:
        if self.state is not State.ASSIGNING:
            raise BroadcastNotAssigning(state=self.state)

    def _open_batches(self) -> None:
        self.unfinished = set(range(self.pages))
        self.state = State.SENDING
