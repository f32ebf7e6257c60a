"""Coming into a segment and going out of it (spec TG-6): what changed at one instant for one reason."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import Aggregate, InitialEvent, event


class MembershipCause(StrEnum):
    """Why customers are in a segment now, or no longer. EDIT: its definition or list, BACKFILL: it is new or counted anew."""

    EVENT = "EVENT"
    TIME = "TIME"
    EDIT = "EDIT"
    MERGE = "MERGE"
    BACKFILL = "BACKFILL"
    ERASURE = "ERASURE"


class MembershipChange(Aggregate):
    """The customers who came into one segment or went out of it in one transaction, for one reason."""

    TOPIC = "tagging.MembershipChange"

    class Happened(InitialEvent):
        """`number` orders the changes of a segment; `size` is how many are in it then, if it was worked out for everybody."""

        TOPIC = "tagging.SegmentMembershipChanged"
        tenant: str
        segment: UUID
        revision: int
        number: int
        cause: MembershipCause
        entered: tuple[UUID, ...]
        exited: tuple[UUID, ...]
        size: int | None
        at: datetime

    @event(Happened)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        segment: UUID,
        revision: int,
        number: int,
        cause: MembershipCause,
        entered: tuple[UUID, ...],
        exited: tuple[UUID, ...],
        size: int | None,
        at: datetime,
    ) -> None:
        self.tenant = tenant
        self.segment = segment
