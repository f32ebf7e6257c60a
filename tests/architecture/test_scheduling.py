"""Who gets which tests: those of one stack go to one worker, and no more than half of the workers have stacks at a time."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scheduling import ByStack

STACKS = [
    "tests/demo/test_smoke.py::test_all",
    "tests/e2e/test_page.py::test_it",
    "tests/e2e/test_unmerge.py::test_it",
    *(f"tests/faults/test_faults.py::test_a_fault[{number}]" for number in range(4)),
]
OTHERS = [f"tests/identity/test_{name}.py::test_{number}" for name in "abcdef" for number in range(5)]
TESTS = [*STACKS, *OTHERS]


class Worker:
    """Stands for one of pytest-xdist; `given` are the tests it was sent, of which it does the first that is not done."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.done = 0
        self.shutting_down = False
        self.gateway = SimpleNamespace(id="gw")

    def send_runtest_some(self, tests: Sequence[int]) -> None:
        self.given += tests

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def waiting(self) -> list[str]:
        return [TESTS[it] for it in self.given[self.done :]]


def scheduled(count: int) -> tuple[Any, list[Worker]]:
    option = SimpleNamespace(tx=["popen"] * count, loadscopereorder=False)
    scheduler: Any = ByStack(SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name)))
    workers = [Worker() for _ in range(count)]
    for it in workers:
        scheduler.add_node(it)
    for it in workers:
        scheduler.add_node_collection(it, TESTS)
    scheduler.schedule()
    return scheduler, workers


def go_on(scheduler: Any, worker: Worker) -> None:
    worker.done += 1
    scheduler.mark_test_complete(worker, worker.given[worker.done - 1])


@pytest.mark.parametrize(("count", "at_once"), [(2, 1), (3, 1), (4, 2)])
def test_stacks_are_started_by_half_of_the_workers(count: int, at_once: int) -> None:
    scheduler, workers = scheduled(count)
    while any(it in OTHERS for it in scheduler.collection[: len(TESTS)] if it not in _given(workers)):
        assert sum(any(it in STACKS for it in worker.waiting) for worker in workers) <= at_once
        go_on(scheduler, min((it for it in workers if it.waiting), key=lambda it: it.done))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_everything_is_done_once_and_stacks_stay_together(count: int) -> None:
    scheduler, workers = scheduled(count)
    while busy := [it for it in workers if it.waiting]:
        go_on(scheduler, busy[0])
    assert sorted(TESTS[it] for worker in workers for it in worker.given) == sorted(TESTS)
    for worker in workers:
        given = {TESTS[it] for it in worker.given}
        assert (STACKS[1] in given) is (STACKS[2] in given)


def test_of_what_is_left_in_the_end_everybody_takes() -> None:
    scheduler, (one, other) = scheduled(2)
    while one.waiting or other.waiting:
        go_on(scheduler, other if other.waiting else one)
    assert {TESTS[it] for it in other.given} & set(STACKS)


def _given(workers: Sequence[Worker]) -> set[str]:
    return {TESTS[it] for worker in workers for it in worker.given}
