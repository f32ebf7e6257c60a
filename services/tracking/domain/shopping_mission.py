"""What was told of a shopping mission (TR-10): each step once, where it got stuck, and how it ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.tracking.domain.missions import NeedState, Result
from services.tracking.domain.path_facts import Step


@dataclass(frozen=True, slots=True)
class Reached:
    """The mission came to a step for the first time, by a fact of `node`."""

    step: Step
    node: UUID
    sku: str
    order_id: UUID | None
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class Ending:
    """How the mission ended; told again if later facts say otherwise."""

    result: Result
    need_state: NeedState
    closed_at: datetime


class ShoppingMission(Aggregate):
    """A mission as it was told to others; what it is at any moment is worked out from facts (`missions`)."""

    TOPIC = "tracking.ShoppingMission"

    class Begun(InitialEvent):
        """Something of the mission is worth telling: all that a batch of facts made of it."""

        TOPIC = "tracking.MissionBegun"
        tenant: str
        node: UUID
        category: str
        steps: tuple[Reached, ...]
        ending: Ending | None

    class Moved(Event):
        """What a batch of facts made of the mission since."""

        TOPIC = "tracking.MissionMoved"
        node: UUID
        category: str
        steps: tuple[Reached, ...]
        ending: Ending | None

    class Stalled(Event):
        """Nothing followed on a step since `since`, for `after_seconds`."""

        TOPIC = "tracking.PathStalled"
        node: UUID
        category: str
        step: Step
        order_id: UUID | None
        since: datetime
        after_seconds: int

    class Opened(InitialEvent):
        """How a mission began when each step of it was an event of its own."""

        TOPIC = "tracking.MissionOpened"
        tenant: str
        node: UUID
        category: str

    class NodeReached(Event):
        """A step that was an event of its own."""

        TOPIC = "tracking.PathNodeReached"
        node: UUID
        category: str
        step: Step
        sku: str
        order_id: UUID | None
        reached_at: datetime

        def apply(self, aggregate: "ShoppingMission") -> None:
            aggregate.reached.add(self.step)

    class Closed(Event):
        """An ending that was an event of its own."""

        TOPIC = "tracking.MissionClosed"
        node: UUID
        category: str
        result: Result
        need_state: NeedState
        closed_at: datetime

        def apply(self, aggregate: "ShoppingMission") -> None:
            aggregate.result = self.result

    @event(Begun)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        node: UUID,
        category: str,
        steps: tuple[Reached, ...] = (),
        ending: Ending | None = None,
    ) -> None:
        self.tenant = tenant
        self.node = node
        self.category = category
        self.reached: set[Step] = {it.step for it in steps}
        self.stalls: set[tuple[Step, UUID | None, datetime, int]] = set()
        self.result = ending.result if ending else Result.OPEN

    def move(self, steps: Iterable[Reached], ending: Ending | None = None) -> None:
        """Tell what of this is new; nothing if nothing is."""
        new = tuple(it for it in first_of_each(steps) if it.step not in self.reached)
        other = None if ending is None or ending.result == self.result else ending
        if new or other:
            self._moved(self.node, self.category, new, other)

    def stall(self, step: Step, since: datetime, after_seconds: int, *, node: UUID, order_id: UUID | None) -> None:
        if (step, order_id, since, after_seconds) not in self.stalls:
            self._stalled(node, self.category, step, order_id, since, after_seconds)

    @event(Moved)
    def _moved(self, node: UUID, category: str, steps: tuple[Reached, ...], ending: Ending | None) -> None:
        self.reached.update(it.step for it in steps)
        if ending:
            self.result = ending.result

    @event(Stalled)
    def _stalled(
        self, node: UUID, category: str, step: Step, order_id: UUID | None, since: datetime, after_seconds: int
    ) -> None:
        self.stalls.add((step, order_id, since, after_seconds))


def first_of_each(steps: Iterable[Reached]) -> tuple[Reached, ...]:
    """Each step once, as it was reached first."""
    found: dict[Step, Reached] = {}
    for it in steps:
        found.setdefault(it.step, it)
    return tuple(found.values())
