"""The small things every module that speaks to PostgreSQL needs."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, cast

import psycopg
import sqlalchemy as sa
from psycopg.pq import PipelineStatus, TransactionStatus

from chassis.arrays import ArrayDumper, BinaryArrayDumper

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


class _Connection(psycopg.Connection[Any]):
    """One that keeps what it has prepared when a transaction is given up: so does PostgreSQL.

    The library forgets all of it, in case a table was made in that transaction; each statement is then parsed and planned anew, many
    times over.
    """

    def rollback(self) -> None:
        is_free = self.pgconn.pipeline_status == PipelineStatus.OFF
        if is_free and self.pgconn.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
            self.pgconn.exec_(b"ROLLBACK")
        super().rollback()  # has nothing left to do, unless the connection is lost or at work


def _connect(_: object, __: object, arguments: list[Any], options: dict[str, Any]) -> psycopg.Connection[Any]:
    return _Connection.connect(*arguments, **options)


def _prepare(connection: psycopg.Connection[Any], _: object) -> None:
    connection.prepared_max = PREPARED
    for dumper in (BinaryArrayDumper, ArrayDumper):
        connection.adapters.register_dumper(list, dumper)


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
