"""Consumers that read their streams together: each as if it were alone, in one transaction as long as nobody fails."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from chassis import inbox
from chassis.consumer import Consumer, Incoming, Joint, Shard, Subscription
from chassis.shares import Shares
from deploy.local.broker import NatsServer
from tests.chassis.consuming import Desk, credit_account, opened, write_down
from tests.chassis.streams import connected, fill, number_in, running, saying, settled, until
from tests.conftest import Migrated

POISON = 13013
COUNTING = Subscription("counting", ["numbers"], credit_account)
NOTING = Subscription("noting", ["numbers", "others"], write_down, keep=True)


@pytest.fixture
def desk(migrated: Migrated) -> Iterator[Desk]:
    with opened(migrated("consumer", None)) as desk:
        yield desk


def reading(desk: Desk, broker: Any, *subscriptions: Subscription, shard: Shard | None = None) -> Consumer:
    joint = subscriptions[0] if len(subscriptions) == 1 else Joint(subscriptions)
    return Consumer(joint, desk.engine, broker, desk.bus, shard=shard or Shard(), batch_limit=100)


def numbers(first: int, last: int) -> list[Any]:
    return [saying(n, n, f"k{n % 7}") for n in range(first, last + 1)]


def noted(desk: Desk) -> list[int]:
    return sorted(number for _, _, number in desk.notes())


def commits(desk: Desk, consumer: str) -> dict[int, str]:
    """By partition, the transaction in which the consumer was last moved there."""
    query = sa.text("SELECT partition, xmin::text FROM consumer_positions WHERE consumer = :it AND position > 0")
    with desk.engine.connect() as rows:
        return {it.partition: it.xmin for it in rows.execute(query, {"it": consumer})}


def test_each_has_its_own_effect_of_every_message_in_one_transaction(
    loop: Any, desk: Desk, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", numbers(1, 300))
            consumer = reading(desk, broker, COUNTING, NOTING)
            async with running(consumer):
                await until(lambda: settled(consumer))
                told = {(it.name, it.stream): (it.position, it.backlog) for it in await consumer.progress()}
        assert consumer.handled == 300
        assert desk.credited_by_key() == {f"k{key}": [n for n in range(1, 301) if n % 7 == key] for key in range(7)}
        assert noted(desk) == list(range(1, 301))
        assert commits(desk, "counting") == commits(desk, "noting") != {}
        assert told == {
            ("counting", "numbers"): (300, 0),
            ("noting", "numbers"): (300, 0),
            ("noting", "others"): (0, 0),
        }
        assert {it.context.actor for it in desk.store.read_log(0, 10)} == {"system/consume/counting"}

    loop.run_until_complete(scenario())


def test_a_message_goes_only_to_those_that_ask_for_it(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        seen: list[str] = []
        asked = Subscription("asking", ["numbers"], acting(seen), events=["int64_value"])
        other = Subscription("other", ["numbers"], acting(seen), events=["something_else"])
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", numbers(1, 50))
            consumer = reading(desk, broker, other, asked)
            async with running(consumer):
                await until(lambda: settled(consumer))
            sequences = cursors(desk)
        assert seen == ["system/consume/asking"] * 50
        assert commits(desk, "other") == {}
        assert sequences == {"asking": 50, "other": 50}

    loop.run_until_complete(scenario())


def test_what_one_cannot_handle_is_parked_for_it_alone(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            poisoned = [saying(n, POISON if n == 50 else n, f"k{n}") for n in range(1, 101)]
            await fill(broker, "numbers", poisoned)
            consumer = reading(desk, broker, COUNTING, NOTING)
            async with running(consumer):
                await until(lambda: settled(consumer))
                await fill(broker, "numbers", [saying(101, 101, "k50"), saying(102, 102, "k1")])
                await until(lambda: settled(consumer))
                parked = {it.name: it.parked for it in await consumer.progress() if it.stream == "numbers"}
        assert parked == {"counting": 0, "noting": 2}
        assert [it[:2] for it in desk.parked()] == [("k50", 50), ("k50", 101)]
        assert desk.credited("k50") == [POISON, 101]
        assert noted(desk) == [*(n for n in range(1, 101) if n != 50), 102]

    loop.run_until_complete(scenario())


def test_they_may_be_joined_and_parted_wherever_each_is(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", numbers(1, 100))
            for last, parts in ((100, [COUNTING]), (200, [NOTING]), (300, [NOTING, COUNTING]), (400, [COUNTING])):
                await fill(broker, "numbers", numbers(last + 1, last + 100))
                consumer = reading(desk, broker, *parts)
                async with running(consumer):
                    await until(partial(settled, consumer))
        assert sorted(n for it in desk.credited_by_key().values() for n in it) == list(range(1, 501))
        assert noted(desk) == list(range(1, 401))
        with desk.engine.connect() as rows:
            assert [number_in(it) for _, it in inbox.read(rows, 0, 1_000)] == list(range(1, 401))

    loop.run_until_complete(scenario())


def test_shares_tell_how_far_each_of_them_is(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", numbers(1, 50))
            shares = Shares(
                "together", desk.engine, Shard(0, 2), lambda it: reading(desk, broker, COUNTING, NOTING, shard=it)
            )
            async with running(shares):
                await until(lambda: len(shares.reading) == 2)
                await until(lambda: settled(shares))
                told = {(it.name, it.stream): it.backlog for it in await shares.progress()}
        assert told == {("counting", "numbers"): 0, ("noting", "numbers"): 0, ("noting", "others"): 0}
        assert noted(desk) == list(range(1, 51))

    loop.run_until_complete(scenario())


def acting(seen: list[str]) -> Callable[[Incoming], Sequence[Any]]:
    """A policy that notes as whom it acts."""

    def react(message: Incoming) -> Sequence[Any]:
        seen.append(message.context.actor)
        return []

    return react


def cursors(desk: Desk) -> dict[str, int]:
    with desk.engine.connect() as rows:
        found = rows.execute(sa.text("SELECT consumer, sequence FROM consumer_cursors WHERE stream = 'numbers'"))
        return {it.consumer: it.sequence for it in found}
