"""A consumer's side for tests: every message credits the account of its key."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa

from chassis.aggregate import natural_id
from chassis.clock import ReplayClock
from chassis.commands import CommandBus, Handlers, UnitOfWork, handler
from chassis.consumer import Consumer, Incoming, Shard, Subscription
from chassis.event_store import PostgresEventStore
from deploy.local.postgres import Database
from tests.chassis.accounts import Account
from tests.chassis.streams import NOON, number_in


@dataclass(frozen=True, slots=True)
class Credit:
    account_id: UUID
    amount: int


def credit(command: Credit, work: UnitOfWork) -> None:
    """Opens the account if need be; an amount of 0 or less is refused."""
    account = work.find(Account, command.account_id)
    if account is None:
        account = Account(command.account_id, work.context.tenant)
        work.add(account)
    account.deposit(command.amount)


HANDLERS: Handlers = [handler(Credit, credit, loads=lambda c: [c.account_id])]


def account_of(message: Incoming) -> UUID:
    return natural_id(message.tenant, "account", message.key)


def credit_account(message: Incoming) -> Sequence[Credit]:
    """A policy."""
    return [Credit(account_of(message), number_in(message))]


def write_down(messages: Sequence[Incoming], work: UnitOfWork) -> None:
    """The batch form: a row per message."""
    for it in messages:
        assert it.tenant == work.context.tenant
    work.rows.execute(
        sa.text("INSERT INTO notes VALUES (:tenant, :key, :number)"),
        [{"tenant": it.tenant, "key": it.key, "number": number_in(it)} for it in messages],
    )


@dataclass(slots=True)
class Desk:
    """A service with nothing but a database and a bus."""

    database: Database
    store: PostgresEventStore
    bus: CommandBus
    clock: ReplayClock
    made: list[Consumer] = field(default_factory=list)

    @property
    def engine(self) -> sa.Engine:
        return self.store.engine

    def consumer(
        self, broker: Any, handle: Callable[..., Any] = credit_account, *, shard: Shard | None = None, **options: Any
    ) -> Consumer:
        subscription = Subscription("counting", ["numbers"], handle, **options)
        return Consumer(subscription, self.engine, broker, self.bus, shard=shard or Shard(), batch_limit=100)

    def credited(self, key: str = "k", tenant: str = "acme") -> list[int]:
        """What was credited to the account of `key`, in order."""
        return self.all_credited().get(natural_id(tenant, "account", key), [])

    def credited_by_key(self, keys: int = 7) -> dict[str, list[int]]:
        found = self.all_credited()
        return {f"k{key}": found.get(natural_id("acme", "account", f"k{key}"), []) for key in range(keys)}

    def all_credited(self) -> dict[UUID, list[int]]:
        found: dict[UUID, list[int]] = {}
        for it in self.store.read_log(0, 1_000_000):
            if isinstance(it.event, Account.Deposited):
                found.setdefault(it.event.originator_id, []).append(it.event.amount)
        return found

    def total(self) -> int:
        return sum(sum(it) for it in self.all_credited().values())

    def count(self, table: str = "stored_events") -> int:
        """By a connection of its own: those of the engine may have been cut."""
        with psycopg.connect(self.database.writer_dsn) as rows:
            [count] = rows.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (0,)
            return int(count)

    def notes(self) -> list[tuple[str, str, int]]:
        with self.engine.connect() as rows:
            return [tuple(it) for it in rows.execute(sa.text("SELECT * FROM notes"))]

    def parked(self) -> list[tuple[str, int, str]]:
        """Key, log position and reason of everything parked, in order."""
        query = "SELECT key, split_part(message_id, '/', 3)::int, reason FROM parked ORDER BY id"
        with self.engine.connect() as rows:
            return [tuple(it) for it in rows.execute(sa.text(query))]


@contextmanager
def opened(database: Database, handlers: Handlers = HANDLERS) -> Iterator[Desk]:
    store = PostgresEventStore(database.writer_dsn, pool_size=12)
    with store.engine.begin() as rows:
        rows.execute(sa.text("CREATE TABLE notes (tenant text, key text, number int CHECK (number <> 13013))"))
    clock = ReplayClock(NOON)
    bus = CommandBus(store, clock, handlers)
    bus.start()
    try:
        yield Desk(database, store, bus, clock)
    finally:
        bus.stop()
        store.close()
