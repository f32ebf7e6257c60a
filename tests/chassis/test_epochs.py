"""The role `restored`: after a restore a stream begins anew, and consumers who are ahead of the log miss nothing that comes after it."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from chassis.broker import Broker
from chassis.epochs import Epochs, bases_of
from chassis.postgres import create_engine
from chassis.relay import Relay
from deploy.local.broker import NatsServer
from tests.chassis.consuming import Desk, opened
from tests.chassis.streams import ListLog, clear, connected, running, settled, until
from tests.conftest import Migrated


@pytest.fixture
def desk(migrated: Migrated) -> Iterator[Desk]:
    with opened(migrated("consumer", None)) as desk:
        yield desk


@pytest.fixture
def engine(migrated: Migrated) -> Iterator[sa.Engine]:
    made = migrated("relay", None)
    engine = create_engine(made.writer_dsn, pool_size=8)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("begins", "heard"), [(True, [*range(1, 101), *range(1_001, 1_021)]), (False, [*range(1, 101)])]
)
def test_where_the_broker_is_lost_too_consumers_hear_what_comes_after_the_restore_if_an_epoch_began(
    loop: Any, desk: Desk, engine: sa.Engine, nats_server: NatsServer, begins: bool, heard: list[int]
) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        say(log, range(1, 101))
        async with connected(nats_server) as broker:
            await both_settle(log, desk, engine, broker)
            await clear(broker)
            del log.entries[60:]
            if begins:
                assert await Epochs(engine, broker, log).begin() == (2, 60)
            say(log, range(1_001, 1_021))
            await both_settle(log, desk, engine, broker)
        assert desk.credited() == heard

    loop.run_until_complete(scenario())


def say(log: ListLog, numbers: Iterable[int]) -> None:
    for number in numbers:
        log.say(number)


async def both_settle(log: ListLog, desk: Desk, engine: sa.Engine, broker: Broker) -> None:
    relay, consumer = Relay(log, engine, broker), desk.consumer(broker)
    async with running(relay):
        await until(lambda: settled(relay))
        async with running(consumer):
            await until(lambda: settled(consumer))


def test_what_is_only_in_the_stream_is_gone_before_anybody_reads_it(
    loop: Any, engine: sa.Engine, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        log.say_each(range(100))
        async with connected(nats_server) as broker:
            relay = Relay(log, engine, broker)
            async with running(relay):
                await until(lambda: settled(relay))
            del log.entries[60:]

            assert await Epochs(engine, broker, log).begin() == (3, 60)

            info = await broker.stream("numbers")
            assert info is not None
            assert (info.messages, bases_of(info)) == (0, [0, 60, 60])

    loop.run_until_complete(scenario())


def test_once_too_often_does_no_harm(loop: Any, desk: Desk, engine: sa.Engine, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        log = ListLog("numbers")
        say(log, range(1, 101))
        async with connected(nats_server) as broker:
            await both_settle(log, desk, engine, broker)
            for _ in range(2):
                await Epochs(engine, broker, log).begin()
            log.say(101)
            await both_settle(log, desk, engine, broker)
        assert desk.credited() == [*range(1, 102)]

    loop.run_until_complete(scenario())
