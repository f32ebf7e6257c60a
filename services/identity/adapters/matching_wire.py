"""Pairs of customers, runs and models as requests and responses have them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.names import resource_name
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1 import matching_pb2
from services.identity.adapters import wire
from services.identity.application.matching_commands import Decided, DecideMatchCandidate, RunMatching
from services.identity.application.published_matching import steps
from services.identity.domain.estimation import Estimate
from services.identity.domain.match_candidate import CandidateState
from services.identity.domain.match_model import Band, Comparison, Feature, Level, MatchModel
from services.identity.domain.match_run import MatchRun
from services.identity.read_models.steward_queue import CandidateRow, Wanted

COLLECTION: Final = "matchCandidates"

_STATES: Final[Mapping[int, CandidateState]] = {
    matching_pb2.MatchCandidateState.Value(f"MATCH_CANDIDATE_STATE_{it}"): it for it in CandidateState
}
_BANDS: Final[Mapping[int, Band]] = {matching_pb2.MatchBand.Value(f"MATCH_BAND_{it}"): it for it in Band}
_FEATURES: Final[Mapping[int, Feature]] = {matching_pb2.MatchFeature.Value(f"MATCH_FEATURE_{it}"): it for it in Feature}


def wanted(request: pb.ListMatchCandidatesRequest, before: tuple[datetime, UUID] | None) -> Wanted:
    """Open ones, unless another state is asked for."""
    return Wanted(_STATES.get(request.state, CandidateState.OPEN), _BANDS.get(request.band), before)


def candidate(row: CandidateRow, note: str | None) -> matching_pb2.MatchCandidate:
    return matching_pb2.MatchCandidate(
        name=resource_name(COLLECTION, row.candidate),
        candidate_id=str(row.candidate),
        customer_a_id=str(row.a),
        customer_b_id=str(row.b),
        state=matching_pb2.MatchCandidateState.Value(f"MATCH_CANDIDATE_STATE_{row.state}"),
        band=matching_pb2.MatchBand.Value(f"MATCH_BAND_{row.band}"),
        rule=matching_pb2.MatchRule.Value(f"MATCH_RULE_{row.rule}"),
        weight=row.weight,
        probability=row.probability,
        steps=steps(row.steps),
        model_version=row.model_version,
        find_time=_timestamp(row.found_at),
        close_time=_timestamp(row.closed_at) if row.closed_at else None,
        decided_by=row.decided_by or "",
        merge_id=str(row.merge_id) if row.merge_id else "",
        expiry_reason=row.expiry_reason or "",
        note=note or "",
    )


def decide_command(request: pb.DecideMatchCandidateRequest) -> DecideMatchCandidate:
    accept = request.decision == pb.MATCH_DECISION_ACCEPT
    return DecideMatchCandidate(UUID(request.candidate_id), accept, request.note)


def decided(it: Decided) -> pb.DecideMatchCandidateResponse:
    found = it.candidate
    finding = found.finding
    return pb.DecideMatchCandidateResponse(
        candidate=matching_pb2.MatchCandidate(
            name=resource_name(COLLECTION, found.id),
            candidate_id=str(found.id),
            customer_a_id=str(found.a),
            customer_b_id=str(found.b),
            state=matching_pb2.MatchCandidateState.Value(f"MATCH_CANDIDATE_STATE_{found.state}"),
            band=matching_pb2.MatchBand.Value(f"MATCH_BAND_{finding.band}"),
            rule=matching_pb2.MatchRule.Value(f"MATCH_RULE_{finding.rule}"),
            weight=finding.weight,
            probability=finding.probability,
            steps=steps(finding.steps),
            model_version=finding.model_version,
            merge_id=str(it.merge_id) if it.merge_id else "",
        ),
        customer=wire.customer(it.customer) if it.customer is not None else None,
    )


def run_command(request: pb.RunMatchingRequest) -> RunMatching:
    return RunMatching(tuple(UUID(it) for it in request.customers.customer_ids))


def run_requested(run: MatchRun) -> pb.RunMatchingResponse:
    return pb.RunMatchingResponse(run=match_run(run))


def match_run(run: MatchRun) -> matching_pb2.MatchRun:
    found = matching_pb2.MatchRun(
        run_id=str(run.id),
        customer_ids=[str(it) for it in run.customers],
        request_time=_timestamp(run.requested_at),
    )
    if run.tally is not None and run.finished_at is not None:
        found.finish_time.FromDatetime(run.finished_at)
        found.compared, found.opened, found.merged = run.tally.compared, run.tally.opened, run.tally.merged
        for it in run.tally.skipped:
            found.skipped.add(key_kind=it.kind, blocks=it.blocks, largest=it.largest)
    return found


def model(it: MatchModel) -> matching_pb2.MatchModel:
    return matching_pb2.MatchModel(
        version=it.version,
        prior=it.prior,
        comparisons=[
            matching_pb2.MatchComparison(
                feature=matching_pb2.MatchFeature.Value(f"MATCH_FEATURE_{one.feature}"),
                levels=[
                    matching_pb2.MatchLevel(level=level.name, m=level.m, u=level.u, weight=level.weight)
                    for level in one.levels
                ],
            )
            for one in it.comparisons
        ],
        high_threshold=it.high,
        low_threshold=it.low,
        auto_merge_threshold=it.auto_merge,
    )


def given_model(it: matching_pb2.MatchModel) -> MatchModel:
    return MatchModel(
        version=0,
        prior=it.prior,
        comparisons=tuple(
            Comparison(_FEATURES[one.feature], tuple(Level(level.level, level.m, level.u) for level in one.levels))
            for one in it.comparisons
        ),
        high=it.high_threshold,
        low=it.low_threshold,
        auto_merge=it.auto_merge_threshold if it.HasField("auto_merge_threshold") else None,
    )


def model_set(it: MatchModel) -> pb.SetMatchModelResponse:
    return pb.SetMatchModelResponse(model=model(it))


def estimated(it: Estimate) -> pb.EstimateMatchModelResponse:
    return pb.EstimateMatchModelResponse(
        model=model(it.model), pairs=it.pairs, random_pairs=it.random_pairs, expected_matches=it.expected
    )


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
