"""What a rehearsal shows: whom other rules would have joined, divided or changed."""

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from chassis.aggregate import Event
from services.identity.domain.customer import Customer
from services.identity.domain.namespaces import Namespaces
from services.identity.domain.rehearsal import Rehearsal


@dataclass(slots=True)
class Finding:
    """How many customers something holds for, and some of them."""

    most: int
    count: int = 0
    samples: list[UUID] = field(default_factory=list)

    def add(self, customer: UUID) -> None:
        self.count += 1
        if len(self.samples) < self.most:
            self.samples.append(customer)


@dataclass(frozen=True, slots=True)
class Report:
    """Of `customers` there are by today's rules: who would be one with others, who would be several, and who would be the
    same nodes but known otherwise or by other identifiers.

    `unexplained` are customers whom the rehearsal of today's rules does not find as they are on record.
    """

    customers: int
    merging: Finding
    splitting: Finding
    changing: Finding
    unexplained: int


class Comparison:
    """The past of a brand by today's rules and by others, side by side."""

    def __init__(self, tenant: str, today: Namespaces, other: Namespaces) -> None:
        self._today = Rehearsal(tenant, today)
        self._other = Rehearsal(tenant, other)
        self._survivor: dict[UUID, UUID] = {}

    def take(self, event: Event) -> None:
        """Events in the order of the log."""
        match event:
            case Customer.MergedInto(originator_id=id, survivor_id=survivor):
                self._survivor[id] = survivor
            case Customer.Restored(originator_id=id):
                self._survivor.pop(id, None)
        self._today.take(event)
        self._other.take(event)

    def report(self, samples: int) -> Report:
        """With up to so many samples of each kind."""
        report = Report(
            len(self._today.customers), Finding(samples), Finding(samples), Finding(samples), self._unexplained()
        )
        for it in sorted(self._today.customers, key=lambda it: it.id):
            become = _distinct(self._other, it.nodes)
            came_from = _distinct(self._today, [node for one in become for node in one.nodes])
            id = self._root(it.id)
            if len(become) > 1:
                report.splitting.add(id)
            if len(came_from) > 1:
                report.merging.add(id)
            if len(become) == len(came_from) == 1 and _looks(become[0]) != _looks(it):
                report.changing.add(id)
        return report

    def _unexplained(self) -> int:
        on_record: dict[UUID, set[UUID]] = {}
        for node in self._today.customer_of:
            on_record.setdefault(self._root(node), set()).add(node)
        found = {frozenset(it.nodes) for it in self._today.customers}
        return sum(frozenset(nodes) not in found for nodes in on_record.values())

    def _root(self, node: UUID) -> UUID:
        """The customer to whom the node belongs on record."""
        while node in self._survivor:
            node = self._survivor[node]
        return node


def _distinct(rehearsal: Rehearsal, nodes: Collection[UUID]) -> list[Customer]:
    return list({it.id: it for it in (rehearsal.customer_of[node] for node in nodes)}.values())


def _looks(it: Customer) -> tuple[str, frozenset[object]]:
    return it.state, frozenset(it.identifiers)
