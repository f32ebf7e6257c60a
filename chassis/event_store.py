"""The event store: an append-only log of every tenant's facts, kept per aggregate and in one order.

One of the two modules that know the `eventsourcing` library: its mapper and its recorders, with
an advisory lock in place of the table lock, so that maintenance never stops appends, and without
NOTIFY, so that commits do not queue for a global lock. Positions grow in the order of commits;
a rolled back transaction leaves a gap that is never filled.
"""

from collections.abc import Awaitable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
import sqlalchemy as sa
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent
from eventsourcing.popo import POPOProcessRecorder
from eventsourcing.postgres import PostgresDatastore, PostgresProcessRecorder
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL

from chassis import event_codec
from chassis.aggregate import Event, event_classes
from chassis.due_times import Timer, TimerChange, write_timers
from chassis.log import (
    Appended,
    Appending,
    Changes,
    Draft,
    EventStore,
    LostRaceError,
    NewRows,
    Opening,
    Recorded,
    StoredContext,
    Transaction,
    UnreadableEventError,
    Witness,
)
from chassis.postgres import columns, create_engine, driver_cursor, pipeline, row_xmin
from chassis.quick_look import QuickLook
from chassis.receipts import MemoryReceipts, PostgresReceipts, Receipt, ReceiptKey
from chassis.recent import Recent

__all__ = [
    "Changes",
    "Draft",
    "EventStore",
    "MemoryEventStore",
    "PostgresEventStore",
    "Recorded",
    "StoredContext",
    "Transaction",
    "UnreadableEventError",
]

_LOCK_CLASS = 7243
_LOCK_TIMEOUT_SECONDS = 5
_HEAD: Final = "SELECT coalesce(max(notification_id), 0) FROM stored_events"


class EventMapper(Mapper[UUID]):
    """Domain event ↔ stored JSON, with the context of the call beside the fields of the event."""

    def __init__(self) -> None:
        super().__init__(JSONTranscoder())
        self._classes = event_classes()

    def draft(self, draft: Draft) -> StoredEvent:
        event = draft.event
        state: dict[str, Any] = dict(vars(event))
        id, version = state.pop("originator_id"), state.pop("originator_version")
        if (class_version := getattr(type(event), "class_version", 1)) > 1:
            state["class_version"] = class_version
        state["_context"] = list(draft.context)
        return StoredEvent(id, version, type(event).TOPIC, event_codec.encode(state))  # type: ignore[attr-defined]

    def read(self, stored: StoredEvent) -> tuple[Event, StoredContext]:
        """Raises UnreadableEventError for a topic or version this code does not know."""
        event_class = self._class_of(stored.topic)
        fields = event_codec.decode(stored.state)
        context = StoredContext(*fields.pop("_context"))
        self._upcast(event_class, fields)
        event_codec.restore(event_class, fields)
        fields["originator_id"] = stored.originator_id
        fields["originator_version"] = stored.originator_version
        event = object.__new__(event_class)
        object.__setattr__(event, "__dict__", fields)
        return event, context

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        raise TypeError("an event is stored with its context: use draft()")

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        return self.read(stored_event)[0]

    def _class_of(self, topic: str) -> type[Event]:
        """Only the topics of imported aggregates: a stored string never imports a module."""
        if topic not in self._classes:
            self._classes = event_classes()
        try:
            return self._classes[topic]
        except KeyError:
            raise UnreadableEventError(f"topic {topic} is unknown") from None

    @staticmethod
    def _upcast(event_class: type[Event], fields: dict[str, Any]) -> None:
        wanted: int = getattr(event_class, "class_version", 1)
        version: int = fields.pop("class_version", 1)
        if version > wanted:
            raise UnreadableEventError(f"{event_class.__qualname__} version {version} is of the future")
        for step in range(version, wanted):
            getattr(event_class, f"upcast_v{step}_v{step + 1}")(fields)


class Recorder(PostgresProcessRecorder):
    """The library's recorder: ordered by an advisory lock, silent, and with receipts beside it."""

    def __init__(self, datastore: PostgresDatastore) -> None:
        if datastore.enable_db_functions:
            raise ValueError("database functions skip the lock and lose tracking rows")
        super().__init__(datastore)
        self.sql_create_statements.extend(SQL(it).format() for it in PostgresReceipts.DDL)
        lock = f"SELECT pg_advisory_xact_lock({_LOCK_CLASS}, hashtext('{self.events_table_name}'))"
        patience = f"'{_LOCK_TIMEOUT_SECONDS}s'"
        self.lock_table_statements = [f"SET LOCAL lock_timeout = {patience}".encode(), lock.encode()]
        # The same as one statement, which a connection prepares once: a target list is worked out from left to right.
        self._turn = lock.replace("SELECT", f"SELECT set_config('lock_timeout', {patience}, true),").encode()

    def take_turn(self, cursor: Any) -> None:
        """Wait until no other transaction appends; it is then this one's turn until it ends."""
        cursor.execute(self._turn, prepare=True)

    def _notify_channel(self, curs: Any) -> None:
        """Readers poll; NOTIFY would make commits wait for each other."""


class PostgresTransaction:
    """A transaction of PostgreSQL that also sees the event tables; statements travel in pipelines."""

    _LOAD = (
        "SELECT originator_id, originator_version, topic, state FROM stored_events"
        " WHERE originator_id = ANY(%b) ORDER BY originator_id, originator_version"
    )
    _CHANGED = "SELECT DISTINCT originator_id FROM stored_events WHERE notification_id > %s AND notification_id <= %s"
    # Only where the log still ends where it was seen: what was read is then as it was, and which aggregates that are is not even told.
    _APPEND = (
        "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
        " SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::text[], %b::bytea[])"
        " WHERE (SELECT coalesce(max(notification_id), 0) FROM stored_events) <= %s"
        " RETURNING notification_id, pg_current_xact_id()::text"
    )
    _HOLDS = "SELECT FROM stored_events WHERE originator_id = %s AND originator_version = %s AND xmin::text = %s"

    def __init__(self, rows: sa.Connection, recorder: Recorder, mapper: EventMapper) -> None:
        self._rows = rows
        self._recorder = recorder
        self._mapper = mapper
        self._receipts = PostgresReceipts(rows)

    @property
    def rows(self) -> sa.Connection:
        return self._rows

    def open(self, seen: int, keys: Collection[ReceiptKey], ids: Collection[UUID]) -> Opening:
        with pipeline(self._rows):
            head = self._ask(_HEAD, [])
            receipts = self._receipts.ask(keys)
            events = self._ask(self._LOAD, [list(ids)]) if ids else None
        return Opening(
            self._changed(seen, head.fetchall()[0][0]),
            self._receipts.answered(receipts),
            self._streams(events) if events else {},
        )

    def load(self, ids: Collection[UUID]) -> dict[UUID, list[Event]]:
        return self._streams(self._ask(self._LOAD, [list(ids)])) if ids else {}

    def changes(self, seen: int) -> Changes:
        return self._changed(seen, self._ask(_HEAD, []).fetchall()[0][0])

    def append(self, appending: Appending) -> Appended:
        table, changes = self._table(appending.drafts), Changes(appending.seen, frozenset())
        with pipeline(self._rows):
            appended = None
            if table:
                self._recorder.take_turn(driver_cursor(self._rows))
                appended = self._ask(self._APPEND, [*table, appending.seen])
            self._receipts.write(appending.receipts)
            write_timers(self._rows, appending.timers)
            for statement, found in appending.new_rows.items():
                self._ask(statement, columns(found.values()))
        if appended is None:
            return Appended(appending.seen, changes, None)
        positions = appended.fetchall()
        if not positions:  # others appended meanwhile; nobody does any more, as it is our turn
            changes = self.changes(appending.seen)
            if not changes.aggregates.isdisjoint(appending.read):
                raise LostRaceError
            positions = self._ask(self._APPEND, [*table, changes.head]).fetchall()
        first = appending.drafts[0].event
        witness = Witness(positions[-1][1], first.originator_id, first.originator_version)
        return Appended(positions[-1][0], changes, witness)

    def holds(self, witness: Witness) -> bool:
        """Whether another transaction took effect; waits for its turn, and so until that one has ended."""
        self._recorder.take_turn(driver_cursor(self._rows))
        known_by = [witness.originator_id, witness.version, row_xmin(witness.transaction_id)]
        return bool(self._ask(self._HOLDS, known_by).fetchall())

    def _changed(self, seen: int, head: int) -> Changes:
        """What was appended after `seen` up to `head`, where the log ended a moment ago; asked for only where it was longer."""
        found = self._ask(self._CHANGED, [seen, head]).fetchall() if head > seen else ()
        return Changes(max(seen, head), frozenset(id for (id,) in found))

    def _ask(self, statement: LiteralString, parameters: list[Any]) -> psycopg.Cursor[Any]:
        return driver_cursor(self._rows).execute(statement, parameters, prepare=True)

    def _table(self, drafts: Sequence[Draft]) -> list[list[Any]]:
        """The columns of what is to be stored."""
        stored = [self._mapper.draft(draft) for draft in drafts]
        return columns((it.originator_id, it.originator_version, it.topic, it.state) for it in stored)

    def _streams(self, events: psycopg.Cursor[Any]) -> dict[UUID, list[Event]]:
        streams: dict[UUID, list[Event]] = {}
        for id, version, topic, state in events.fetchall():
            event, _ = self._mapper.read(StoredEvent(id, version, topic, bytes(state)))
            streams.setdefault(id, []).append(event)
        return streams


class PostgresEventStore:
    """The event store of a service in its PostgreSQL database; `dsn` is the writer's."""

    _LOG = (
        "SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events"
        " WHERE notification_id > %(after)s AND topic <> ALL(%(without)s) ORDER BY notification_id LIMIT %(limit)s"
    )
    _STREAMS = (
        "SELECT originator_id, originator_version, topic, state, notification_id"
        " FROM stored_events WHERE originator_id = ANY(%(ids)s) ORDER BY notification_id"
    )
    _LAST = (
        "SELECT last.* FROM unnest(%(ids)s::uuid[]) AS id, LATERAL (SELECT originator_id, originator_version, state"
        " FROM stored_events WHERE originator_id = id ORDER BY originator_version DESC LIMIT 1) AS last"
    )

    def __init__(self, dsn: str, *, pool_size: int = 8) -> None:
        self.engine = create_engine(dsn, pool_size=pool_size, ping=False)
        self._look = QuickLook(self.engine)
        self._log = QuickLook(self.engine)  # another, as who looks up one thing need not wait for who reads much
        self._recorder = Recorder(_datastore(dsn))
        self._mapper = EventMapper()
        self._recent = Recent()

    @classmethod
    def create_tables(cls, owner_dsn: str) -> None:
        """Make the tables of the store if they are missing; needs the owner's rights."""
        recorder = Recorder(_datastore(owner_dsn))
        try:
            recorder.create_table()
        finally:
            recorder.datastore.close()

    def load(self, ids: Collection[UUID]) -> dict[UUID, list[Event]]:
        with self.transaction() as transaction:
            return transaction.load(ids)

    def last(self, ids: Collection[UUID]) -> dict[UUID, tuple[int, bytes]]:
        found = self._look.rows(self._LAST, {"ids": list(ids)})
        return {id: (version, bytes(state)) for id, version, state in found}

    def read_streams(self, ids: Collection[UUID]) -> list[Recorded]:
        return self._recorded(self._STREAMS, {"ids": list(ids)})

    def read_log(self, after: int, limit: int, without: Sequence[str] = ()) -> list[Recorded]:
        return self._recorded(self._LOG, {"after": after, "limit": limit, "without": list(without)})

    def _recorded(self, query: str, parameters: dict[str, Any]) -> list[Recorded]:
        found = self._log.rows(query, parameters)
        return [self._entry(position, StoredEvent(*stored)) for *stored, position in found]

    def _entry(self, position: int, stored: StoredEvent) -> Recorded:
        return self._recent.entry(position, stored, lambda: Recorded(position, *self._mapper.read(stored)))

    def head(self) -> int:
        position: int = self._look.scalar(_HEAD)
        return position

    def head_now(self) -> Awaitable[int]:
        return QuickLook.of(self.engine).ask_scalar(_HEAD)

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        with self.engine.begin() as rows:
            yield PostgresTransaction(rows, self._recorder, self._mapper)

    def committed(self, witness: Witness) -> bool:
        with self.transaction() as transaction:
            return transaction.holds(witness)

    def close(self) -> None:
        self._look.close()
        self._log.close()
        QuickLook.of(self.engine).close()
        self.engine.dispose()
        self._recorder.datastore.close()


class MemoryTransaction:
    """A transaction of the memory store: what it appends is visible only when it ends well."""

    def __init__(self, store: "MemoryEventStore") -> None:
        self._store = store
        self.stored: list[StoredEvent] = []
        self.receipts: list[Receipt] = []
        self.timers: list[TimerChange] = []
        self.new_rows: NewRows = {}

    @property
    def rows(self) -> sa.Connection:
        raise TypeError("the memory store has no tables: test this on PostgreSQL")

    def open(self, seen: int, keys: Collection[ReceiptKey], ids: Collection[UUID]) -> Opening:
        return Opening(self.changes(seen), self._store.receipts.read(keys), self.load(ids))

    def load(self, ids: Collection[UUID]) -> dict[UUID, list[Event]]:
        return self._store.load(ids)

    def append(self, appending: Appending) -> Appended:
        changes = self.changes(appending.seen)
        if appending.drafts and not changes.aggregates.isdisjoint(appending.read):
            raise LostRaceError
        self.stored += [self._store.mapper.draft(draft) for draft in appending.drafts]
        self.receipts += appending.receipts
        self.timers += appending.timers
        self.new_rows = appending.new_rows
        return Appended(self._store.head() + len(self.stored), changes, None)

    def changes(self, seen: int) -> Changes:
        recorded = self._store.read_log(seen, limit=1_000_000)
        return Changes(self._store.head(), frozenset(it.event.originator_id for it in recorded))


class MemoryEventStore:
    """The same store on plain Python objects, for unit tests."""

    def __init__(self) -> None:
        self.mapper = EventMapper()
        self.receipts = MemoryReceipts()
        self.timers: dict[tuple[str, str, str], Timer] = {}
        self.rows: dict[str, dict[Hashable, Sequence[Any]]] = {}
        self._recorder = POPOProcessRecorder()
        self._turn = RLock()

    def load(self, ids: Collection[UUID]) -> dict[UUID, list[Event]]:
        streams = {id: self._recorder.select_events(id) for id in ids}
        return {id: [self.mapper.read(it)[0] for it in s] for id, s in streams.items() if s}

    def last(self, ids: Collection[UUID]) -> dict[UUID, tuple[int, bytes]]:
        streams = {id: self._recorder.select_events(id) for id in ids}
        return {id: (it[-1].originator_version, it[-1].state) for id, it in streams.items() if it}

    def read_streams(self, ids: Collection[UUID]) -> list[Recorded]:
        return [it for it in self.read_log(0, 1_000_000) if it.event.originator_id in ids]

    def read_log(self, after: int, limit: int, without: Sequence[str] = ()) -> list[Recorded]:
        found = self._recorder.select_notifications(after + 1, 1_000_000)
        notifications = [it for it in found if it.topic not in without][:limit]
        return [Recorded(it.id, *self.mapper.read(it)) for it in notifications]

    def head(self) -> int:
        return self._recorder.max_notification_id() or 0

    async def head_now(self) -> int:
        return self.head()

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        with self._turn:
            transaction = MemoryTransaction(self)
            yield transaction
            self._recorder.insert_events(transaction.stored)
            self.receipts.write(transaction.receipts)
            for change in transaction.timers:
                change.apply(self.timers)
            for statement, rows in transaction.new_rows.items():
                self.rows.setdefault(statement, {}).update(rows)

    def committed(self, witness: Witness) -> bool:
        return False


class _Datastore(PostgresDatastore):
    """Where the library's tables are made; for all else we have connections of our own."""

    def register_type_adapters(self) -> None:
        """None: the types are those of functions that we do not use, and to ask for them takes a pool and a connection."""


def _datastore(dsn: str) -> PostgresDatastore:
    parts = conninfo_to_dict(dsn)
    return _Datastore(
        dbname=str(parts["dbname"]),
        host=str(parts.get("host", "")),
        port=str(parts.get("port", 5432)),
        user=str(parts["user"]),
        password=str(parts.get("password", "")),
        lock_timeout=_LOCK_TIMEOUT_SECONDS,
        single_row_tracking=True,
    )
