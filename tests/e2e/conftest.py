"""Stacks that tests share: what comes later finds what the ones before have left. tests/scheduling.py sends them to one worker."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest

from deploy.local.stack import LocalStack
from tests.places import place


class Lease:
    """A stack that starts for the first test that asks for it and stops before the first that does not: one at rest costs too."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._until_end = ExitStack()
        self._stack: LocalStack | None = None

    def __call__(self) -> LocalStack:
        if self._stack is None:
            self._stack = self._until_end.enter_context(_started(**self._settings))
        return self._stack

    def end(self) -> None:
        self._stack = None
        self._until_end.close()


@contextmanager
def _started(**settings: Any) -> Iterator[LocalStack]:
    with place("e2e") as folder, LocalStack(folder / "state", **settings) as stack:
        yield stack


_LEASES: Final = {
    "replay_stack": Lease(clock="replay"),
    "intake_stack": Lease(services=("identity", "tracking")),
}


@pytest.fixture
def replay_stack() -> LocalStack:
    """All five services under a replay clock, for whichever tests let time pass by days."""
    return _LEASES["replay_stack"]()


@pytest.fixture
def intake_stack() -> LocalStack:
    """What takes in from outside: identity and tracking. Each test has a tenant of its own."""
    return _LEASES["intake_stack"]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    wanted = getattr(nextitem, "fixturenames", ())
    for name, lease in _LEASES.items():
        if name not in wanted:
            lease.end()
