"""The table of permissions on plain Python objects, for the suites that run on the memory store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.campaigns.domain.permissions import Consent, Permissions, Reachability
from tests.campaigns.memory import MemoryTables


@dataclass(slots=True)
class MemoryPermissions:
    """What the tables hold, of one tenant; who is who is in `tables`."""

    tables: MemoryTables
    consents: dict[tuple[UUID, str, str], Consent] = field(default_factory=dict)
    channels: dict[tuple[UUID, str], Reachability] = field(default_factory=dict)

    def note(self, consents: Sequence[Consent], channels: Sequence[Reachability]) -> None:
        for said in consents:
            place = said.node, said.purpose, said.channel
            if said.node not in self.tables.gone:
                self.consents[place] = max(said, self.consents.get(place, said), key=lambda it: it.weight)
        for told in channels:
            if told.node not in self.tables.gone:
                known = self.channels.get(told[:2], told)
                self.channels[told[:2]] = max(told, known, key=lambda it: it.weight)

    def of(self, persons: Collection[UUID]) -> dict[UUID, Permissions]:
        found = {}
        for person in persons:
            said = [it for it in self.consents.values() if self.tables.person(it.node) == person]
            told = [it for it in self.channels.values() if self.tables.person(it.node) == person]
            if said or told:
                found[person] = Permissions([it for it in said if it.purpose == "MARKETING"], told)
        return found

    def forget(self, nodes: Collection[UUID]) -> None:
        """What erasing does to these tables."""
        self.consents = {
            place: it._replace(beside=tuple(set(it.beside) - set(nodes)))
            for place, it in self.consents.items()
            if it.node not in nodes
        }
        self.channels = {place: it for place, it in self.channels.items() if it.node not in nodes}
