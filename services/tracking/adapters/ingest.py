"""The one way in for behaviours, whatever door they came by: admitted by source, read event by event, made durable."""

from collections import Counter

from chassis.clock import Clock
from chassis.context import Context
from scrm.tracking.v1 import tracking_service_pb2 as pb
from services.tracking.adapters.ingest_rows import microseconds
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.source_book import SourceBook
from services.tracking.adapters.submission import Reader


class Ingest:
    """Takes in batches; `writer` makes those of all callers durable together."""

    def __init__(self, writer: IngestWriter, sources: SourceBook, clock: Clock, plans: PlanBook) -> None:
        self.sources = sources
        self.plans = plans
        self.writer = writer
        self._clock = clock

    async def submit(self, request: pb.TrackBatchRequest, context: Context) -> bytes:
        """A serialised TrackBatchResponse, as soon as the batch is durable.

        Raises SourceRateExceeded, RequestIdReused, Unavailable.
        """
        counts = Counter([it.source_key for it in request.events])
        closed = await self.sources.admit(context.tenant, counts)
        plan = await self.plans.of(context.tenant)
        reader = Reader(context, microseconds(self._clock.now()), closed, plan=plan)
        return await self.writer.submit(reader.read(request))
