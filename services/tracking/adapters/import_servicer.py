"""ImportService on the wire: pieces of a file, taken in one after the other, and one report of what became of their rows."""

import asyncio
from hashlib import blake2b
from io import BytesIO
from itertools import islice
from time import monotonic
from typing import Final

from google.rpc import status_pb2

from chassis import status
from chassis.aggregate import natural_id
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import DomainError, FieldTooLong
from chassis.group_commit import OUTAGES
from chassis.grpc_server import Requests, ServicerContext
from scrm.tracking.v1 import import_service_pb2 as pb
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.import_files import Row, rows_of
from services.tracking.adapters.importer import BATCH, DoorSink, Fate, OrderSink, Sink, is_taken, patiently
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.order_import import OrderReader

MOST_REFUSED: Final = 10_000
LONGEST_SECONDS: Final = 180.0
"""How long rows are taken in by one call: well below what a stream may last, so that there is always an answer."""

GRACE_SECONDS: Final = 90.0
"""How much longer a piece may take, or be waited for, that was begun or asked for before."""

_LONGEST_FIELD: Final = 100


class ImportServicer:
    """Answers `scrm.tracking.v1.ImportService`."""

    def __init__(self, bus: CommandBus, door: Ingest, identity: IdentityClient, clock: Clock) -> None:
        self._bus = bus
        self._door = door
        self._orders = OrderReader(identity)
        self._clock = clock

    async def ImportRows(self, requests: Requests, _: ServicerContext) -> pb.ImportRowsResponse:
        report, give_up = _Report(), monotonic() + LONGEST_SECONDS
        try:
            async with asyncio.timeout(LONGEST_SECONDS + GRACE_SECONDS):
                async for request in requests:
                    rows = await asyncio.to_thread(_rows, request)
                    report.add(request, rows, await self._fates(request, rows))
                    requests.reached(report.next_line)
                    if report.is_full or monotonic() > give_up:
                        return report.answer(is_whole=False)
        except (DomainError, TimeoutError, *OUTAGES) as end:
            if not report.next_line:
                raise
            answer = report.answer(is_whole=False)  # an error could not carry the rows that were refused before
            answer.ended_by.CopyFrom(_status(end))
            return answer
        return report.answer(is_whole=True)

    async def _fates(self, request: pb.ImportRowsRequest, rows: list[Row]) -> list[Fate]:
        sink = self._sink(request)
        if request.validate_only:
            return await asyncio.to_thread(sink.judge, rows)
        content = blake2b(request.content, digest_size=16).hexdigest()
        return await patiently(sink, rows, natural_id(current().tenant, "import", request.source_key, content))

    def _sink(self, request: pb.ImportRowsRequest) -> Sink:
        if request.kind == pb.IMPORT_KIND_ORDERS:
            return OrderSink(self._bus, self._orders, current(), request.source_key)
        return DoorSink(self._door, self._clock, current(), request.source_key)


class _Report:
    """What became of the rows so far; `next_line` is the one after the last piece, 0 before the first."""

    def __init__(self) -> None:
        self.next_line = 0
        self._rows = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._refused: list[pb.RefusedRow] = []

    @property
    def is_full(self) -> bool:
        return len(self._refused) > MOST_REFUSED

    def add(self, request: pb.ImportRowsRequest, rows: list[Row], fates: list[Fate]) -> None:
        """Take in what became of the rows of a piece."""
        before = request.first_line - (
            2 if request.format == pb.IMPORT_FORMAT_CSV else 1
        )  # its header is no line of the piece
        self._rows += len(rows)
        for row, it in zip(rows, fates, strict=True):
            self._counts[it.outcome, it.reason] = self._counts.get((it.outcome, it.reason), 0) + 1
            if not is_taken(it):
                self._refused.append(
                    pb.RefusedRow(
                        line=before + row.line,
                        outcome=_outcome(it),
                        reason=it.reason,
                        field=it.field[:_LONGEST_FIELD],
                    )
                )
        lines = request.content.count(b"\n") + (not request.content.endswith(b"\n"))
        self.next_line = before + lines + 1

    def answer(self, *, is_whole: bool) -> pb.ImportRowsResponse:
        counts = [
            pb.ImportCount(outcome=_outcome(Fate(outcome)), reason=reason, rows=rows)
            for (outcome, reason), rows in sorted(self._counts.items())
        ]
        return pb.ImportRowsResponse(
            rows=self._rows, counts=counts, refused=self._refused, next_line=0 if is_whole else self.next_line
        )


def _rows(request: pb.ImportRowsRequest) -> list[Row]:
    """Raises FieldTooLong."""
    found = list(islice(rows_of(BytesIO(request.content), request.format == pb.IMPORT_FORMAT_CSV), BATCH + 1))
    if len(found) > BATCH:
        raise FieldTooLong(f"at most {BATCH} rows", field="content")
    return found


def _status(end: Exception) -> status_pb2.Status:
    match end:
        case DomainError():
            return status.to_status(end, "tracking")
        case TimeoutError():
            return status.deadline_exceeded("tracking")
    return status.to_status(status.DatabaseUnavailable(), "tracking")


def _outcome(fate: Fate) -> "pb.ImportOutcome.ValueType":
    return pb.ImportOutcome.Value(f"IMPORT_OUTCOME_{fate.outcome}")
