"""Group commit: the orders of many callers decided one after another and committed as one transaction."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, perf_counter, sleep
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import psycopg
import sqlalchemy as sa
from google.protobuf.message import Message

from chassis.aggregate import recording_at
from chassis.clock import Clock
from chassis.context import Context
from chassis.errors import TRANSIENT, DomainError
from chassis.event_store import EventStore
from chassis.log import Appending, LostRaceError, Transaction, Witness
from chassis.receipts import Receipt, ReceiptKey
from chassis.unit_of_work import AggregateCache, Batch, UnitOfWork

CONFLICTS = (psycopg.errors.UniqueViolation, sa.exc.IntegrityError)
"""Somebody else wrote the same version, or the same receipt, first."""
OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
)
"""The database did not answer; whether it did what it was told is unknown."""


@dataclass(frozen=True, slots=True)
class Handler:
    """How one kind of command is carried out; `loads` names the aggregates it is sure to need."""

    command: type
    handle: Callable[[Any, UnitOfWork], Any]
    loads: Callable[[Any], Iterable[UUID]]


class Outcome(NamedTuple):
    """What became of one command: a result or an error, and where the log was afterwards."""

    result: Any = None
    error: Exception | None = None
    position: int = 0


class CalledOff(Exception):
    """Raised by an effect when the whole unit is not to be: nothing that comes after it is carried out for nothing."""


Settle: TypeAlias = Callable[[sa.Connection, Sequence[Outcome]], None]


class BusObserver(Protocol):
    """Told what the bus does, for metrics."""

    def committed(self, commands: int, events: int, timers: int, seconds: float) -> None: ...

    def concluded(self, command: str, outcome: str) -> None: ...


@dataclass(slots=True)
class Order:
    """A command on its way, or with `effect` an ad-hoc function instead of one."""

    context: Context
    command: Any
    reply: Callable[[Any], Message] | None = None
    effect: Callable[[UnitOfWork], Any] | None = None


@dataclass(slots=True)
class Job:
    """Orders that must commit together, alone in their transaction unless `shared`; `done` will have their outcomes."""

    orders: Sequence[Order]
    shared: bool
    done: Future[list[Outcome]] | asyncio.Future[list[Outcome]]
    settle: Settle | None = None


@dataclass(slots=True)
class Desk:
    """What the writer works with: the store, and the aggregates as of the last event it has `seen`."""

    store: EventStore
    clock: Clock
    handlers: Mapping[type, Handler]
    observer: BusObserver | None
    cache: AggregateCache
    seen: int | None = None

    def forget(self) -> None:
        """After an outage: a server that crashed may give positions again that we believe to have seen."""
        self.cache.clear()
        self.seen = None


class Attempt:
    """One try at committing some jobs. A single order needs no savepoint `at_first`: where it is refused, it is tried again."""

    def __init__(self, desk: Desk, jobs: Sequence[Job], *, at_first: bool = False) -> None:
        self._desk = desk
        self._jobs = jobs
        self._orders = [order for job in jobs for order in job.orders]
        self._alone = at_first and len(self._orders) == 1
        self._witness: Witness | None = None
        self._read: set[UUID] = set()
        self.outcomes: list[Outcome] = []

    def run(self) -> list[Outcome]:
        desk, started = self._desk, perf_counter()
        seen = desk.store.head() if desk.seen is None else desk.seen
        with desk.store.transaction() as transaction:
            batch = Batch(transaction, desk.cache, desk.clock.now(), alone=self._alone)
            known = self._open(transaction, batch, seen)
            try:
                receipts = self._decide(batch, known)
                self._write(transaction, batch, receipts)
            finally:
                self._read = batch.read
        desk.cache.keep(batch.aggregates.values())
        self._read = set()
        if desk.observer:
            events, timers = len(batch.drafts), len(batch.timers)
            desk.observer.committed(len(self._orders), events, timers, perf_counter() - started)
        return self.outcomes

    def _open(self, transaction: Transaction, batch: Batch, seen: int) -> dict[ReceiptKey, Receipt]:
        """Learn what others did, what was answered before, and the aggregates the orders name."""
        keys = {key for order in self._orders if (key := _receipt_key(order))}
        named = batch.not_cached(
            id
            for order in self._orders
            if order.effect is None
            for id in self._desk.handlers[type(order.command)].loads(order.command)
        )
        opening = transaction.open(seen, keys, named)
        self._desk.cache.drop(opening.changes.aggregates)
        self._desk.seen = opening.changes.head
        batch.offer(named, opening.streams)
        return dict(opening.receipts)

    def forget(self) -> None:
        """Drop from the cache what a failed try may have changed in memory only."""
        self._desk.cache.drop(self._read)

    def took_effect(self, give_up: float) -> bool:
        """Whether a commit whose answer got lost is in the database, as soon as that answers."""
        if self._witness is None:
            return False
        while monotonic() < give_up:
            try:
                return self._desk.store.committed(self._witness)
            except OUTAGES:
                sleep(0.05)
        return False

    def _decide(self, batch: Batch, known: dict[ReceiptKey, Receipt]) -> list[Receipt]:
        """Carry out every order; the receipts to write for those that carry a call."""
        written: list[Receipt] = []
        with recording_at(batch.now):
            for order in self._orders:
                outcome, receipt = self._carry_out(order, batch, known)
                self.outcomes.append(outcome)
                if receipt:
                    known[receipt.key] = receipt
                    written.append(receipt)
                self._observe(order, outcome)
        return written

    def _carry_out(
        self, order: Order, batch: Batch, known: Mapping[ReceiptKey, Receipt]
    ) -> tuple[Outcome, Receipt | None]:
        context = order.context
        if context.call and (earlier := known.get(_receipt_key(order) or ("", "", ""))):
            try:
                return Outcome(earlier.replay(context.call)), None
            except DomainError as refusal:
                return Outcome(error=refusal), None
        work = UnitOfWork(batch, context)
        try:
            result = self._handle(order, work)
            work.conclude()
        except DomainError as refusal:
            work.abandon()
            stored = None if isinstance(refusal, TRANSIENT) else refusal
            receipt = context.call and stored and Receipt.of(context.tenant, context.call, stored)
            return Outcome(error=refusal), receipt or None
        except (psycopg.Error, sa.exc.SQLAlchemyError, CalledOff):
            raise  # the transaction is broken, or not to be, for everybody in it
        except Exception as failure:  # noqa: BLE001 - a bug spoils its own command only
            work.abandon()
            return Outcome(error=failure), None
        receipt = None
        if context.call:
            answer = result if isinstance(result, Message) else None
            receipt = Receipt.of(context.tenant, context.call, answer)
        return Outcome(result), receipt

    def _handle(self, order: Order, work: UnitOfWork) -> Any:
        if order.effect is not None:
            return order.effect(work)
        result = self._desk.handlers[type(order.command)].handle(order.command, work)
        return order.reply(result) if order.reply else result

    def _write(self, transaction: Transaction, batch: Batch, receipts: Sequence[Receipt]) -> None:
        seen = self._desk.seen or 0
        if batch.read and not batch.drafts:
            self._require_undisturbed(transaction, batch, seen)
        if batch.drafts or receipts or batch.timers or batch.new_rows:
            appending = Appending(batch.drafts, receipts, batch.timers, seen, batch.read, batch.new_rows)
            appended = transaction.append(appending)
            self._witness = appended.witness
            self._desk.cache.drop(appended.changes.aggregates)
            seen = appended.position
        self.outcomes = [Outcome(it.result, it.error, seen) for it in self.outcomes]
        for job in self._jobs:
            if job.settle:
                job.settle(transaction.rows, self.outcomes)
        self._desk.seen = seen

    def _require_undisturbed(self, transaction: Transaction, batch: Batch, seen: int) -> None:
        """Raises LostRaceError if something changed while it was read: who is refused, or told that nothing changes, may
        have been shown one aggregate from before and another from after. Where something is appended, that is checked then.
        """
        if not transaction.changes(seen).aggregates.isdisjoint(batch.read):
            raise LostRaceError

    def _observe(self, order: Order, outcome: Outcome) -> None:
        if self._desk.observer and order.effect is None:
            reason = getattr(outcome.error, "reason", "INTERNAL") if outcome.error else "OK"
            self._desk.observer.concluded(type(order.command).__name__, reason)


def _receipt_key(order: Order) -> ReceiptKey | None:
    call = order.context.call
    return (order.context.tenant, call.rpc, call.request_id) if call else None


def answer(answers: Sequence[tuple[Job, list[Outcome] | Exception]]) -> None:
    """Answer jobs from the thread of the writer; an event loop is woken once for all its jobs."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, list[Outcome] | Exception]]] = {}
    for job, result in answers:
        if isinstance(job.done, asyncio.Future):
            by_loop.setdefault(job.done.get_loop(), []).append((job, result))
        else:
            _settle(job, result)
    for loop, results in by_loop.items():
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_all, results)


def _settle_all(answers: Sequence[tuple[Job, list[Outcome] | Exception]]) -> None:
    for job, result in answers:
        _settle(job, result)


def _settle(job: Job, result: list[Outcome] | Exception) -> None:
    with suppress(InvalidStateError, asyncio.InvalidStateError):  # whoever asked may have gone
        if isinstance(result, Exception):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)
