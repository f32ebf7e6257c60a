"""Poison: one message that cannot be handled holds back its own key, nobody else, and can be tried again in order."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from chassis.commands import UnitOfWork
from chassis.consumer import Incoming
from chassis.errors import Unavailable
from chassis.parked import redrive
from deploy.local.broker import NatsServer
from tests.chassis.consuming import Credit, Desk, account_of, credit_account, opened, write_down
from tests.chassis.streams import connected, fill, number_in, running, saying, settled, until
from tests.conftest import Migrated

POISON = 13013  # refused by the table of notes


@pytest.fixture
def desk(migrated: Migrated) -> Iterator[Desk]:
    with opened(migrated("parked", None)) as desk:
        yield desk


def test_a_refused_message_is_parked_with_those_behind_it_and_the_others_go_on(
    loop: Any, desk: Desk, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(1, 1, "a"), saying(2, 0, "a"), saying(3, 3, "a"), saying(4, 4, "b")])
            consumer = desk.consumer(broker)
            async with running(consumer):
                await until(lambda: settled(consumer))
                await fill(broker, "numbers", [saying(5, 5, "a"), saying(6, 6, "b")])
                await until(lambda: settled(consumer))
                (progress,) = await consumer.progress()
            assert progress.parked == 3
            async with running(again := desk.consumer(broker)):
                await fill(broker, "numbers", [saying(7, 7, "a")])
                await until(lambda: settled(again))
        assert desk.credited("a") == [1]
        assert desk.credited("b") == [4, 6]
        assert desk.parked() == [
            ("a", 2, "AMOUNT_INVALID"),
            ("a", 3, "HELD_BACK"),
            ("a", 5, "HELD_BACK"),
            ("a", 7, "HELD_BACK"),
        ]

    loop.run_until_complete(scenario())


def test_the_same_key_of_another_tenant_is_not_held(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(1, 0, "a"), saying(2, 2, "a", "globex"), saying(3, 3, "a")])
            consumer = desk.consumer(broker)
            async with running(consumer):
                await until(lambda: settled(consumer))
        assert desk.credited("a", "globex") == [2]
        assert [it[1] for it in desk.parked()] == [1, 3]

    loop.run_until_complete(scenario())


class Fixable:
    """A policy with a bug that can be fixed while it runs."""

    def __init__(self) -> None:
        self.broken = True

    def react(self, message: Incoming) -> Sequence[Credit]:
        if self.broken and number_in(message) == 2:
            raise ZeroDivisionError("with somebody's name in it")
        return credit_account(message)

    def refuse(self, message: Incoming) -> Sequence[Credit]:
        amount = 0 if self.broken and number_in(message) == 2 else number_in(message)
        return [Credit(account_of(message), amount)]

    def half_refuse(self, message: Incoming) -> Sequence[Credit]:
        return [Credit(account_of(message), 100), *self.refuse(message)]

    def absorb(self, messages: Sequence[Incoming], work: UnitOfWork) -> None:
        if self.broken and any(number_in(it) == 2 for it in messages):
            raise ZeroDivisionError("somewhere in the batch")
        write_down(messages, work)


@pytest.mark.parametrize("form", ["react", "refuse"])
def test_a_redrive_after_the_fix_gives_what_would_have_been_without_the_poison(
    loop: Any, desk: Desk, nats_server: NatsServer, form: str
) -> None:
    async def scenario() -> None:
        policy = Fixable()
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n, "ab"[n % 2]) for n in range(1, 400)])
            consumer = desk.consumer(broker, getattr(policy, form), keep=True)
            async with running(consumer):
                await until(lambda: settled(consumer))
                assert desk.credited("a") == []
                assert desk.count("parked") == 199
                assert await redrive(desk.engine, "counting") == 199
                await until(lambda: desk.parked()[0][2] != "" and _attempts(desk) == [2])  # in vain
                policy.broken = False
                await redrive(desk.engine, "counting", "a")
                await fill(broker, "numbers", [saying(400, 400, "a")])
                await until(lambda: desk.count("parked") == 0)
                await fill(broker, "numbers", [saying(401, 401, "a")])
                await until(lambda: settled(consumer))
        assert desk.credited("a") == [*range(2, 401, 2), 401]
        assert desk.credited("b") == list(range(1, 400, 2))
        assert desk.count("inbox") == 401

    loop.run_until_complete(scenario())


def _attempts(desk: Desk) -> list[int]:
    import sqlalchemy as sa

    with desk.engine.connect() as rows:
        return list(rows.scalars(sa.text("SELECT attempts FROM parked ORDER BY id LIMIT 1")))


def test_a_message_that_makes_several_commands_is_carried_out_whole_or_not_at_all(
    loop: Any, desk: Desk, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        policy = Fixable()
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(1, 1, "a"), saying(2, 2, "a"), saying(3, 3, "a")])
            consumer = desk.consumer(broker, policy.half_refuse)
            async with running(consumer):
                await until(lambda: settled(consumer))
                assert desk.credited("a") == [100, 1]
                policy.broken = False
                await redrive(desk.engine, "counting")
                await until(lambda: desk.count("parked") == 0)
        assert desk.credited("a") == [100, 1, 100, 2, 100, 3]

    loop.run_until_complete(scenario())


def test_the_poison_in_a_batch_is_found_and_only_it_is_parked(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        policy = Fixable()
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n, f"k{n % 50}") for n in range(1, 301)])
            consumer = desk.consumer(broker, policy.absorb)
            async with running(consumer):
                await until(lambda: settled(consumer))
                assert [it[1] for it in desk.parked()] == [2, 52, 102, 152, 202, 252]
                assert desk.count("notes") == 294
                policy.broken = False
                await redrive(desk.engine, "counting")
                await until(lambda: desk.count("parked") == 0)
        assert sorted(it[2] for it in desk.notes()) == list(range(1, 301))

    loop.run_until_complete(scenario())


def test_a_row_the_database_refuses_is_poison_too(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            numbers = [*range(1, 50), POISON, *range(51, 101)]
            await fill(broker, "numbers", [saying(n, it, f"k{n}") for n, it in enumerate(numbers, 1)])
            consumer = desk.consumer(broker, write_down)
            async with running(consumer):
                await until(lambda: settled(consumer))
        assert [it[:2] for it in desk.parked()] == [("k50", 50)]
        assert desk.count("notes") == 99

    loop.run_until_complete(scenario())


def test_what_is_no_message_of_ours_is_parked_as_it_came(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(1, 1)])
            await broker.store("scrm.acme.protobuf.v1.int64_value.3", b"garbage")
            damaged = saying(2, 2, "a")
            damaged = type(damaged)(2, "acme", damaged.name, "a", b"\xff\xff", damaged.time, damaged.type)
            await fill(broker, "numbers", [damaged, saying(3, 3)])
            consumer = desk.consumer(broker)
            async with running(consumer):
                await until(lambda: settled(consumer))
        assert desk.credited() == [1, 3]
        assert [(it[0], it[2]) for it in desk.parked()] == [("", "UNREADABLE"), ("a", "UNREADABLE")]

    loop.run_until_complete(scenario())


@pytest.mark.parametrize("where", ["policy", "batch"])
def test_a_passing_failure_parks_nothing_and_skips_nothing(
    loop: Any, desk: Desk, nats_server: NatsServer, where: str
) -> None:
    async def scenario() -> None:
        failures = iter(range(3))

        def react(message: Incoming) -> Sequence[Credit]:
            if number_in(message) == 50 and next(failures, None) is not None:
                raise Unavailable
            return credit_account(message)

        def absorb(messages: Sequence[Incoming], work: UnitOfWork) -> None:
            write_down(messages, work)
            if next(failures, None) is not None:
                raise Unavailable

        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n) for n in range(1, 101)])
            consumer = desk.consumer(broker, react if where == "policy" else absorb)
            async with running(consumer):
                await until(lambda: settled(consumer))
        done = desk.credited() if where == "policy" else [it[2] for it in desk.notes()]
        assert done == list(range(1, 101))
        assert desk.parked() == []
        assert next(failures, None) is None

    loop.run_until_complete(scenario())
