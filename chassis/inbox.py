"""The inbox: messages of other services kept in the order of their effect, so that read models can be rebuilt from here."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
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
_COPY: Final = (
    "COPY inbox (stream, sequence, id, tenant, type, key, partition, time, payload) FROM STDIN (FORMAT BINARY)"
)
_TYPES: Final = ("text", "int8", "text", "text", "text", "text", "int2", "timestamptz", "bytea")
_ROW: Final = "SELECT position, stream, sequence, id, tenant, type, key, partition, time, payload FROM inbox"
READ: Final = f"{_ROW} WHERE position > %(after)s ORDER BY position LIMIT %(limit)s"
_OF_KEYS: Final = f"{_ROW} WHERE tenant = %s AND key = ANY(%s) AND type = ANY(%s)"
_REWRITE: Final = (
    "UPDATE inbox i SET payload = v.payload FROM unnest(%s::bigint[], %s::bytea[]) AS v(position, payload)"
    " WHERE i.position = v.position"
)
HEAD: Final = "SELECT coalesce(max(position), 0) FROM inbox"


def keep(rows: sa.Connection, messages: Sequence[Incoming]) -> None:
    """Append `messages`; one appender at a time, so that positions become visible in their order."""
    if not messages:
        return
    with driver_cursor(rows) as cursor:
        cursor.execute(_LOCK)
        with cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for it in messages:
                copy.write_row(
                    (it.stream, it.sequence, it.id, it.tenant, it.type, it.key, it.partition, it.time, it.payload)
                )


def rewrite(
    rows: sa.Connection,
    tenant: str,
    keys: Collection[str],
    types: Collection[str],
    change: Callable[[Incoming], Incoming],
) -> Counter[str]:
    """Keep what was told of `keys` in messages of `types` as `change` makes it, each in its place; by key, how many those are.

    Needs an index on (tenant, key) for these types where the inbox is large.
    """
    with driver_cursor(rows) as cursor:
        cursor.execute(_LOCK)
        found = [
            _entry(it) for it in cursor.execute(_OF_KEYS, (tenant, list(keys), list(types)), binary=True).fetchall()
        ]
        if found:
            payloads = [change(message).payload for _, message in found]
            cursor.execute(_REWRITE, ([position for position, _ in found], payloads))
    return Counter(message.key for _, message in found)


def read(rows: sa.Connection, after: int, limit: int) -> list[tuple[int, Incoming]]:
    """Up to `limit` kept messages after a position of the inbox, each with its own."""
    with driver_cursor(rows) as cursor:  # thousands of rows, of which the driver makes plain tuples
        return entries(cursor.execute(READ, {"after": after, "limit": limit}, binary=True).fetchall())


def entries(found: Iterable[Sequence[Any]]) -> list[tuple[int, Incoming]]:
    """What the query `READ` found, in binary."""
    return [_entry(it) for it in found]


def _entry(row: Sequence[Any]) -> tuple[int, Incoming]:
    at, stream, sequence, id, tenant, kind, key, partition, time, payload = row
    _, epoch, (position, part) = Address.of(id)
    context = Context(tenant=tenant, actor="system/inbox", correlation=id, causation=id)
    return at, Incoming(
        stream, sequence, position, part, epoch, tenant, kind, key, partition, id, time, context, payload
    )  # fmt: skip
