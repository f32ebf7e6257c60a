"""A comparison of customers that somebody asked for, and what came of it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event


@dataclass(frozen=True, slots=True)
class Skipped:
    """Blocks of one kind that were too large to compare: how many, and how many customers the largest has."""

    kind: str
    blocks: int
    largest: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of a run: pairs compared, pairs that wait for a steward, pairs merged unasked, and what was left out."""

    compared: int = 0
    opened: int = 0
    merged: int = 0
    skipped: tuple[Skipped, ...] = ()


class MatchRun(Aggregate):
    """One run; without `customers` it compares all."""

    TOPIC = "identity.MatchRun"

    class Requested(InitialEvent):
        """Somebody wants these customers, or all, compared."""

        TOPIC = "identity.MatchRunRequested"
        tenant: str
        customers: tuple[UUID, ...]
        requested_at: datetime

    class Finished(Event):
        """That is done."""

        TOPIC = "identity.MatchRunFinished"
        tally: Tally
        finished_at: datetime

    @event(Requested)
    def __init__(self, id: UUID, tenant: str, customers: tuple[UUID, ...], requested_at: datetime) -> None:
        self.tenant = tenant
        self.customers = customers
        self.requested_at = requested_at
        self.tally: Tally | None = None
        self.finished_at: datetime | None = None

    def finish(self, tally: Tally, at: datetime) -> None:
        """Once: a run that is carried out again after an interruption has the same outcome."""
        if self.finished_at is None:
            self._finished(tally=tally, finished_at=at)

    @event(Finished)
    def _finished(self, tally: Tally, finished_at: datetime) -> None:
        self.tally = tally
        self.finished_at = finished_at
