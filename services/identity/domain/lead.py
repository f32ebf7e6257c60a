"""Leads: the prospect that a customer buys something, until it is won or lost.

A customer has one open lead per category. Both the lead and the note of which one is open stay with a node, so that a merge changes
nothing stored: whoever opens one looks at all nodes of the customer. Two customers that are merged while each has one keep both,
and no third is opened before both are closed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import FieldRequired
from services.identity.domain.errors import IllegalTransition, LeadClosed

WON_WITHIN: Final = timedelta(days=30)
ORDER_PAID: Final = "ORDER_PAID"
"""The reason of a lead that an order won."""


class LeadState(StrEnum):
    """How far it is."""

    NEW = "NEW"
    FOLLOWING = "FOLLOWING"
    WON = "WON"
    LOST = "LOST"


_WAYS: Final[Mapping[LeadState, frozenset[LeadState]]] = {
    LeadState.NEW: frozenset({LeadState.FOLLOWING}),
    LeadState.FOLLOWING: frozenset({LeadState.WON, LeadState.LOST}),
}


@dataclass(frozen=True, slots=True)
class Prospect:
    """That the person of `node` buys something of `category`, or anything if it is empty: how likely (0 to 100), and who cares."""

    node: UUID
    category: str
    score: int
    owner: UUID | None


class Lead(Aggregate):
    """The prospect that a customer buys something."""

    TOPIC = "identity.Lead"

    class Opened(InitialEvent):
        """Somebody or some sign said that the customer may buy."""

        TOPIC = "identity.LeadOpened"
        tenant: str
        prospect: Prospect
        opened_at: datetime

    class Changed(Event):
        """It goes on, in another state, with another score or owner."""

        TOPIC = "identity.LeadChanged"
        prospect: Prospect
        state: LeadState
        changed_at: datetime

    class Won(Event):
        """The customer bought: by `order`, or because somebody says so."""

        TOPIC = "identity.LeadWon"
        prospect: Prospect
        order: UUID | None
        reason: str
        won_at: datetime

    class Lost(Event):
        """Nothing will come of it."""

        TOPIC = "identity.LeadLost"
        prospect: Prospect
        reason: str
        lost_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, prospect: Prospect, opened_at: datetime) -> None:
        self.tenant = tenant
        self.prospect = prospect
        self.opened_at = opened_at
        self.changed_at = opened_at
        self.state = LeadState.NEW
        self.reason = ""
        self.order: UUID | None = None

    @property
    def is_open(self) -> bool:
        return self.state in _WAYS

    def update(self, score: int | None, owner: UUID | None, at: datetime) -> None:
        """Another score or owner, None for none other; the same again is no news. Raises LeadClosed."""
        if not self.is_open:
            raise LeadClosed(state=self.state)
        known = self.prospect
        prospect = replace(known, score=known.score if score is None else score, owner=owner or known.owner)
        if prospect != known:
            self._changed(prospect=prospect, state=self.state, changed_at=at)

    def go_on(self, to: LeadState, reason: str, at: datetime) -> None:
        """Move on. Raises IllegalTransition, and FieldRequired for one that is lost without a reason."""
        if to not in _WAYS.get(self.state, ()):
            raise IllegalTransition(field="state", **{"from": self.state, "to": to})
        match to:
            case LeadState.WON:
                self._won(prospect=self.prospect, order=None, reason=reason, won_at=at)
            case LeadState.LOST if not reason:
                raise FieldRequired("a lead is lost for a reason", field="reason")
            case LeadState.LOST:
                self._lost(prospect=self.prospect, reason=reason, lost_at=at)
            case _:
                self._changed(prospect=self.prospect, state=to, changed_at=at)

    def meet_order(self, order: UUID, paid_at: datetime) -> None:
        """Be won by an order of the category, if it was paid within 30 days after the lead was opened."""
        if self.is_open and self.opened_at <= paid_at <= self.opened_at + WON_WITHIN:
            self._won(prospect=self.prospect, order=order, reason=ORDER_PAID, won_at=paid_at)

    @event(Changed)
    def _changed(self, prospect: Prospect, state: LeadState, changed_at: datetime) -> None:
        self.prospect, self.state, self.changed_at = prospect, state, changed_at

    @event(Won)
    def _won(self, prospect: Prospect, order: UUID | None, reason: str, won_at: datetime) -> None:
        self.state, self.order, self.reason, self.changed_at = LeadState.WON, order, reason, won_at

    @event(Lost)
    def _lost(self, prospect: Prospect, reason: str, lost_at: datetime) -> None:
        self.state, self.reason, self.changed_at = LeadState.LOST, reason, lost_at


class LeadSlot(Aggregate):
    """Which lead of one node and category was opened last: the only one of them that can be open."""

    TOPIC = "identity.LeadSlot"

    class Made(InitialEvent):
        """The first lead of this node and category is about to be opened."""

        TOPIC = "identity.LeadSlotMade"
        tenant: str

    class Taken(Event):
        """A lead was opened."""

        TOPIC = "identity.LeadSlotTaken"
        lead: UUID

    @event(Made)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.lead: UUID | None = None

    @classmethod
    def of(cls, tenant: str, node: UUID, category: str) -> "LeadSlot":
        return cls(slot_id(tenant, node, category), tenant)

    def take(self, lead: UUID) -> None:
        """Be about this lead from now on."""
        self._taken(lead=lead)

    @event(Taken)
    def _taken(self, lead: UUID) -> None:
        self.lead = lead


def slot_id(tenant: str, node: UUID, category: str) -> UUID:
    """The slot of one node and category."""
    return natural_id(tenant, "lead_slot", node, category)
