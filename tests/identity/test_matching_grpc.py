"""Pairs of customers who may be one person as stewards meet them: over gRPC, on PostgreSQL (ID-3)."""

import asyncio
from time import monotonic
from uuid import uuid4

import pytest

from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1 import matching_pb2
from tests.identity.test_grpc import Caller, Serve, phone, resolve, serve

__all__ = ["serve"]


async def person(caller: Caller, number: int) -> str:
    return str((await caller.call("ResolveIdentity", resolve(phone(number)))).customer_id)


async def meet(caller: Caller, *numbers: int) -> None:
    """A call that is not authenticated shows several."""
    await caller.call("ResolveIdentity", resolve(*(phone(it) for it in numbers)))


async def listed(caller: Caller, tenant: str = "acme", **wanted: object) -> pb.ListMatchCandidatesResponse:
    request = pb.ListMatchCandidatesRequest(**wanted)  # type: ignore[arg-type]
    answer: pb.ListMatchCandidatesResponse = await caller.call(
        "ListMatchCandidates", request, tenant, scrm_position=caller.position
    )
    return answer


def decide(candidate: str, decision: pb.MatchDecision.ValueType, note: str = "") -> pb.DecideMatchCandidateRequest:
    return pb.DecideMatchCandidateRequest(request_id=str(uuid4()), candidate_id=candidate, decision=decision, note=note)


def test_a_steward_finds_a_pair_and_accepts_it(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        one, other = await person(caller, 1), await person(caller, 2)
        await meet(caller, 1, 2)

        (found,) = (await listed(caller)).candidates
        assert {found.customer_a_id, found.customer_b_id} == {one, other}
        assert (found.state, found.band) == (matching_pb2.MATCH_CANDIDATE_STATE_OPEN, matching_pb2.MATCH_BAND_HIGH)
        assert found.rule == matching_pb2.MATCH_RULE_KNOWN_MEETS_KNOWN
        assert not found.HasField("weight")
        assert found.name == f"matchCandidates/{found.candidate_id}"

        answer = await caller.call(
            "DecideMatchCandidate", decide(found.candidate_id, pb.MATCH_DECISION_ACCEPT, "Same voice on the phone")
        )
        assert answer.candidate.state == matching_pb2.MATCH_CANDIDATE_STATE_ACCEPTED
        assert set(answer.customer.node_ids) == {one, other}

        assert not (await listed(caller)).candidates
        accepted = await listed(caller, state=matching_pb2.MATCH_CANDIDATE_STATE_ACCEPTED)
        assert accepted.candidates[0].note == "Same voice on the phone"
        assert accepted.candidates[0].merge_id == answer.candidate.merge_id
        assert accepted.candidates[0].HasField("close_time")
        refusal = await caller.refused("DecideMatchCandidate", decide(found.candidate_id, pb.MATCH_DECISION_REJECT))
        assert refusal.reason == "CANDIDATE_NOT_OPEN"

    serve(check)


def test_notes_are_for_those_who_may_merge_and_pairs_for_their_tenant(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        for number in (1, 2):
            await person(caller, number)
        await meet(caller, 1, 2)
        (found,) = (await listed(caller)).candidates
        await caller.call("DecideMatchCandidate", decide(found.candidate_id, pb.MATCH_DECISION_REJECT, "Twins"))

        request = pb.ListMatchCandidatesRequest(state=matching_pb2.MATCH_CANDIDATE_STATE_REJECTED)
        answer = await caller.call(
            "ListMatchCandidates", request, scopes=["identity.read"], scrm_position=caller.position
        )
        assert [it.note for it in answer.candidates] == [""]
        assert not (await listed(caller, "globex", state=matching_pb2.MATCH_CANDIDATE_STATE_REJECTED)).candidates
        refusal = await caller.refused(
            "DecideMatchCandidate", decide(found.candidate_id, pb.MATCH_DECISION_ACCEPT), "globex"
        )
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "CANDIDATE_NOT_FOUND")

    serve(check)


def test_the_queue_is_read_in_pages(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        for number in range(5):
            await person(caller, number)
        await meet(caller, *range(5))
        all_ids = [it.candidate_id for it in (await listed(caller)).candidates]
        assert len(all_ids) == 4

        seen: list[str] = []
        token = ""
        while True:
            page = await listed(caller, page_size=3, page_token=token, band=matching_pb2.MATCH_BAND_HIGH)
            seen += [it.candidate_id for it in page.candidates]
            token = page.next_page_token
            if not token:
                break

        assert seen == all_ids
        assert not (await listed(caller, band=matching_pb2.MATCH_BAND_LOW)).candidates

    serve(check)


def test_a_run_is_asked_for_and_done(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        id = await person(caller, 1)
        some = pb.RunMatchingRequest(request_id=str(uuid4()), customers=pb.MatchScope(customer_ids=[id]))
        everybody = pb.RunMatchingRequest(request_id=str(uuid4()), all=True)

        for request in (some, everybody):
            run = (await caller.call("RunMatching", request)).run
            assert not run.HasField("finish_time")
            deadline = monotonic() + 20
            while not run.HasField("finish_time"):
                assert monotonic() < deadline, "the run does not end"
                await asyncio.sleep(0.02)
                run = (await caller.call("GetMatchRun", pb.GetMatchRunRequest(run_id=run.run_id))).run
            assert (run.compared, run.opened) == (0, 0)

        stranger = pb.RunMatchingRequest(request_id=str(uuid4()), customers=pb.MatchScope(customer_ids=[str(uuid4())]))
        assert (await caller.refused("RunMatching", stranger)).reason == "CUSTOMER_NOT_FOUND"
        unknown = await caller.refused("GetMatchRun", pb.GetMatchRunRequest(run_id=run.run_id), "globex")
        assert unknown.reason == "MATCH_RUN_NOT_FOUND"

    serve(check)


def test_the_model_is_read_set_and_learnt(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        model = (await caller.call("GetMatchModel", pb.GetMatchModelRequest())).model
        assert (model.version, model.prior) == (0, 1e-4)
        assert model.comparisons[1].levels[0].weight == pytest.approx(14.34, abs=0.01)

        model.auto_merge_threshold = 0.9995
        model.low_threshold = 0.5
        changed = (
            await caller.call("SetMatchModel", pb.SetMatchModelRequest(request_id=str(uuid4()), model=model))
        ).model
        assert (changed.version, changed.low_threshold, changed.auto_merge_threshold) == (1, 0.5, 0.9995)
        assert (await caller.call("GetMatchModel", pb.GetMatchModelRequest())).model == changed

        for method in (pb.ESTIMATE_METHOD_UNLABELLED, pb.ESTIMATE_METHOD_ACCEPTED):
            learnt = await caller.call("EstimateMatchModel", pb.EstimateMatchModelRequest(method=method))
            assert (learnt.pairs, learnt.random_pairs, learnt.model.prior) == (0, 0, 1e-4)

    serve(check)


def test_a_model_that_is_none_is_refused(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        model = (await caller.call("GetMatchModel", pb.GetMatchModelRequest())).model

        def setting(spoilt: matching_pb2.MatchModel) -> pb.SetMatchModelRequest:
            return pb.SetMatchModelRequest(request_id=str(uuid4()), model=spoilt)

        missing = matching_pb2.MatchModel()
        missing.CopyFrom(model)
        del missing.comparisons[0]
        assert (await caller.refused("SetMatchModel", setting(missing))).reason == "BAD_MATCH_MODEL"
        too_low = matching_pb2.MatchModel()
        too_low.CopyFrom(model)
        too_low.auto_merge_threshold = 0.998
        assert (await caller.refused("SetMatchModel", setting(too_low))).code == "INVALID_ARGUMENT"
        assert (await caller.call("GetMatchModel", pb.GetMatchModelRequest())).model == model

    serve(check)
