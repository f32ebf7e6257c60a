"""What a crash of PostgreSQL undid is not taken for done, although the server gives its transaction ids away again."""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TypeVar

import psycopg
import pytest

from chassis.event_store import PostgresEventStore
from chassis.group_commit import OUTAGES
from chassis.log import Appending, Witness
from deploy.local.postgres import Postgres
from faults.meters import draft, meter_id
from faults.workplace import postgres, with_chassis

T = TypeVar("T")
NO_FLUSH = {"wal_writer_delay": "10s"}


@pytest.mark.timeout(300)
def test_a_transaction_that_a_crash_undid_is_not_taken_for_another_one_that_got_its_id() -> None:
    with postgres("crash", NO_FLUSH) as server:
        database = with_chassis(server, "crash")
        store = PostgresEventStore(database.writer_dsn)
        done = append(store, 1)
        undone = append(store, 2, before_commit=lambda: crash(server))
        give_away(server.dsn("crash"), undone)
        assert patiently(lambda: store.committed(done))
        assert not store.committed(undone)
        store.close()


def append(store: PostgresEventStore, meter: int, before_commit: Callable[[], None] = lambda: None) -> Witness:
    witness: Witness | None = None
    with suppress(*OUTAGES), store.transaction() as transaction:
        witness = transaction.append(Appending([draft(meter_id(meter), 1, 1)], [], [], 0, [])).witness
        before_commit()
    assert witness is not None
    return witness


def crash(server: Postgres) -> None:
    server.kill()
    server.start()


def give_away(dsn: str, undone: Witness) -> None:
    """Let others commit until one of them has had the id of `undone`; what it is known by is then committed."""
    with psycopg.connect(dsn, autocommit=True) as rows:
        while str(rows.execute("SELECT pg_current_xact_id()::text").fetchall()[0][0]) != undone.transaction_id:
            continue
        status = rows.execute("SELECT pg_xact_status(%s::text::xid8)", [undone.transaction_id]).fetchone()
    assert status == ("committed",)


def patiently(ask: Callable[[], T], seconds: float = 30) -> T:
    """Ask again as long as connections are found to be broken."""
    deadline = monotonic() + seconds
    while True:
        try:
            return ask()
        except OUTAGES:
            if monotonic() > deadline:
                raise
