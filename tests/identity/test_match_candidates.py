"""Pairs of customers who may be one person: who is asked about, when again, and what comes of the answer."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from services.identity.application.matching_commands import (
    DecideMatchCandidate,
    Proposal,
    ProposeCandidates,
    Proposed,
    SetMatchModel,
    SettleCandidates,
)
from services.identity.domain.customer import Customer
from services.identity.domain.errors import BadMatchModel, CandidateNotFound, CandidateNotOpen, SameCustomer
from services.identity.domain.match_candidate import (
    CandidateState,
    ExpiryReason,
    Finding,
    MatchCandidate,
    MatchRule,
    candidate_id,
    weighed_finding,
)
from services.identity.domain.match_model import DEFAULT, Band, Feature, levels_of
from services.identity.domain.match_rules import MatchRules
from services.identity.domain.merging import Evidence, Merge
from services.identity.domain.resolution import Outcome
from tests.identity.brand import Brand, anonymous, device, drops, email, member, phone, refused, unionid, verified

ALIKE = {Feature.NAME: "EXACT", Feature.BIRTHDATE: "EXACT", Feature.GENDER: "EXACT"}


def finding(agreement: dict[Feature, str] | None = None) -> Finding:
    return weighed_finding(DEFAULT.weigh(levels_of(agreement or ALIKE)), 0)


def propose(brand: Brand, one: UUID, other: UUID, found: Finding | None = None) -> Proposed:
    proposed: Proposed = brand.do(ProposeCandidates((Proposal(one, other, found or finding()),)))
    return proposed


def decide(brand: Brand, one: UUID, other: UUID, *, accept: bool, note: str = "") -> None:
    brand.do(DecideMatchCandidate(id_of(brand, one, other), accept, note))


def settle(brand: Brand, one: UUID, other: UUID) -> None:
    brand.do(SettleCandidates((id_of(brand, one, other),)))


def id_of(brand: Brand, one: UUID, other: UUID) -> UUID:
    return candidate_id(brand.tenant, *sorted((one, other)))


def candidate(brand: Brand, one: UUID, other: UUID) -> MatchCandidate | None:
    return brand.loaded(MatchCandidate, id_of(brand, one, other))


def state(brand: Brand, one: UUID, other: UUID) -> CandidateState | None:
    found = candidate(brand, one, other)
    return found.state if found is not None else None


@pytest.fixture
def two(brand: Brand) -> tuple[UUID, UUID]:
    return brand.resolve(phone(1)).customer_id, brand.resolve(phone(2)).customer_id


def test_a_pair_is_asked_about_once(brand: Brand, two: tuple[UUID, UUID]) -> None:
    one, other = two

    assert propose(brand, one, other) == Proposed(opened=1, merged=0)
    assert propose(brand, other, one) == Proposed(opened=0, merged=0)

    found = candidate(brand, one, other)
    assert found is not None
    assert (found.a, found.b) == tuple(sorted(two))
    assert (found.finding.band, round(found.finding.weight or 0, 2)) == (Band.HIGH, 10.84)
    assert len(brand.events(MatchCandidate.Found)) == 1


def test_an_open_pair_keeps_the_newest_finding(brand: Brand, two: tuple[UUID, UUID]) -> None:
    propose(brand, *two)

    assert propose(brand, *two, finding(ALIKE | {Feature.DEVICE: "SHARED"})).opened == 1

    found = candidate(brand, *two)
    assert found is not None
    assert (found.state, round(found.finding.weight or 0, 2)) == (CandidateState.OPEN, 22.39)


def test_nobody_is_asked_about_one_customer(brand: Brand, two: tuple[UUID, UUID]) -> None:
    one, other = two
    brand.merge(one, other)

    assert propose(brand, one, other).opened == propose(brand, one, one).opened == 0
    assert propose(brand, one, uuid4()).opened == 0


def test_nobody_is_asked_about_those_who_are_kept_apart(brand: Brand, two: tuple[UUID, UUID]) -> None:
    brand.keep_apart(*two)
    assert propose(brand, *two).opened == 0

    brand.allow_reunion(*two)
    assert propose(brand, *two).opened == 1


def test_nobody_is_asked_about_different_identifiers_of_which_a_person_has_one(brand: Brand) -> None:
    one = brand.resolve(phone(1), unionid(1), authenticated=True).customer_id
    other = brand.resolve(phone(2), unionid(2), authenticated=True).customer_id
    third = brand.resolve(phone(3), member(3), authenticated=True).customer_id

    assert propose(brand, one, other).opened == 0
    assert propose(brand, one, third).opened == 1


def test_accepting_merges_the_two_and_tells_others(brand: Brand) -> None:
    one = brand.resolve(phone(1)).customer_id
    senior = brand.resolve(member(2)).customer_id
    propose(brand, one, senior)

    decide(brand, one, senior, accept=True)

    (merge,) = brand.events(Merge.Made)
    assert (merge.survivor, merge.loser, merge.evidence) == (senior, one, Evidence.STEWARD)
    assert [it.reason for it in brand.events(Customer.Merged)] == ["CANDIDATE"]
    (told,) = brand.published("MatchCandidateDecided")
    assert told.merge_id == str(merge.originator_id)  # type: ignore[attr-defined]
    assert told.decided_by == "test"  # type: ignore[attr-defined]
    assert state(brand, one, senior) is CandidateState.ACCEPTED


def test_rejecting_ends_the_question_and_does_no_more(brand: Brand, two: tuple[UUID, UUID]) -> None:
    propose(brand, *two)

    decide(brand, *two, accept=False)

    assert state(brand, *two) is CandidateState.REJECTED
    assert not brand.events(Merge.Made)
    assert not brand.events(Customer.KeptApart)
    assert propose(brand, *two).opened == 0


def test_a_rejected_pair_is_asked_about_again_when_there_is_more_to_be_said(
    brand: Brand, two: tuple[UUID, UUID]
) -> None:
    propose(brand, *two)
    decide(brand, *two, accept=False)

    assert propose(brand, *two, finding({Feature.NAME: "EXACT", Feature.DEVICE: "SHARED"})).opened == 0
    assert propose(brand, *two, finding(ALIKE | {Feature.ADDRESS: "EXACT"})).opened == 1
    assert state(brand, *two) is CandidateState.OPEN


def test_what_a_steward_notes_is_sealed(brand: Brand, two: tuple[UUID, UUID]) -> None:
    propose(brand, *two)

    decide(brand, *two, accept=False, note="Twins, says their mother Jane")

    (decided,) = brand.events(MatchCandidate.Decided)
    assert b"Jane" not in decided.note
    assert brand.opened(min(two), "match_note", decided.note) == "Twins, says their mother Jane"
    assert "Jane" not in str(brand.published("MatchCandidateDecided"))


def test_a_pair_is_decided_once(brand: Brand, two: tuple[UUID, UUID]) -> None:
    propose(brand, *two)
    decide(brand, *two, accept=False)

    refused(brand, CandidateNotOpen, lambda: decide(brand, *two, accept=True))
    refused(brand, CandidateNotFound, lambda: brand.do(DecideMatchCandidate(uuid4(), accept=True)))


def test_a_candidate_of_another_tenant_is_not_found(brand: Brand, two: tuple[UUID, UUID]) -> None:
    propose(brand, *two)

    refused(brand, CandidateNotFound, lambda: decide(Brand(brand.bus.store, "globex"), *two, accept=True))


def test_those_who_became_one_need_no_decision(brand: Brand, two: tuple[UUID, UUID]) -> None:
    propose(brand, *two)
    brand.merge(*two)

    refused(brand, SameCustomer, lambda: decide(brand, *two, accept=True))
    settle(brand, *two)

    assert [it.reason for it in brand.events(MatchCandidate.Expired)] == [ExpiryReason.ONE_CUSTOMER]


def test_the_question_goes_over_to_whom_one_of_the_two_became_part_of(brand: Brand, two: tuple[UUID, UUID]) -> None:
    one, other = two
    third = brand.resolve(phone(3)).customer_id
    propose(brand, one, other)
    brand.merge(third, other)

    settle(brand, one, other)

    assert state(brand, one, other) is CandidateState.EXPIRED
    assert state(brand, one, third) is CandidateState.OPEN
    settle(brand, one, third)
    assert state(brand, one, third) is CandidateState.OPEN


def test_who_is_kept_apart_since_is_not_asked_about_any_more(brand: Brand, two: tuple[UUID, UUID]) -> None:
    propose(brand, *two)
    brand.keep_apart(*two)

    settle(brand, *two)

    assert [it.reason for it in brand.events(MatchCandidate.Expired)] == [ExpiryReason.BARRED]


def test_a_merge_that_was_taken_back_is_no_candidate(brand: Brand, two: tuple[UUID, UUID]) -> None:
    propose(brand, *two)
    decide(brand, *two, accept=True)
    brand.unmerge(brand.events(Merge.Made)[0].originator_id)

    assert propose(brand, *two).opened == 0
    brand.allow_reunion(*two)
    assert propose(brand, *two).opened == 1


def test_two_known_customers_in_a_call_without_proof_are_a_high_candidate(brand: Brand, two: tuple[UUID, UUID]) -> None:
    found = brand.resolve(phone(1), phone(2))

    assert (found.customer_id, found.outcome) == (two[0], Outcome.CONFLICT_RESOLVED)
    opened = candidate(brand, *two)
    assert opened is not None
    assert (opened.finding.rule, opened.finding.band, opened.finding.weight) == (
        MatchRule.KNOWN_MEETS_KNOWN,
        Band.HIGH,
        None,
    )
    (told,) = brand.published("MatchCandidateFound")
    assert not told.HasField("weight")

    brand.resolve(phone(1), phone(2))
    assert len(brand.events(MatchCandidate.Found)) == 1
    assert brand.events(MatchCandidate.FoundAgain) == []


def test_it_stays_high_whatever_their_traits_weigh(brand: Brand, two: tuple[UUID, UUID]) -> None:
    brand.resolve(phone(1), phone(2))
    low = finding(
        {Feature.NAME: "EXACT", Feature.GENDER: "EXACT", Feature.ADDRESS: "DISTRICT", Feature.BIRTHDATE: "SLIP"}
    )
    assert low.band is not Band.HIGH

    propose(brand, *two, low)
    brand.resolve(phone(1), phone(2))

    found = candidate(brand, *two)
    assert found is not None
    assert (found.finding.rule, found.finding.band, found.finding.weight) == (
        MatchRule.KNOWN_MEETS_KNOWN,
        Band.HIGH,
        low.weight,
    )
    assert len(brand.events(MatchCandidate.FoundAgain)) == 1


def test_a_rejected_one_is_not_opened_by_the_same_call_again(brand: Brand, two: tuple[UUID, UUID]) -> None:
    brand.resolve(phone(1), phone(2))
    decide(brand, *two, accept=False)

    brand.resolve(phone(1), phone(2))

    assert state(brand, *two) is CandidateState.REJECTED


def test_proof_merges_and_asks_nobody(brand: Brand, two: tuple[UUID, UUID]) -> None:
    assert brand.resolve(verified(phone(1)), verified(phone(2))).outcome is Outcome.MERGED
    assert brand.events(MatchCandidate.Found) == []


def test_devices_and_limits_open_no_candidate(brand: Brand) -> None:
    brand.resolve(phone(1), device("tablet"))
    brand.resolve(phone(2), device("tablet"))
    brand.resolve(member(1), email("jane"))
    found = brand.resolve(member(2), email("jane"))

    assert drops(found) == [("email", "LIMIT")]
    assert brand.events(MatchCandidate.Found) == []


def test_each_of_several_is_asked_about_with_the_first(brand: Brand, two: tuple[UUID, UUID]) -> None:
    third = brand.resolve(phone(3)).customer_id

    brand.resolve(phone(1), phone(2), phone(3), anonymous("visitor"))

    assert state(brand, two[0], two[1]) is state(brand, two[0], third) is CandidateState.OPEN
    assert state(brand, two[1], third) is None


def test_merging_unasked_is_off(brand: Brand, two: tuple[UUID, UUID]) -> None:
    everything = finding(ALIKE | {Feature.ADDRESS: "EXACT", Feature.DEVICE: "SHARED"})

    assert propose(brand, *two, everything) == Proposed(opened=1, merged=0)


def test_a_tenant_may_have_the_surest_pairs_merged_unasked_but_no_members(brand: Brand, two: tuple[UUID, UUID]) -> None:
    brand.do(SetMatchModel(replace(DEFAULT, auto_merge=0.999)))
    of_member = brand.resolve(member(1)).customer_id

    assert propose(brand, *two) == Proposed(opened=0, merged=1)
    assert propose(brand, of_member, two[0]) == Proposed(opened=1, merged=0)

    (merge,) = brand.events(Merge.Made)
    assert (merge.evidence, {merge.survivor, merge.loser}) == (Evidence.SYSTEM, set(two))
    assert state(brand, *two) is CandidateState.ACCEPTED


def test_a_pair_below_the_threshold_is_asked_about(brand: Brand, two: tuple[UUID, UUID]) -> None:
    brand.do(SetMatchModel(replace(DEFAULT, auto_merge=0.999)))
    likely = finding({Feature.NAME: "EXACT", Feature.GENDER: "EXACT", Feature.DEVICE: "SHARED"})

    assert propose(brand, *two, likely) == Proposed(opened=1, merged=0)


def test_a_model_has_a_version_for_each_change(brand: Brand) -> None:
    first = brand.do(SetMatchModel(replace(DEFAULT, high=0.9)))
    again = brand.do(SetMatchModel(replace(DEFAULT, high=0.9)))
    second = brand.do(SetMatchModel(replace(DEFAULT, high=0.97)))

    assert [it.version for it in (first, again, second)] == [1, 1, 2]
    assert len(brand.events(MatchRules.ModelSet)) == 2
    assert brand.events(MatchRules.ModelSet)[1].model == second


def test_a_threshold_for_merging_unasked_that_is_too_low_is_refused(brand: Brand) -> None:
    refused(brand, BadMatchModel, lambda: brand.do(SetMatchModel(replace(DEFAULT, auto_merge=0.998))))
