"""The log of a service: what is in it, and what a store of it can do."""

from collections.abc import Awaitable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import sqlalchemy as sa

from chassis.aggregate import Event
from chassis.context import Context
from chassis.due_times import TimerChange
from chassis.receipts import Receipt, ReceiptKey


class UnreadableEventError(Exception):
    """A stored event this version of the code must not guess at: an unknown topic or a later version."""


class StoredContext(NamedTuple):
    """Who caused an event, in which call and trace."""

    tenant: str
    actor: str
    call_id: str | None = None
    traceparent: str | None = None
    correlation: str | None = None
    causation: str | None = None

    @classmethod
    def of(cls, context: Context) -> "StoredContext":
        call_id = context.call.request_id if context.call else None
        return cls(
            context.tenant,
            context.actor,
            call_id,
            context.traceparent,
            context.correlation or call_id,
            context.causation,
        )


@dataclass(frozen=True, slots=True)
class Recorded:
    """A domain event with its place in the log."""

    position: int
    event: Event
    context: StoredContext

    @property
    def tenant(self) -> str:
        return self.context.tenant

    @property
    def recorded_at(self) -> datetime:
        return self.event.timestamp


class Draft(NamedTuple):
    """A domain event about to be appended."""

    event: Event
    context: StoredContext


@dataclass(frozen=True, slots=True)
class Changes:
    """The log's head, and the aggregates that got events since some position."""

    head: int
    aggregates: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Opening:
    """What a transaction is opened with, read in one round trip."""

    changes: Changes
    receipts: Mapping[ReceiptKey, Receipt]
    streams: Mapping[UUID, Sequence[Event]]


NewRows: TypeAlias = Mapping[LiteralString, Mapping[Hashable, Sequence[Any]]]
"""Rows by their keys, by the statement that inserts them: it takes their columns as arrays."""


@dataclass(frozen=True, slots=True)
class Appending:
    """What a transaction writes. It rests on the `read` aggregates being as they were at `seen`."""

    drafts: Sequence[Draft]
    receipts: Sequence[Receipt]
    timers: Sequence[TimerChange]
    seen: int
    read: Collection[UUID]
    new_rows: NewRows = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Witness:
    """By what a transaction is known again: its id, and an event that only it wrote.

    The id alone would not do: after a crash the server gives the ids of transactions it has no trace of to others.
    """

    transaction_id: str
    originator_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the events went, what others had appended before, and what tells later whether the transaction took effect."""

    position: int
    changes: Changes
    witness: Witness | None


class LostRaceError(Exception):
    """Another writer changed an aggregate that a transaction had read."""


class Transaction(Protocol):
    """One atomic step of the store: what is read, appended and written in it commits together."""

    @property
    def rows(self) -> sa.Connection:
        """The database connection of this transaction, for tables that are truth themselves."""
        ...

    def open(self, seen: int, keys: Collection[ReceiptKey], ids: Collection[UUID]) -> Opening:
        """What was appended after `seen`, the receipts of `keys` and the events of `ids`."""
        ...

    def load(self, ids: Collection[UUID]) -> Mapping[UUID, Sequence[Event]]:
        """The events of each aggregate in `ids` that has any, oldest first, in one query."""
        ...

    def changes(self, seen: int) -> Changes:
        """What has been appended after `seen` by now."""
        ...

    def append(self, appending: Appending) -> Appended:
        """Write in order, as the only appender from here to the end of the transaction.

        LostRaceError when a `read` aggregate changed after `seen`; a unique violation when a
        version or a receipt is taken.
        """
        ...


class EventStore(Protocol):
    """Where the events of one service are kept."""

    def load(self, ids: Collection[UUID]) -> Mapping[UUID, Sequence[Event]]:
        """The events of each aggregate in `ids` that has any, oldest first, in one query."""
        ...

    def last(self, ids: Collection[UUID]) -> dict[UUID, tuple[int, bytes]]:
        """How many events each aggregate in `ids` has that has any, and the last one as it is stored."""
        ...

    def read_streams(self, ids: Collection[UUID]) -> list[Recorded]:
        """All events of these aggregates, in the order of commits."""
        ...

    def read_log(self, after: int, limit: int, without: Sequence[str] = ()) -> list[Recorded]:
        """Up to `limit` events of all tenants after position `after`, in the order of commits; none of the topics `without`."""
        ...

    def head(self) -> int:
        """The last position; 0 for an empty log."""
        ...

    def head_now(self) -> Awaitable[int]:
        """`head`, asked together with what else this process asks its database at the moment."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commits when the body ends, rolls back when it raises."""
        ...

    def committed(self, witness: Witness) -> bool:
        """Whether a transaction whose commit was never answered took effect; waits until it has ended."""
        ...
