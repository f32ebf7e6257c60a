"""Questions asked many times a second: is there anything new? One connection, one round trip, no transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import psycopg
import sqlalchemy as sa

from chassis.threads import set_off

T = TypeVar("T")
Rows: TypeAlias = Sequence[tuple[Any, ...]]
_Question: TypeAlias = tuple[str, Mapping[str, Any] | None]

_PLANNING: Final = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_bitmapscan=off"
"""A question is planned once, and for an index: what is planned while a table is empty reads all of it when it has grown. For a plain
one, since a bitmap does not note which rows are gone, and those of a queue go all the time: each question would meet them again."""


class QuickLook:
    """A connection in autocommit of its own, for short reads from any thread; made anew after a failure.

    Costs a fifth of a checkout from a pool with its ping, BEGIN and ROLLBACK. Raises OperationalError like any other.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._dsn = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._turn = Lock()
        self._cursor: psycopg.Cursor[tuple[Any, ...]] | None = None
        self._asked: list[_Question] = []
        self._answers: asyncio.Future[Sequence[Rows]] | None = None

    @classmethod
    def of(cls, engine: sa.Engine) -> Self:
        """The one that everybody with this engine shares."""
        if engine not in _shared:
            _shared[engine] = cls(engine)
        return _shared[engine]  # type: ignore[return-value]

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """All rows of `query`, in the form of psycopg: `%(name)s`."""
        return self._patiently([(query, parameters)])[0]

    def scalar(self, query: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row; None without rows."""
        return _first(self.rows(query, parameters))

    def ask(self, query: str, parameters: Mapping[str, Any] | None = None) -> Awaitable[Rows]:
        """`rows`, to be awaited: what is asked in one turn of the event loop travels together, in this order, and what is
        asked twice travels once."""
        return self._ask(query, parameters, _all)

    def ask_scalar(self, query: str, parameters: Mapping[str, Any] | None = None) -> Awaitable[Any]:
        """`scalar`, asked like `ask`."""
        return self._ask(query, parameters, _first)

    def close(self) -> None:
        with self._turn:
            self._forget()

    def _ask(self, query: str, parameters: Mapping[str, Any] | None, take: Callable[[Rows], T]) -> "_Answer[T]":
        loop = asyncio.get_running_loop()
        if self._answers is None or self._answers.get_loop() is not loop:
            self._asked, self._answers = [], loop.create_future()
            loop.call_soon(self._send)
        question = (query, parameters)
        if question not in self._asked:
            self._asked.append(question)
        return _Answer(self._answers, self._asked.index(question), take)

    def _send(self) -> None:
        """Put what was asked in this turn; what comes later goes with the next."""
        asked, answers = self._asked, self._answers
        self._asked, self._answers = [], None
        if answers is not None:
            answers.add_done_callback(_note)
            set_off(partial(self._patiently, asked), answers)

    def _patiently(self, questions: Sequence[_Question]) -> Sequence[Rows]:
        """The answers; a connection that turns out to be broken is replaced once, as the server may be there again."""
        with self._turn:
            known = self._cursor is not None
            try:
                return self._put(questions)
            except psycopg.OperationalError:
                self._forget()
                if not known:
                    raise
            return self._put(questions)

    def _put(self, questions: Sequence[_Question]) -> Sequence[Rows]:
        if self._cursor is None:
            self._cursor = psycopg.connect(self._dsn, autocommit=True, prepare_threshold=2, options=_PLANNING).cursor()
        if len(questions) == 1:
            return [self._cursor.execute(*questions[0]).fetchall()]
        connection = self._cursor.connection
        with connection.pipeline():
            cursors = [connection.execute(*it) for it in questions]
        return [it.fetchall() for it in cursors]

    def _forget(self) -> None:
        if self._cursor is not None:
            self._cursor.connection.close()
            self._cursor = None


_shared: Final[WeakKeyDictionary[sa.Engine, QuickLook]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    """What one question of many will be answered; it may be awaited or forgotten."""

    answers: asyncio.Future[Sequence[Rows]]
    place: int
    take: Callable[[Rows], T]

    def __await__(self) -> Generator[Any, None, T]:
        answers = yield from asyncio.shield(self.answers)
        return self.take(answers[self.place])


def _all(rows: Rows) -> Rows:
    return rows


def _first(rows: Rows) -> Any:
    return rows[0][0] if rows else None


def _note(answers: asyncio.Future[Sequence[Rows]]) -> None:
    """That there are no answers is no surprise to anybody: whoever asked may have gone."""
    if not answers.cancelled():
        answers.exception()
