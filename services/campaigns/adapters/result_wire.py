"""Experiment results on the wire."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from scrm.campaigns.v1 import experiment_result_pb2 as pb
from services.campaigns.application.published_events import money, timestamp
from services.campaigns.domain.broadcast import Broadcast
from services.campaigns.domain.conversion import Tally
from services.campaigns.domain.evaluation import (
    Decision,
    Evaluation,
    SampleRatio,
    Uplift,
    evaluate,
)
from services.campaigns.domain.statistics import Difference, Share


def result(broadcast: Broadcast, tallies: Mapping[str, Tally], window: timedelta, now: datetime) -> pb.ExperimentResult:
    """What the experiment of a started broadcast shows at `now`, for orders of `window`."""
    opens = broadcast.opens_at or now
    found = evaluate(broadcast.design, tallies, broadcast.rolled_out)
    state = _state(now, opens + window, broadcast.final_at or now)
    hidden = state == pb.RESULT_STATE_HIDDEN
    wire = pb.ExperimentResult(
        broadcast_id=str(broadcast.id),
        state=state,
        start_time=timestamp(opens),
        deadline=timestamp(opens + window),
        final_time=timestamp(broadcast.final_at or now),
        variants=[
            _variant(variant, tallies.get(variant) or Tally(variant, 0, 0), hidden)
            for variant in broadcast.design.ranges
        ],
        sample_ratio=_sample_ratio(found.sample_ratio),
        crossover_share=found.crossover_share,
        no_causal_estimate=broadcast.design.holdout is None,
    )
    if not hidden:
        _reveal(wire, broadcast, found)
    return wire


def _reveal(wire: pb.ExperimentResult, broadcast: Broadcast, found: Evaluation) -> None:
    if broadcast.experiment is not None:
        wire.decision.CopyFrom(_decision(found.decision))
    wire.uplifts.extend(_uplift(it) for it in found.uplifts)
    wire.no_causal_estimate = not wire.uplifts


def _state(now: datetime, deadline: datetime, final: datetime) -> pb.ResultState.ValueType:
    if now < deadline:
        return pb.RESULT_STATE_HIDDEN
    return pb.RESULT_STATE_PROVISIONAL if now < final else pb.RESULT_STATE_FINAL


def _variant(variant: str, it: Tally, hidden: bool) -> pb.VariantResult:
    found = pb.VariantResult(
        variant=variant,
        assigned=it.assigned,
        converted=it.converted,
        crossed_over=it.crossed_over,
    )
    if not hidden:
        found.rate = Share(it.converted, it.assigned).rate
        found.revenue.extend(money(net, currency) for currency, net in sorted(it.revenue.items()))
    return found


def _sample_ratio(it: SampleRatio) -> pb.SampleRatioTest:
    return pb.SampleRatioTest(
        chi_square=it.statistic,
        degrees_of_freedom=it.degrees,
        p_value=it.p,
        health=pb.SplitHealth.Value(f"SPLIT_HEALTH_{it.health}"),
    )


def _decision(it: Decision) -> pb.Decision:
    found = pb.Decision(
        leader=it.leader or "",
        winner=it.winner or "",
        inconclusive=it.is_inconclusive,
        comparisons=[
            pb.ArmComparison(
                arm=one.first,
                leader=one.second,
                difference=_difference(one.difference),
                adjusted_p_value=one.p_adjusted,
            )
            for one in it.comparisons
        ],
    )
    if it.omnibus is not None:
        found.omnibus_chi_square, found.omnibus_p_value = it.omnibus
    return found


def _uplift(it: Uplift) -> pb.Uplift:
    return pb.Uplift(
        variant=it.variant,
        difference=_difference(it.difference),
        relative=it.relative,
        incremental=it.incremental,
        incremental_low=it.incremental_low,
        incremental_high=it.incremental_high,
        low_power=it.low_power,
    )


def _difference(it: Difference) -> pb.RateDifference:
    return pb.RateDifference(difference=it.value, low=it.low, high=it.high, z=it.z, p_value=it.p)
