"""What was read out of behaviours, as messages."""

from collections.abc import Sequence

from scrm.tracking.v1 import behaviour_pb2
from scrm.tracking.v1 import tracking_service_pb2 as pb
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.intake import Outcome
from services.tracking.domain.trail import Engagement, TrailEntry
from services.tracking.read_models.ingest_statistics import IngestCount


def trail_entry(entry: TrailEntry) -> behaviour_pb2.TrailEntry:
    it = entry.behaviour
    return behaviour_pb2.TrailEntry(
        message_id=it.message_id,
        source_key=it.source_key,
        event_type=it.event_type,
        category=it.category,
        occur_time=timestamp(it.occurred_at),
        receive_time=timestamp(it.received_at),
        node_id=str(it.node),
        channel=it.channel,
        page=it.page,
        content_id=it.content_id,
        page_view_id=it.page_view_id,
        nth_open=entry.nth_open,
        dwell_seconds=entry.dwell_seconds,
        session=entry.session,
        sequence=entry.sequence,
        properties_json=it.properties.encode(),
    )


def content_engagement(content_id: str, found: Engagement) -> behaviour_pb2.ContentEngagement:
    return behaviour_pb2.ContentEngagement(
        content_id=content_id,
        opens=found.opens,
        dwell_seconds=found.dwell_seconds,
        first_view_time=timestamp(found.first_view) if found.first_view else None,
        last_view_time=timestamp(found.last_view) if found.last_view else None,
    )


def statistics(counts: Sequence[IngestCount]) -> pb.GetIngestStatisticsResponse:
    """The counts and their sums."""
    sums = {outcome: sum(it.count for it in counts if it.outcome is outcome) for outcome in Outcome}
    return pb.GetIngestStatisticsResponse(
        counts=[_count(it) for it in counts],
        submitted=sum(sums.values()),
        accepted=sums[Outcome.ACCEPTED],
        duplicates=sums[Outcome.DUPLICATE],
        quarantined=sums[Outcome.QUARANTINED],
        rejected=sums[Outcome.REJECTED],
        late=sum(it.late for it in counts if it.outcome is Outcome.ACCEPTED),
    )


def _count(it: IngestCount) -> behaviour_pb2.IngestCount:
    return behaviour_pb2.IngestCount(
        source_key=it.source_key,
        event_type=it.event_type,
        outcome=behaviour_pb2.TrackOutcome.Value(f"TRACK_OUTCOME_{it.outcome}"),
        reason=behaviour_pb2.TrackReason.Value(f"TRACK_REASON_{it.reason or 'UNSPECIFIED'}"),
        count=it.count,
        late_count=it.late,
    )
