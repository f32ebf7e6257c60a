"""Consumers: each message has its effect once and in the order of its key, through redelivery, rivals, loss and rebuilding."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chassis import consumer as consumer_module
from chassis import inbox, positions
from chassis.broker import Broker
from chassis.consumer import Incoming, Shard
from chassis.envelope import Offset
from chassis.epochs import carried_over
from chassis.positions import Positions
from deploy.local.broker import NatsServer
from tests.chassis.consuming import Desk, credit_account, opened, write_down
from tests.chassis.streams import (
    ListLog,
    clear,
    connected,
    fill,
    number_in,
    running,
    saying,
    settled,
    until,
)
from tests.conftest import Migrated

CUT = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def desk(migrated: Migrated) -> Iterator[Desk]:
    with opened(migrated("consumer", None)) as desk:
        yield desk


def thousand(count: int = 1_000, keys: int = 7) -> list[Any]:
    return [saying(n, n, f"k{n % keys}") for n in range(1, count + 1)]


def by_key(count: int = 1_000, keys: int = 7) -> dict[str, list[int]]:
    return {f"k{key}": [n for n in range(1, count + 1) if n % keys == key] for key in range(keys)}


def test_every_message_has_its_effect_once_and_in_order_per_key(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", thousand())
            consumer = desk.consumer(broker)
            async with running(consumer):
                await until(lambda: settled(consumer))
                await fill(broker, "numbers", [saying(1_001, 5, "late")])
                await until(lambda: settled(consumer))
        assert desk.credited_by_key() == by_key()
        assert desk.credited("late") == [5]
        assert consumer.batches < 30

    loop.run_until_complete(scenario())


def test_a_message_acts_for_its_tenant_and_says_what_caused_it(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(1, 5, tenant="globex")])
            consumer = desk.consumer(broker)
            async with running(consumer):
                await until(lambda: settled(consumer))
        recorded = desk.store.read_log(0, 10)[-1]
        assert recorded.tenant == "globex"
        assert recorded.context.actor == "system/consume/counting"
        assert recorded.context.causation == "numbers/1/1"
        assert recorded.context.correlation == "numbers/1/1"

    loop.run_until_complete(scenario())


def test_several_messages_of_one_position_all_count(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        for start in range(0, 300, 3):
            log.say(start + 1, start + 2, start + 3)
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [it for messages in log.entries for it in messages])
            consumer = desk.consumer(broker)  # takes 100 at a time, so that positions are cut in half
            async with running(consumer):
                await until(lambda: settled(consumer))
        assert desk.credited() == list(range(1, 301))

    loop.run_until_complete(scenario())


@asynccontextmanager
async def storm(broker: Broker, repeats: int = 4) -> AsyncIterator[None]:
    """Every message in the stream several times, long after the server's own window."""
    for _ in range(repeats):
        await fill(broker, "numbers", thousand())
    yield


@pytest.mark.parametrize("handle", [credit_account, write_down], ids=["policy", "batch"])
def test_a_storm_of_redeliveries_and_restarts_changes_nothing(
    loop: Any, desk: Desk, nats_server: NatsServer, handle: Any
) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker, storm(broker):
            for target in (50, 400, 900, None):
                consumer = desk.consumer(broker, handle)
                async with running(consumer):
                    await until(partial(reached, consumer, target))
        if handle is credit_account:
            assert desk.credited_by_key() == by_key()
        else:
            assert sorted(it[2] for it in desk.notes()) == list(range(1, 1_001))

    async def reached(consumer: Any, target: int | None) -> bool:
        return await settled(consumer) if target is None else bool(consumer.handled >= target)

    loop.run_until_complete(scenario())


def test_without_positions_the_same_storm_doubles(
    loop: Any, desk: Desk, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above."""
    monkeypatch.setattr(Positions, "__getitem__", lambda self, partition: Offset(0))
    monkeypatch.setattr(Positions, "move", lambda *ignored: None)
    monkeypatch.setattr(positions.Reader, "__hash__", lambda self: 0)

    async def scenario() -> None:
        async with connected(nats_server) as broker, storm(broker):
            consumer = desk.consumer(broker, write_down)
            async with running(consumer):
                await until(lambda: settled(consumer))
        assert len(desk.notes()) > 1_000

    loop.run_until_complete(scenario())


@asynccontextmanager
async def everybody_leads(*ignored: Any, **options: Any) -> AsyncIterator[Any]:
    class Careless:
        async def check(self) -> None:
            return None

    yield Careless()


def test_rivals_on_the_same_partitions_do_nothing_twice_and_skip_nothing(
    loop: Any, desk: Desk, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that both believe to be alone: the compare-and-set decides, whatever the lock says."""
    monkeypatch.setattr(consumer_module, "leading", everybody_leads)

    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", thousand())
            rivals = [desk.consumer(broker, write_down, shard=Shard(0, 1)) for _ in range(2)]
            async with running(*rivals):
                await until(lambda: desk.count("notes") >= 1_000)
        assert sorted(it[2] for it in desk.notes()) == list(range(1, 1_001))

    loop.run_until_complete(scenario())


def test_rivals_without_compare_and_set_do_things_twice(
    loop: Any, desk: Desk, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above: the same rivals, each with a durable of its own, and a move that does not compare."""
    monkeypatch.setattr(consumer_module, "leading", everybody_leads)
    monkeypatch.setattr(Positions, "move", lambda *ignored: None)
    names = iter(["one", "two", *(f"more{n}" for n in range(100))])
    monkeypatch.setattr(consumer_module._Reading, "durable", property(lambda self: next(names)))

    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", thousand())
            rivals = [desk.consumer(broker, write_down) for _ in range(2)]
            async with running(*rivals):
                await until(lambda: desk.count("notes") >= 2_000)

    loop.run_until_complete(scenario())


def test_shards_share_the_work(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", thousand(keys=97))
            shards = [desk.consumer(broker, shard=Shard(index, 3)) for index in range(3)]
            async with running(*shards):
                await until(lambda: settled(*shards))
            assert all(it.handled > 100 for it in shards)
            alone = desk.consumer(broker)  # another division of the same work begins where it is
            await fill(broker, "numbers", [saying(1_001, 7, "k1")])
            async with running(alone):
                await until(lambda: settled(alone))
        assert desk.credited_by_key(97) == by_key(keys=97) | {"k1": [*by_key(keys=97)["k1"], 7]}

    loop.run_until_complete(scenario())


def test_a_stream_rebuilt_from_the_log_doubles_nothing_and_loses_nothing(
    loop: Any, desk: Desk, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", thousand(600))
            consumer = desk.consumer(broker)
            async with running(consumer):
                await until(lambda: consumer.handled >= 300)
                await clear(broker)
                await fill(broker, "numbers", thousand())
                await until(lambda: desk.count() == 1_007)
                await until(lambda: settled(consumer))
        assert desk.credited_by_key() == by_key()

    loop.run_until_complete(scenario())


def test_in_a_new_epoch_a_consumer_goes_on_from_what_both_epochs_share(
    loop: Any, desk: Desk, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n) for n in range(1, 101)])
            consumer = desk.consumer(broker)
            async with running(consumer):
                await until(lambda: settled(consumer))
                await clear(broker)
                await broker.request(
                    "STREAM.CREATE.numbers",
                    {
                        "name": "numbers",
                        "subjects": ["scrm.*.protobuf.v1.int64_value.*"],
                        "metadata": {"scrm-epoch-bases": "0,60"},
                        "allow_atomic": True,
                        "duplicate_window": 200_000_000,
                    },
                )
                others = [saying(n, 1_000 + n) for n in range(61, 121)]
                await fill(broker, "numbers", [saying(n, n) for n in range(1, 61)] + others, epoch=2)
                await until(lambda: desk.count() == 161)
                await until(lambda: settled(consumer))
        assert desk.credited() == [*range(1, 101), *range(1_061, 1_121)]

    loop.run_until_complete(scenario())


def test_a_position_is_never_carried_beyond_the_base_of_any_epoch_between() -> None:
    bases = [0, 50, 70]
    assert carried_over(Offset(100), 1, bases) < Offset(51)
    assert carried_over(Offset(100), 2, bases) < Offset(71)
    assert carried_over(Offset(30), 1, bases) == Offset(30)
    assert carried_over(Offset(100), 3, bases) == Offset(100)


def test_connections_may_be_cut_at_any_time(loop: Any, desk: Desk, server_folder: Path) -> None:
    async def scenario() -> None:
        server = NatsServer(server_folder / "nats")
        server.start()
        async with connected(server) as broker:
            await fill(broker, "numbers", thousand(2_000))
            consumer = desk.consumer(broker)
            async with running(consumer):
                await until(lambda: consumer.handled >= 200)
                with desk.engine.connect() as rows:
                    rows.execute(CUT)
                await until(lambda: consumer.handled >= 600)
                server.kill()
                server.start()
                await until(lambda: desk.count() == 2_007)
        server.stop()
        assert desk.credited_by_key() == by_key(2_000)

    loop.run_until_complete(scenario())


def test_what_is_kept_is_in_the_order_of_the_effects(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", thousand(300))
            consumer = desk.consumer(broker, keep=True)
            async with running(consumer):
                await until(lambda: settled(consumer))
        with desk.engine.connect() as rows:
            kept = inbox.read(rows, 0, 1_000)
            assert rows.scalar(sa.text(inbox.HEAD)) == kept[-1][0]
        assert [number_in(it) for _, it in kept] == list(range(1, 301))
        assert [position for position, _ in kept] == sorted(position for position, _ in kept)
        assert (kept[0][1].id, kept[0][1].key, kept[0][1].tenant) == ("numbers/1/1", "k1", "acme")

    loop.run_until_complete(scenario())


def test_a_policy_that_wants_nothing_of_a_batch_still_moves_on(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        seen: list[int] = []

        def ignore(message: Incoming) -> list[Any]:
            seen.append(number_in(message))
            return []

        async with connected(nats_server) as broker:
            await fill(broker, "numbers", thousand(200))
            for _ in range(2):
                consumer = desk.consumer(broker, ignore)
                async with running(consumer):
                    await until(partial(settled, consumer))
        assert seen == list(range(1, 201))
        assert desk.store.head() == 0

    loop.run_until_complete(scenario())


def test_only_the_events_asked_for_are_delivered(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", thousand(50))
            consumer = desk.consumer(broker, events=["something_else"])
            async with running(consumer):
                await until(lambda: settled(consumer))
        assert consumer.handled == 0

    loop.run_until_complete(scenario())
