"""What a subscriber has handled already, in a file of SQLite: so that an event that comes twice takes effect once.

The effect and the mark that it was taken are one transaction. There is one mark for each of the 64 partitions of a service, since in a
partition events come in the order of their ids; it holds the id of the last one.

With a database of your own, do the same there: in the transaction of the effect, lock the mark of `(event.service, event.partition)`,
go on only if `is_new(event, mark)`, and move it to `event.address`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

_DDL = (
    "CREATE TABLE IF NOT EXISTS handled_events (service TEXT, partition INTEGER, epoch INTEGER, position INTEGER, part INTEGER,"
    " PRIMARY KEY (service, partition)) WITHOUT ROWID"
)
_MARK = "SELECT epoch, position, part FROM handled_events WHERE service = ? AND partition = ?"
_MOVE = "INSERT OR REPLACE INTO handled_events VALUES (?, ?, ?, ?, ?)"


class Address(NamedTuple):
    """The place of an event in what its service has published, out of its id: `<service>/<epoch>/<position>.<part>`."""

    epoch: int
    position: int
    part: int = 0


class Placed(Protocol):
    """What `is_new` needs to know of an event; `bases` are those of the epochs of the stream, the first being 0."""

    @property
    def service(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def address(self) -> Address: ...
    @property
    def bases(self) -> tuple[int, ...]: ...


def is_new(event: Placed, mark: Address | None) -> bool:
    """Whether the event comes after the last one that was handled in its partition.

    A new epoch begins when a service was restored to an earlier time. It publishes anew, under ids of the new epoch, what had been
    before its base, which counts as handled; everything after the base is other facts.
    """
    if mark is None:
        return True
    epoch, position, part = event.address
    if epoch < mark.epoch:
        return False
    reached = [(mark.position, mark.part), *((base, float("inf")) for base in event.bases[mark.epoch : epoch])]
    return (position, part) > min(reached)


class Handled:
    """The marks in the file `path`, in which effects may be kept too: in tables that the statements `tables` make."""

    def __init__(self, path: Path | str, *tables: str) -> None:
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        for statement in (_DDL, *tables):
            self._file.execute(statement)

    @contextmanager
    def once(self, event: Placed) -> Iterator[sqlite3.Connection | None]:
        """The open transaction of the event, to write its effect into; None if it was handled before. Leaving by an error undoes all."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            row = self._file.execute(_MARK, (event.service, event.partition)).fetchone()
            if is_new(event, Address(*row) if row else None):
                yield self._file
                self._file.execute(_MOVE, (event.service, event.partition, *event.address))
            else:
                yield None
            self._file.execute("COMMIT")
        except BaseException:
            self._file.execute("ROLLBACK")
            raise

    def forget(self, service: str) -> None:
        """Take all events of `service` for new: before a replay that shall take effect again."""
        self._file.execute("DELETE FROM handled_events WHERE service = ?", (service,))

    def close(self) -> None:
        self._file.close()
