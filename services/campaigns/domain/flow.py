"""A flow: what becomes of a customer, step by step, once something has happened."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.campaigns.domain.errors import FlowNotPublished, FlowOver, NothingToPublish
from services.campaigns.domain.flow_definition import Definition
from services.campaigns.domain.permissions import MessageClass


class FlowState(StrEnum):
    """How far a flow is."""

    DRAFT = "DRAFT"
    PUBLISHED = "PUBLISHED"
    ENDED = "ENDED"


def only_services(fields: dict[str, Any]) -> None:
    """When flows sent nothing but service messages, by a channel without a name."""
    for step in fields["definition"]["steps"]:
        step.update(message_class=MessageClass.SERVICE, channel="")


class Flow(Aggregate):
    """DRAFT → PUBLISHED → ENDED. A published version never changes; who is in it stays in it, new ones enter the latest.

    A flow that is published may be drafted anew, and published again as the next version.
    """

    TOPIC = "campaigns.Flow"

    class Created(InitialEvent):
        TOPIC = "campaigns.FlowCreated"
        class_version = 2
        upcast_v1_v2 = staticmethod(only_services)
        tenant: str
        title: str
        definition: Definition
        created_at: datetime

    class Redrafted(Event):
        TOPIC = "campaigns.FlowRedrafted"
        class_version = 2
        upcast_v1_v2 = staticmethod(only_services)
        title: str
        definition: Definition

    class Published(Event):
        TOPIC = "campaigns.FlowPublished"
        class_version = 2
        upcast_v1_v2 = staticmethod(only_services)
        number: int
        definition: Definition
        published_at: datetime

    class Ended(Event):
        TOPIC = "campaigns.FlowEnded"
        number: int
        ended_at: datetime

    @event(Created)
    def __init__(self, id: UUID, tenant: str, title: str, definition: Definition, created_at: datetime) -> None:
        self.tenant = tenant
        self.title = title
        self.created_at = created_at
        self.state = FlowState.DRAFT
        self.draft: Definition | None = definition
        self.versions: dict[int, Definition] = {}

    @property
    def number(self) -> int:
        """The latest published version; 0 for none."""
        return len(self.versions)

    @property
    def current(self) -> Definition | None:
        """What who comes now enters; None while nobody may."""
        return self.versions[self.number] if self.state is FlowState.PUBLISHED else None

    def redraft(self, title: str, definition: Definition) -> None:
        """Say anew what the next version will be."""
        self._require_open()
        if (title, definition) != (self.title, self.draft):
            self._redrafted(title=title, definition=definition)

    @event(Redrafted)
    def _redrafted(self, title: str, definition: Definition) -> None:
        self.title = title
        self.draft = definition

    def publish(self, now: datetime) -> None:
        """Let customers enter the draft from now on."""
        self._require_open()
        if self.draft is None or self.draft == self.versions.get(self.number):
            raise NothingToPublish
        self.draft.check()
        self._published(number=self.number + 1, definition=self.draft, published_at=now)

    @event(Published)
    def _published(self, number: int, definition: Definition, published_at: datetime) -> None:
        self.versions[number] = definition
        self.draft = None
        self.state = FlowState.PUBLISHED

    def end(self, now: datetime) -> None:
        """Let nobody in any more; who is in it goes on to the end."""
        self._require_open()
        if self.state is FlowState.DRAFT:
            raise FlowNotPublished
        self._ended(number=self.number, ended_at=now)

    @event(Ended)
    def _ended(self, number: int, ended_at: datetime) -> None:
        self.state = FlowState.ENDED
        self.draft = None

    def _require_open(self) -> None:
        if self.state is FlowState.ENDED:
            raise FlowOver
