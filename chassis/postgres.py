"""The small things every module that speaks to PostgreSQL needs."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from struct import pack
from typing import Any, Final, cast
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.abc import Buffer
from psycopg.adapt import PyFormat
from psycopg.types.array import BaseListDumper, ListBinaryDumper, ListDumper

_PREPARED: Final = 500
"""How many statements a connection keeps prepared: more than a service has, so that none is prepared again and again."""

_UUID_OID: Final = psycopg.adapters.types["uuid"].oid
_ID_LENGTH: Final = pack("!i", 16)
_BACKSLASH, _TWO, _QUOTE, _QUOTED = "\\", "\\\\", '"', '\\"'


def create_engine(dsn: str, *, pool_size: int, ping: bool = True) -> sa.Engine:
    """A SQLAlchemy engine for a `postgresql://` address.

    With `ping` a broken connection is noticed and replaced before use, for one more round trip;
    without, the first statement fails and whoever sent it must try again.
    """
    url = dsn.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=8,
        pool_pre_ping=ping,
        pool_use_lifo=True,
        use_native_hstore=False,  # we have no such column: to ask whether the database has the type takes longer than to connect
    )
    sa.event.listen(engine, "connect", _prepare)
    return engine


def reading(engine: sa.Engine) -> sa.Connection:
    """A connection to ask in the body of a with statement, each statement for itself.

    Reading in a transaction ends with a ROLLBACK, after which psycopg gives up all that the connection had prepared.
    """
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


class _BinaryArrayDumper(ListBinaryDumper):
    """Writes ids, which most of what is sent are, out all at once: one after the other they take five times as long."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        if set(map(type, obj)) != {UUID}:
            return super().dump(obj)
        head = pack("!5i", 1, 0, _UUID_OID, len(obj), 1)
        return b"".join((head, _ID_LENGTH, _ID_LENGTH.join([it.bytes for it in obj])))


class _TextArrayDumper(ListDumper):
    """Quotes every text: to find out which need it takes much longer."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        if list in map(type, obj):
            return super().dump(obj)
        items = ["NULL" if it is None else f'"{it.replace(_BACKSLASH, _TWO).replace(_QUOTE, _QUOTED)}"' for it in obj]
        written = ",".join(items)
        if "\0" in written:
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return f"{{{written}}}".encode()


class _ArrayDumper(ListDumper):
    """Sends ids, instants, bytes and numbers in binary: in text, which is for all else, they take ten times as long.

    What a text in an array stands for is left to the statement.
    """

    def upgrade(self, obj: list[Any], format: PyFormat) -> BaseListDumper:  # noqa: A002 - as in the library
        found = next((it for it in obj if it is not None), None)
        if isinstance(found, (UUID, datetime, bytes, int)):
            return _BinaryArrayDumper(self.cls, self._tx).upgrade(obj, format)
        upgraded = super().upgrade(obj, format)
        if isinstance(found, str):
            texts = _TextArrayDumper(self.cls, self._tx)
            texts.oid, texts.sub_dumper = upgraded.oid, upgraded.sub_dumper
            return texts
        return upgraded


def _prepare(connection: psycopg.Connection[Any], _: object) -> None:
    connection.prepared_max = _PREPARED
    connection.adapters.register_dumper(list, _BinaryArrayDumper)
    connection.adapters.register_dumper(list, _ArrayDumper)


def driver_cursor(rows: sa.Connection) -> psycopg.Cursor[tuple[Any, ...]]:
    """A psycopg cursor in the transaction of `rows`, for arrays and COPY."""
    return cast(psycopg.Connection[tuple[Any, ...]], rows.connection.driver_connection).cursor()


def pipeline(rows: sa.Connection) -> AbstractContextManager[psycopg.Pipeline]:
    """Statements made with driver cursors in the body travel together; fetch results after it."""
    return cast(psycopg.Connection[tuple[Any, ...]], rows.connection.driver_connection).pipeline()


def row_xmin(transaction_id: str) -> str:
    """What a row written by this transaction (an xid8) has in its system column xmin."""
    return str(int(transaction_id) & 0xFFFF_FFFF)


def columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows turned into columns, as the parameters of `unnest`; at least one row is needed."""
    return [list(column) for column in zip(*rows, strict=True)]
