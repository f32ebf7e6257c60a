"""Rows in the binary form of PostgreSQL's COPY, made by hand because that costs a tenth of a driver's conversion per row."""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

EPOCH_MICROSECONDS: Final = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts, in microseconds since 1970."""

NULL: Final = b"\xff\xff\xff\xff"
FALSE: Final = b"\x00\x00\x00\x01\x00"
TRUE: Final = b"\x00\x00\x00\x01\x01"

_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_UUID_OID: Final = 2950
_UUID_ARRAY_OID: Final = 2951
UUID_SIZE: Final = b"\x00\x00\x00\x10"

columns_in_row = Struct(">h").pack
size = Struct(">i").pack
_int4 = Struct(">ii").pack
_int8 = Struct(">iq").pack
_array_header = Struct(">iiIii").pack


def text(value: str) -> bytes:
    content = value.encode()
    return size(len(content)) + content


def optional_text(value: str | None) -> bytes:
    return NULL if value is None else text(value)


def binary(value: bytes) -> bytes:
    return size(len(value)) + value


def instant(microseconds: int) -> bytes:
    """A timestamptz from microseconds since 1970."""
    return _int8(8, microseconds - EPOCH_MICROSECONDS)


def int8(value: int) -> bytes:
    return _int8(8, value)


def int4(value: int) -> bytes:
    return _int4(4, value)


def uuid(value: bytes) -> bytes:
    return UUID_SIZE + value


def copy_rows(cursor: psycopg.Cursor[Any], table: str, columns: Sequence[str], rows: Iterable[bytes]) -> None:
    """Append rows to `table`; each begins with `columns_in_row(len(columns))`."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with cursor.copy(statement) as copy:
        copy.write(b"".join((_HEADER, *rows, _TRAILER)))


class UuidArray:
    """Many 16-byte values as one parameter of type uuid[]."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self.values = values


class UuidArrayDumper(Dumper):
    """Writes a `UuidArray` without making a UUID of each value."""

    format = Format.BINARY
    oid = _UUID_ARRAY_OID

    def dump(self, obj: UuidArray) -> Buffer:
        values = obj.values
        if not values:
            return _array_header(0, 0, _UUID_OID, 0, 0)[:12]
        return _array_header(1, 0, _UUID_OID, len(values), 1) + UUID_SIZE + UUID_SIZE.join(values)
