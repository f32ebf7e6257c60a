"""Aggregates as they are stored now, for readers: long ones are kept, and replayed again only when they have another last event.

An aggregate with few events is as soon read as asked for, so only those with many are kept. What is kept is used for the very same last
event as it is stored: a stream that was restored to an earlier moment may go on otherwise. May be used from any thread.
"""

from collections import OrderedDict
from collections.abc import Collection
from threading import Lock
from typing import Final, NamedTuple
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.log import EventStore
from chassis.unit_of_work import replay

LONG: Final = 16
"""So many events make it worth keeping an aggregate."""
_KEPT: Final = 1_000


class _Kept(NamedTuple):
    last: tuple[int, bytes]
    aggregate: Aggregate


class StrongReads:
    """Reads aggregates of `store`; whoever gets one may not change it."""

    def __init__(self, store: EventStore, kept: int = _KEPT) -> None:
        self._store = store
        self._most = kept
        self._kept: OrderedDict[UUID, _Kept | None] = OrderedDict()
        self._turn = Lock()

    def load(self, ids: Collection[UUID]) -> dict[UUID, Aggregate]:
        """Those of `ids` that there are, whosever they are."""
        with self._turn:
            known = {id: self._kept[id] for id in ids if id in self._kept}
            for id in known:
                self._kept.move_to_end(id)
        last = self._store.last(known) if known else {}
        found = {id: it.aggregate for id, it in known.items() if it is not None and it.last == last.get(id)}
        streams = self._store.load([id for id in ids if id not in found]) if len(found) < len(ids) else {}
        for id, events in streams.items():
            found[id] = replay(events)
            if len(events) >= LONG:
                said = last.get(id)
                self._keep(id, _Kept(said, found[id]) if said and said[0] == len(events) else None)
        return found

    def _keep(self, id: UUID, it: _Kept | None) -> None:
        """Without an `it`, it is known to be long, and kept when it is read once more."""
        with self._turn:
            self._kept[id] = it
            self._kept.move_to_end(id)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
