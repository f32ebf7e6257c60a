"""The tables of campaigns on plain Python objects, for the suites that run on the memory store."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.campaigns.application.policies import NodeMoved, Spans
from services.campaigns.application.ports import Backlog, Outbound, Outcomes, Unit
from services.campaigns.domain.crediting import Candidate, OrderFact, Window


@dataclass(slots=True)
class MemoryTables:
    """What the tables hold, of one tenant."""

    tenant: str
    units: dict[tuple[UUID, UUID], Unit] = field(default_factory=dict)
    recipients: set[tuple[UUID, UUID]] = field(default_factory=set)
    dispatches: set[UUID] = field(default_factory=set)
    nodes: dict[UUID, tuple[UUID, int]] = field(default_factory=dict)
    observed: dict[UUID, Window] = field(default_factory=dict)
    told: dict[tuple[UUID, int], OrderFact] = field(default_factory=dict)
    waiting: dict[UUID, datetime] = field(default_factory=dict)
    gone: dict[UUID, UUID] = field(default_factory=dict)
    unknown: set[UUID] = field(default_factory=set)
    is_sending: bool = False
    forget: Sequence[Callable[[Collection[UUID]], None]] = ()

    # roster

    def enrol(self, broadcast: UUID, units: Sequence[Unit], at: datetime) -> None:
        for unit in units:
            if (broadcast, unit.customer) in self.units:
                raise ValueError("assigned twice")
            self.units[broadcast, unit.customer] = unit

    def enrolled(self, broadcast: UUID, customers: Collection[UUID]) -> set[UUID]:
        return {it for it in customers if (broadcast, it) in self.units}

    def persons(self, nodes: Collection[UUID]) -> dict[UUID, UUID]:
        return {node: self.person(node) for node in nodes}

    def erased(self, *nodes: Any) -> set[UUID]:
        """For the roster the nodes, for the intake a tenant and the nodes."""
        return self.gone.keys() & set(nodes[-1])

    def visitors(self, persons: Collection[UUID]) -> set[UUID]:
        return self.unknown & set(persons)

    def contact(self, broadcast: UUID, persons: Mapping[UUID, UUID]) -> set[UUID]:
        claimed = set()
        for unit, person in sorted(persons.items()):
            if not any(b == broadcast and self.person(r) == person for b, r in self.recipients):
                self.recipients |= {(broadcast, person), (broadcast, unit)}
                claimed.add(unit)
        return claimed

    def queue(self, broadcast: UUID) -> None:
        self.dispatches.add(broadcast)

    def unqueue(self, broadcast: UUID) -> None:
        self.dispatches.discard(broadcast)

    # order book

    def open(self, window: Window) -> None:
        self.observed[window.broadcast] = window

    def close(self, broadcast: UUID) -> None:
        self.observed.pop(broadcast, None)

    def recall(self, units: Collection[UUID]) -> None:
        persons = {self.person(it) for it in units}
        self._ask(it for it in self.told.values() if self.person(it.node) in persons)

    def due(self, limit: int) -> dict[UUID, datetime]:
        return dict(sorted(self.waiting.items())[:limit])

    def facts(self, orders: Collection[UUID]) -> list[OrderFact]:
        return [it for it in self.told.values() if it.order in orders]

    def windows(self, since: datetime) -> list[Window]:
        return [it for it in self.observed.values() if it.final > since]

    def candidates(self, persons: Collection[UUID]) -> list[Candidate]:
        return [
            Candidate(broadcast, customer, unit.variant, self.person(customer))
            for (broadcast, customer), unit in self.units.items()
            if self.person(customer) in persons
        ]

    def settled(self, orders: Collection[UUID]) -> None:
        for order in orders:
            self.waiting.pop(order, None)

    # intake

    def spans(self, since: datetime) -> Spans:
        spans = [(it.opens, it.final) for it in self.observed.values() if it.final > since]
        return {self.tenant: spans} if spans else {}

    def keep(self, facts: Sequence[tuple[str, OrderFact]]) -> None:
        for _, fact in facts:
            self.told.setdefault((fact.order, fact.position), fact)
        self._ask(fact for _, fact in facts)

    def move(self, moves: Sequence[NodeMoved]) -> None:
        concerned = [{self.person(it.node), it.customer} for it in moves]
        self.move_without_asking(moves)
        for it, persons in zip(moves, concerned, strict=True):
            for fact in self.told.values():
                if self.person(fact.node) in persons:
                    cause = min(self.waiting.get(fact.order, it.at), it.at)
                    self.waiting[fact.order] = cause

    def move_without_asking(self, moves: Sequence[NodeMoved]) -> None:
        for it in moves:
            if self.nodes.get(it.node, (it.node, -1))[1] < it.position:
                self.nodes[it.node] = (it.customer, it.position)

    def erase(self, tenant: str, refs: Mapping[UUID, UUID]) -> dict[str, int]:
        def ref(it: UUID) -> UUID:
            return refs.get(it, it)

        removed = {"assignments": sum(customer in refs for _, customer in self.units)}
        self.gone.update(refs)
        for its in self.forget:
            its(refs)
        self.units = {(b, ref(c)): replace(unit, customer=ref(c)) for (b, c), unit in self.units.items()}
        self.recipients = {(broadcast, ref(it)) for broadcast, it in self.recipients}
        self.nodes = {ref(node): (ref(customer), at) for node, (customer, at) in self.nodes.items()}
        self.told = {key: replace(it, node=ref(it.node)) for key, it in self.told.items()}
        return removed

    # work list

    async def pending(self) -> Backlog:
        return Backlog(
            broadcasts=[(self.tenant, it) for it in sorted(self.dispatches)],
            tenants=[self.tenant] if self.waiting else [],
            senders=[self.tenant] if self.is_sending else [],
        )

    def person(self, node: UUID) -> UUID:
        return self.nodes.get(node, (node, -1))[0]

    def _ask(self, facts: Iterable[OrderFact]) -> None:
        for fact in facts:
            at = self.waiting.get(fact.order, fact.recorded_at)
            self.waiting[fact.order] = min(at, fact.recorded_at)


class Provider:
    """A provider that counts what it is asked to send, per delivery; `fault` may cut a call short."""

    def __init__(self) -> None:
        self.calls: list[Outbound] = []
        self.remembers = True
        self.fault: Exception | None = None
        self.refuses: dict[UUID, str] = {}

    async def send(self, tenant: str, messages: Sequence[Outbound]) -> Outcomes:
        self.calls.extend(messages)
        if self.fault is not None:
            raise self.fault
        refused = {it.unit: self.refuses[it.customer] for it in messages if it.customer in self.refuses}
        return Outcomes(frozenset(it.unit for it in messages) - refused.keys(), refused)

    async def taken(self, tenant: str, broadcast: UUID, deliveries: Collection[UUID]) -> set[UUID]:
        made = {it.delivery for it in self.calls}
        return made & set(deliveries) if self.remembers else set()
