"""Tags given to many customers in one call: to those who are in a segment at that moment (spec TG-2)."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event


class TagBatch(Aggregate):
    """One such call: whom it is for (a snapshot of the segment), and how far it has come."""

    TOPIC = "tagging.TagBatch"

    class Started(InitialEvent):
        TOPIC = "tagging.TagBatchStarted"
        tenant: str
        snapshot: UUID
        tags: tuple[tuple[str, str], ...]
        size: int
        source: str
        stores: tuple[UUID, ...] | None
        started_at: datetime

    class Advanced(Event):
        """The next customers were tagged, up to the ordinal `reached`; `skipped` counts by reason."""

        TOPIC = "tagging.TagBatchAdvanced"
        reached: int
        assigned: int
        unchanged: int
        skipped: dict[str, int]
        done: bool
        at: datetime

    @event(Started)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        snapshot: UUID,
        tags: tuple[tuple[str, str], ...],
        size: int,
        source: str,
        stores: tuple[UUID, ...] | None,
        started_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.snapshot = snapshot
        self.tags = tags
        self.size = size
        self.source = source
        self.stores = stores
        self.started_at = started_at
        self.reached = -1
        self.assigned = 0
        self.unchanged = 0
        self.skipped: dict[str, int] = {}
        self.done = False

    def advance(self, reached: int, counts: "Counts", done: bool, at: datetime) -> None:
        """Note what became of the next customers."""
        self._advanced(
            reached=reached,
            assigned=counts.assigned,
            unchanged=counts.unchanged,
            skipped=dict(counts.skipped),
            done=done,
            at=at,
        )

    @event(Advanced)
    def _advanced(
        self, reached: int, assigned: int, unchanged: int, skipped: Mapping[str, int], done: bool, at: datetime
    ) -> None:
        self.reached = reached
        self.assigned += assigned
        self.unchanged += unchanged
        for reason, count in skipped.items():
            self.skipped[reason] = self.skipped.get(reason, 0) + count
        self.done = done


class Counts:
    """Customers that were tagged, that were so already, and that were skipped, by reason."""

    def __init__(self) -> None:
        self.assigned = 0
        self.unchanged = 0
        self.skipped: dict[str, int] = {}

    def skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
