"""What one command may read and change, and the batch of commands that commits as one."""

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import sqlalchemy as sa

from chassis.aggregate import Aggregate, Event, new_id
from chassis.context import Context
from chassis.due_times import Timer, TimerChange
from chassis.errors import AggregateExists, AggregateNotFound, DomainError
from chassis.event_store import Draft, StoredContext, Transaction

A = TypeVar("A", bound=Aggregate)
T = TypeVar("T")
R = TypeVar("R")


class AggregateCache:
    """Aggregates as of their last committed event, the least recently used dropped first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._aggregates: OrderedDict[UUID, Aggregate] = OrderedDict()

    def get(self, id: UUID) -> Aggregate | None:
        aggregate = self._aggregates.get(id)
        if aggregate is not None:
            self._aggregates.move_to_end(id)
        return aggregate

    def keep(self, aggregates: Iterable[Aggregate]) -> None:
        for aggregate in aggregates:
            self._aggregates[aggregate.id] = aggregate
            self._aggregates.move_to_end(aggregate.id)
        while len(self._aggregates) > self._capacity:
            self._aggregates.popitem(last=False)

    def drop(self, ids: Iterable[UUID]) -> None:
        for id in ids:
            self._aggregates.pop(id, None)

    def clear(self) -> None:
        self._aggregates.clear()


class NothingToGoBackTo(Exception):
    """A command that has written rows is refused in a transaction without savepoints: all of it has to be done again with them."""


class Batch:
    """The aggregates and events of all commands that commit in one transaction.

    Of one that is `alone` nothing has to be kept when it is refused, which is rare: it gets no savepoint at first.
    """

    def __init__(self, transaction: Transaction, cache: AggregateCache, now: datetime, *, alone: bool = False) -> None:
        self.transaction = transaction
        self.now = now
        self.alone = alone
        self.drafts: list[Draft] = []
        self.timers: list[TimerChange] = []
        self.new_rows: dict[LiteralString, dict[Hashable, Sequence[Any]]] = {}
        self.aggregates: dict[UUID, Aggregate] = {}
        self._absent: set[UUID] = set()
        self._cache = cache

    def not_cached(self, ids: Iterable[UUID]) -> list[UUID]:
        return [id for id in dict.fromkeys(ids) if self._cache.get(id) is None]

    def offer(self, ids: Iterable[UUID], streams: Mapping[UUID, Sequence[Event]]) -> None:
        """Take in what a query for `ids` found."""
        for id in ids:
            if id in streams:
                self.aggregates[id] = replay(streams[id])
            else:
                self._absent.add(id)

    @property
    def read(self) -> set[UUID]:
        """Every aggregate a decision of this batch may rest on, there or not."""
        return self._absent | self.aggregates.keys()

    def fetch(self, ids: Collection[UUID]) -> None:
        """Make sure that `aggregates` knows each of `ids` that exists; one query at the most."""
        missing: list[UUID] = []
        for id in ids:
            if id in self.aggregates or id in self._absent:
                continue
            cached = self._cache.get(id)
            if cached is None:
                missing.append(id)
            else:
                self.aggregates[id] = cached
        if not missing:
            return
        self.offer(missing, self.transaction.load(missing))

    def restore(self, id: UUID, pending: Sequence[Event]) -> None:
        """Take aggregate `id` back to its committed events, those of this batch and `pending`."""
        self._cache.drop([id])
        committed = self.transaction.load([id]).get(id, ())
        drafted = [it.event for it in self.drafts if it.event.originator_id == id]
        events = [*committed, *drafted, *pending]
        if not events:
            self.aggregates.pop(id, None)
            self._absent.add(id)
            return
        aggregate = replay(events)
        aggregate.pending_events.extend(pending)
        self.aggregates[id] = aggregate

    def admit(self, aggregate: Aggregate) -> None:
        self.aggregates[aggregate.id] = aggregate
        self._absent.discard(aggregate.id)


class UnitOfWork:
    """The hands of one command: aggregates, timers, rows; everything or nothing of it takes effect.

    Events are recorded aggregate by aggregate, in the order in which the command first touched
    each of them.
    """

    def __init__(self, batch: Batch, context: Context) -> None:
        self.context = context
        self._batch = batch
        self._touched: dict[UUID, int] = {}
        self._timers: list[TimerChange] = []
        self._new_rows: dict[tuple[LiteralString, Hashable], Sequence[Any]] = {}
        self._savepoint: sa.NestedTransaction | None = None
        self._wrote_rows = False

    @property
    def now(self) -> datetime:
        """The instant of this unit of work; the same for everything in it."""
        return self._batch.now

    @property
    def rows(self) -> sa.Connection:
        """The database connection of the commit, for tables that are truth themselves.

        What is written is undone with the rest when the command is refused, and it alone.
        """
        rows = self._batch.transaction.rows
        if self._savepoint is None and not self._batch.alone:
            self._savepoint = rows.begin_nested()
        self._wrote_rows = True
        return rows

    @property
    def reading(self) -> sa.Connection:
        """The same connection, only to read what others have committed or this batch has written by `rows`."""
        return self._batch.transaction.rows

    def insert(self, statement: LiteralString, key: Hashable, row: Sequence[Any]) -> None:
        """Have `row` written with the events, with one `statement` for all its rows of the batch: it takes their columns as
        arrays. Unlike `rows` this costs a command no round trip. `key` is what no other row has."""
        self._new_rows[statement, key] = row

    def inserted(self, statement: LiteralString, key: Hashable) -> Sequence[Any] | None:
        """The row of that key which this command, or another of its batch, is about to insert."""
        return self._new_rows.get((statement, key)) or self._batch.new_rows.get(statement, {}).get(key)

    def all_inserted(self, statement: LiteralString) -> list[Sequence[Any]]:
        """The rows of `statement` which this command, and others of its batch, are about to insert."""
        mine = {key: row for (known, key), row in self._new_rows.items() if known == statement}
        return list({**self._batch.new_rows.get(statement, {}), **mine}.values())

    def new_id(self) -> UUID:
        """A fresh UUIDv7."""
        return new_id(self.now, os.urandom(10))

    def get(self, kind: type[A], id: UUID) -> A:
        """The aggregate; AggregateNotFound when this tenant has none of that id and kind."""
        aggregate = self.find(kind, id)
        if aggregate is None:
            raise AggregateNotFound(f"{kind.__name__} not found", kind=kind.__name__)
        return aggregate

    def find(self, kind: type[A], id: UUID) -> A | None:
        known = self._batch.aggregates
        if id not in known:
            self._batch.fetch((id,))
        aggregate = known.get(id)
        if not isinstance(aggregate, kind) or aggregate.tenant != self.context.tenant:
            return None
        self._touched.setdefault(id, len(aggregate.pending_events))
        return aggregate

    def find_all(self, kind: type[A], ids: Collection[UUID]) -> dict[UUID, A]:
        """Those of `ids` that exist for this tenant; one query for all that are not at hand."""
        known = self._batch.aggregates
        if not all(id in known for id in ids):
            self._batch.fetch(ids)
        found: dict[UUID, A] = {}
        for id in ids:
            aggregate = known.get(id)
            if isinstance(aggregate, kind) and aggregate.tenant == self.context.tenant:
                self._touched.setdefault(id, len(aggregate.pending_events))
                found[id] = aggregate
        return found

    def add(self, aggregate: Aggregate) -> None:
        """Record a new aggregate; AggregateExists when a look-up has shown its id to be in use by another tenant."""
        holder = self._batch.aggregates.get(aggregate.id)
        if holder is not None and holder.tenant != aggregate.tenant:
            raise AggregateExists
        self._touched.setdefault(aggregate.id, 0)
        self._batch.admit(aggregate)

    def each(self, items: Iterable[T], handle: Callable[[T], R]) -> list[R | DomainError]:
        """`handle` each item; one that is refused changes nothing and its error is its result."""
        results: list[R | DomainError] = []
        outer = self._touched
        for item in items:
            self._touched = {}
            timers, new_rows = len(self._timers), len(self._new_rows)
            try:
                results.append(handle(item))
            except DomainError as refusal:
                self._undo()
                del self._timers[timers:]
                for key in list(self._new_rows)[new_rows:]:
                    del self._new_rows[key]
                results.append(refusal)
            for id, mark in self._touched.items():
                outer.setdefault(id, mark)
        self._touched = outer
        return results

    def beside(self, context: Context) -> "UnitOfWork":
        """Another unit of work of the same commit, for what a batch of messages holds of another cause; whoever asks for it concludes
        it. What it did is undone only with the transaction, as that of a consumer is where this one fails."""
        return UnitOfWork(self._batch, context)

    def schedule(self, timer: Timer) -> None:
        """Set a timer; the same kind and key again moves it."""
        self._timers.append(TimerChange(self.context.tenant, timer.kind, timer.key, timer))

    def unschedule(self, kind: str, key: str) -> None:
        self._timers.append(TimerChange(self.context.tenant, kind, key, None))

    def conclude(self) -> int:
        """Hand the events and timers over to the batch; how many events there were."""
        stored = StoredContext.of(self.context)
        before = len(self._batch.drafts)
        for id in self._touched:
            aggregate = self._batch.aggregates.get(id)
            if aggregate is not None and aggregate.pending_events:
                self._batch.drafts += [Draft(it, stored) for it in aggregate.pending_events]  # type: ignore[arg-type]
                aggregate.pending_events.clear()
        self._batch.timers += self._timers
        for (statement, key), row in self._new_rows.items():
            self._batch.new_rows.setdefault(statement, {})[key] = row
        if self._savepoint is not None:
            self._savepoint.commit()
        return len(self._batch.drafts) - before

    def abandon(self) -> None:
        """Undo everything this unit of work did. NothingToGoBackTo if only the end of the transaction can."""
        if self._savepoint is not None:
            self._savepoint.rollback()
        elif self._wrote_rows:
            raise NothingToGoBackTo
        self._undo()
        self._timers.clear()
        self._new_rows.clear()

    def _undo(self) -> None:
        for id, mark in self._touched.items():
            aggregate = self._batch.aggregates.get(id)
            if aggregate is not None and len(aggregate.pending_events) > mark:
                self._batch.restore(id, list(aggregate.pending_events[:mark]))  # type: ignore[arg-type]


def replay(events: Sequence[Event]) -> Aggregate:
    """The aggregate that `events`, from its first on, make."""
    aggregate: Aggregate | None = None
    for event in events:
        aggregate = event.mutate(aggregate)
    if aggregate is None:
        raise ValueError("an aggregate has at least one event")
    return aggregate
