"""Shares of a consumer: whoever comes and goes, every message has its effect once, in the order of its key, and is read by somebody."""

from collections.abc import Iterator
from typing import Any

import pytest

from chassis import shares
from chassis.positions import Shard
from chassis.shares import Shares, reader_of
from deploy.local.broker import NatsServer
from tests.chassis.consuming import Desk, opened
from tests.chassis.streams import connected, fill, running, saying, settled, until
from tests.conftest import Migrated


@pytest.fixture
def desk(migrated: Migrated, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(shares, "CHECK_SECONDS", 0.05)
    with opened(migrated("shares", None)) as desk:
        yield desk


def share(desk: Desk, broker: Any, index: int, count: int = 4) -> Shares:
    return Shares("consume/counting", desk.engine, Shard(index, count), lambda it: desk.consumer(broker, shard=it))


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_one_two_four_or_eight_processes_share_eight_shards_evenly(processes: int) -> None:
    present = frozenset(range(processes))

    read_by = [reader_of(it, present) for it in range(8)]

    assert {it: read_by.count(it) for it in present} == dict.fromkeys(present, 8 // processes)


def test_whoever_is_missing_somebody_reads_every_shard() -> None:
    for there in range(256):
        present = frozenset(it for it in range(8) if there >> it & 1) | {0}
        assert {reader_of(it, present) for it in range(8)} == present


def test_who_comes_takes_its_share_and_who_goes_leaves_it(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n, f"k{n % 20}") for n in range(1, 301)])
            first, second = share(desk, broker, 0), share(desk, broker, 1)
            async with running(first):
                await until(lambda: first.reading == [0, 1, 2, 3])
                await until(lambda: settled(first))
                async with running(second):
                    await until(lambda: (first.reading, second.reading) == ([0, 2], [1, 3]))
                    await fill(broker, "numbers", [saying(n, n, f"k{n % 20}") for n in range(301, 601)])
                    await until(lambda: settled(first, second))
                await until(lambda: first.reading == [0, 1, 2, 3])
                await fill(broker, "numbers", [saying(n, n, f"k{n % 20}") for n in range(601, 701)])
                await until(lambda: desk.total() == sum(range(1, 701)))
        assert desk.credited_by_key(20) == {f"k{key}": [n for n in range(1, 701) if n % 20 == key] for key in range(20)}

    loop.run_until_complete(scenario())


def test_what_several_shards_are_behind_is_told_as_one_number(loop: Any, desk: Desk, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n, f"k{n}") for n in range(1, 101)])
            alone = share(desk, broker, 0)
            async with running(alone):
                await until(lambda: desk.total() == sum(range(1, 101)))
                await until(lambda: settled(alone))
                (found,) = await alone.progress()
                assert (found.name, found.stream, found.backlog, found.head) == ("counting", "numbers", 0, 100)

    loop.run_until_complete(scenario())
