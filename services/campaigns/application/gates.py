"""Whether somebody may be written to, decided when the message is about to go: the first gate that is shut says why not (spec CP-4).

In this order: erased, merged, not known, no consent, unreachable. Messages that serve pass the gate of consent.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.commands import Tables
from services.campaigns.domain.permissions import SILENT, MessageClass

ERASED: Final = "ERASED"
"""The person is erased."""

MERGED: Final = "MERGED"
"""The unit is another unit of the same broadcast by now; that one's assignment stands."""

NOT_KNOWN: Final = "NOT_KNOWN"
"""Nobody knows who the person is: a visitor who was let into the audience."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A message that is about to go: who it was meant for, the person that is now, and what it is."""

    meant_for: UUID
    person: UUID
    kind: MessageClass
    channel: str

    @property
    def has_moved(self) -> bool:
        return self.person != self.meant_for


def refusals(
    planned: Mapping[UUID, Planned], work: UnitOfWork, tables: Tables, stands: Collection[UUID] = ()
) -> dict[UUID, str]:
    """Why those of `planned`, by any id, that may not go may not; `stands`: persons who have a message of their own planned."""
    if not planned:
        return {}
    roster, persons = tables.roster(work), {it.person for it in planned.values()}
    gone = roster.erased(persons | {it.meant_for for it in planned.values()})
    visitors, permissions = roster.visitors(persons), tables.permissions(work).of(persons)
    found: dict[UUID, str] = {}
    for id, it in planned.items():
        if it.meant_for in gone or it.person in gone:
            found[id] = ERASED
        elif it.has_moved and it.person in stands:
            found[id] = MERGED
        elif it.person in visitors:
            found[id] = NOT_KNOWN
        elif refusal := permissions.get(it.person, SILENT).refusal(it.kind, it.channel):
            found[id] = refusal
    return found
