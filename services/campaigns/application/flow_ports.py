"""The tables that flows need: who listens to what, who is or was in which flow, what is to be sent, and who has bought."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.campaigns.domain.flow_definition import Fact


@dataclass(frozen=True, slots=True)
class Listener:
    """A flow that facts of this kind concern: those who are in it, or with `starts` those who are not."""

    flow: UUID
    fact: Fact
    starts: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody came into a flow: the node it came to, and the customer it is for. `ended_at` is None while it runs."""

    instance: UUID
    flow: UUID
    node: UUID
    customer: UUID
    entry_key: str
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """An entry with the persons that its customer and its node are now."""

    entry: Entry
    holder: UUID
    origin: UUID


@dataclass(frozen=True, slots=True)
class OpenSend:
    """A message of a flow that is to be sent, or is being sent."""

    delivery: UUID
    flow: UUID
    instance: UUID
    step: str


class FlowBook(Protocol):
    """The tables of one tenant in the transaction of the unit of work."""

    def listeners(self) -> Sequence[Listener]:
        """Everything that flows of the tenant listen to."""

    def listen(self, flow: UUID, trigger: Fact | None, heeds: Iterable[Fact]) -> None:
        """The flow is started by `trigger` only (None: by nothing), and also heeds these facts."""

    def entries(self, persons: Collection[UUID]) -> list[Held]:
        """What these persons are in or were in, by customer or by node."""

    def running(self, customers: Collection[UUID]) -> list[Held]:
        """What runs for `customers`, as they were called then."""

    def named(self, nodes: Collection[UUID]) -> list[Entry]:
        """What `nodes` are in or were in, as node or as customer."""

    def keep(self, entry: Entry) -> None:
        """Note an entry as it is now, with the events of the unit of work."""

    def plan(self, send: OpenSend) -> None:
        """Let the dispatcher send, with the events of the unit of work."""

    def reserve(self, limit: int, lease_until: datetime) -> list[OpenSend]:
        """Claim up to `limit` of what is planned."""

    def lapsed(self, now: datetime) -> list[OpenSend]:
        """What was claimed by somebody whose lease ran out."""

    def close(self, deliveries: Collection[UUID]) -> None:
        """These are not open any more."""

    def bought(self, persons: Collection[UUID]) -> set[UUID]:
        """Which of `persons` have ever paid for something, by any node."""

    def note_buyers(self, nodes: Collection[UUID]) -> None:
        """These nodes have paid for something."""

    def note_visitors(self, anonymous: Collection[UUID], known: Collection[UUID]) -> None:
        """Nobody knows who these are; of those somebody does."""
