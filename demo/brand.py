"""What the brand sets up and decides in the course of the job, said through the public API as its people would."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from demo.backend import Backend, request_id
from demo.calendar import TIME_ZONE
from demo.wire import CURRENCY, calendar_date, money, timestamp
from scrm.campaigns.v1 import broadcast_pb2
from scrm.campaigns.v1 import campaigns_service_pb2 as campaigns
from scrm.membership.v1 import membership_service_pb2 as membership
from scrm.membership.v1 import program_pb2
from scrm.tagging.v1 import layer_pb2, segment_pb2
from scrm.tagging.v1 import tagging_service_pb2 as tagging

MODEL: Final = "rfm"
PYRAMID: Final = "pyramid"
NIGHT_OWL: Final = "night_owl"
EXPERIMENT: Final = "winback-9801"

LOSING: Final = (
    'order occasions >= 3 and event("competitor_purchase_reported") count >= 1 in last 365 days'
    " and not order occasions >= 1 in last 30 days"
)
"""Of whom the brand thinks that it is losing them: they bought often, buy elsewhere too, and have not bought for a month."""
LOSING_NAME: Final = "Losing to somebody else"
LOSING_WHOM: Final = "10471"
"""A customer of the shop about whom the brand asks why; reads at night, and bought on seven days."""

_ALL_OF_HISTORY: Final = 0
_JOINING_SPEND: Final = 100_00
_JOINING_DAYS: Final = 365
_GLOBAL_CONTROL_PERCENT: Final = 5.0
_SLIPPING_AWAY: Final = ("NEED_ATTENTION", "ABOUT_TO_SLEEP", "AT_RISK", "CANT_LOSE", "HIBERNATING")
_HOLDOUT: Final = (0, 1_000)
_ARMS: Final = (("A", (1_000, 2_500)), ("B", (2_500, 4_000)))
_REMAINDER: Final = (4_000, 10_000)
_TEXTS: Final = {
    "A": "{{name|Music lover}}, we have missed you. Come and hear what is new.",
    "B": "{{name|Music lover}}, we have missed you. Your next CD ships free this week.",
}


@dataclass(frozen=True, slots=True)
class Audience:
    """The members of a segment, frozen."""

    segment_id: str
    segment_size: int
    snapshot_id: str
    snapshot_size: int
    layers: Sequence[str]


async def configure(backend: Backend) -> None:
    """Everything that has to be said before the first customer comes."""
    await backend.tagging.UpdateTenantSettings(
        tagging.UpdateTenantSettingsRequest(request_id=request_id("settings"), time_zone=TIME_ZONE, currency=CURRENCY)
    )
    await backend.tagging.DefineModel(
        tagging.DefineModelRequest(request_id=request_id("model"), model_id=MODEL, window_days=_ALL_OF_HISTORY)
    )
    await backend.tagging.DefineModel(
        tagging.DefineModelRequest(
            request_id=request_id("pyramid"),
            model_id=PYRAMID,
            kind=layer_pb2.MODEL_KIND_PYRAMID,
            universe=segment_pb2.UNIVERSE_ALL,
        )
    )
    await backend.membership.DefineProgram(
        membership.DefineProgramRequest(request_id=request_id("program"), program=_program())
    )
    await backend.membership.SetJoinPolicy(
        membership.SetJoinPolicyRequest(request_id=request_id("join policy"), join_policy=_join_policy())
    )
    await backend.campaigns.SetGlobalControl(
        campaigns.SetGlobalControlRequest(request_id=request_id("global control"), percent=_GLOBAL_CONTROL_PERCENT)
    )


async def run_model(backend: Backend, model_id: str, as_of: date, why: str = "") -> str:
    """Decide for all customers by everything before local midnight of `as_of`; the id of the run, another one for another `why`."""
    answer = await backend.tagging.RunModel(
        tagging.RunModelRequest(
            request_id=request_id("run", model_id, as_of, why), model_id=model_id, as_of=calendar_date(as_of)
        )
    )
    return str(answer.run.run_id)


async def freeze_audience(backend: Backend, run_id: str) -> Audience:
    """Those who are slipping away, by a run of the model."""
    layers = [
        segment_pb2.Operand(layer=segment_pb2.InLayer(model_id=MODEL, run_id=run_id, layer=it)) for it in _SLIPPING_AWAY
    ]
    union = segment_pb2.SetOperation(operator=segment_pb2.SET_OPERATOR_UNION, operands=layers)
    created = await backend.tagging.CreateSegment(
        tagging.CreateSegmentRequest(
            request_id=request_id("segment"),
            display_name="Slipping away in January 1998",
            definition=segment_pb2.SegmentDefinition(derived=union),
            universe=segment_pb2.UNIVERSE_KNOWN,
        )
    )
    segment = created.segment
    frozen = await backend.tagging.SnapshotSegment(
        tagging.SnapshotSegmentRequest(request_id=request_id("snapshot"), segment_id=segment.segment_id)
    )
    snapshot = frozen.snapshot
    return Audience(segment.segment_id, segment.size, snapshot.snapshot_id, snapshot.size, _SLIPPING_AWAY)


async def approve_winback(backend: Backend, audience: Audience, at: datetime, observed_until: datetime) -> str:
    """A broadcast in two variants to `audience`, released for `at`; orders count until `observed_until`. Its id."""
    created = await backend.campaigns.CreateBroadcast(
        campaigns.CreateBroadcastRequest(
            request_id=request_id("broadcast"),
            display_name="Win back those who are slipping away",
            snapshot_id=audience.snapshot_id,
            experiment=_experiment(observed_until - at),
            schedule_time=timestamp(at),
        )
    )
    broadcast = created.broadcast
    await backend.campaigns.ApproveBroadcast(
        campaigns.ApproveBroadcastRequest(
            request_id=request_id("approval"), broadcast_id=broadcast.broadcast_id, etag=broadcast.etag
        )
    )
    return str(broadcast.broadcast_id)


def _program() -> Any:
    return program_pb2.Program(
        code="cdnow-club",
        currency_code=CURRENCY,
        time_zone=TIME_ZONE,
        points_name="grooves",
        points_per_unit="1",
        points_expiry=program_pb2.POINTS_EXPIRY_ROLLING_12_MONTH_END,
    )


def _join_policy() -> Any:
    return program_pb2.JoinPolicy(
        spend=program_pb2.SpendThreshold(amount=money(_JOINING_SPEND), window_days=_JOINING_DAYS)
    )


def _experiment(observed: timedelta) -> Any:
    arms = [broadcast_pb2.Arm(key=key, range=_range(buckets), text=_TEXTS[key]) for key, buckets in _ARMS]
    return broadcast_pb2.Experiment(
        experiment_id=EXPERIMENT,
        arms=arms,
        holdout_range=_range(_HOLDOUT),
        remainder_range=_range(_REMAINDER),
        conversion_window=Duration(seconds=int(timedelta(days=7).total_seconds())),
        observation_window=Duration(seconds=int(observed.total_seconds())),
    )


def _range(buckets: tuple[int, int]) -> Any:
    return broadcast_pb2.BucketRange(start=buckets[0], end=buckets[1])
