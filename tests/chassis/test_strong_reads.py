"""What readers are told of an aggregate is what is stored now, and it is replayed only when it has another last event."""

from collections.abc import Collection, Iterator
from uuid import UUID, uuid4

import pytest

from chassis.aggregate import Event
from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.event_store import EventStore, MemoryEventStore, PostgresEventStore
from chassis.strong_reads import StrongReads
from tests.chassis.accounts import HANDLERS, Account, Deposit, OpenAccount
from tests.chassis.test_commands import ACME, NOON


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[EventStore]:
    if request.param == "memory":
        yield MemoryEventStore()
        return
    postgres = PostgresEventStore(request.getfixturevalue("migrated")("bus", None).writer_dsn)
    yield postgres
    postgres.close()


class Counting:
    """A store that notes how many events were read of it."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.events = 0

    def load(self, ids: Collection[UUID]) -> dict[UUID, list[Event]]:
        found = {id: list(it) for id, it in self._store.load(ids).items()}
        self.events += sum(map(len, found.values()))
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def account(store: EventStore, deposits: int) -> tuple[CommandBus, UUID]:
    bus = CommandBus(store, ReplayClock(NOON), HANDLERS)
    id = uuid4()
    bus.execute_now(OpenAccount(id), ACME)
    for _ in range(deposits):
        bus.execute_now(Deposit(id, 1), ACME)
    return bus, id


def balance(reads: StrongReads, id: UUID) -> int:
    found = reads.load([id])[id]
    assert isinstance(found, Account)
    return found.balance


def test_one_is_read_again_only_when_something_happened(store: EventStore) -> None:
    bus, id = account(store, 3)
    counting = Counting(store)
    reads = StrongReads(counting)  # type: ignore[arg-type]
    assert [balance(reads, id) for _ in range(5)] == [3] * 5
    assert counting.events == 2 * 4  # the second time it is kept
    bus.execute_now(Deposit(id, 1), ACME)
    assert [balance(reads, id) for _ in range(3)] == [4] * 3
    assert counting.events == 2 * 4 + 5


def test_one_that_was_not_there_is_found_when_it_is(store: EventStore) -> None:
    reads, id = StrongReads(store), uuid4()
    for _ in range(3):
        assert reads.load([id]) == {}
    bus = CommandBus(store, ReplayClock(NOON), HANDLERS)
    bus.execute_now(OpenAccount(id), ACME)
    assert balance(reads, id) == 0
    assert reads.load([]) == {}


def test_another_last_event_of_the_same_number_is_another_aggregate(store: EventStore) -> None:
    """As after a restore to an earlier moment, from which it went on otherwise."""
    _, id = account(store, 3)
    reads = StrongReads(store)
    for _ in range(2):
        reads.load([id])
    kept = reads._kept[id]
    assert kept is not None
    assert kept.last is not None
    number, state = kept.last
    reads._kept[id] = kept._replace(last=(number, state + b" "), aggregate=None)
    assert balance(reads, id) == 3
    reads._kept[id] = kept._replace(aggregate=None)
    assert reads.load([id]) == {}  # the control: what is kept for this very event is believed


def test_one_that_goes_on_while_it_is_read_is_not_kept(store: EventStore) -> None:
    bus, id = account(store, 1)

    class Overtaken(Counting):
        def load(self, ids: Collection[UUID]) -> dict[UUID, list[Event]]:
            bus.execute_now(Deposit(id, 1), ACME)
            return super().load(ids)

    overtaken = Overtaken(store)
    reads = StrongReads(overtaken)  # type: ignore[arg-type]
    assert [balance(reads, id) for _ in range(3)] == [2, 3, 4]
    assert reads._kept[id] is None


def test_the_ones_asked_for_longest_ago_make_room(store: EventStore) -> None:
    ids = [account(store, 3)[1] for _ in range(3)]
    counting = Counting(store)
    reads = StrongReads(counting, kept=2)  # type: ignore[arg-type]
    for id in (ids[0], ids[0], ids[1], ids[1], ids[2], ids[2]):
        reads.load([id])
    before = counting.events
    reads.load(ids[1:])
    assert counting.events == before
    reads.load(ids[:1])
    assert counting.events == before + 4
