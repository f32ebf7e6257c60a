"""Which sources are registered and how much they have sent, as far as this process needs it for every batch.

What is known of a source is looked up again after two seconds. A source that nobody registered is open and has no limit: so services
with a token of the brand, which names them, need not register anything.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final, TypeAlias
from uuid import UUID

from chassis.log import EventStore
from chassis.unit_of_work import replay
from services.tracking.adapters.write_keys import WriteKey
from services.tracking.domain.errors import SourceRateExceeded
from services.tracking.domain.source import IngestSource, is_source_key, source_id

FRESH_SECONDS: Final = 2.0
MOST_KNOWN: Final = 10_000

Key: TypeAlias = tuple[str, str]
"""Tenant and key of a source."""


@dataclass(slots=True)
class _Known:
    """A source as of `since`, in seconds of a clock that only runs on; None if there is none of its key."""

    source: IngestSource | None
    since: float


@dataclass(slots=True)
class _Allowance:
    """What a source may still send: refilled by its rate to at most a second's worth, below zero after a large batch."""

    left: float
    at: float

    def take(self, count: int, rate: int, now: float) -> bool:
        """Take `count` if anything is left; so a batch is taken whole, and on average no more than `rate` a second."""
        self.left = min(float(rate), self.left + (now - self.at) * rate)
        self.at = now
        if self.left <= 0:
            return False
        self.left -= count
        return True


class SourceBook:
    """Sources by tenant and key; `seconds` tells the time."""

    def __init__(self, store: EventStore, seconds: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._seconds = seconds
        self._known: OrderedDict[Key, _Known] = OrderedDict()
        self._allowances: dict[UUID, _Allowance] = {}

    async def find(self, tenant: str, key: str) -> IngestSource | None:
        """The source registered under `key`, as of at most two seconds ago."""
        return (await self._look_up(tenant, [key])).get(key)

    async def opened_by(self, write_key: WriteKey) -> IngestSource | None:
        """The source whose key this is."""
        source = await self.find(write_key.tenant, write_key.source)
        return source if source and source.opens_with(write_key.digest) else None

    async def admit(self, tenant: str, counts: Mapping[str, int]) -> Collection[str]:
        """Let in so many events by source; the sources that are switched off. Raises SourceRateExceeded before anything is let in."""
        found = await self._look_up(tenant, counts)
        if not found:
            return ()
        now = self._seconds()
        for key, source in found.items():
            if source.terms.enabled and source.terms.rate_limit:
                self._take(source, counts[key], now)
        return frozenset(key for key, source in found.items() if not source.terms.enabled)

    def forget(self, tenant: str, key: str) -> None:
        """Look the source up anew next time."""
        self._known.pop((tenant, key), None)

    def _take(self, source: IngestSource, count: int, now: float) -> None:
        rate = source.terms.rate_limit
        allowance = self._allowances.setdefault(source.id, _Allowance(float(rate), now))
        if not allowance.take(count, rate, now):
            raise SourceRateExceeded(source=source.key, rate_limit=rate)

    async def _look_up(self, tenant: str, keys: Collection[str]) -> dict[str, IngestSource]:
        """Those of `keys` under which a source is registered."""
        oldest = self._seconds() - FRESH_SECONDS
        stale = [it for it in keys if (known := self._known.get((tenant, it))) is None or known.since < oldest]
        asked = {source_id(tenant, it): it for it in stale if is_source_key(it)}
        if asked:
            streams = await asyncio.to_thread(self._store.load, list(asked))
            since = self._seconds()
            for id, key in asked.items():
                found = replay(streams[id]) if id in streams else None
                self._keep((tenant, key), _Known(found if isinstance(found, IngestSource) else None, since))
        at_hand = {it: self._known.get((tenant, it)) for it in keys}
        return {key: it.source for key, it in at_hand.items() if it and it.source}

    def _keep(self, key: Key, known: _Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
