"""Which messages were ever taken in, and the taking of new ones: each once for ever."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.errors import UniqueViolation

from chassis.postgres import driver_cursor
from services.tracking.adapters import binary_copy as pg
from services.tracking.adapters.binary_copy import UuidArray, UuidArrayDumper, copy_rows

KEY_COLUMNS: Final = ("key", "tenant", "fingerprint")

FEWEST_TO_TRY: Final = 200
"""To ask for fewer keys costs less than to try in vain now and then."""

ASKS_AFTER_A_FAILURE: Final = 50
"""Groups that ask before they write once a try has failed: who sends again something will send more again."""

_KNOWN: Final = "SELECT key, fingerprint FROM message_keys WHERE key = ANY(%s) AND tenant = %s"
_TAKEN: Final = "SELECT FROM message_keys WHERE key = %s AND tenant = %s AND xmin::text = %s"

Keys = dict[bytes, bytes]
"""Fingerprints of content by the key of the message, 16 bytes each."""


class KeysTaken(Exception):
    """Some of the keys are taken, and the transaction is void; the next one will ask."""


class MessageKeys:
    """Takes keys for one writer, which has the turn to write.

    Nearly all messages are new. So the keys of a large group are written without asking, which the index allows only if none is
    taken; otherwise the transaction begins anew, and asks.
    """

    def __init__(self) -> None:
        self._groups_to_ask = 0

    def ask(
        self, rows: sa.Connection, wanted: Mapping[str, Collection[bytes]]
    ) -> dict[str, psycopg.Cursor[tuple[Any, ...]]] | None:
        """Send for those of the keys `wanted`, by tenant, that are taken; None where it is to be tried without."""
        if sum(map(len, wanted.values())) >= FEWEST_TO_TRY:
            if not self._groups_to_ask:
                return None
            self._groups_to_ask -= 1
        return {tenant: _ask(rows, tenant, keys) for tenant, keys in wanted.items()}

    def take(self, cursor: psycopg.Cursor[Any], tenant: str, wanted: Mapping[bytes, bytes], known: Keys | None) -> None:
        """Take those keys of `wanted` that are not `known` to be taken. Raises KeysTaken where nobody asked and one is."""
        fresh = wanted.keys() - known.keys() if known else wanted.keys()
        if not fresh:
            return
        try:
            _write(cursor, tenant, fresh, wanted)
        except UniqueViolation as taken:
            if known is not None:
                raise
            self._groups_to_ask = ASKS_AFTER_A_FAILURE
            raise KeysTaken from taken


def answered(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Keys:
    """The keys that are taken, after the pipeline in which they were asked for."""
    return {key.bytes: fingerprint.bytes for key, fingerprint in cursor.fetchall()}


def has_taken(cursor: psycopg.Cursor[Any], tenant: str, key: bytes, xmin: str) -> bool:
    """Whether the key was taken by the transaction whose rows have this xmin."""
    cursor.execute(_TAKEN, [UUID(bytes=key), tenant, xmin])
    return bool(cursor.fetchall())


def _ask(rows: sa.Connection, tenant: str, wanted: Collection[bytes]) -> psycopg.Cursor[tuple[Any, ...]]:
    cursor = driver_cursor(rows)
    cursor.adapters.register_dumper(UuidArray, UuidArrayDumper)
    return cursor.execute(_KNOWN, [UuidArray(sorted(wanted)), tenant], prepare=True)


def _write(cursor: psycopg.Cursor[Any], tenant: str, keys: Collection[bytes], prints: Mapping[bytes, bytes]) -> None:
    """In their order, so that they fall into the index side by side."""
    head, middle = pg.columns_in_row(len(KEY_COLUMNS)) + pg.UUID_SIZE, pg.text(tenant) + pg.UUID_SIZE
    rows: Sequence[bytes] = [b"".join((head, key, middle, prints[key])) for key in sorted(keys)]
    copy_rows(cursor, "message_keys", KEY_COLUMNS, rows)
