"""What campaigns needs from outside: tables that are truth, the audience, and the channel to send on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.campaigns.domain.crediting import Candidate, OrderFact, Window
from services.campaigns.domain.permissions import Consent, Permissions, Reachability


@dataclass(frozen=True, slots=True)
class Unit:
    """A customer assigned to a variant of a broadcast, for ever."""

    customer: UUID
    variant: str
    bucket: int


class Roster(Protocol):
    """Who is assigned to what, in the transaction of the unit of work and for its tenant."""

    def enrol(self, broadcast: UUID, units: Sequence[Unit], at: datetime) -> None:
        """Keep the assignments; a customer who has one in this broadcast is a conflict."""

    def enrolled(self, broadcast: UUID, customers: Collection[UUID]) -> set[UUID]:
        """Which of `customers` are units of the broadcast."""

    def persons(self, nodes: Collection[UUID]) -> dict[UUID, UUID]:
        """The customer that each of `nodes` belongs to now; itself where nothing else is known."""

    def erased(self, nodes: Collection[UUID]) -> set[UUID]:
        """Those of `nodes` that were somebody who is erased."""

    def visitors(self, persons: Collection[UUID]) -> set[UUID]:
        """Those of `persons` of whom nobody knows who they are."""

    def contact(self, broadcast: UUID, persons: Mapping[UUID, UUID]) -> set[UUID]:
        """Claim one message per person; the units (keys) of `persons` that got the claim.

        A person keeps the claim of any node that belongs to it, whoever it belonged to then; where a unit and the
        person it was then are two again, both keep it.
        """

    def queue(self, broadcast: UUID) -> None:
        """Let the dispatcher work on the broadcast."""

    def unqueue(self, broadcast: UUID) -> None:
        """The dispatcher has nothing to do for the broadcast at present."""


class PermissionBook(Protocol):
    """What people allow and where they can be reached, by node, of one tenant."""

    def note(self, consents: Sequence[Consent], channels: Sequence[Reachability]) -> None:
        """Keep what was said, at most one word for each place, unless a heavier one is known; nothing of who is erased."""

    def of(self, persons: Collection[UUID]) -> dict[UUID, Permissions]:
        """What was said for all nodes of each of `persons`; of whom nothing was said is not in it."""


class OrderBook(Protocol):
    """Order facts within the observation of some broadcast, and which of them wait for crediting."""

    def open(self, window: Window) -> None:
        """Keep order facts for `window` from now on; again: move it."""

    def close(self, broadcast: UUID) -> None:
        """The broadcast needs no order facts."""

    def recall(self, units: Collection[UUID]) -> None:
        """Let the orders that the persons of `units` have already paid be credited."""

    def due(self, limit: int) -> dict[UUID, datetime]:
        """Orders that wait for crediting, locked until the end of the transaction.

        With each, when the first thing was recorded that asks for it.
        """

    def facts(self, orders: Collection[UUID]) -> list[OrderFact]:
        """All facts of `orders`."""

    def windows(self, since: datetime) -> list[Window]:
        """The windows of the tenant's broadcasts that were not final at `since`."""

    def candidates(self, persons: Collection[UUID]) -> list[Candidate]:
        """Every unit that is one of `persons` now."""

    def settled(self, orders: Collection[UUID]) -> None:
        """These orders are credited; they wait no more."""


@dataclass(frozen=True, slots=True)
class AudiencePage:
    """Customers with their assignment keys, and where to go on ("" at the end)."""

    members: Sequence[tuple[UUID, str]]
    next_page: str


class Audience(Protocol):
    """The segments and snapshots of the current tenant."""

    async def freeze(self, segment: UUID, request: UUID) -> tuple[UUID, int]:
        """The snapshot taken of `segment` for `request` (the same one if asked again), and its size."""

    async def size(self, snapshot: UUID) -> int: ...

    async def page(self, snapshot: UUID, page: str, size: int) -> AudiencePage: ...


@dataclass(frozen=True, slots=True)
class Outbound:
    """One message to be sent, by a channel such as "SMS"; a provider that sees `delivery` again has sent it already."""

    delivery: UUID
    broadcast: UUID
    unit: UUID
    customer: UUID
    arm: str
    text: str
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a provider answered: units it sent to, and units it refused with the reason."""

    sent: frozenset[UUID] = frozenset()
    failed: Mapping[UUID, str] | None = None


class Channel(Protocol):
    """A provider that carries messages to people; called outside of transactions only."""

    async def send(self, tenant: str, messages: Sequence[Outbound]) -> Outcomes:
        """Send; an exception leaves open what was sent."""

    async def taken(self, tenant: str, broadcast: UUID, deliveries: Collection[UUID]) -> set[UUID]:
        """Which of `deliveries` of the broadcast the provider knows to have taken."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for the dispatcher: broadcasts to advance, tenants with orders to credit, and tenants whose flows send."""

    broadcasts: Sequence[tuple[str, UUID]]
    tenants: Sequence[str]
    senders: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.broadcasts) + len(self.tenants) + len(self.senders)


class WorkList(Protocol):
    """Looked at by the dispatcher outside of transactions."""

    async def pending(self) -> Backlog: ...
