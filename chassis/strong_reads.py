"""Aggregates as they are stored now, for readers: those asked for again and again are kept, and replayed only when they have another
last event.

The first time one is read; the second time its last event is asked for beside that; from then on only that is. It is compared as it is
stored: a stream that was restored to an earlier moment may go on otherwise. May be used from any thread.
"""

from collections import OrderedDict
from collections.abc import Collection
from threading import Lock
from typing import Final, NamedTuple
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.log import EventStore
from chassis.unit_of_work import replay

_KEPT: Final = 1_000


class _Kept(NamedTuple):
    """An aggregate with its last event; neither, where there was none."""

    last: tuple[int, bytes] | None
    aggregate: Aggregate | None


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
            asked_before = {id: self._kept[id] for id in ids if id in self._kept}
        last = self._store.last(asked_before) if asked_before else {}
        same = {id: it.aggregate for id, it in asked_before.items() if it is not None and it.last == last.get(id)}
        missing = [id for id in ids if id not in same]
        streams = self._store.load(missing) if missing else {}
        read = {id: replay(events) for id, events in streams.items()}
        news = {id: self._with_last(id, last, read) if id in asked_before else None for id in missing}
        self._keep(dict.fromkeys(same), news)
        return {id: it for id, it in (same | read).items() if it is not None}

    @staticmethod
    def _with_last(id: UUID, last: dict[UUID, tuple[int, bytes]], read: dict[UUID, Aggregate]) -> _Kept | None:
        """What to keep of one that was read after its last event was: nothing, if it went on in between."""
        event, aggregate = last.get(id), read.get(id)
        number = aggregate.version if aggregate else 0
        return _Kept(event, aggregate) if number == (event[0] if event else 0) else None

    def _keep(self, same: Collection[UUID], news: dict[UUID, _Kept | None]) -> None:
        with self._turn:
            self._kept.update(news)
            for id in (*same, *news):
                if id in self._kept:
                    self._kept.move_to_end(id)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
