"""The relay: everything once and in order, whoever leads and whatever happens to the stream."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chassis.broker import (
    BATCH_LIMIT,
    Broker,
    BrokerRefusal,
    BrokerUnavailable,
    StreamSpec,
    UnsyncedBroker,
    require_sync,
)
from chassis.envelope import Address, Offset, seal
from chassis.epochs import bases_of
from chassis.postgres import create_engine
from chassis.relay import WRONG_LAST_SEQUENCE, Relay, TooManyMessages
from deploy.local import broker as local_broker
from deploy.local.broker import NatsServer
from tests.chassis.streams import (
    ListLog,
    addresses_in,
    connected,
    numbers_in,
    running,
    saying,
    settled,
    stored_in,
    until,
)
from tests.conftest import Migrated


@pytest.fixture
def engine(migrated: Migrated) -> Iterator[sa.Engine]:
    made = migrated("relay", None)
    engine = create_engine(made.writer_dsn, pool_size=8)
    yield engine
    engine.dispose()


def test_a_log_arrives_whole_and_in_order(loop: Any, engine: sa.Engine, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say_each(range(2_300))
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker)
            async with running(relay):
                await until(lambda: settled(relay))
                log.say(2_300)
                await until(lambda: settled(relay))
            assert numbers_in(await stored_in(broker, "numbers")) == list(range(2_301))
            assert relay.batches < 10

    loop.run_until_complete(scenario())


def test_the_envelope_is_that_of_cloudevents(loop: Any, engine: sa.Engine, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say(5, key="customer-1", tenant="a.b")
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker)
            async with running(relay):
                await until(lambda: settled(relay))
            (stored,) = await stored_in(broker, "numbers")
        assert stored.subject.startswith("scrm.a%2Eb.protobuf.v1.int64_value.")
        assert {name: it for name, it in stored.headers.items() if name.startswith("ce-")} == {
            "ce-specversion": "1.0",
            "ce-id": "numbers/1/1",
            "ce-source": "/scrm/protobuf",
            "ce-type": "google.protobuf.Int64Value",
            "ce-subject": "customer-1",
            "ce-time": "2026-05-01T12:00:00.001000+00:00",
            "ce-datacontenttype": "application/protobuf",
            "ce-tenant": "a.b",
        }

    loop.run_until_complete(scenario())


def test_several_messages_of_one_position_stay_in_one_batch(
    loop: Any, engine: sa.Engine, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        for start in range(0, 40, 4):
            log.say(*range(start, start + 4))
            log.say()  # publishes nothing
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker, batch_limit=6)
            async with running(relay):
                await until(lambda: settled(relay))
            stored = await stored_in(broker, "numbers")
            assert numbers_in(stored) == list(range(40))
            assert addresses_in(stored)[4:8] == [Address("numbers", 1, Offset(3, part)) for part in range(4)]
            assert relay.batches == 10

    loop.run_until_complete(scenario())


def test_an_event_of_more_messages_than_a_batch_takes_is_refused_by_name(engine: sa.Engine) -> None:
    """They could not appear at once; sent all the same, the server would refuse them again and again without saying which."""
    fits, log = ListLog("numbers"), ListLog("numbers")
    fits.say(*range(BATCH_LIMIT))
    log.say(*range(BATCH_LIMIT + 1))
    broker = Broker("nats://127.0.0.1:1")
    batches, _ = Relay(fits, engine, broker)._read_now(0, 1, fits.head())
    assert [len(it.parcels) for it in batches] == [BATCH_LIMIT]
    with pytest.raises(TooManyMessages, match=f"position 1 of numbers is {BATCH_LIMIT + 1} messages"):
        Relay(log, engine, broker)._read_now(0, 1, log.head())


def test_positions_that_publish_nothing_are_not_read_again_and_again(
    loop: Any, engine: sa.Engine, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say(0)
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker, poll=0.001)
            async with running(relay):
                await until(lambda: relay.published == 1)
                for _ in range(3_000):
                    log.say()
                await until(lambda: settled(relay))
                reads = log.reads
                log.say(1)
                await until(lambda: settled(relay))
                assert log.reads - reads <= 2

    loop.run_until_complete(scenario())


def test_two_relays_publish_everything_once(loop: Any, engine: sa.Engine, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        async with connected(nats_server) as broker:
            first, second = Relay(log, engine, broker), Relay(log, engine, broker)
            async with running(first, second):
                for start in range(0, 5_000, 500):
                    log.say_each(range(start, start + 500))
                    await asyncio.sleep(0)
                await until(lambda: settled(first, second))
            assert numbers_in(await stored_in(broker, "numbers")) == list(range(5_000))
            assert 0 in (first.published, second.published), "only one of them leads"

    loop.run_until_complete(scenario())


def test_a_writer_with_an_old_idea_of_the_stream_is_refused_and_leaves_nothing(
    loop: Any, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            parcels = [seal(saying(n, n), Address("numbers", 1, Offset(n))) for n in range(1, 6)]
            await broker.ensure_stream(StreamSpec("numbers", ["scrm.*.protobuf.v1.int64_value.*"]))
            assert await broker.publish_batch(parcels[:3], 0) == 3
            for late in (parcels[3:], parcels[3:4]):
                with pytest.raises(BrokerRefusal) as refused:
                    await broker.publish_batch(late, 2)
                assert refused.value.code == WRONG_LAST_SEQUENCE
            assert len(await stored_in(broker, "numbers")) == 3
            assert [await broker.publish_batch([it], at) for at, it in enumerate(parcels[3:], 3)] == [4, 5]

    loop.run_until_complete(scenario())


def test_without_the_expected_sequence_two_writers_would_publish_twice(loop: Any, nats_server: NatsServer) -> None:
    """The negative control of the test above: what the guard is for."""

    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await broker.ensure_stream(StreamSpec("numbers", ["scrm.*.protobuf.v1.int64_value.*"]))
            parcels = [seal(saying(n, n), Address("numbers", 1, Offset(n))) for n in range(1, 4)]
            for _ in range(2):
                for it in parcels:
                    await broker.store(it.subject, it.payload)
            assert numbers_in(await stored_in(broker, "numbers")) == [1, 2, 3, 1, 2, 3]

    loop.run_until_complete(scenario())


def test_a_relay_overtaken_by_another_goes_on_behind_it(loop: Any, engine: sa.Engine, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say_each(range(10))
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker)
            async with running(relay):
                await until(lambda: settled(relay))
                log.say(10)
                intruder = seal(log.entries[10][0], Address("numbers", 1, Offset(11)))
                with suppress(BrokerRefusal):  # the relay may be quicker
                    await broker.publish_batch([intruder], 10)
                log.say(11)
                await until(lambda: settled(relay))
            assert numbers_in(await stored_in(broker, "numbers")) == list(range(12))

    loop.run_until_complete(scenario())


@pytest.mark.parametrize("loss", ["deleted", "purged"])
def test_a_stream_that_is_lost_is_filled_again_even_while_nothing_happens(
    loop: Any, engine: sa.Engine, nats_server: NatsServer, loss: str
) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say_each(range(1_200))
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker)
            async with running(relay):
                await until(lambda: settled(relay))
                if loss == "deleted":
                    await broker.delete_stream("numbers")
                else:
                    await broker.request("STREAM.PURGE.numbers")

                async def refilled() -> bool:
                    info = await broker.stream("numbers")
                    return info is not None and info.messages == 1_200

                await until(refilled)
            assert numbers_in(await stored_in(broker, "numbers")) == list(range(1_200))

    loop.run_until_complete(scenario())


def test_the_broker_may_die_and_lose_everything(loop: Any, engine: sa.Engine, server_folder: Path) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say_each(range(500))
        server = NatsServer(server_folder / "nats")
        server.start()
        broker = Broker(server.url, monitor_url=server.monitor_url)
        await broker.connect()
        relay = Relay(log, engine, broker)
        async with running(relay):
            await until(lambda: settled(relay))
            server.kill()
            log.say_each(range(500, 600))
            for file in sorted(server.store_dir.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            server.start()
            await until(lambda: published(relay, 600))
        assert numbers_in(await stored_in(broker, "numbers")) == list(range(600))
        await broker.close()
        server.stop()

    loop.run_until_complete(scenario())


def test_connections_to_postgres_may_be_cut(loop: Any, engine: sa.Engine, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say_each(range(100))
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker)
            async with running(relay):
                await until(lambda: settled(relay))
                with engine.connect() as rows:
                    rows.execute(CUT)
                log.say_each(range(100, 200))
                await until(lambda: published(relay, 200))
            assert numbers_in(await stored_in(broker, "numbers")) == list(range(200))

    loop.run_until_complete(scenario())


def test_a_log_restored_to_an_earlier_state_starts_an_epoch(
    loop: Any, engine: sa.Engine, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say_each(range(100))
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker)
            async with running(relay):
                await until(lambda: settled(relay))
            restored = ListLog("numbers")
            restored.entries = log.entries[:60]
            restored.say(1_000, tenant="another")
            relay = Relay(restored, engine, broker)
            async with running(relay):
                await until(lambda: published(relay, 61))
            stored = await stored_in(broker, "numbers")
            assert numbers_in(stored) == [*range(60), 1_000]
            assert {it.epoch for it in addresses_in(stored)} == {2}
            info = await broker.stream("numbers")
            assert info is not None
            assert bases_of(info) == [0, 60]

    loop.run_until_complete(scenario())


def test_a_broker_that_does_not_sync_is_refused(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced = local_broker.CONFIGURATION.replace("  sync_interval: always\n", "")
    monkeypatch.setattr(local_broker, "CONFIGURATION", unsynced)
    monkeypatch.setattr(NatsServer, "syncs_always", lambda self: True)
    server = NatsServer(server_folder / "nats")
    server.start()
    try:
        with pytest.raises(UnsyncedBroker):
            require_sync(server.monitor_url)
    finally:
        server.stop()


CUT = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def published(relay: Relay, position: int) -> bool:
    try:
        (found,) = await relay.progress()
    except (sa.exc.OperationalError, BrokerUnavailable):
        return False
    return found.position == position and not found.backlog
