"""What is done with pairs of customers who may be one person: found, decided, overtaken; and by what model they are compared."""

from dataclasses import dataclass, field
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.identity.application.candidates import model_of, propose, rules_of, settle
from services.identity.application.merge_commands import MergeCustomers, Merged, merge_customers
from services.identity.application.owners import canonical, fetch_owners, owner_of
from services.identity.application.vault import Vault
from services.identity.domain.customer import Customer
from services.identity.domain.errors import CandidateNotFound, CandidateNotOpen
from services.identity.domain.match_candidate import (
    CANDIDATE,
    NOTE,
    CandidateState,
    ExpiryReason,
    Finding,
    MatchCandidate,
    is_member,
    senior_first,
)
from services.identity.domain.match_model import MatchModel
from services.identity.domain.match_run import MatchRun, Tally
from services.identity.domain.merging import Evidence


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two customers, by any of their nodes, and why they may be one person."""

    one: UUID
    other: UUID
    finding: Finding


@dataclass(frozen=True, slots=True)
class ProposeCandidates:
    """These pairs may be one person each."""

    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class Proposed:
    """How many pairs wait for a steward because of this, and how many were merged unasked."""

    opened: int
    merged: int


@dataclass(frozen=True, slots=True)
class SettleCandidates:
    """Something happened to the customers of these candidates: see whether the question still stands."""

    candidates: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class WithdrawCandidates:
    """What is known of these pairs by now speaks against their being one person."""

    candidates: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class DecideMatchCandidate:
    """The two are one person, or (with `accept` false) they are not, as far as anybody can tell from this."""

    candidate: UUID
    accept: bool
    note: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Decided:
    """The candidate, and if it was accepted, the one customer and the merge."""

    candidate: MatchCandidate
    customer: Customer | None = None
    merge_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class SetMatchModel:
    """Compare by this model from now on; its version is given by identity."""

    model: MatchModel


@dataclass(frozen=True, slots=True)
class RunMatching:
    """Compare these customers, by any of their nodes, with all who have something in common with them; nobody means everybody."""

    customers: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishMatchRun:
    """The run is done."""

    run: UUID
    tally: Tally


def propose_candidates(command: ProposeCandidates, work: UnitOfWork) -> Proposed:
    """Pairs that are one customer by now, or may not be asked about, are passed over."""
    fetch_owners(work, [id for it in command.proposals for id in (it.one, it.other)])
    auto_merge = model_of(work).auto_merge
    opened = merged = 0
    for it in command.proposals:
        one, other = canonical(work, it.one), canonical(work, it.other)
        candidate = propose(work, one, other, it.finding) if one is not None and other is not None else None
        if candidate is None or one is None or other is None:
            continue
        if _needs_nobody(one, other, candidate.finding, auto_merge):
            candidate.decide(CandidateState.ACCEPTED, work.now, _merge((one, other), Evidence.SYSTEM, work).merge_id)
            merged += 1
        else:
            opened += 1
    return Proposed(opened, merged)


def settle_candidates(command: SettleCandidates, work: UnitOfWork) -> None:
    """Expires those that were overtaken."""
    found = work.find_all(MatchCandidate, command.candidates)
    fetch_owners(work, [id for it in found.values() for id in (it.a, it.b)])
    for it in found.values():
        settle(work, it)


def withdraw_candidates(command: WithdrawCandidates, work: UnitOfWork) -> None:
    """Expires those that only their traits had spoken for."""
    for it in work.find_all(MatchCandidate, command.candidates).values():
        it.expire(ExpiryReason.UNLIKE, work.now)


def decide_match_candidate(command: DecideMatchCandidate, work: UnitOfWork, vault: Vault) -> Decided:
    """Accepting merges the two, the senior one goes on for both; rejecting only ends the question.

    A rejection does not keep the two apart for ever: a steward who knows that they are two says so by SetNeverMerge. Raises
    CandidateNotFound, CandidateNotOpen, and what merging raises.
    """
    candidate = work.find(MatchCandidate, command.candidate)
    if candidate is None:
        raise CandidateNotFound(field="candidate_id")
    if not candidate.is_open:
        raise CandidateNotOpen(field="candidate_id", state=candidate.state)
    note = vault.seal(work, candidate.a, NOTE, command.note) if command.note else b""
    if not command.accept:
        candidate.decide(CandidateState.REJECTED, work.now, note=note)
        return Decided(candidate)
    two = owner_of(work, candidate.a, "candidate_id"), owner_of(work, candidate.b, "candidate_id")
    merged = _merge(two, Evidence.STEWARD, work)
    candidate.decide(CandidateState.ACCEPTED, work.now, merged.merge_id, note)
    return Decided(candidate, merged.customer, merged.merge_id)


def run_matching(command: RunMatching, work: UnitOfWork) -> MatchRun:
    """The run, which is carried out in the background. Raises CustomerNotFound."""
    fetch_owners(work, command.customers)
    customers = {owner_of(work, it, "customers.customer_ids").id for it in command.customers}
    run = MatchRun(work.new_id(), work.context.tenant, tuple(sorted(customers)), work.now)
    work.add(run)
    return run


def finish_match_run(command: FinishMatchRun, work: UnitOfWork) -> None:
    """Tells what came of it; once."""
    work.get(MatchRun, command.run).finish(command.tally, work.now)


def set_match_model(command: SetMatchModel, work: UnitOfWork) -> MatchModel:
    """The model with its version. Raises BadMatchModel."""
    command.model.require_sound()
    rules = rules_of(work)
    rules.set_model(command.model, work.now)
    return rules.model


def _needs_nobody(one: Customer, other: Customer, finding: Finding, auto_merge: float | None) -> bool:
    """Whether the pair is merged unasked: never a member, on whom points and money hang."""
    if auto_merge is None or finding.probability is None or is_member(one) or is_member(other):
        return False
    return finding.probability >= auto_merge


def _merge(two: tuple[Customer, Customer], evidence: Evidence, work: UnitOfWork) -> Merged:
    survivor, loser = senior_first(*two)
    return merge_customers(MergeCustomers(survivor.id, loser.id, CANDIDATE, evidence), work)


def matching_handlers(vault: Vault) -> Handlers:
    return [
        handler(ProposeCandidates, propose_candidates),
        handler(SettleCandidates, settle_candidates, loads=lambda command: command.candidates),
        handler(WithdrawCandidates, withdraw_candidates, loads=lambda command: command.candidates),
        handler(
            DecideMatchCandidate,
            lambda command, work: decide_match_candidate(command, work, vault),
            loads=lambda command: (command.candidate,),
        ),
        handler(SetMatchModel, set_match_model),
        handler(RunMatching, run_matching, loads=lambda command: command.customers),
        handler(FinishMatchRun, finish_match_run, loads=lambda command: (command.run,)),
    ]
