"""One customer on the way through one version of a flow.

A step is done once. To send is a step that ends when it is known what became of the message; the message is one delivery for
ever, whose id follows from the instance and the step.
"""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id


class EndReason(StrEnum):
    """Why an instance is over."""

    COMPLETED = "COMPLETED"
    GOAL_MET = "GOAL_MET"
    EXIT_CONDITION = "EXIT_CONDITION"
    MERGED = "MERGED"
    ERASED = "ERASED"


class StepResult(StrEnum):
    """What became of a step."""

    ELAPSED = "ELAPSED"
    HAPPENED = "HAPPENED"
    SENT = "SENT"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    SUPPRESSED = "SUPPRESSED"


class Stand(NamedTuple):
    """Where an instance is: at a step ("" for nowhere), until `wake_at` if it waits, or with a delivery under way."""

    step: str = ""
    wake_at: datetime | None = None
    delivery: UUID | None = None


class Cause(NamedTuple):
    """What started an instance: the message, the node it came to, the order it was about, and when it happened."""

    message: str
    node: UUID
    order: UUID | None
    at: datetime


class FlowInstance(Aggregate):
    """`customer` is who the node that started it was then; a merge may make it another, taking the merge back does not."""

    TOPIC = "campaigns.FlowInstance"

    class Entered(InitialEvent):
        TOPIC = "campaigns.FlowInstanceEntered"
        tenant: str
        flow: UUID
        number: int
        customer: UUID
        node: UUID
        order: UUID | None
        entry_key: str
        trigger: str
        since: datetime
        step: str
        wake_at: datetime | None
        delivery: UUID | None
        entered_at: datetime

    class StepExecuted(Event):
        TOPIC = "campaigns.FlowStepExecuted"
        flow: UUID
        number: int
        step: str
        result: StepResult
        reason: str
        effect: UUID | None
        next_step: str
        wake_at: datetime | None
        delivery: UUID | None
        late: bool
        executed_at: datetime

    class Rekeyed(Event):
        TOPIC = "campaigns.FlowInstanceRekeyed"
        flow: UUID
        customer: UUID
        rekeyed_at: datetime

    class Ended(Event):
        TOPIC = "campaigns.FlowInstanceEnded"
        flow: UUID
        number: int
        step: str
        reason: EndReason
        ended_at: datetime

    @event(Entered)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        flow: UUID,
        number: int,
        customer: UUID,
        node: UUID,
        order: UUID | None,
        entry_key: str,
        trigger: str,
        since: datetime,
        step: str,
        wake_at: datetime | None,
        delivery: UUID | None,
        entered_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.flow = flow
        self.number = number
        self.customer = customer
        self.node = node
        self.order = order
        self.entry_key = entry_key
        self.trigger = trigger
        self.since = since
        self.entered_at = entered_at
        self.ended_at: datetime | None = None
        self.stand = Stand(step, wake_at, delivery)
        self.open_deliveries: dict[UUID, str] = {delivery: step} if delivery else {}

    @property
    def is_running(self) -> bool:
        return self.ended_at is None

    def execute(self, result: StepResult, after: Stand, now: datetime, reason: str = "") -> None:
        """The step it stands at is done, with `result`; it goes on to `after`, or is completed where that is nowhere."""
        step, _, delivery = self.stand
        self._executed(step, result, reason, delivery, *after, late=False, executed_at=now)
        if not after.step:
            self.end(EndReason.COMPLETED, now)

    def conclude(self, delivery: UUID, result: StepResult, now: datetime, reason: str = "") -> None:
        """What became of a message that was under way when the instance ended."""
        if delivery in self.open_deliveries:
            step = self.open_deliveries[delivery]
            self._executed(step, result, reason, delivery, *Stand(), late=True, executed_at=now)

    def _executed(
        self,
        step: str,
        result: StepResult,
        reason: str,
        effect: UUID | None,
        next_step: str,
        wake_at: datetime | None,
        delivery: UUID | None,
        *,
        late: bool,
        executed_at: datetime,
    ) -> None:
        self._step_executed(
            self.flow, self.number, step, result, reason, effect, next_step, wake_at, delivery, late, executed_at
        )

    @event(StepExecuted)
    def _step_executed(
        self,
        flow: UUID,
        number: int,
        step: str,
        result: StepResult,
        reason: str,
        effect: UUID | None,
        next_step: str,
        wake_at: datetime | None,
        delivery: UUID | None,
        late: bool,
        executed_at: datetime,
    ) -> None:
        if effect is not None:
            self.open_deliveries.pop(effect, None)
        if delivery is not None:
            self.open_deliveries[delivery] = next_step
        if not late:
            self.stand = Stand(next_step, wake_at, delivery)

    def rekey(self, customer: UUID, now: datetime) -> None:
        """The customer is part of another one now."""
        if self.is_running and customer != self.customer:
            self._rekeyed(flow=self.flow, customer=customer, rekeyed_at=now)

    @event(Rekeyed)
    def _rekeyed(self, flow: UUID, customer: UUID, rekeyed_at: datetime) -> None:
        self.customer = customer

    def end(self, reason: EndReason, now: datetime) -> None:
        if self.is_running:
            self._ended(flow=self.flow, number=self.number, step=self.stand.step, reason=reason, ended_at=now)

    @event(Ended)
    def _ended(self, flow: UUID, number: int, step: str, reason: EndReason, ended_at: datetime) -> None:
        self.ended_at = ended_at
        self.stand = Stand()


def flow_delivery_id(tenant: str, instance: UUID, step: str) -> UUID:
    """The id under which a provider sees the one message of `step` to `instance`."""
    return natural_id(tenant, "flow_delivery", instance, step)
