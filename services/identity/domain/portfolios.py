"""What a member of staff has: the nodes they look after, and how many new ones they took on in a day.

The nodes are kept in parts, so that each is small enough to be read and handed over at a time, however many there are.
"""

from datetime import date
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id

PARTS: Final = 64


class Portfolio(Aggregate):
    """One part of the nodes that one member of staff looks after."""

    TOPIC = "identity.Portfolio"

    class Opened(InitialEvent):
        """The first node of this part was taken on."""

        TOPIC = "identity.PortfolioOpened"
        tenant: str
        staff: UUID
        part: int

    class Added(Event):
        """A node was taken on."""

        TOPIC = "identity.PortfolioAdded"
        node: UUID

    class Removed(Event):
        """A node was given away."""

        TOPIC = "identity.PortfolioRemoved"
        node: UUID

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, staff: UUID, part: int) -> None:
        self.tenant = tenant
        self.nodes: set[UUID] = set()

    @event(Added)
    def add(self, node: UUID) -> None:
        self.nodes.add(node)

    @event(Removed)
    def remove(self, node: UUID) -> None:
        self.nodes.discard(node)


class Intake(Aggregate):
    """The new customers of one member of staff on one local day."""

    TOPIC = "identity.Intake"

    class Opened(InitialEvent):
        """The first customer of the day came."""

        TOPIC = "identity.IntakeOpened"
        tenant: str
        staff: UUID
        day: date

    class Counted(Event):
        """A new customer came."""

        TOPIC = "identity.IntakeCounted"
        node: UUID

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, staff: UUID, day: date) -> None:
        self.tenant = tenant
        self.count = 0

    @event(Counted)
    def take(self, node: UUID) -> None:
        self.count += 1


def part_of(node: UUID) -> int:
    """The part of any portfolio in which the node is; ids are random at their end."""
    return node.int % PARTS


def portfolio_id(tenant: str, staff: UUID, part: int) -> UUID:
    return natural_id(tenant, "portfolio", staff, part)


def intake_id(tenant: str, staff: UUID, day: date) -> UUID:
    return natural_id(tenant, "intake", staff, day.isoformat())
