"""What readers are told of an aggregate is what is stored now, and a long one is replayed only when it has another last event."""

from collections.abc import Collection, Iterator
from uuid import UUID, uuid4

import pytest

from chassis import strong_reads
from chassis.aggregate import Event
from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.event_store import EventStore, MemoryEventStore, PostgresEventStore
from chassis.strong_reads import LONG, StrongReads
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


def test_a_long_one_is_read_again_only_when_something_happened(store: EventStore) -> None:
    bus, id = account(store, LONG)
    counting = Counting(store)
    reads = StrongReads(counting)  # type: ignore[arg-type]
    assert [balance(reads, id) for _ in range(5)] == [LONG] * 5
    assert counting.events == 2 * (LONG + 1)  # the second time it is kept
    bus.execute_now(Deposit(id, 1), ACME)
    assert [balance(reads, id) for _ in range(3)] == [LONG + 1] * 3
    assert counting.events == 2 * (LONG + 1) + LONG + 2


def test_a_short_one_and_one_that_is_not_there_are_asked_for_at_once(store: EventStore) -> None:
    _, id = account(store, 2)
    counting = Counting(store)
    reads = StrongReads(counting)  # type: ignore[arg-type]
    missing = UUID(int=5)
    for _ in range(3):
        assert reads.load([id, missing]).keys() == {id}
    assert counting.events == 9
    assert reads.load([]) == {}


def test_another_last_event_of_the_same_number_is_another_aggregate(store: EventStore) -> None:
    """As after a restore to an earlier moment, from which it went on otherwise."""
    _, id = account(store, LONG)
    reads = StrongReads(store)
    for _ in range(2):
        reads.load([id])
    kept = reads._kept[id]
    assert kept is not None
    number, state = kept.last
    reads._kept[id] = kept._replace(last=(number, state + b" "), aggregate=None)  # type: ignore[arg-type]
    assert balance(reads, id) == LONG
    reads._kept[id] = kept._replace(aggregate=None)  # type: ignore[arg-type]
    assert reads.load([id])[id] is None  # the control: what is kept for this very event is believed


def test_the_ones_asked_for_longest_ago_make_room(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strong_reads, "LONG", 2)
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
