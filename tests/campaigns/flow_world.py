"""Flows in a world: published, driven by what is told and by time, and what became of those who came into them."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.event_store import MemoryEventStore
from services.campaigns.application.flow_commands import CreateFlow, PublishFlow, UpdateFlow
from services.campaigns.application.flow_steps import WAKE_TIMER, WakeInstance
from services.campaigns.domain.flow import Flow
from services.campaigns.domain.flow_definition import Definition, Fact, FactKind, Reentry, Step, StepKind
from services.campaigns.domain.flow_instance import FlowInstance
from tests.campaigns.world import World, customer

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)

REMINDER, SMS = "Your order is waiting", "Last call for your order"
UNPAID = Definition(
    trigger=Fact(FactKind.PATH_STALLED, "PLACE_ORDER", 30 * 60),
    steps=(
        Step("remind", StepKind.SEND, text=REMINDER),
        Step("patience", StepKind.WAIT, seconds=int(timedelta(hours=22.5).total_seconds())),
        Step("sms", StepKind.SEND, text=SMS),
    ),
    goal=Fact(FactKind.ORDER_PAID),
    exit_on=Fact(FactKind.ORDER_CANCELLED),
    reentry=Reentry.PER_ORDER,
)
"""The reminder of an order that is not paid: after half an hour, and once more when it is 23 hours old."""


def waiting(trigger: Fact, **other: Any) -> Definition:
    """A flow in which customers only wait, for a year."""
    return Definition(
        trigger, (Step("wait", StepKind.WAIT, seconds=int(timedelta(days=365).total_seconds())),), **other
    )


@dataclass(slots=True)
class Flows:
    """The flows of a world."""

    world: World

    def publish(self, definition: Definition, versions: int = 1) -> UUID:
        """A flow of as many versions; all of them do the same, in different words."""
        flow: Flow = self.world.execute(CreateFlow("a flow", definition))
        self.world.execute(PublishFlow(flow.id))
        for number in range(2, versions + 1):
            other = Definition(**{**_fields(definition), "max_age_seconds": definition.max_age_seconds + number})
            self.world.execute(UpdateFlow(flow.id, "a flow", other))
            self.world.execute(PublishFlow(flow.id))
        return flow.id

    def pass_to(self, at: datetime) -> None:
        """Let time go by: everything that comes due is done at its instant, and what is to be sent is sent."""
        self.world.settle()
        while due := self._due(at):
            for key, due_at in due:
                self.world.clock.set(max(due_at, self.world.clock.now()))
                self.world.execute(WakeInstance(UUID(key), due_at))
                self.world.settle()
        self.world.clock.set(at)

    def instances(self, flow: UUID | None = None) -> list[FlowInstance]:
        """All instances as stored, in the order in which they came in."""
        entered = [it for it in self.world.events(FlowInstance.Entered) if flow in (None, it.flow)]
        return [self.world.stored(FlowInstance, it.originator_id) for it in entered]

    def running(self, flow: UUID | None = None) -> list[FlowInstance]:
        return [it for it in self.instances(flow) if it.is_running]

    def ends(self) -> Counter[str]:
        return Counter(str(it.reason) for it in self.world.events(FlowInstance.Ended))

    def results(self) -> Counter[tuple[str, str]]:
        """How often a step had a result."""
        return Counter((it.step, str(it.result)) for it in self.world.events(FlowInstance.StepExecuted))

    def texts(self, who: str) -> list[str]:
        """What the provider was asked to send to the customer."""
        return [it.text for it in self.world.provider.calls if it.customer == customer(who)]

    def _due(self, at: datetime) -> list[tuple[str, datetime]]:
        store = self.world.bus.store
        timers = (
            [(it.kind, it.key, it.due_at) for it in store.timers.values()]
            if isinstance(store, MemoryEventStore)
            else self.world.timers()
        )
        waits = {str(it.id): it.stand.wake_at for it in self.running()}
        due = [(key, due) for kind, key, due in timers if kind == WAKE_TIMER and due <= at and waits.get(key) == due]
        return sorted(due, key=lambda it: it[1])


def _fields(definition: Definition) -> dict[str, Any]:
    return {name: getattr(definition, name) for name in Definition.__dataclass_fields__}
