"""What the analysis of behaviours needs from outside: facts by node, and which nodes are one customer."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from chassis.commands import UnitOfWork
from services.tracking.domain.trail import Behaviour


@dataclass(frozen=True, slots=True)
class People:
    """Who the nodes asked for belong to now, and all nodes of these customers, those asked for first.

    What is to be looked at again is kept at the first: should the customers part again, it stays with whom it was about.
    """

    customers: Mapping[UUID, UUID]
    nodes: Mapping[UUID, Sequence[UUID]]

    @property
    def all_nodes(self) -> list[UUID]:
        return [node for them in self.nodes.values() for node in them]

    def of(self, node: UUID) -> UUID:
        return self.customers.get(node, node)

    def among(self, nodes: Collection[UUID]) -> "People":
        """The customers of `nodes` alone, all of whom were asked for; of each customer these nodes come first."""
        found: dict[UUID, list[UUID]] = {}
        for node in nodes:
            found.setdefault(self.of(node), []).append(node)
        for customer, theirs in found.items():
            theirs += [it for it in self.nodes[customer] if it not in nodes]
        return People(self.customers, found)


class FactBook(Protocol):
    """The facts of one tenant in the transaction of a unit of work."""

    def people(self, nodes: Collection[UUID]) -> People:
        """As far as identity has told; a node of whom nothing is known is a customer by itself."""

    def behaviours(self, nodes: Collection[UUID], types: Sequence[str]) -> list[Behaviour]:
        """The behaviours of `nodes` of these types."""

    def path(self, nodes: Collection[UUID]) -> list[Behaviour]:
        """The behaviours of `nodes` that may be steps of a purchase path, and what was taken out of carts."""

    def repeat_readers(self, people: People, opens: int) -> list[Behaviour]:
        """What those of `people` did around contents who have opened one of them in `opens` page views."""

    def orders(self, nodes: Collection[UUID]) -> set[UUID]:
        """The orders of `nodes`."""


Facts = Callable[[UnitOfWork], FactBook]
