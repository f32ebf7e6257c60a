"""The tables of flows on plain Python objects, for the suites that run on the memory store."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.campaigns.application.flow_ports import Entry, Held, Listener, OpenSend
from services.campaigns.domain.flow_definition import Fact
from tests.campaigns.memory import MemoryTables


@dataclass(slots=True)
class MemoryFlowBook:
    """What the tables hold, of one tenant; who is who is in `tables`."""

    tables: MemoryTables
    heard: set[Listener] = field(default_factory=set)
    kept: dict[UUID, Entry] = field(default_factory=dict)
    sends: dict[UUID, tuple[OpenSend, datetime | None]] = field(default_factory=dict)
    buyers: set[UUID] = field(default_factory=set)

    def listeners(self) -> Sequence[Listener]:
        return list(self.heard)

    def listen(self, flow: UUID, trigger: Fact | None, heeds: Iterable[Fact]) -> None:
        self.heard = {it for it in self.heard if it.flow != flow or not it.starts}
        self.heard |= {Listener(flow, it, False) for it in heeds}
        self.heard |= {Listener(flow, trigger, True)} if trigger else set()

    def entries(self, persons: Collection[UUID]) -> list[Held]:
        return [it for it in self._held() if {it.holder, it.origin} & set(persons)]

    def running(self, customers: Collection[UUID]) -> list[Held]:
        return [it for it in self._held() if it.entry.ended_at is None and it.entry.customer in customers]

    def named(self, nodes: Collection[UUID]) -> list[Entry]:
        return [it for it in self.kept.values() if {it.node, it.customer} & set(nodes)]

    def keep(self, entry: Entry) -> None:
        if not {entry.node, entry.customer} & self.tables.gone.keys():
            self.kept[entry.instance] = entry

    def plan(self, send: OpenSend) -> None:
        self.sends[send.delivery] = (send, None)
        self.tables.is_sending = True

    def reserve(self, limit: int, lease_until: datetime) -> list[OpenSend]:
        planned = [it for it, lease in self.sends.values() if lease is None]
        found = sorted(planned, key=lambda it: it.delivery)[:limit]
        self.sends.update({it.delivery: (it, lease_until) for it in found})
        return found

    def lapsed(self, now: datetime) -> list[OpenSend]:
        return [it for it, lease in self.sends.values() if lease is not None and lease <= now]

    def close(self, deliveries: Collection[UUID]) -> None:
        for it in deliveries:
            self.sends.pop(it, None)
        self.tables.is_sending = bool(self.sends)

    def bought(self, persons: Collection[UUID]) -> set[UUID]:
        return {self.tables.person(it) for it in self.buyers} & set(persons)

    def note_buyers(self, nodes: Collection[UUID]) -> None:
        self.buyers |= set(nodes)

    def note_visitors(self, anonymous: Collection[UUID], known: Collection[UUID]) -> None:
        self.tables.unknown = (self.tables.unknown | set(anonymous)) - set(known)

    def forget(self, nodes: Collection[UUID]) -> None:
        """What erasing does to these tables."""
        gone = {it.instance for it in self.named(nodes)}
        self.kept = {id: it for id, it in self.kept.items() if id not in gone}
        self.sends = {id: it for id, it in self.sends.items() if it[0].instance not in gone}
        self.buyers -= set(nodes)
        self.tables.unknown -= set(nodes)

    def _held(self) -> list[Held]:
        kept = sorted(self.kept.values(), key=lambda it: it.instance)
        return [Held(it, self.tables.person(it.customer), self.tables.person(it.node)) for it in kept]
