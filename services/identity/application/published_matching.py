"""What other services are told of pairs of customers who may be one person."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from google.protobuf.message import Message

from chassis.log import Recorded
from scrm.identity.v1 import events_pb2 as pb
from scrm.identity.v1 import matching_pb2
from services.identity.domain.match_candidate import MatchCandidate
from services.identity.domain.match_model import Step
from services.identity.domain.match_rules import MatchRules
from services.identity.domain.match_run import MatchRun

PRIVATE: Final = frozenset[type](
    {MatchCandidate.Expired, MatchRules.Opened, MatchRules.ModelSet, MatchRun.Requested, MatchRun.Finished}
)


def of_matching(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case MatchCandidate.Found() | MatchCandidate.FoundAgain() as event:
            return [_found(event)]
        case MatchCandidate.Decided() as event:
            return [_decided(event, recorded.context.actor)]
    return None


def customer_concerned(recorded: Recorded) -> UUID | None:
    """The customer with the smaller id; None for what is not about a pair."""
    match recorded.event:
        case (
            MatchCandidate.Found(a=a)
            | MatchCandidate.FoundAgain(a=a)
            | MatchCandidate.Decided(a=a)
            | MatchCandidate.Expired(a=a)
        ):
            return a
    return None


def steps(of: Sequence[Step]) -> list[matching_pb2.MatchStep]:
    return [
        matching_pb2.MatchStep(
            feature=matching_pb2.MatchFeature.Value(f"MATCH_FEATURE_{it.feature}"),
            level=it.level,
            m=it.m,
            u=it.u,
            weight=it.weight,
            total=it.total,
        )
        for it in of
    ]


def _found(event: MatchCandidate.Found | MatchCandidate.FoundAgain) -> Message:
    finding = event.finding
    message = pb.MatchCandidateFound(
        candidate_id=str(event.originator_id),
        customer_a_id=str(event.a),
        customer_b_id=str(event.b),
        band=matching_pb2.MatchBand.Value(f"MATCH_BAND_{finding.band}"),
        rule=matching_pb2.MatchRule.Value(f"MATCH_RULE_{finding.rule}"),
        weight=finding.weight,
        probability=finding.probability,
        steps=steps(finding.steps),
    )
    message.find_time.FromDatetime(event.found_at)
    return message


def _decided(event: MatchCandidate.Decided, actor: str) -> Message:
    message = pb.MatchCandidateDecided(
        candidate_id=str(event.originator_id),
        customer_a_id=str(event.a),
        customer_b_id=str(event.b),
        decision=matching_pb2.MatchCandidateState.Value(f"MATCH_CANDIDATE_STATE_{event.decision}"),
        merge_id=str(event.merge_id) if event.merge_id else "",
        decided_by=actor,
    )
    message.decide_time.FromDatetime(event.decided_at)
    return message
