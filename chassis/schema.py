"""The tables of the chassis in a service's database, and who may do what with them."""

import re
from typing import Final

import psycopg
from psycopg.sql import SQL

from chassis import builds, epochs, inbox, parked, positions
from chassis.due_times import DDL as TIMERS
from chassis.event_store import PostgresEventStore

__all__ = ["TABLES", "create", "row_security"]

row_security = builds.row_security

_TABLES: Final = (
    *TIMERS,
    *epochs.DDL,
    *positions.DDL,
    *inbox.DDL,
    *parked.DDL,
    *builds.DDL,
)
TABLES: Final = frozenset(
    {"stored_events", "notification_tracking", "receipts"}.union(
        *(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", it) for it in _TABLES)
    )
)
"""The names of all tables that `create` makes."""
_GRANTS: Final = (
    # what has happened is only ever added to; what was told of somebody who is erased is made blank, in its place
    "REVOKE ALL ON stored_events, receipts, inbox, stream_epochs FROM scrm_writer",
    "GRANT SELECT, INSERT ON stored_events, receipts, inbox, stream_epochs TO scrm_writer",
    "GRANT UPDATE (payload) ON inbox TO scrm_writer",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON timers, consumer_positions, consumer_cursors, parked, projections TO scrm_writer",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO scrm_writer",
    # those who answer callers see read models and no more
    (
        "REVOKE ALL ON stored_events, receipts, inbox, stream_epochs, timers, consumer_positions, consumer_cursors, parked"
        " FROM scrm_reader"
    ),
    "GRANT SELECT ON projections TO scrm_reader",
)


def create(owner_dsn: str) -> None:
    """Make what is missing; needs the owner's rights. Running it again changes nothing."""
    PostgresEventStore.create_tables(owner_dsn)
    with psycopg.connect(owner_dsn) as connection:
        for statement in (*_TABLES, *_GRANTS):
            connection.execute(SQL(statement))
