"""What staff and a customer had to do with each other: follow-ups and contacts. Both are records that stay as they are.

A follow-up that was wrong is corrected by another one that supersedes it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.identity.domain.errors import FollowUpSuperseded
from services.identity.domain.sealing import Sealed

CONTENT: Final = "follow_up.content"
"""The field for which the words of a follow-up are sealed."""


class FollowUpType(StrEnum):
    """What was done."""

    VISIT = "VISIT"
    CALL = "CALL"
    CHAT = "CHAT"
    NOTE = "NOTE"


class Direction(StrEnum):
    """Who reached out: INBOUND the customer, OUTBOUND the brand."""

    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"


@dataclass(frozen=True, slots=True)
class Notes:
    """What a follow-up says; `stage` is a code, `stage` and `product` are empty for none."""

    type: FollowUpType
    content: Sealed | None
    stage: str
    next_follow_at: datetime | None
    topics: tuple[str, ...]
    product: str


class FollowUp(Aggregate):
    """Something that staff did with a customer."""

    TOPIC = "identity.FollowUp"

    class Recorded(InitialEvent):
        """It was done."""

        TOPIC = "identity.FollowUpRecorded"
        tenant: str
        node: UUID
        staff: UUID | None
        notes: Notes
        supersedes: UUID | None
        occurred_at: datetime

    class Superseded(Event):
        """Another one says what is right."""

        TOPIC = "identity.FollowUpSuperseded"
        by: UUID

    @event(Recorded)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        node: UUID,
        staff: UUID | None,
        notes: Notes,
        supersedes: UUID | None,
        occurred_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.node = node
        self.notes = notes
        self.superseded_by: UUID | None = None

    def give_way(self, by: UUID) -> None:
        """Be corrected by another one. Raises FollowUpSuperseded if one did so before."""
        if self.superseded_by is not None:
            raise FollowUpSuperseded(field="supersedes", by=self.superseded_by)
        self._superseded(by=by)

    @event(Superseded)
    def _superseded(self, by: UUID) -> None:
        self.superseded_by = by


class Contact(Aggregate):
    """A customer and the brand were in touch."""

    TOPIC = "identity.Contact"

    class Recorded(InitialEvent):
        """They were; `channel` and `result` are codes."""

        TOPIC = "identity.ContactRecorded"
        tenant: str
        node: UUID
        channel: str
        direction: Direction
        result: str
        duration_seconds: int | None
        staff: UUID | None
        occurred_at: datetime

    @event(Recorded)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        node: UUID,
        channel: str,
        direction: Direction,
        result: str,
        duration_seconds: int | None,
        staff: UUID | None,
        occurred_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.node = node
