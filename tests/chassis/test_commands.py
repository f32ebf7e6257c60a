"""The command bus on both stores: atomic commands, one effect per request, groups, races, outages."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value

from chassis.aggregate import event_classes, natural_id
from chassis.clock import ReplayClock
from chassis.commands import CommandBus, Effect, Outcome, Unit, UnitOfWork
from chassis.context import Call, Context, entered
from chassis.errors import AggregateNotFound, DomainError, RequestIdReused
from chassis.event_store import (
    EventStore,
    MemoryEventStore,
    PostgresEventStore,
    PostgresTransaction,
    UnreadableEventError,
)
from chassis.log import Appended, Appending, Recorded
from chassis.published_log import PublishedLog
from tests.chassis.accounts import (
    HANDLERS,
    Account,
    AmountInvalid,
    Break,
    Deposit,
    DepositEach,
    InsufficientFunds,
    Note,
    OpenAccount,
    Remind,
    Transfer,
)
from tests.conftest import Migrated

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ACME = Context.system("acme", "test")


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[EventStore]:
    if request.param == "memory":
        yield MemoryEventStore()
        return
    database = request.getfixturevalue("migrated")("bus", None)
    postgres = PostgresEventStore(database.writer_dsn)
    yield postgres
    postgres.close()


@pytest.fixture
def bus(store: EventStore) -> CommandBus:
    return CommandBus(store, ReplayClock(NOON), HANDLERS)


def calling(request_id: str, content: bytes = b"") -> Context:
    return Context("acme", "user/1", call=Call("Deposit", request_id, content))


def balance(bus: CommandBus, account_id: UUID) -> int:
    """As replayed from the log, not as cached."""
    fresh = CommandBus(bus.store, ReplayClock(NOON), HANDLERS)

    async def load() -> int:
        with entered(ACME):
            return (await fresh.load(Account, account_id)).balance

    return asyncio.new_event_loop().run_until_complete(load())


def opened(bus: CommandBus, *amounts: int) -> list[UUID]:
    ids = [uuid4() for _ in amounts]
    for id, amount in zip(ids, amounts, strict=True):
        bus.execute_now(OpenAccount(id), ACME)
        if amount:
            bus.execute_now(Deposit(id, amount), ACME)
    return ids


def test_a_command_records_its_events_with_time_and_context(bus: CommandBus) -> None:
    [account] = opened(bus, 5)
    made, paid = bus.store.read_log(0, 10)
    assert isinstance(made.event, Account.Opened)
    assert isinstance(paid.event, Account.Deposited)
    assert (made.position, paid.position) == (1, 2)
    assert made.event.originator_id == paid.event.originator_id == account
    assert (paid.tenant, paid.context.actor, paid.recorded_at) == ("acme", "system/test", NOON)


def test_the_log_can_be_read_without_some_topics(bus: CommandBus) -> None:
    opened(bus, 5, 6, 7)
    without = bus.store.read_log(0, 2, [Account.Opened.TOPIC])
    assert [(type(it.event), it.position) for it in without] == [(Account.Deposited, 2), (Account.Deposited, 4)]
    assert len(bus.store.read_log(4, 10, [Account.Deposited.TOPIC])) == 1


def test_private_events_are_not_told_and_not_even_asked_about(bus: CommandBus) -> None:
    asked: list[type] = []

    def publish(recorded: Recorded) -> Message:
        asked.append(type(recorded.event))
        return Int64Value(value=recorded.position)

    log = PublishedLog("accounts", bus.store, publish=publish, partition_key=lambda it: "k", private=[Account.Opened])
    opened(bus, 5, 6)
    assert [it.position for it in log.read(0, 10)] == [2, 4]
    assert log.read(4, 10) == []
    assert asked == [Account.Deposited] * 2


def test_entries_of_many_messages_are_not_read_again_and_again(
    bus: CommandBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    originally = bus.store.read_log

    def counted(after: int, limit: int, without: Sequence[str] = ()) -> list[Recorded]:
        found = originally(after, limit, without)
        read.append(len(found))
        return found

    monkeypatch.setattr(bus.store, "read_log", counted)
    opened(bus, *range(1, 31))

    def several(recorded: Recorded) -> Sequence[Message]:
        return [Int64Value(value=n) for n in range(50 if recorded.position < 50 else 1)]

    log = PublishedLog("accounts", bus.store, publish=several, partition_key=lambda it: "k", private=[Account.Opened])
    positions: list[int] = []
    while found := log.read(positions[-1] if positions else 0, 100):
        positions += dict.fromkeys(it.position for it in found)
    assert positions == list(range(2, 61, 2))
    assert sum(read) < 30 + 2 * len(
        positions
    )  # the first read is of all; read anew for each pair it would be 15 times that


def test_a_refused_command_changes_nothing_though_it_had_begun(bus: CommandBus) -> None:
    rich, poor = opened(bus, 100, 0)
    with pytest.raises(InsufficientFunds) as refusal:
        bus.execute_now(Transfer(source=poor, target=rich, amount=40), ACME)
    assert refusal.value.metadata == {"available": "0"}
    assert bus.execute_now(Deposit(rich, 1), ACME) == balance(bus, rich) == 101


def test_one_refused_command_of_a_unit_leaves_the_others_their_effect(bus: CommandBus) -> None:
    rich, poor = opened(bus, 100, 0)
    orders = [Deposit(rich, 1), Transfer(poor, rich, 40), Deposit(rich, 2), Break(), Deposit(poor, 3)]
    outcomes = bus.run_now(Unit([(ACME, it) for it in orders]))
    assert [type(it.error) for it in outcomes] == [
        type(None),
        InsufficientFunds,
        type(None),
        ZeroDivisionError,
        type(None),
    ]
    assert (balance(bus, rich), balance(bus, poor)) == (103, 3)


def test_one_refused_item_of_a_batch_leaves_the_others_their_effect(bus: CommandBus) -> None:
    [account, other] = opened(bus, 0, 0)
    items = ((account, 1), (account, -5), (uuid4(), 1), (other, 2), (account, 3))
    results = bus.execute_now(DepositEach(items), ACME)
    assert [getattr(it, "reason", it) for it in results] == [2, "AMOUNT_INVALID", "AGGREGATE_NOT_FOUND", 4, 8]
    assert (balance(bus, account), balance(bus, other)) == (8, 4)


def test_another_tenants_aggregate_is_not_found(bus: CommandBus) -> None:
    [account] = opened(bus, 5)
    with pytest.raises(AggregateNotFound):
        bus.execute_now(Deposit(account, 1), Context.system("other", "test"))
    with pytest.raises(AggregateNotFound):
        bus.execute_now(Deposit(uuid4(), 1), ACME)


def as_message(value: int) -> Int64Value:
    return Int64Value(value=value)


def test_a_repeated_request_gets_the_first_answer_and_has_no_second_effect(bus: CommandBus) -> None:
    [account] = opened(bus, 0)
    for _ in range(3):
        answer = bus.execute_now(Deposit(account, 7), calling("r1", b"seven"), as_message)
        assert answer == Int64Value(value=7)
    again = CommandBus(bus.store, ReplayClock(NOON), HANDLERS)
    assert again.execute_now(Deposit(account, 7), calling("r1", b"seven"), as_message).value == 7
    assert balance(bus, account) == 7


def test_a_repeated_request_is_refused_again_as_it_was_the_first_time(bus: CommandBus) -> None:
    [account] = opened(bus, 0)
    for _ in range(2):
        with pytest.raises(DomainError) as refusal:
            bus.execute_now(Deposit(account, -7), calling("r1"), as_message)
        assert (refusal.value.code, refusal.value.reason, refusal.value.field) == (
            "INVALID_ARGUMENT",
            AmountInvalid.reason,
            "amount",
        )


def test_whoever_has_much_to_find_out_first_can_ask_whether_a_call_was_answered(bus: CommandBus) -> None:
    [account] = opened(bus, 0)

    def answered(context: Context) -> object:
        with entered(context):
            return asyncio.run(bus.answered())

    assert answered(calling("r1", b"seven")) is None
    bus.execute_now(Deposit(account, 7), calling("r1", b"seven"), as_message)
    assert answered(calling("r1", b"seven")) == Int64Value(value=7)
    assert answered(calling("r2", b"seven")) is None
    with pytest.raises(RequestIdReused):
        answered(calling("r1", b"eight"))
    with pytest.raises(AmountInvalid):
        bus.execute_now(Deposit(account, -7), calling("r3"), as_message)
    with pytest.raises(DomainError) as refusal:
        answered(calling("r3"))
    assert (refusal.value.reason, refusal.value.field) == (AmountInvalid.reason, "amount")


def test_what_is_refused_while_a_command_is_found_out_is_the_answer_of_the_call(bus: CommandBus) -> None:
    [account] = opened(bus, 0)
    looked: list[str] = []
    refusals: list[type[DomainError]] = [AmountInvalid]

    async def find_out() -> Deposit:
        looked.append("looked")
        if refusals:
            raise refusals.pop()(field="amount")
        return Deposit(account, 7)

    async def answer(context: Context) -> object:
        with entered(context):
            try:
                return await bus.find_out(find_out, as_message)
            except DomainError as refusal:
                return refusal.reason

    async def answers() -> list[object]:
        contexts = calling("r1", b"x"), calling("r1", b"x"), calling("r1", b"another"), calling("r2"), calling("r2")
        return [await answer(it) for it in contexts]

    bus.start()
    try:
        found = asyncio.run(answers())
    finally:
        bus.stop()
    seven = Int64Value(value=7)
    assert found == [AmountInvalid.reason, AmountInvalid.reason, RequestIdReused.reason, seven, seven]
    assert looked == ["looked"] * 2, "once for each request"
    assert balance(bus, account) == 7


def test_a_request_id_used_for_another_request_is_refused(bus: CommandBus) -> None:
    [account] = opened(bus, 0)
    bus.execute_now(Deposit(account, 7), calling("r1", b"seven"), as_message)
    with pytest.raises(RequestIdReused):
        bus.execute_now(Deposit(account, 8), calling("r1", b"eight"), as_message)
    assert balance(bus, account) == 7


def test_the_same_request_twice_in_one_group_has_one_effect(bus: CommandBus) -> None:
    [account] = opened(bus, 0)
    orders = [(calling("r1"), Deposit(account, 7)), (calling("r1"), Deposit(account, 7))]
    assert [it.error for it in bus.run_now(Unit(orders))] == [None, None]
    assert balance(bus, account) == 7


def test_every_kind_of_field_comes_back_as_it_was(bus: CommandBus) -> None:
    [account] = opened(bus, 0)
    partners = frozenset({uuid4(), uuid4()})
    notes = (Note("first", NOON), Note("第二", NOON))
    shares = {"a": Decimal("0.10"), "b": Decimal(-3)}

    async def annotate() -> None:
        await bus.effect(
            lambda work: work.get(Account, account).annotate(
                notes, Decimal("1.50"), NOON.date(), b"\x00\xff", partners, shares
            ),
            ACME,
        )

    bus.start()
    asyncio.new_event_loop().run_until_complete(annotate())
    bus.stop()
    event = bus.store.load([account])[account][-1]
    assert isinstance(event, Account.Annotated)
    stored = (event.notes, event.rate, event.day, event.digest, event.partners, event.shares)
    assert stored == (notes, Decimal("1.50"), NOON.date(), b"\x00\xff", partners, shares)


def test_many_callers_commit_in_groups(store: EventStore) -> None:
    groups: list[int] = []

    class Observer:
        def committed(self, commands: int, events: int, seconds: float) -> None:
            groups.append(commands)

        def concluded(self, command: str, outcome: str) -> None:
            assert (command, outcome) == ("Deposit", "OK")

    [account] = opened(CommandBus(store, ReplayClock(NOON), HANDLERS), 0)
    bus = CommandBus(store, ReplayClock(NOON), HANDLERS, observer=Observer())
    bus.start()

    async def all_at_once() -> list[int]:
        with entered(ACME):
            return list(await asyncio.gather(*(bus.execute(Deposit(account, 1)) for _ in range(200))))

    balances = asyncio.new_event_loop().run_until_complete(all_at_once())
    bus.stop()
    assert sorted(balances) == list(range(1, 201))
    assert sum(groups) == 200
    assert len(groups) < 50


def test_two_replicas_deciding_on_the_same_account_lose_no_deposit(store: EventStore) -> None:
    [account] = opened(CommandBus(store, ReplayClock(NOON), HANDLERS), 0)
    replicas = [CommandBus(store, ReplayClock(NOON), HANDLERS) for _ in range(2)]
    for bus in replicas:
        bus.start()

    async def race() -> None:
        with entered(ACME):
            await asyncio.gather(*(bus.execute(Deposit(account, 1)) for _ in range(50) for bus in replicas))

    asyncio.new_event_loop().run_until_complete(race())
    for bus in replicas:
        bus.stop()
    assert balance(replicas[0], account) == 100


def test_a_replica_sees_what_the_other_did_before_it_decides(bus: CommandBus) -> None:
    [account, other_account] = opened(bus, 10, 0)
    other = CommandBus(bus.store, ReplayClock(NOON), HANDLERS)
    other.execute_now(Deposit(account, 1), ACME)
    bus.execute_now(Deposit(account, 1), ACME)
    with pytest.raises(InsufficientFunds) as refusal:
        other.execute_now(Transfer(account, other_account, 100), ACME)
    assert refusal.value.metadata == {"available": "12"}


@pytest.mark.parametrize("error", [InsufficientFunds, ValueError])
def test_nothing_is_refused_for_what_was_read_half_before_and_half_after_another_replica(
    migrated: Migrated, error: type[Exception]
) -> None:
    """Money only moves; who reads the one account before and the other after would find some missing."""
    made = migrated("bus", None)
    store = PostgresEventStore(made.writer_dsn)
    mover, auditor = (CommandBus(store, ReplayClock(NOON), HANDLERS) for _ in range(2))
    one, other = opened(mover, 5, 5)
    moves = iter([Transfer(other, one, 5)])

    def audit(work: UnitOfWork) -> int:
        found = work.get(Account, one).balance
        for move in moves:
            mover.execute_now(move, ACME)
        found += work.get(Account, other).balance
        if found != 10:
            raise error
        return found

    (outcome,) = auditor.run_now(Unit([(ACME, Effect(audit))]))
    assert (outcome.result, outcome.error) == (10, None)
    store.close()


@pytest.mark.parametrize(
    ("which", "tries", "answer"), [(0, 2, 12), (1, 1, 11)], ids=["what was read", "something else"]
)
def test_what_another_replica_appends_meanwhile_matters_where_it_was_read(
    migrated: Migrated, which: int, tries: int, answer: int
) -> None:
    made = migrated("bus", None)
    store = PostgresEventStore(made.writer_dsn)
    bus, other = (CommandBus(store, ReplayClock(NOON), HANDLERS) for _ in range(2))
    accounts = opened(other, 10, 10)
    tried: list[int] = []
    meanwhile = iter([Deposit(accounts[which], 1)])

    def deposit(work: UnitOfWork) -> int:
        account = work.get(Account, accounts[0])
        tried.append(account.balance)
        for it in meanwhile:
            other.execute_now(it, ACME)
        account.deposit(1)
        return account.balance

    (outcome,) = bus.run_now(Unit([(ACME, Effect(deposit))]))
    assert (outcome.result, outcome.error, len(tried)) == (answer, None, tries)
    assert (balance(bus, accounts[0]), outcome.position) == (answer, store.head())
    assert bus.execute_now(Deposit(accounts[1], 1), ACME) == (11 if which == 0 else 12)
    store.close()


def test_a_timer_is_kept_with_the_command_and_moved_by_the_next(bus: CommandBus) -> None:
    later = NOON.replace(hour=13)
    bus.execute_now(Remind("k", NOON), ACME)
    bus.execute_now(Remind("k", later), ACME)
    if isinstance(bus.store, MemoryEventStore):
        due = [it.due_at for it in bus.store.timers.values()]
    else:
        assert isinstance(bus.store, PostgresEventStore)
        with bus.store.engine.connect() as rows:
            due = list(rows.scalars(sa.text("SELECT due_at FROM timers")))
    assert due == [later]


PLANT = (
    "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
    " VALUES (gen_random_uuid(), 1, %s, CAST(%s AS text)::bytea)"
)
HEADER = '"timestamp":"2026-05-01T00:00:00+00:00","_context":["acme","a",null,null,null,null]'


@pytest.mark.parametrize(
    ("topic", "state"),
    [
        ("wave:open", "{" + HEADER + "}"),
        ("test.NeverHeardOf", "{" + HEADER + "}"),
        ("test.AccountDeposited", "{" + HEADER + ',"amount":1,"class_version":3}'),
    ],
)
def test_a_topic_nobody_knows_and_a_version_of_the_future_are_not_guessed(
    migrated: Migrated, topic: str, state: str
) -> None:
    store = planted(migrated, topic, state)
    with pytest.raises(UnreadableEventError):
        store.read_log(0, 10)
    store.close()


def test_an_event_of_an_earlier_version_is_brought_up_to_date(migrated: Migrated) -> None:
    store = planted(migrated, "test.AccountDeposited", "{" + HEADER + ',"amount":1}')
    [old] = store.read_log(0, 10)
    assert isinstance(old.event, Account.Deposited)
    assert old.event.colour == "red"
    store.close()


def planted(migrated: Migrated, topic: str, state: str) -> PostgresEventStore:
    """A store with one row that no code of today wrote."""
    made = migrated("bus", None)
    with psycopg.connect(made.owner_dsn) as connection:
        connection.execute(PLANT, [topic, state])
    return PostgresEventStore(made.writer_dsn)


class CutAnswers(PostgresEventStore):
    """Its connection breaks right after, or right before, the commit of an append, as often as asked."""

    cuts: int = 0
    before: bool = False

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        written: list[Appending] = []
        with super().transaction() as transaction:
            append = transaction.append

            def noted(appending: Appending) -> Appended:
                written.append(appending)
                return append(appending)

            transaction.append = noted  # type: ignore[method-assign]
            yield transaction
            if written and self.before:
                self._cut()
        if written and not self.before:
            self._cut()

    def _cut(self) -> None:
        if self.cuts:
            self.cuts -= 1
            raise psycopg.OperationalError("the server closed the connection")


@pytest.mark.parametrize("before", [False, True])
def test_a_lost_answer_to_a_commit_neither_doubles_nor_loses_the_command(migrated: Migrated, before: bool) -> None:
    made = migrated("bus", None)
    store = CutAnswers(made.writer_dsn)
    store.before = before
    bus = CommandBus(store, ReplayClock(NOON), HANDLERS)
    [account] = opened(bus, 0)
    for number in range(20):
        store.cuts = 1
        answer = bus.execute_now(Deposit(account, 1), calling(f"r{number}"), as_message)
        assert answer.value == number + 1
    assert balance(bus, account) == 20
    assert len(store.load([account])[account]) == 21
    store.close()


def test_rows_of_a_refused_command_are_undone_and_those_of_the_others_stay(migrated: Migrated) -> None:
    made = migrated("bus", None)
    with psycopg.connect(made.owner_dsn) as connection:
        connection.execute("CREATE TABLE notes (text text); GRANT ALL ON notes TO scrm_writer")
    store = PostgresEventStore(made.writer_dsn)
    bus = CommandBus(store, ReplayClock(NOON), HANDLERS)

    def note(text: str, *, refuse: bool) -> Effect:
        def change(work: UnitOfWork) -> None:
            work.rows.execute(sa.text("INSERT INTO notes VALUES (:text)"), {"text": text})
            if refuse:
                raise AmountInvalid(field="text")

        return Effect(change)

    orders = [note("one", refuse=False), note("two", refuse=True), note("three", refuse=False)]
    outcomes = bus.run_now(Unit([(ACME, it) for it in orders]))
    assert [it.error is None for it in outcomes] == [True, False, True]
    settled: list[bool] = []

    def settle(rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        settled.extend(it.error is None for it in outcomes)
        rows.execute(sa.text("INSERT INTO notes VALUES ('settled')"))

    for alone, is_fine in ((note("four", refuse=True), False), (note("five", refuse=False), True)):
        (outcome,) = bus.run_now(Unit([(ACME, alone)], settle))
        assert (outcome.error is None) is is_fine
    assert settled == [False, True], "what commits with a refused command commits once"
    with store.engine.connect() as rows:
        assert list(rows.scalars(sa.text("SELECT text FROM notes"))) == ["one", "three", "settled", "five", "settled"]
    store.close()


def test_natural_ids_keep_tenants_and_parts_apart() -> None:
    ids = {
        natural_id("a", "k", "x", "y"),
        natural_id("b", "k", "x", "y"),
        natural_id("a", "k", "xy"),
        natural_id("a", "kx", "y"),
    }
    assert len(ids) == 4
    assert natural_id("a", "k", "x") == natural_id("a", "k", "x")


def test_every_event_class_is_found_by_its_topic() -> None:
    known = event_classes()
    assert known["test.AccountOpened"] is Account.Opened
    assert known["test.AccountDeposited"] is Account.Deposited
