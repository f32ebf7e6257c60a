"""The thread that takes all work that waits: what it takes together, and for whom it waits."""

from collections.abc import Iterator, Sequence
from queue import Queue
from time import sleep

import pytest

from chassis.writer import Writer

PATIENCE = 10.0


@pytest.fixture
def groups() -> "Queue[list[int]]":
    return Queue()


@pytest.fixture
def writer(groups: "Queue[list[int]]") -> Iterator[Writer[int]]:
    yield from running(groups, gather=0.5)


@pytest.fixture
def hasty(groups: "Queue[list[int]]") -> Iterator[Writer[int]]:
    yield from running(groups, gather=0)


def running(groups: "Queue[list[int]]", gather: float) -> Iterator[Writer[int]]:
    def commit(jobs: Sequence[int]) -> None:
        groups.put(list(jobs))
        sleep(0.1)

    made: Writer[int] = Writer(commit, limit=3, gather=gather)
    made.start()
    yield made
    made.stop()


def take_three(writer: Writer[int], groups: "Queue[list[int]]") -> None:
    writer.put(0)
    assert groups.get(timeout=PATIENCE) == [0]
    for number in (1, 2, 3):  # while the first is committed
        writer.put(number)
    assert groups.get(timeout=PATIENCE) == [1, 2, 3]


def test_a_group_smaller_than_the_last_waits_for_the_others(writer: Writer[int], groups: "Queue[list[int]]") -> None:
    take_three(writer, groups)
    writer.put(4)
    sleep(0.2)
    writer.put(5)
    assert groups.get(timeout=PATIENCE) == [4, 5]


def test_a_writer_that_gathers_no_time_takes_what_is_there(hasty: Writer[int], groups: "Queue[list[int]]") -> None:
    take_three(hasty, groups)
    sleep(0.2)
    hasty.put(4)
    sleep(0.05)
    hasty.put(5)
    assert [groups.get(timeout=PATIENCE) for _ in range(2)] == [[4], [5]]


def test_a_caller_alone_waits_for_nobody(writer: Writer[int], groups: "Queue[list[int]]") -> None:
    writer.put(0)
    assert groups.get(timeout=PATIENCE) == [0]
    sleep(0.2)
    writer.put(1)
    sleep(0.2)
    writer.put(2)
    assert [groups.get(timeout=PATIENCE) for _ in range(2)] == [[1], [2]]


def test_what_waits_at_the_end_is_done(writer: Writer[int], groups: "Queue[list[int]]") -> None:
    take_three(writer, groups)
    writer.put(4)
    writer.stop()
    assert groups.get(timeout=PATIENCE) == [4]
    with pytest.raises(RuntimeError):
        writer.put(5)
