"""Questions asked many times a second: is there anything new? One connection, one round trip, no transaction."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import psycopg
import sqlalchemy as sa


class QuickLook:
    """A connection in autocommit of its own, for short reads from any thread; made anew after a failure.

    Costs a fifth of a checkout from a pool with its ping, BEGIN and ROLLBACK. Raises OperationalError like any other.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._dsn = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._turn = Lock()
        self._cursor: psycopg.Cursor[tuple[Any, ...]] | None = None

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> Sequence[tuple[Any, ...]]:
        """All rows of `query`, in the form of psycopg: `%(name)s`."""
        with self._turn:
            known = self._cursor is not None
            try:
                return self._ask(query, parameters)
            except psycopg.OperationalError:
                self._forget()
                if not known:
                    raise
            return self._ask(query, parameters)  # the connection was broken, the server may be there again

    def scalar(self, query: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row; None without rows."""
        found = self.rows(query, parameters)
        return found[0][0] if found else None

    def close(self) -> None:
        with self._turn:
            self._forget()

    def _ask(self, query: str, parameters: Mapping[str, Any] | None) -> Sequence[tuple[Any, ...]]:
        if self._cursor is None:
            self._cursor = psycopg.connect(self._dsn, autocommit=True, prepare_threshold=2).cursor()
        return self._cursor.execute(query, parameters).fetchall()

    def _forget(self) -> None:
        if self._cursor is not None:
            self._cursor.connection.close()
            self._cursor = None
