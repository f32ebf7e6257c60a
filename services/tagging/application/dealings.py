"""What a batch tells of dealings with customers: memberships, points, flows, messages and clicks, as far as it is kept here."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class MemberWord(NamedTuple):
    """Whether a node has a membership of its own, and since when; the word with the greatest (epoch, position) counts."""

    node: UUID
    since: datetime | None
    epoch: int
    position: int

    @property
    def place(self) -> tuple[int, int]:
        return self.epoch, self.position


@dataclass(slots=True)
class LotChange:
    """What happened to a lot of points: `points` are more or fewer. It can be spent from `active_at` on and is gone from `expires_at` on.

    `node` is whose account it is in, by the last word on that; None if nothing is said of it.
    """

    points: int = 0
    node: UUID | None = None
    active_at: datetime | None = None
    expires_at: datetime | None = None
    epoch: int = 0
    position: int = 0


@dataclass(slots=True)
class InstanceChange:
    """A way through a flow: begun for `node`, gone on with for `moved_to`, ended. Whatever is None was not told in this batch."""

    flow: UUID
    node: UUID | None = None
    entered_at: datetime | None = None
    moved_to: UUID | None = None
    ended_at: datetime | None = None
    reason: str = ""


class Delivery(NamedTuple):
    """A provider took a message: to `node`, or to whoever an instance of a flow is for."""

    delivery: str
    campaign: UUID
    node: UUID | None
    instance: UUID | None
    at: datetime


class Click(NamedTuple):
    """Somebody opened a link in a message."""

    delivery: str
    node: UUID
    at: datetime


@dataclass(slots=True)
class Dealt:
    """One batch of it."""

    members: dict[UUID, MemberWord] = field(default_factory=dict)
    lots: dict[UUID, LotChange] = field(default_factory=dict)
    debts: dict[UUID, int] = field(default_factory=dict)
    instances: dict[UUID, InstanceChange] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    clicks: dict[tuple[str, UUID], Click] = field(default_factory=dict)

    def member(self, word: MemberWord) -> None:
        before = self.members.get(word.node)
        if before is None or before.place < word.place:
            self.members[word.node] = word

    def lot(self, lot: UUID) -> LotChange:
        return self.lots.setdefault(lot, LotChange())

    def owe(self, node: UUID, points: int) -> None:
        if points:
            self.debts[node] = self.debts.get(node, 0) + points

    def click(self, click: Click) -> None:
        place = click.delivery, click.node
        before = self.clicks.get(place)
        if before is None or click.at < before.at:
            self.clicks[place] = click

    def drop(self, nodes: Collection[UUID]) -> None:
        """Forget what is told of `nodes`."""
        self.members = {node: it for node, it in self.members.items() if node not in nodes}
        self.lots = {lot: it for lot, it in self.lots.items() if it.node not in nodes}
        self.debts = {node: it for node, it in self.debts.items() if node not in nodes}
        self.instances = {id: it for id, it in self.instances.items() if it.node not in nodes}
        for it in self.instances.values():
            if it.moved_to in nodes:
                it.moved_to = None
        self.deliveries = {id: it for id, it in self.deliveries.items() if it.node not in nodes}
        self.clicks = {place: it for place, it in self.clicks.items() if it.node not in nodes}
