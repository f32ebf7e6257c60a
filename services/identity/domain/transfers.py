"""A transfer: customers of one member of staff go to a colleague, a chunk at a time, so that it can be many thousand of them."""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event

CHUNK: Final = 500
"""So many nodes are handed over in one transaction."""


class TransferState(StrEnum):
    """RUNNING until all are handed over, or stopped because the colleague left."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    STOPPED = "STOPPED"


class Transfer(Aggregate):
    """One transfer and how far it is: at what part of the portfolio, or at what customer of its list."""

    TOPIC = "identity.Transfer"

    class Requested(InitialEvent):
        """Somebody asked for it; `customers` None stands for all."""

        TOPIC = "identity.TransferRequested"
        tenant: str
        from_staff: UUID
        to_staff: UUID
        customers: tuple[UUID, ...] | None
        reason: str
        effective_at: datetime

    class Advanced(Event):
        """A chunk was handed over; `skipped` are customers that were not the first one's; it goes on at `position`."""

        TOPIC = "identity.TransferAdvanced"
        position: int
        moved: int
        skipped: int

    class Ended(Event):
        """Nothing is left to do, or it cannot go on."""

        TOPIC = "identity.TransferEnded"
        state: TransferState
        ended_at: datetime

    @event(Requested)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        from_staff: UUID,
        to_staff: UUID,
        customers: tuple[UUID, ...] | None,
        reason: str,
        effective_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.from_staff = from_staff
        self.to_staff = to_staff
        self.customers = customers
        self.reason = reason
        self.effective_at = effective_at
        self.state = TransferState.RUNNING
        self.position = 0
        self.steps = 0
        self.moved = 0
        self.skipped = 0

    @event(Advanced)
    def advance(self, position: int, moved: int, skipped: int) -> None:
        """Note that a chunk was handed over."""
        self.position = position
        self.steps += 1
        self.moved += moved
        self.skipped += skipped

    @event(Ended)
    def end(self, state: TransferState, ended_at: datetime) -> None:
        """Have done with it."""
        self.state = state
