"""The report of the main job, read from the services through gRPC; nothing in it is counted here.

Amounts are in major units of the currency of the shop, shares are parts of one.
"""

import csv
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from demo.backend import Backend, pages
from demo.brand import EXPERIMENT, NIGHT_OWL, Audience
from demo.calendar import TIME_ZONE
from demo.wire import cents
from scrm.campaigns.v1 import campaigns_service_pb2 as campaigns
from scrm.campaigns.v1 import experiment_result_pb2 as results
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.membership.v1 import membership_service_pb2 as membership
from scrm.tagging.v1 import model_pb2
from scrm.tagging.v1 import tagging_service_pb2 as tagging
from scrm.tracking.v1 import behaviour_pb2
from scrm.tracking.v1 import tracking_service_pb2 as tracking

_ROWS_PER_PAGE: Final = 10_000

Section = dict[str, Any]


async def orders(backend: Backend) -> Section:
    """All paid orders and what is left of them."""
    found = await backend.tracking.GetOrderStatistics(tracking.GetOrderStatisticsRequest(time_zone=TIME_ZONE))
    return {
        "rows": found.rows,
        "net": sum(map(cents, found.net)) / 100,
        "rows_with_net": found.net_rows,
        "customers_with_net": found.customers,
        "purchase_occasions": found.occasions,
        "unpaid": found.unpaid,
    }


async def ingestion(backend: Backend) -> Section:
    """What became of every behaviour ever submitted, in total and by type."""
    found = await backend.tracking.GetIngestStatistics(tracking.GetIngestStatisticsRequest())
    by_type: defaultdict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    for it in found.counts:
        outcome = behaviour_pb2.TrackOutcome.Name(it.outcome).removeprefix("TRACK_OUTCOME_").lower()
        by_type[it.event_type][outcome] += it.count
        by_type[it.event_type]["submitted"] += it.count
        if it.outcome == behaviour_pb2.TRACK_OUTCOME_QUARANTINED:
            reasons[behaviour_pb2.TrackReason.Name(it.reason).removeprefix("TRACK_REASON_")] += it.count
    return {
        "submitted": found.submitted,
        "accepted": found.accepted,
        "duplicate": found.duplicates,
        "quarantined": found.quarantined,
        "rejected": found.rejected,
        "late": found.late,
        "quarantined_by_reason": dict(reasons),
        "by_type": {name: dict(by_type[name]) for name in sorted(by_type)},
    }


async def identities(backend: Backend) -> Section:
    """What identity made of all the identifiers."""
    found = await backend.identity.GetIdentityStatistics(identity.GetIdentityStatisticsRequest())
    return _every_field(found)


async def memberships(backend: Backend) -> Section:
    """Members and points, added up from the ledger."""
    found = await backend.membership.GetMembershipStatistics(membership.GetMembershipStatisticsRequest())
    return {**_every_field(found), "ledger_identity_holds": found.accounts_with_broken_ledger == 0}


async def night_owls(backend: Backend) -> Section:
    """How many read at night, now and ever."""
    found = await backend.tagging.GetTagStatistics(tagging.GetTagStatisticsRequest(tag_key=NIGHT_OWL))
    return {"current": found.current, "ever": found.ever}


async def rfm(backend: Backend, run_id: str) -> Section:
    """The ten segments and eight types of a run."""
    found = await backend.tagging.GetRfmTable(tagging.GetRfmTableRequest(run_id=run_id))
    run = found.run
    population, net = run.population, cents(run.net)
    return {
        "as_of": date(run.as_of.year, run.as_of.month, run.as_of.day).isoformat(),
        "n": population,
        "net": net / 100,
        "cuts": {
            "R": list(run.cuts.recency_days),
            "F": list(run.cuts.frequency),
            "M": [cents(it) / 100 for it in run.cuts.monetary],
        },
        "segments": {
            model_pb2.RfmSegment.Name(it.segment).removeprefix("RFM_SEGMENT_"): {
                "customers": it.customers,
                "customers_share": _share(it.customers, population),
                "net": cents(it.net) / 100,
                "net_share": _share(cents(it.net), net),
                "average_recency_days": it.average_recency_days,
                "average_frequency": it.average_frequency,
                "average_monetary": it.average_monetary,
            }
            for it in found.segments
        },
        "types": {model_pb2.RfmType.Name(it.type).removeprefix("RFM_TYPE_"): it.customers for it in found.types},
    }


def audience(frozen: Audience) -> Section:
    """Who is slipping away."""
    return {
        "segment_size": frozen.segment_size,
        "snapshot_size": frozen.snapshot_size,
        "layers": list(frozen.layers),
    }


async def experiment(backend: Backend, broadcast_id: str, whole: Duration) -> Section:
    """Who was assigned to what, what was sent, and what came of it: in the window that decides and in the `whole` time."""
    asked = campaigns.GetBroadcastStatisticsRequest(broadcast_id=broadcast_id)
    found = (await backend.campaigns.GetBroadcastStatistics(asked)).statistics
    decision = await backend.campaigns.GetExperimentResult(
        campaigns.GetExperimentResultRequest(broadcast_id=broadcast_id)
    )
    observed = await backend.campaigns.GetExperimentResult(
        campaigns.GetExperimentResultRequest(broadcast_id=broadcast_id, window=whole)
    )
    return {
        "experiment_id": EXPERIMENT,
        "targeted": found.targeted,
        "global_control": found.global_control,
        "outside": found.outside,
        "assigned": found.assigned,
        "arms": {it.variant: it.assigned for it in found.variants},
        "sent": {it.variant: it.sent for it in found.variants},
        "suppressed": {it.variant: dict(it.suppressed) for it in found.variants},
        "failed": found.failed,
        "unknown": found.unknown,
        "sample_ratio": _sample_ratio(decision.result.sample_ratio),
        "decision_window": _outcome(decision.result),
        "observation_window": _outcome(observed.result),
    }


async def write_rfm_rows(backend: Backend, run_id: str, path: Path) -> int:
    """Every customer of a run as a row of a CSV file; how many there are."""
    request = tagging.ListRfmRowsRequest(run_id=run_id, page_size=_ROWS_PER_PAGE)
    count = 0
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["customer_id", "assignment_key", "recency_days", "frequency", "net_cents", "scores", "type", "segment"]
        )
        async for it in pages(backend.tagging.ListRfmRows, request, "rows"):
            scores = f"{it.recency_score}-{it.frequency_score}-{it.monetary_score}"
            kind = model_pb2.RfmType.Name(it.type).removeprefix("RFM_TYPE_")
            segment = model_pb2.RfmSegment.Name(it.segment).removeprefix("RFM_SEGMENT_")
            net = cents(it.monetary)
            rows.writerow(
                [it.customer_id, it.assignment_key, it.recency_days, it.frequency, net, scores, kind, segment]
            )
            count += 1
    return count


def _outcome(result: Any) -> Section:
    return {
        "state": results.ResultState.Name(result.state).removeprefix("RESULT_STATE_"),
        "until": result.deadline.ToJsonString(),
        "variants": {
            it.variant: {
                "assigned": it.assigned,
                "converted": it.converted,
                "rate": it.rate,
                "revenue": sum(map(cents, it.revenue)) / 100,
            }
            for it in result.variants
        },
        "leader": result.decision.leader,
        "winner": result.decision.winner,
        "inconclusive": result.decision.inconclusive,
        "comparisons": [
            {"arm": it.arm, "leader": it.leader, **_difference(it.difference), "adjusted_p_value": it.adjusted_p_value}
            for it in result.decision.comparisons
        ],
        "uplift": {it.variant: _uplift(it) for it in result.uplifts},
    }


def _uplift(found: Any) -> Section:
    return {
        **_difference(found.difference),
        "relative": found.relative if found.HasField("relative") else None,
        "incremental": found.incremental,
        "incremental_low": found.incremental_low,
        "incremental_high": found.incremental_high,
        "low_power": found.low_power,
    }


def _difference(found: Any) -> Section:
    z = found.z if found.HasField("z") else None
    return {"difference": found.difference, "low": found.low, "high": found.high, "z": z, "p_value": found.p_value}


def _sample_ratio(found: Any) -> Section:
    health = results.SplitHealth.Name(found.health).removeprefix("SPLIT_HEALTH_")
    return {"chi_square": found.chi_square, "p_value": found.p_value, "health": health}


def _every_field(message: Any) -> Section:
    """The fields of a message of plain numbers, zeros too."""
    return {it.name: getattr(message, it.name) for it in message.DESCRIPTOR.fields}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
