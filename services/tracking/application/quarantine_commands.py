"""Sending events that were put aside through the intake again (TR-1): each is accepted once at most."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.domain.intake import Reason
from services.tracking.domain.plan import PRESET_PLAN, Plan, TrackingPlan, plan_id

MOST_REPLAYED: Final = 1000

REPLAYABLE: Final = (
    Reason.TOO_LATE,
    Reason.FUTURE_TIMESTAMP,
    Reason.SCHEMA,
    Reason.UNKNOWN_TYPE,
    Reason.NO_IDENTITY,
)
"""What was put aside for another reason has been accepted, or never can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayQuarantined:
    """Up to `limit` events behind the number `after` that fit all of the rest; with `accept_late` however late they came."""

    source_key: str = ""
    event_type: str = ""
    message_id: str = ""
    reason: Reason | None = None
    start: datetime | None = None
    end: datetime | None = None
    after: int = 0
    limit: int = MOST_REPLAYED
    accept_late: bool = False

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return tuple(it for it in REPLAYABLE if self.reason in (None, it))


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many were accepted, and stay aside by reason; the number of the last one, and whether there are more behind it."""

    accepted: int
    refused: Mapping[Reason, int]
    last: int
    more: bool


class Quarantine(Protocol):
    """The events of one tenant that were put aside, in the transaction of the unit of work."""

    def replay(self, wanted: ReplayQuarantined, plan: Plan, now: datetime) -> Replayed:
        """Judge the events again, as of when they were received and by `plan`, and accept those that are good."""


Quarantines: TypeAlias = Callable[[UnitOfWork], Quarantine]


def replay_quarantined(command: ReplayQuarantined, work: UnitOfWork, quarantines: Quarantines) -> Replayed:
    found = work.find(TrackingPlan, plan_id(work.context.tenant))
    plan = Plan.of(found) if found else PRESET_PLAN
    return quarantines(work).replay(command, plan, work.now)


def quarantine_handlers(quarantines: Quarantines) -> Handlers:
    return (handler(ReplayQuarantined, lambda command, work: replay_quarantined(command, work, quarantines)),)
