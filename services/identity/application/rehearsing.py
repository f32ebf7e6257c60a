"""Rehearsing other rules on the recorded past of a brand: reads its log, decides everything twice, and writes nothing."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Final

from chassis.aggregate import Event, event_classes
from chassis.commands import CommandBus
from chassis.context import current
from services.identity.application.queries import rules_of_tenant
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer
from services.identity.domain.errors import RehearsalRunning
from services.identity.domain.namespace_settings import NamespaceConfig, reconfigured
from services.identity.domain.namespaces import Namespaces
from services.identity.domain.rehearsal_report import Comparison, Report

BATCH: Final = 1_000
MOST_READ: Final = 2_000_000
"""Entries of the log, which is that of all brands; reading that many takes about a minute."""

_TOLD: Final = frozenset[type](
    {
        Customer.Registered,
        Customer.IdentifiersLinked,
        Customer.IdentifiersUnlinked,
        Customer.Merged,
        Customer.MergedInto,
        Customer.Restored,
        Customer.KeptApart,
        Customer.ReunionAllowed,
        Customer.ConflictDetected,
        IdentifierClaim.Reassigned,
        IdentifierClaim.MarkedShared,
        IdentifierClaim.Blocked,
    }
)
"""What a rehearsal makes something of; nothing else is even read."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came out, from how many events; `complete` if that was all of the brand's past."""

    report: Report
    events: int
    complete: bool


class Rehearsals:
    """One at a time in a process: it takes the time of a core from those who serve."""

    def __init__(self, bus: CommandBus) -> None:
        self._bus = bus
        self._turn = Lock()

    async def preview(self, config: NamespaceConfig, most_events: int, samples: int) -> Rehearsed:
        """What the brand of the current call would look like with this namespace changed.

        Goes through its first `most_events` events. Raises RehearsalRunning, and what `reconfigured` raises.
        """
        today = (await rules_of_tenant(self._bus)).namespaces
        other = reconfigured(today, config)
        return await asyncio.to_thread(self._rehearse, current().tenant, (today, other), most_events, samples)

    def _rehearse(self, tenant: str, rules: tuple[Namespaces, Namespaces], most_events: int, samples: int) -> Rehearsed:
        if not self._turn.acquire(blocking=False):
            raise RehearsalRunning
        try:
            comparison, events, complete = Comparison(tenant, *rules), 0, True
            for event in self._past(tenant):
                if event is None or events == most_events:
                    complete = False
                    break
                comparison.take(event)
                events += 1
            return Rehearsed(comparison.report(samples), events, complete)
        finally:
            self._turn.release()

    def _past(self, tenant: str) -> Iterator[Event | None]:
        """The events of the brand up to now; None behind the last if the log is too long to be read to its end."""
        without = sorted(topic for topic, it in event_classes().items() if it not in _TOLD)
        after, read, head = 0, 0, self._bus.store.head()
        while after < head and read < MOST_READ:
            batch = self._bus.store.read_log(after, BATCH, without)
            if not batch:
                return
            yield from (it.event for it in batch if it.tenant == tenant and it.position <= head)
            after, read = batch[-1].position, read + len(batch)
        if after < head:
            yield None
