"""The inbox: messages of other services kept in the order of their effect, so that read models can be rebuilt from here."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from chassis.context import Context
from chassis.envelope import Address, Incoming
from chassis.postgres import driver_cursor

DDL: Final = (
    (
        "CREATE TABLE IF NOT EXISTS inbox ("
        " position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " stream text NOT NULL, sequence bigint NOT NULL, id text NOT NULL, tenant text NOT NULL, type text NOT NULL,"
        " key text NOT NULL, partition smallint NOT NULL, time timestamptz NOT NULL, payload bytea NOT NULL)"
    ),
)
_LOCK: Final = "SELECT pg_advisory_xact_lock(7244, 0)"
_COPY: Final = "COPY inbox (stream, sequence, id, tenant, type, key, partition, time, payload) FROM STDIN"
_READ: Final = sa.text(
    "SELECT position, stream, sequence, id, tenant, type, key, partition, time, payload FROM inbox"
    " WHERE position > :after ORDER BY position LIMIT :limit"
)
HEAD: Final = "SELECT coalesce(max(position), 0) FROM inbox"


def keep(rows: sa.Connection, messages: Sequence[Incoming]) -> None:
    """Append `messages`; one appender at a time, so that positions become visible in their order."""
    if not messages:
        return
    with driver_cursor(rows) as cursor:
        cursor.execute(_LOCK)
        with cursor.copy(_COPY) as copy:
            for it in messages:
                copy.write_row(
                    (it.stream, it.sequence, it.id, it.tenant, it.type, it.key, it.partition, it.time, it.payload)
                )


def read(rows: sa.Connection, after: int, limit: int) -> list[tuple[int, Incoming]]:
    """Up to `limit` kept messages after a position of the inbox, each with its own."""
    return [(it.position, _incoming(it)) for it in rows.execute(_READ, {"after": after, "limit": limit})]


def _incoming(row: Any) -> Incoming:
    _, epoch, (position, part) = Address.of(row.id)
    context = Context(tenant=row.tenant, actor="system/inbox", correlation=row.id, causation=row.id)
    return Incoming(
        row.stream, row.sequence, position, part, epoch, row.tenant, row.type, row.key, row.partition, row.id,
        row.time, context, bytes(row.payload),
    )  # fmt: skip
