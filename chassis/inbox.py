"""The inbox: messages of other services kept in the order of their effect, so that read models can be rebuilt from here."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
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
_READ: Final = sa.text(
    "SELECT position, stream, sequence, id, tenant, type, key, partition, time, payload FROM inbox"
    " WHERE position > :after ORDER BY position LIMIT :limit"
)
_OF_KEYS: Final = sa.text(
    "SELECT position, stream, sequence, id, tenant, type, key, partition, time, payload FROM inbox"
    " WHERE tenant = :tenant AND key = ANY(:keys) AND type = ANY(:types)"
)
_REWRITE: Final = (
    "UPDATE inbox i SET payload = v.payload FROM unnest(%s::bigint[], %b::bytea[]) AS v(position, payload)"
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
    found = rows.execute(_OF_KEYS, {"tenant": tenant, "keys": list(keys), "types": list(types)}).all()
    if found:
        payloads = [change(_incoming(it)).payload for it in found]
        with driver_cursor(rows) as cursor:
            cursor.execute(_REWRITE, ([it.position for it in found], payloads))
    return Counter(it.key for it in found)


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
