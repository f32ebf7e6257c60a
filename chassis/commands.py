"""The command bus: every change of a service goes through one writer that commits in groups.

One writer thread takes all commands that wait, loads the aggregates they name in one query, runs
their handlers in order and appends everything in one transaction, so that one flush to disk
serves the whole group. A handler that refuses spoils its own command only. When another replica
changed something a decision rests on, the group is decided again on the new state.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from threading import Lock
from time import monotonic, sleep
from typing import Any, TypeVar, cast
from uuid import UUID

from google.protobuf.message import Message

from chassis import context as contexts
from chassis.aggregate import Aggregate
from chassis.clock import Clock
from chassis.context import Context
from chassis.errors import AggregateNotFound, DomainError, Unavailable, VersionConflict
from chassis.event_store import EventStore
from chassis.group_commit import (
    CONFLICTS,
    OUTAGES,
    Attempt,
    BusObserver,
    Desk,
    Handler,
    Job,
    Order,
    Outcome,
    Settle,
    answer,
)
from chassis.log import LostRaceError
from chassis.strong_reads import StrongReads
from chassis.unit_of_work import AggregateCache, NothingToGoBackTo, UnitOfWork
from chassis.writer import Writer

__all__ = ["BusObserver", "CommandBus", "Effect", "Handler", "Handlers", "Outcome", "Unit", "UnitOfWork", "handler"]

A = TypeVar("A", bound=Aggregate)
T = TypeVar("T")

_ATTEMPTS = 5
_OUTAGE_SECONDS = 20.0

Handlers = Sequence[Handler]


def handler(
    command: type[T],
    handle: Callable[[T, UnitOfWork], Any],
    *,
    loads: Callable[[T], Iterable[UUID]] = lambda command: (),
) -> Handler:
    """Bind a command to the function that carries it out."""
    return Handler(command, handle, loads)


@dataclass(frozen=True, slots=True)
class Effect:
    """A change that has no command of its own, as an item of a unit."""

    change: Callable[[UnitOfWork], Any]


@dataclass(frozen=True, slots=True)
class Unit:
    """Commands, effects and rows that commit together: what a consumer makes of a batch of messages.

    `settle` gets the connection of the transaction and the outcome of each command.
    """

    items: Sequence[tuple[Context, Any]]
    settle: Settle | None = None


class CommandBus:
    """Carries out commands against `store`, with the handlers given and the time of `clock`."""

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        handlers: Handlers,
        *,
        observer: BusObserver | None = None,
        cache_capacity: int = 100_000,
        batch_limit: int = 256,
    ) -> None:
        self.store = store
        self.clock = clock
        self._reads = StrongReads(store)
        known = {it.command: it for it in handlers}
        self._desk = Desk(store, clock, known, observer, AggregateCache(cache_capacity))
        self._turn = Lock()
        self._writer: Writer[Job] = Writer(self._commit_jobs, batch_limit)

    def start(self) -> None:
        """Start the writer thread."""
        self._writer.start()

    def stop(self) -> None:
        """Carry out what waits, then end the writer thread."""
        self._writer.stop()

    async def execute(self, command: Any, reply: Callable[[Any], Message] | None = None) -> Any:
        """Carry out `command` in the current context; what the handler, or `reply` of it, returns.

        A repeated request gets the answer of the first. Raises the DomainError of a refusal.
        """
        return self._unwrap(await self._submit([Order(contexts.current(), command, reply)], shared=True))

    async def effect(self, change: Callable[[UnitOfWork], T], context: Context) -> T:
        """Run `change` as one unit of work in a transaction of its own."""
        return cast(T, self._unwrap(await self._submit([Order(context, None, effect=change)])))

    async def run(self, unit: Unit) -> list[Outcome]:
        """Carry out the commands of `unit` and its rows in one transaction."""
        return await self._submit(_orders(unit), settle=unit.settle)

    async def load(self, kind: type[A], id: UUID) -> A:
        """The aggregate as stored now, for a strong read in the current context; not to be changed."""
        aggregate = (await asyncio.to_thread(self._reads.load, [id])).get(id)
        if not isinstance(aggregate, kind) or aggregate.tenant != contexts.current().tenant:
            raise AggregateNotFound(f"{kind.__name__} not found", kind=kind.__name__)
        return aggregate

    async def load_all(self, ids: Collection[UUID]) -> dict[UUID, Aggregate]:
        """Those of `ids` that there are, as stored now, in one query for a strong read in the current context; not to be changed."""
        found, tenant = await asyncio.to_thread(self._reads.load, ids), contexts.current().tenant
        return {id: it for id, it in found.items() if it.tenant == tenant}

    async def answered(self) -> Message | None:
        """What the current call was answered when it was made before; None for one that is new.

        For whoever has much to find out before there is a command. Raises the DomainError of a refusal, and RequestIdReused.
        """
        context = contexts.current()
        return await asyncio.to_thread(self._answered, context) if context.call else None

    async def find_out(
        self, command: Callable[[], Awaitable[Any]], reply: Callable[[Any], Message] | None = None
    ) -> Any:
        """`execute` what `command` finds out beside the writer. A repeated request gets the answer of the first without that, and
        a refusal on the way is the answer as much as one of the handler is."""
        earlier = await self.answered()
        if earlier is not None:
            return earlier
        try:
            found = await command()
        except DomainError as refusal:
            return await self.effect(partial(_refuse, refusal), contexts.current())
        return await self.execute(found, reply=reply)

    def execute_now(self, command: Any, context: Context, reply: Callable[[Any], Message] | None = None) -> Any:
        """`execute` in the calling thread, without the writer thread."""
        return self._unwrap(self._carry_out([Order(context, command, reply)]))

    def run_now(self, unit: Unit) -> list[Outcome]:
        """`run` in the calling thread."""
        return self._carry_out(_orders(unit), unit.settle)

    def _answered(self, context: Context) -> Message | None:
        if context.call is None:
            return None
        key, head = (context.tenant, context.call.rpc, context.call.request_id), self.store.head()
        with self.store.transaction() as transaction:
            receipt = transaction.open(head, {key}, ()).receipts.get(key)
        if receipt is None:
            return None
        _note_position(head)
        return receipt.replay(context.call)

    async def _submit(
        self, orders: Sequence[Order], settle: Settle | None = None, *, shared: bool = False
    ) -> list[Outcome]:
        done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._writer.put(Job(orders, shared, done, settle))
        return await done

    def _carry_out(self, orders: Sequence[Order], settle: Settle | None = None) -> list[Outcome]:
        done: Future[list[Outcome]] = Future()
        self._commit_jobs([Job(orders, False, done, settle)])
        return done.result()

    @staticmethod
    def _unwrap(outcomes: list[Outcome]) -> Any:
        outcome = outcomes[0]
        _note_position(outcome.position)
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

    def _commit_jobs(self, jobs: Sequence[Job]) -> None:
        """Commit the shared ones of `jobs` together and the others one by one, in order."""
        shared: list[Job] = []
        with self._turn:
            for job in jobs:
                if job.shared:
                    shared.append(job)
                else:
                    self._commit(shared)
                    self._commit([job])
                    shared = []
            self._commit(shared)

    def _commit(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        try:
            outcomes = self._persist(jobs)
        except Exception as error:  # noqa: BLE001 - answered to whoever waits
            if len(jobs) > 1 and not isinstance(error, DomainError):
                for job in jobs:
                    self._commit([job])
                return
            answer([(job, error) for job in jobs])
            return
        start, answers = 0, []
        for job in jobs:
            answers.append((job, outcomes[start : start + len(job.orders)]))
            start += len(job.orders)
        answer(answers)

    def _persist(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Commit, again after a lost race, and after an outage only if it had not taken effect."""
        give_up = monotonic() + _OUTAGE_SECONDS
        attempts, at_first = 0, True
        while True:
            attempt = Attempt(self._desk, jobs, at_first=at_first)
            try:
                return attempt.run()
            except NothingToGoBackTo:
                at_first = False
            except (LostRaceError, *CONFLICTS) as race:
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise VersionConflict from race
            except OUTAGES as outage:
                if attempt.took_effect(give_up):
                    return attempt.outcomes
                self._desk.forget()
                if monotonic() > give_up:
                    raise Unavailable("the database does not answer") from outage
                sleep(0.05)
            finally:
                attempt.forget()


def _refuse(refusal: DomainError, work: UnitOfWork) -> None:
    raise refusal


def _note_position(position: int) -> None:
    """Tell the current call how far the log was when it was answered."""
    holder = contexts.last_position.get()
    if holder is not None:
        holder[0] = max(holder[0], position)


def _orders(unit: Unit) -> list[Order]:
    return [
        Order(context, None, effect=item.change) if isinstance(item, Effect) else Order(context, item)
        for context, item in unit.items
    ]
