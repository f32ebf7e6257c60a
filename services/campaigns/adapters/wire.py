"""Broadcasts on the wire: requests into values of the domain, aggregates and rows into messages."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import BadFormat
from scrm.campaigns.v1 import broadcast_pb2 as pb
from scrm.campaigns.v1 import campaigns_service_pb2 as rpc
from services.campaigns.application.commands import CreateBroadcast, etag_of
from services.campaigns.application.published_events import timestamp
from services.campaigns.domain.broadcast import Broadcast
from services.campaigns.domain.delivery_batch import Status
from services.campaigns.domain.design import DEFAULT_WINDOW, Arm, BucketRange, Design
from services.campaigns.read_models.deliveries import VariantCounts


def create_command(request: rpc.CreateBroadcastRequest) -> CreateBroadcast:
    """The command of a request."""
    carries_experiment = request.WhichOneof("content") == "experiment"
    return CreateBroadcast(
        title=request.display_name,
        design=design(request.experiment)
        if carries_experiment
        else Design.plain(request.message.text, request.message.channel),
        experiment=request.experiment.experiment_id if carries_experiment else None,
        segment=UUID(request.segment_id) if request.segment_id else None,
        snapshot=UUID(request.snapshot_id) if request.snapshot_id else None,
        schedule_at=instant(request.schedule_time) if request.HasField("schedule_time") else None,
    )


def design(experiment: pb.Experiment) -> Design:
    """The design of an experiment; windows not given are the default."""
    window = int(DEFAULT_WINDOW.total_seconds())
    if experiment.HasField("conversion_window"):
        window = _seconds(experiment.conversion_window, "experiment.conversion_window")
    observation = window
    if experiment.HasField("observation_window"):
        observation = _seconds(experiment.observation_window, "experiment.observation_window")
    return Design(
        arms=tuple(Arm(it.key, _range(it.range), it.text, it.channel) for it in experiment.arms),
        holdout=_range(experiment.holdout_range) if experiment.HasField("holdout_range") else None,
        remainder=_range(experiment.remainder_range) if experiment.HasField("remainder_range") else None,
        window_seconds=window,
        observation_seconds=observation,
    )


def broadcast(it: Broadcast) -> pb.Broadcast:
    """The resource, with its content."""
    found = pb.Broadcast(
        broadcast_id=str(it.id),
        display_name=it.title,
        state=pb.BroadcastState.Value(f"BROADCAST_STATE_{it.state}"),
        schedule_time=_optional(it.schedule_at),
        frozen_snapshot_id=str(it.snapshot) if it.snapshot and it.size is not None else "",
        start_time=_optional(it.opens_at),
        deadline=_optional(it.deadline),
        final_time=_optional(it.final_at),
        complete_time=_optional(it.completed_at),
        rolled_out_arm=it.rolled_out or "",
        cancel_reason=it.cancel_reason,
        create_time=timestamp(it.created_at),
        etag=etag_of(it),
    )
    if it.segment:
        found.segment_id = str(it.segment)
    elif it.snapshot:
        found.snapshot_id = str(it.snapshot)
    if it.experiment is None:
        found.message.text, found.message.channel = it.design.arms[0].text, it.design.arms[0].channel
    else:
        found.experiment.CopyFrom(_experiment(it.experiment, it.design))
    return found


def created(it: Broadcast) -> rpc.CreateBroadcastResponse:
    return rpc.CreateBroadcastResponse(broadcast=broadcast(it))


def updated(it: Broadcast) -> rpc.UpdateExperimentResponse:
    return rpc.UpdateExperimentResponse(broadcast=broadcast(it))


def approved(it: Broadcast) -> rpc.ApproveBroadcastResponse:
    return rpc.ApproveBroadcastResponse(broadcast=broadcast(it))


def cancelled(it: Broadcast) -> rpc.CancelBroadcastResponse:
    return rpc.CancelBroadcastResponse(broadcast=broadcast(it))


def rolled_out(it: Broadcast) -> rpc.RollOutArmResponse:
    return rpc.RollOutArmResponse(broadcast=broadcast(it))


def listed(row: Any) -> pb.Broadcast:
    """The resource as the directory knows it, without its content."""
    found = pb.Broadcast(
        broadcast_id=str(row.broadcast),
        display_name=row.title,
        state=pb.BroadcastState.Value(f"BROADCAST_STATE_{row.state}"),
        schedule_time=_optional(row.schedule_at),
        start_time=_optional(row.opens_at),
        complete_time=_optional(row.completed_at),
        rolled_out_arm=row.rolled_out,
        cancel_reason=row.cancel_reason,
        create_time=timestamp(row.created_at),
        etag=f"v{row.version}",
    )
    if row.segment:
        found.segment_id = str(row.segment)
        found.frozen_snapshot_id = str(row.snapshot or "")
    else:
        found.snapshot_id = str(row.snapshot)
    return found


def captured(broadcast: str, row: Any) -> pb.CapturedMessage:
    return pb.CapturedMessage(
        delivery_id=str(row.delivery),
        broadcast_id=broadcast,
        arm=row.arm,
        customer_id=str(row.customer),
        text=row.body,
        capture_time=timestamp(row.captured_at),
        channel=row.channel,
    )


def statistics(id: str, sizes: tuple[int, int, int], counts: dict[str, VariantCounts]) -> pb.BroadcastStatistics:
    """The counts of a broadcast and of its variants."""
    targeted, global_control, outside = sizes
    found = pb.BroadcastStatistics(broadcast_id=id, targeted=targeted, global_control=global_control, outside=outside)
    for variant, its in counts.items():
        wire = found.variants.add()
        wire.CopyFrom(_variant(variant, its))
        found.assigned += wire.assigned
        found.holdout += wire.assigned if variant == "holdout" else 0
        found.remainder += wire.assigned if variant == "remainder" else 0
        found.sent += wire.sent
        found.failed += wire.failed
        found.unknown += wire.unknown
        for reason, count in its.suppressed.items():
            found.suppressed[reason] += count
    return found


def instant(at: Timestamp) -> datetime:
    """An instant from the wire, aware."""
    return at.ToDatetime(UTC)


def _variant(variant: str, its: VariantCounts) -> pb.VariantStatistics:
    by_status = its.by_status
    return pb.VariantStatistics(
        variant=variant,
        assigned=its.assigned,
        waiting=by_status.get(Status.ASSIGNED, 0),
        reserved=by_status.get(Status.RESERVED, 0),
        sent=by_status.get(Status.SENT, 0),
        failed=by_status.get(Status.FAILED, 0),
        unknown=by_status.get(Status.UNKNOWN, 0),
        suppressed=its.suppressed,
        failures=its.failed,
    )


def _experiment(key: str, its: Design) -> pb.Experiment:
    found = pb.Experiment(
        experiment_id=key,
        arms=[pb.Arm(key=it.key, range=_wire_range(it.range), text=it.text, channel=it.channel) for it in its.arms],
        conversion_window=Duration(seconds=its.window_seconds),
        observation_window=Duration(seconds=its.observation_seconds),
    )
    if its.holdout is not None:
        found.holdout_range.CopyFrom(_wire_range(its.holdout))
    if its.remainder is not None:
        found.remainder_range.CopyFrom(_wire_range(its.remainder))
    return found


def _range(it: pb.BucketRange) -> BucketRange:
    return BucketRange(it.start, it.end)


def _wire_range(it: BucketRange) -> pb.BucketRange:
    return pb.BucketRange(start=it.start, end=it.end)


def _seconds(duration: Duration, field: str) -> int:
    if duration.nanos:
        raise BadFormat("whole seconds", field=field)
    return duration.seconds


def _optional(at: datetime | None) -> Timestamp | None:
    return timestamp(at) if at else None
