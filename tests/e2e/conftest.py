"""All five services under a replay clock, for whichever tests of a session let time pass by days."""

from collections.abc import Iterator

import pytest

from deploy.local.stack import LocalStack
from tests.places import place


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A test that comes later finds what the ones before have left, and the clock where they left it."""
    with place("e2e") as folder, LocalStack(folder / "state", clock="replay") as started:
        yield started
