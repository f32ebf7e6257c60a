"""A store of the brand: where staff work and orders are credited. Its id follows from its code, so a code names one store."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id


class StoreStatus(StrEnum):
    """Whether a store is in business."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the brand says of a store; `region_path` names its regions, the widest first."""

    title: str
    region_path: tuple[str, ...]
    status: StoreStatus


class Store(Aggregate):
    """One store of one brand."""

    TOPIC = "identity.Store"

    class Opened(InitialEvent):
        """The store was heard of for the first time."""

        TOPIC = "identity.StoreOpened"
        tenant: str
        code: str
        facts: StoreFacts
        opened_at: datetime

    class Changed(Event):
        """Something else is true of the store from now on."""

        TOPIC = "identity.StoreChanged"
        code: str
        facts: StoreFacts
        changed_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, code: str, facts: StoreFacts, opened_at: datetime) -> None:
        self.tenant = tenant
        self.code = code
        self.facts = facts

    def change(self, facts: StoreFacts, at: datetime) -> None:
        """Take over what the brand says now, if it is news."""
        if facts != self.facts:
            self._changed(code=self.code, facts=facts, changed_at=at)

    @event(Changed)
    def _changed(self, code: str, facts: StoreFacts, changed_at: datetime) -> None:
        self.facts = facts


def store_id(tenant: str, code: str) -> UUID:
    """The one store of the tenant with this code."""
    return natural_id(tenant, "store", code)
