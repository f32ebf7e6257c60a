"""Events in tests, as a device would send them, and a tracking service without its network."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import psycopg

from chassis.context import Call, Context
from chassis.errors import Unavailable
from chassis.event_store import PostgresEventStore
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import (
    CampaignContext,
    EventContext,
    Identifier,
    TrackedEvent,
    TrackOutcome,
    TrackReason,
    TrackResult,
)
from services.tracking.adapters.identity_client import Asked
from services.tracking.adapters.ingest_rows import microseconds
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.resolver import Resolver
from services.tracking.adapters.submission import Reader
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.plan import PRESET_PLAN

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def event(
    message_id: str = "m1",
    event_type: str = "checkin",
    at: datetime = NOON,
    person: str = "a:1",
    properties: bytes = b"",
    **more: Any,
) -> TrackedEvent:
    """A good event, but for what `more` makes of it."""
    fields: dict[str, Any] = {
        "message_id": message_id,
        "source_key": "h5",
        "event_type": event_type,
        "identifiers": [Identifier(namespace="anonymous_id", value=person)],
        "original_time": timestamp(at),
        "properties_json": properties,
    }
    return TrackedEvent(**{**fields, **more})


def view(message_id: str, page_view: str, at: datetime = NOON, person: str = "a:1", code: str = "") -> TrackedEvent:
    campaign = CampaignContext(code_key=code) if code else None
    context = EventContext(channel="h5", content_id="H5-1", page_view_id=page_view, campaign=campaign)
    return event(message_id, "content_viewed", at, person, context=context)


def outcome(result: TrackResult) -> str:
    """`ACCEPTED`, `QUARANTINED TOO_LATE` and so on."""
    words = [TrackOutcome.Name(result.outcome).removeprefix("TRACK_OUTCOME_")]
    if result.reason:
        words.append(TrackReason.Name(result.reason).removeprefix("TRACK_REASON_"))
    return " ".join(words)


class FakeIdentity:
    """Identity in a dictionary: the first identifier decides; it can be down, and refuse."""

    def __init__(self) -> None:
        self.is_down = False
        self.refused: set[str] = set()
        self.erased: set[str] = set()
        self.asked: list[Asked] = []

    async def nodes(self, asked: Sequence[Asked], context: Context, request: UUID) -> list[UUID | str]:
        if self.is_down:
            raise Unavailable("identity does not answer")
        self.asked += asked
        return [self.node(it.identity[0][0][2], context.tenant) for it in asked]

    def node(self, value: str, tenant: str = "acme") -> UUID | str:
        if value in self.erased:
            return "CUSTOMER_ERASED"
        return "NO_USABLE_IDENTIFIER" if value in self.refused else uuid5(UUID(int=0), f"{tenant}/{value}")


class Tracking:
    """The ingest side of tracking on a database, with a clock that is set by hand."""

    def __init__(self, store: PostgresEventStore, dsn: str) -> None:
        self.store = store
        self.dsn = dsn
        self.now = NOON
        self.plan = PRESET_PLAN
        self.identity = FakeIdentity()
        self.writer = IngestWriter(store.engine)
        self.resolver = self.new_resolver()

    def new_resolver(self, batch_limit: int = 2000) -> Resolver:
        return Resolver(self.store.engine, self.identity, batch_limit=batch_limit)

    def track(self, *events: TrackedEvent, tenant: str = "acme", request_id: str = "", body: bytes = b"") -> list[str]:
        """The outcome of each event of one batch."""
        return [outcome(it) for it in self.results(*events, tenant=tenant, request_id=request_id, body=body)]

    def results(
        self, *events: TrackedEvent, tenant: str = "acme", request_id: str = "", body: bytes = b""
    ) -> Sequence[TrackResult]:
        call = Call("TrackBatch", request_id, body) if request_id else None
        reader = Reader(Context(tenant, "test", call=call), microseconds(self.now), plan=self.plan)
        answer = self.writer.submit_now(reader.read(pb.TrackBatchRequest(events=events)))
        return pb.TrackBatchResponse.FromString(answer).results

    def resolve(self) -> int:
        """Resolve all that waits; how many events that were."""
        return asyncio.run(self._resolve())

    async def _resolve(self) -> int:
        count = 0
        while done := await self.resolver.step():
            count += done
        return count

    def later(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def tallies(self, key: Callable[[Any], Any] = lambda row: row) -> dict[Any, int]:
        """How many events there were by outcome and reason."""
        found = self.rows("SELECT outcome, reason, sum(count)::int FROM tallies GROUP BY 1, 2 HAVING sum(count) <> 0")
        return {" ".join(filter(None, row[:2])): row[2] for row in found}
