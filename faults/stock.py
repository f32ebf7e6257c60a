"""The event store as the library has it, without what ours changed: the negative control of several faults."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from chassis.event_store import EventMapper
from faults import meters


@contextmanager
def recorder(dsn: str) -> Iterator[PostgresApplicationRecorder]:
    """A stock recorder on its own tables, which the owner of the database makes."""
    parts = conninfo_to_dict(dsn)
    datastore = PostgresDatastore(
        dbname=str(parts["dbname"]),
        host=str(parts["host"]),
        port=str(parts["port"]),
        user=str(parts["user"]),
        password="unused",  # noqa: S106 - the server trusts the loopback
        pool_size=2,
        max_overflow=8,
    )
    try:
        made = PostgresApplicationRecorder(datastore)
        made.create_table()
        yield made
    finally:
        datastore.close()


def event(meter: int, version: int, number: int) -> StoredEvent:
    """An event of `faults.meters` as it is stored."""
    return EventMapper().draft(meters.draft(meters.meter_id(meter), version, number))


def append(to: PostgresApplicationRecorder, events: Sequence[StoredEvent]) -> None:
    to.insert_events(events)
