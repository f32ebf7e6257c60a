"""Takes in files of events and orders, in batches that may be repeated: whatever is interrupted is taken up where it was.

`import_file(path, sink, options)` reads the file, hands batches to the sink, and notes after each how far it is. An event is known by its
message id, a fact of an order by its number: rows that were taken in before change nothing, and are counted as what they are.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol, TypeVar
from uuid import UUID

from chassis.aggregate import natural_id
from chassis.clock import Clock
from chassis.commands import CommandBus, Unit
from chassis.context import Context
from chassis.errors import TRANSIENT, DomainError
from chassis.group_commit import OUTAGES
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import TrackedEvent, TrackOutcome, TrackReason, TrackResult
from services.tracking.adapters.import_files import Note, Progress, Refusal, Row, digest, rows_of
from services.tracking.adapters.import_wire import event_of, order_row_of
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.ingest_rows import microseconds
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.order_import import OrderReader
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.submission import Reader, result_frame
from services.tracking.domain.intake import ACCEPTED

T = TypeVar("T")

BATCH: Final = 1000

_PATIENCE: Final = 60.0  # seconds for the database, or identity, to come back
_PAUSE: Final = 0.5
_KEPT: Final = frozenset({"ACCEPTED", "DUPLICATE", "RECORDED"})


class Fate(NamedTuple):
    """What became of a row."""

    outcome: str
    reason: str = ""
    field: str = ""


class Sink(Protocol):
    """Where rows go."""

    def judge(self, rows: Sequence[Row]) -> list[Fate]:
        """What would become of rows, as far as it can be said without taking them in."""

    async def take(self, rows: Sequence[Row], number: UUID) -> list[Fate]:
        """Take rows in, under a number of their own: the same rows again have the same effect once."""


@dataclass(frozen=True, slots=True)
class Options:
    """`told` hears how far it is: rows, and bytes of the file."""

    is_csv: bool
    rehearse: bool = False
    from_start: bool = False
    refusals: Path | None = None
    told: Callable[[int, int], None] = lambda rows, read: None


async def import_file(path: Path, sink: Sink, options: Options) -> Progress:
    """Take in all rows; what became of how many. Raises what the sink raises for longer than a minute."""
    file = await asyncio.to_thread(digest, path)
    note = None if options.rehearse else Note(path, options.refusals)
    progress = note.taken_up(file, options.from_start) if note else Progress(file)
    with path.open("rb") as content:
        rows = rows_of(content, options.is_csv)
        for _ in islice(rows, progress.rows):
            pass
        while batch := list(islice(rows, BATCH)):
            number = natural_id("", "import", file, progress.rows)
            fates = sink.judge(batch) if options.rehearse else await patiently(sink, batch, number)
            refused = counted(progress, batch, fates)
            if note:
                await asyncio.to_thread(note.keep, progress, refused)
            options.told(progress.rows, content.tell())
    return progress


class EventSink:
    """Takes events in as `source`, the way of all doors."""

    def __init__(self, writer: IngestWriter, plans: PlanBook, clock: Clock, context: Context, source: str) -> None:
        self._writer = writer
        self._plans = plans
        self._clock = clock
        self._context = context
        self._source = source

    def judge(self, rows: Sequence[Row]) -> list[Fate]:
        events, fates = self._read(rows)
        verdicts = self._reader().read(pb.TrackBatchRequest(events=events)).verdicts
        frames = b"".join(result_frame(it or ACCEPTED) for it in verdicts)
        return _filled(fates, map(_fate, pb.TrackBatchResponse.FromString(frames).results))

    async def take(self, rows: Sequence[Row], number: UUID) -> list[Fate]:
        return await asyncio.to_thread(self._take, rows)

    def _take(self, rows: Sequence[Row]) -> list[Fate]:
        events, fates = self._read(rows)
        answer = self._writer.submit_now(self._reader().read(pb.TrackBatchRequest(events=events)))
        return _filled(fates, map(_fate, pb.TrackBatchResponse.FromString(answer).results))

    def _reader(self) -> Reader:
        plan = self._plans.look_up(self._context.tenant)
        return Reader(self._context, microseconds(self._clock.now()), plan=plan)

    def _read(self, rows: Sequence[Row]) -> tuple[list[TrackedEvent], list[Fate | None]]:
        """The events, and for each row that is none why."""
        events: list[TrackedEvent] = []
        fates: list[Fate | None] = []
        for row in rows:
            found = _read(row, lambda it: event_of(it, self._source))
            fates.append(found if isinstance(found, Fate) else None)
            if not isinstance(found, Fate):
                events.append(found)
        return events, fates


class DoorSink(EventSink):
    """The same as its callers' door lets them in: no faster than the source may, and not from one that is switched off."""

    def __init__(self, door: Ingest, clock: Clock, context: Context, source: str) -> None:
        super().__init__(door.writer, door.plans, clock, context, source)
        self._door = door

    async def take(self, rows: Sequence[Row], number: UUID) -> list[Fate]:
        events, fates = await asyncio.to_thread(self._read, rows)
        if not events:
            return _filled(fates, iter(()))
        answer = await self._door.submit(pb.TrackBatchRequest(events=events), self._context)
        return _filled(fates, map(_fate, pb.TrackBatchResponse.FromString(answer).results))


class OrderSink:
    """Takes facts of orders in as `source`."""

    def __init__(self, bus: CommandBus, orders: OrderReader, context: Context, source: str) -> None:
        self._bus = bus
        self._orders = orders
        self._context = context
        self._source = source

    def judge(self, rows: Sequence[Row]) -> list[Fate]:
        """Whatever depends on other facts of the order, or on who the customer is, shows only when they are taken in."""
        facts, fates = self._read(rows)
        return _filled(fates, (_order_fate(self._orders.fault(self._context.tenant, it)) for it in facts))

    async def take(self, rows: Sequence[Row], number: UUID) -> list[Fate]:
        facts, fates = self._read(rows)
        if not facts:
            return _filled(fates, iter(()))
        command = await self._orders.all(facts, self._context, number)
        [outcome] = await self._bus.run(Unit([(self._context, command)], lambda rows, outcomes: None))
        if outcome.error is not None:
            raise outcome.error
        errors = (it if isinstance(it, DomainError) else None for it in outcome.result)
        return _filled(fates, map(_order_fate, errors))

    def _read(self, rows: Sequence[Row]) -> tuple[list[pb.OrderRow], list[Fate | None]]:
        facts: list[pb.OrderRow] = []
        fates: list[Fate | None] = []
        for row in rows:
            found = _read(row, lambda it: order_row_of(it, self._source))
            fates.append(found if isinstance(found, Fate) else None)
            if not isinstance(found, Fate):
                facts.append(found)
        return facts, fates


def _read(row: Row, read: Callable[[Mapping[str, Any]], T]) -> T | Fate:
    if row.fault:
        return Fate("REJECTED", row.fault)
    try:
        return read(row.fields)
    except DomainError as fault:
        return Fate("REJECTED", fault.reason, fault.field or "")


def _filled(fates: Sequence[Fate | None], others: Iterator[Fate]) -> list[Fate]:
    """The fates with those of `others` in the empty places."""
    return [it or next(others) for it in fates]


def _fate(result: TrackResult) -> Fate:
    outcome = TrackOutcome.Name(result.outcome).removeprefix("TRACK_OUTCOME_")
    reason = TrackReason.Name(result.reason).removeprefix("TRACK_REASON_") if result.reason else ""
    return Fate(outcome, reason, result.field)


def _order_fate(error: DomainError | None) -> Fate:
    return Fate("REFUSED", error.reason, error.field or "") if error else Fate("RECORDED")


def counted(progress: Progress, rows: Sequence[Row], fates: Sequence[Fate]) -> list[Refusal]:
    """Count a batch; what was not taken of it, or not as it is."""
    progress.rows += len(rows)
    for it in fates:
        progress.count(" ".join(filter(None, (it.outcome, it.reason))))
    pairs = zip(rows, fates, strict=True)
    return [Refusal(row, it.reason, it.field) for row, it in pairs if not is_taken(it)]


def is_taken(fate: Fate) -> bool:
    """Whether a row is taken in as it is, now or before."""
    return fate.outcome in _KEPT and not fate.reason


async def patiently(sink: Sink, rows: Sequence[Row], number: UUID) -> list[Fate]:
    """Take a batch in, again after what passes: it changes nothing twice."""
    give_up = monotonic() + _PATIENCE
    while True:
        try:
            return await sink.take(rows, number)
        except (*TRANSIENT, *OUTAGES):
            if monotonic() > give_up:
                raise
            await asyncio.sleep(_PAUSE)
