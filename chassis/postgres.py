"""The small things every module that speaks to PostgreSQL needs."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.adapt import PyFormat
from psycopg.types.array import BaseListDumper, ListBinaryDumper, ListDumper

_PREPARED: Final = 500
"""How many statements a connection keeps prepared: more than a service has, so that none is prepared again and again."""


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


class _ArrayDumper(ListDumper):
    """Sends ids, instants and bytes in binary: in text, which is for all else, they take ten times as long."""

    def upgrade(self, obj: list[Any], format: PyFormat) -> BaseListDumper:  # noqa: A002 - as in the library
        if isinstance(next((it for it in obj if it is not None), None), (UUID, datetime, bytes)):
            return ListBinaryDumper(self.cls, self._tx).upgrade(obj, format)
        return super().upgrade(obj, format)


def _prepare(connection: psycopg.Connection[Any], _: object) -> None:
    connection.prepared_max = _PREPARED
    connection.adapters.register_dumper(list, _ArrayDumper)


def driver_cursor(rows: sa.Connection) -> psycopg.Cursor[tuple[Any, ...]]:
    """A psycopg cursor in the transaction of `rows`, for arrays and COPY."""
    return cast(psycopg.Connection[tuple[Any, ...]], rows.connection.driver_connection).cursor()


def pipeline(rows: sa.Connection) -> AbstractContextManager[psycopg.Pipeline]:
    """Statements made with driver cursors in the body travel together; fetch results after it."""
    return cast(psycopg.Connection[tuple[Any, ...]], rows.connection.driver_connection).pipeline()


def commit_without_waiting(rows: sa.Connection) -> None:
    """Let the commit of `rows` not wait for the disk: for what is done again after a crash that undoes it."""
    driver_cursor(rows).execute("SELECT set_config('synchronous_commit', 'off', true)", prepare=True)


def row_xmin(transaction_id: str) -> str:
    """What a row written by this transaction (an xid8) has in its system column xmin."""
    return str(int(transaction_id) & 0xFFFF_FFFF)


def columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows turned into columns, as the parameters of `unnest`; at least one row is needed."""
    return [list(column) for column in zip(*rows, strict=True)]
