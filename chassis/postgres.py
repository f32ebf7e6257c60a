"""The small things every module that speaks to PostgreSQL needs."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from struct import Struct
from types import NoneType
from typing import Any, Final, cast
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.abc import Buffer, DumperKey
from psycopg.adapt import PyFormat
from psycopg.pq import TransactionStatus
from psycopg.types.array import BaseListDumper, ListBinaryDumper, ListDumper

PREPARED: Final = 500
"""How many statements a connection keeps prepared: more than a service has, so that none is prepared again and again."""

WITHOUT_WAITING: Final = "set_config('synchronous_commit', 'off', true)"
"""Asked for along with something else, it lets the commit not wait for the disk: for what a crash may undo, since it is done again."""


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
    sa.event.listen(engine, "do_connect", _connect)
    sa.event.listen(engine, "connect", _prepare)
    return engine


def reading(engine: sa.Engine) -> sa.Connection:
    """A connection to ask in the body of a with statement, each statement for itself: without BEGIN and ROLLBACK."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


class _ArrayDumper(ListDumper):
    """Sends lists of one kind as they are, without looking at each item by itself as the library does.

    Ids, instants and bytes go in binary: in text, which is for all else, they take ten times as long.
    """

    def get_key(self, obj: list[Any], format: PyFormat) -> DumperKey:  # noqa: A002 - as in the library
        return super().get_key(_like(obj), format)

    def upgrade(self, obj: list[Any], format: PyFormat) -> BaseListDumper:  # noqa: A002
        like = _like(obj)
        if isinstance(next((it for it in like if it is not None), None), (UUID, datetime, bytes)):
            return _BinaryArrayDumper(self.cls, self._tx).upgrade(like, format)
        return super().upgrade(like, format)

    def dump(self, obj: list[Any]) -> Buffer | None:
        kinds = set(map(type, obj))
        if kinds == {int}:
            return f"{{{','.join(map(str, obj))}}}".encode()
        if kinds and kinds <= _TEXT_OR_NOTHING and "\0" not in (text := _quoted(obj)):
            return f"{{{text}}}".encode()
        return super().dump(obj)


class _BinaryArrayDumper(ListBinaryDumper):
    def dump(self, obj: list[Any]) -> Buffer | None:
        if set(map(type, obj)) != {UUID} or self.sub_dumper is None:
            return super().dump(obj)
        head = _ARRAY_HEAD.pack(1, 0, self.sub_dumper.oid, len(obj), 1)
        return head + _LENGTH_OF_ID.join([b"", *[it.bytes for it in obj]])


_TEXT_OR_NOTHING: Final = {str, NoneType}
_ARRAY_HEAD: Final = Struct("!5i")
"""Dimensions, whether there are NULLs, the type of the items; how many they are, from what number on."""
_LENGTH_OF_ID: Final = (16).to_bytes(4, "big")


def _quoted(items: list[str | None]) -> str:
    """The items of an array of texts in quotes, and NULL for None, separated by commas."""
    if None not in items:
        joined = '","'.join(items)  # type: ignore[arg-type]
        if joined.count('"') == 2 * len(items) - 2 and "\\" not in joined:
            return f'"{joined}"'
    return ",".join("NULL" if it is None else f'"{_escaped(it)}"' for it in items)


def _escaped(item: str) -> str:
    return item.replace("\\", "\\\\").replace('"', '\\"')


def _like(items: list[Any]) -> list[Any]:
    """As few of `items` as tell how all of them are to be sent: of numbers the least and the greatest."""
    kinds = set(map(type, items))
    if len(kinds) != 1 or list in kinds:
        return items
    return [min(items), max(items)] if kinds == {int} else items[:1]


class _Connection(psycopg.Connection[Any]):
    """One that keeps what it has prepared when a transaction is given up: so does PostgreSQL.

    The library forgets all of it, in case a table was made in that transaction; each statement is then parsed and planned anew, many
    times over.
    """

    def rollback(self) -> None:
        if self.pgconn.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
            self.pgconn.exec_(b"ROLLBACK")
        super().rollback()  # has nothing left to do, unless the connection is lost or at work


def _connect(_: object, __: object, arguments: list[Any], options: dict[str, Any]) -> psycopg.Connection[Any]:
    return _Connection.connect(*arguments, **options)


def _prepare(connection: psycopg.Connection[Any], _: object) -> None:
    connection.prepared_max = PREPARED
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
