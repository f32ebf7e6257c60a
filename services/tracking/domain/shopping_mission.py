"""What was told of a shopping mission (TR-10): each step once, where it got stuck, and how it ended."""

from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.tracking.domain.missions import NeedState, Result
from services.tracking.domain.path_facts import Step


class ShoppingMission(Aggregate):
    """A mission as it was told to others; what it is at any moment is worked out from facts (`missions`)."""

    TOPIC = "tracking.ShoppingMission"

    class Opened(InitialEvent):
        """Something of the mission is worth telling."""

        TOPIC = "tracking.MissionOpened"
        tenant: str
        node: UUID
        category: str

    class NodeReached(Event):
        """The mission came to a step for the first time."""

        TOPIC = "tracking.PathNodeReached"
        node: UUID
        category: str
        step: Step
        sku: str
        order_id: UUID | None
        reached_at: datetime

    class Stalled(Event):
        """Nothing followed on a step since `since`, for `after_seconds`."""

        TOPIC = "tracking.PathStalled"
        node: UUID
        category: str
        step: Step
        order_id: UUID | None
        since: datetime
        after_seconds: int

    class Closed(Event):
        """The mission ended as `result`; told again if later facts say otherwise."""

        TOPIC = "tracking.MissionClosed"
        node: UUID
        category: str
        result: Result
        need_state: NeedState
        closed_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, node: UUID, category: str) -> None:
        self.tenant = tenant
        self.node = node
        self.category = category
        self.reached: set[Step] = set()
        self.stalls: set[tuple[Step, UUID | None, datetime, int]] = set()
        self.result = Result.OPEN

    def reach(self, step: Step, at: datetime, *, node: UUID, sku: str, order_id: UUID | None) -> None:
        if step not in self.reached:
            self._reached(node, self.category, step, sku, order_id, at)

    def stall(self, step: Step, since: datetime, after_seconds: int, *, node: UUID, order_id: UUID | None) -> None:
        if (step, order_id, since, after_seconds) not in self.stalls:
            self._stalled(node, self.category, step, order_id, since, after_seconds)

    def close(self, result: Result, need_state: NeedState, at: datetime) -> None:
        if result != self.result:
            self._closed(self.node, self.category, result, need_state, at)

    @event(NodeReached)
    def _reached(
        self, node: UUID, category: str, step: Step, sku: str, order_id: UUID | None, reached_at: datetime
    ) -> None:
        self.reached.add(step)

    @event(Stalled)
    def _stalled(
        self, node: UUID, category: str, step: Step, order_id: UUID | None, since: datetime, after_seconds: int
    ) -> None:
        self.stalls.add((step, order_id, since, after_seconds))

    @event(Closed)
    def _closed(self, node: UUID, category: str, result: Result, need_state: NeedState, closed_at: datetime) -> None:
        self.result = result
