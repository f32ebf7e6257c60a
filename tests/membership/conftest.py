"""The scenario every test of membership starts from, on both stores."""

from collections.abc import Iterator

import pytest

from chassis.event_store import EventStore, MemoryEventStore, PostgresEventStore
from tests.membership.scenario import Scenario


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[EventStore]:
    if request.param == "memory":
        yield MemoryEventStore()
        return
    database = request.getfixturevalue("migrated")("membership", None)
    postgres = PostgresEventStore(database.writer_dsn)
    yield postgres
    postgres.close()


@pytest.fixture
def club(store: EventStore) -> Scenario:
    """A tenant with the program SPEND >= 100.00 in 365 days, 1 point per 1.00."""
    return Scenario(store).define()
