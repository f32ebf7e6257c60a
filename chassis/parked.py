"""Messages put aside: those a consumer cannot handle, and behind each of them the later ones of the same key.

`await redrive(engine, consumer, key=None)` asks for another try; the consumer itself, wherever it runs, then replays the run of each key
in order and lifts the hold when it is through.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from chassis.envelope import Incoming, unseal
from chassis.postgres import columns, driver_cursor

DDL: Final = (
    (
        "CREATE TABLE IF NOT EXISTS parked ("
        " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, consumer text NOT NULL, stream text NOT NULL,"
        " message_id text NOT NULL, tenant text NOT NULL, key text NOT NULL, partition smallint NOT NULL, type text NOT NULL,"
        " envelope jsonb NOT NULL, payload bytea NOT NULL, reason text NOT NULL, detail text NOT NULL,"
        " attempts int NOT NULL DEFAULT 1, redrive boolean NOT NULL DEFAULT false, parked_at timestamptz NOT NULL DEFAULT now(),"
        " UNIQUE (consumer, message_id))"
    ),
    "CREATE INDEX IF NOT EXISTS parked_key ON parked (consumer, stream, tenant, key, id)",
    "CREATE INDEX IF NOT EXISTS parked_redrive ON parked (consumer, stream) WHERE redrive",
)
HELD: Final = "HELD_BACK"
"""The reason of a message that waits behind another one of its key."""

_LONGEST_DETAIL: Final = 500
_PARK: Final = (
    "INSERT INTO parked (consumer, stream, message_id, tenant, key, partition, type, envelope, payload, reason, detail)"
    " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[], %s::jsonb[],"
    " %s::bytea[], %s::text[], %s::text[]) ON CONFLICT (consumer, message_id) DO NOTHING"
)

Key = tuple[str, str]
"""Tenant and key of a message: what is held back together."""


@dataclass(frozen=True, slots=True)
class Parking:
    """A message to put aside, and why. `detail` may not hold personal data."""

    message: Incoming
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Parked:
    """A message that was put aside, and how often it has been tried."""

    id: int
    attempts: int
    message: Incoming


def key_of(message: Incoming) -> Key:
    return message.tenant, message.key


def park(rows: sa.Connection, consumer: str, parkings: Sequence[Parking]) -> None:
    """Put messages aside in the transaction of `rows`."""
    if not parkings:
        return
    table = [
        (consumer, m.stream, m.id, m.tenant, m.key, m.partition, m.type, json.dumps(_envelope(m)), m.payload, it.reason,
         it.detail[:_LONGEST_DETAIL])
        for it in parkings for m in (it.message,)
    ]  # fmt: skip
    with driver_cursor(rows) as cursor:
        cursor.execute(_PARK, columns(table))


def forget(rows: sa.Connection, tenant: str, keys: Collection[str]) -> Counter[str]:
    """Remove what is parked under `keys` of the tenant, for all consumers; by key, how many messages that were."""
    return Counter(it.key for it in rows.execute(_FORGET, {"tenant": tenant, "keys": list(keys)}))


async def redrive(engine: sa.Engine, consumer: str, key: str | None = None) -> int:
    """Ask for another try of everything parked for `consumer`, or of one key; how many messages that are."""
    return await asyncio.to_thread(_mark, engine, consumer, key)


class Garage:
    """What is parked for one consumer of one stream, as known to the process that reads it.

    `held` is right as long as that process's positions are: every transaction that parks or redrives also moves the position of
    the partition concerned.
    """

    def __init__(self, consumer: str, stream: str, partitions: Collection[int]) -> None:
        self.held: set[Key] = set()
        self.count = 0
        self._scope = {"consumer": consumer, "stream": stream, "partitions": list(partitions)}

    def load(self, engine: sa.Engine) -> None:
        """Look up what is held."""
        query = sa.text(f"SELECT tenant, key, count(*) AS messages FROM parked WHERE {_MINE} GROUP BY 1, 2")  # noqa: S608
        with engine.connect() as rows:
            found = rows.execute(query, self._scope).all()
        self.held = {(it.tenant, it.key) for it in found if it.key}
        self.count = sum(it.messages for it in found)

    def asked_for(self, engine: sa.Engine, limit: int) -> list[Parked]:
        """The first messages, oldest first, of all keys that are to be tried again."""
        query = sa.text(
            f"SELECT * FROM parked WHERE {_MINE} AND (tenant, key) IN"  # noqa: S608
            f" (SELECT tenant, key FROM parked WHERE {_MINE} AND redrive) ORDER BY id LIMIT :limit"
        )
        with engine.connect() as rows:
            return [
                Parked(it.id, it.attempts, _message(it)) for it in rows.execute(query, self._scope | {"limit": limit})
            ]

    @staticmethod
    def remove(rows: sa.Connection, ids: Collection[int]) -> None:
        """Forget messages that have been handled at last."""
        rows.execute(sa.text("DELETE FROM parked WHERE id = ANY(:ids)"), {"ids": list(ids)})

    def failed_again(self, rows: sa.Connection, parkings: Sequence[Parking]) -> None:
        """Note the new reasons, and wait to be asked again for everything of these keys."""
        for it in parkings:
            rows.execute(_AGAIN, self._scope | {"id": it.message.id, "reason": it.reason, "detail": it.detail})
            tenant, key = key_of(it.message)
            rows.execute(_WAIT, self._scope | {"tenant": tenant, "key": key})


_FORGET: Final = sa.text("DELETE FROM parked WHERE tenant = :tenant AND key = ANY(:keys) RETURNING key")
_MINE: Final = "consumer = :consumer AND stream = :stream AND partition = ANY(:partitions)"
_AGAIN: Final = sa.text(
    "UPDATE parked SET attempts = attempts + 1, reason = :reason, detail = :detail"
    " WHERE consumer = :consumer AND message_id = :id"
)
_WAIT: Final = sa.text(
    f"UPDATE parked SET redrive = false WHERE {_MINE} AND tenant = :tenant AND key = :key"  # noqa: S608
)


def _mark(engine: sa.Engine, consumer: str, key: str | None) -> int:
    statement = "UPDATE parked SET redrive = true WHERE consumer = :consumer"
    with engine.begin() as rows:
        marked = rows.execute(
            sa.text(statement + (" AND key = :key" if key is not None else "")), {"consumer": consumer, "key": key}
        )
        return marked.rowcount


def _envelope(message: Incoming) -> dict[str, Any]:
    context = message.context
    return {
        "sequence": message.sequence,
        "time": message.time.isoformat(),
        "traceparent": context.traceparent,
        "correlation": context.correlation,
    }


def _message(row: Any) -> Incoming:
    """A parked message as it first came."""
    envelope = row.envelope
    headers = {
        "ce-id": row.message_id,
        "ce-tenant": row.tenant,
        "ce-subject": row.key,
        "ce-type": row.type,
        "ce-time": envelope["time"],
        "traceparent": envelope["traceparent"],
        "ce-correlationid": envelope["correlation"],
    }
    return unseal(row.consumer, envelope["sequence"], f"parked.{row.partition}", headers, bytes(row.payload))
