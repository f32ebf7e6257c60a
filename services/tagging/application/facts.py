"""What other services tell about customers, as far as this one keeps it; a batch of it in the order of arrival."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.tagging.application.dealings import Dealt
from services.tagging.domain.profile import (
    AttributeDefinition,
    AttributeValue,
    Consent,
    FollowUp,
    GroupChange,
    GuideWord,
    Reach,
)
from services.tagging.domain.sessions import Visit


class Recognition(NamedTuple):
    """A customer came into being, or became known, at `at`; its first node has the same id."""

    node: UUID
    known: bool
    assignment_key: str
    created: bool = False
    at: datetime | None = None


class Merge(NamedTuple):
    """`loser` and all that belongs to it is part of `survivor`, unless that was taken back."""

    id: UUID
    survivor: UUID
    loser: UUID
    undone: bool


class Erasing(NamedTuple):
    """A customer, with all nodes, is to be forgotten."""

    case_id: UUID
    customer: UUID
    nodes: tuple[UUID, ...]


class Paid(NamedTuple):
    """An order was paid, or its payment corrected; `net` in minor units, refunds told before in this batch added."""

    node: UUID
    order: UUID
    revision: int
    at: datetime
    currency: str
    net: int


class Refunded(NamedTuple):
    """Part of an order was paid back; minor units."""

    node: UUID
    order: UUID
    refund_no: str
    at: datetime
    amount: int


class Done(NamedTuple):
    """A behaviour as it is kept; `at` in microseconds since 1970, `key` tells it from others of the same node and instant,
    `properties` are JSON."""

    node: UUID
    at: int
    key: int
    type: str
    category: str
    channel: str
    offset: int | None
    content: str
    page_view: str
    properties: str


class Placed(NamedTuple):
    """An order was placed; `lines` is JSON: sku, category, brand, quantity, list and paid of each, in minor units; `coupons` is how many
    were used."""

    node: UUID
    order: UUID
    at: datetime
    lines: str
    coupons: int


@dataclass(slots=True)
class Said:
    """What a batch says of people beside what they did: the last word on each subject, by its key."""

    definitions: dict[str, AttributeDefinition] = field(default_factory=dict)
    attributes: dict[tuple[UUID, str, int], AttributeValue] = field(default_factory=dict)
    consents: dict[tuple[UUID, str, str], Consent] = field(default_factory=dict)
    guides: dict[tuple[UUID, datetime, str], GuideWord] = field(default_factory=dict)
    follow_ups: dict[tuple[UUID, UUID], FollowUp] = field(default_factory=dict)
    groups: dict[tuple[UUID, str], GroupChange] = field(default_factory=dict)
    channels: dict[tuple[UUID, str], Reach] = field(default_factory=dict)

    def nodes_with_consent(self, purpose: str) -> list[UUID]:
        """Of whom anything is said about a purpose."""
        return sorted({it.node for it in self.consents.values() if it.purpose == purpose})

    def drop(self, nodes: Collection[UUID]) -> None:
        """Forget what is said of `nodes`."""
        self.attributes = {key: it for key, it in self.attributes.items() if it.node not in nodes}
        self.consents = {key: it for key, it in self.consents.items() if it.node not in nodes}
        self.guides = {key: it for key, it in self.guides.items() if it.node not in nodes}
        self.follow_ups = {key: it for key, it in self.follow_ups.items() if it.node not in nodes}
        self.groups = {key: it for key, it in self.groups.items() if it.node not in nodes}
        self.channels = {key: it for key, it in self.channels.items() if it.node not in nodes}


@dataclass(slots=True)
class Facts:
    """One batch. `nodes` are all nodes it names, in the order in which they are first named."""

    nodes: dict[UUID, None] = field(default_factory=dict)
    recognitions: list[Recognition] = field(default_factory=list)
    merges: dict[UUID, Merge] = field(default_factory=dict)
    visits: dict[UUID, list[Visit]] = field(default_factory=dict)
    paid: dict[UUID, Paid] = field(default_factory=dict)
    refunded: dict[tuple[UUID, str], Refunded] = field(default_factory=dict)
    done: list[Done] = field(default_factory=list)
    placed: dict[UUID, Placed] = field(default_factory=dict)
    said: Said = field(default_factory=Said)
    dealt: Dealt = field(default_factory=Dealt)
    erasures: list[Erasing] = field(default_factory=list)

    def add(self, node: UUID, visit: Visit) -> None:
        visits = self.visits.get(node)
        if visits is None:
            self.nodes[node] = None
            self.visits[node] = [visit]
        else:
            visits.append(visit)

    def merge(self, merge: Merge) -> None:
        """Note a merge or that it was taken back, which is the last word on it whatever comes first."""
        self.nodes[merge.survivor] = self.nodes[merge.loser] = None
        if merge.undone or merge.id not in self.merges:
            self.merges[merge.id] = merge

    @property
    def erasing(self) -> set[UUID]:
        """The nodes that are to be forgotten with this batch."""
        return {node for it in self.erasures for node in it.nodes}

    def drop(self, nodes: Collection[UUID]) -> None:
        """Forget what is told of `nodes`; what is told of somebody else beside them stays."""
        self.recognitions = [it for it in self.recognitions if it.node not in nodes]
        self.merges = {id: it for id, it in self.merges.items() if it.survivor not in nodes and it.loser not in nodes}
        self.visits = {node: it for node, it in self.visits.items() if node not in nodes}
        self.paid = {id: it for id, it in self.paid.items() if it.node not in nodes}
        self.refunded = {id: it for id, it in self.refunded.items() if it.node not in nodes}
        self.done = [it for it in self.done if it.node not in nodes]
        self.placed = {id: it for id, it in self.placed.items() if it.node not in nodes}
        self.said.drop(nodes)
        self.dealt.drop(nodes)

    def pay(self, paid: Paid) -> None:
        self.nodes[paid.node] = None
        before = self.paid.get(paid.order)
        if before is None or paid.revision > before.revision:
            returned = sum(it.amount for it in self.refunded.values() if it.order == paid.order)
            self.paid[paid.order] = paid._replace(net=paid.net + returned) if returned else paid
