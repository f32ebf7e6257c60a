"""Pairs of customers that a steward should look at, as findings come in and customers change."""

from chassis.commands import UnitOfWork
from services.identity.application.owners import canonical
from services.identity.application.owners import rules_of as identity_rules
from services.identity.domain.customer import Customer
from services.identity.domain.match_candidate import (
    ExpiryReason,
    Finding,
    MatchCandidate,
    candidate_id,
    may_be_one,
)
from services.identity.domain.match_model import DEFAULT, MatchModel
from services.identity.domain.match_rules import MatchRules, match_rules_id


def propose(work: UnitOfWork, one: Customer, other: Customer, finding: Finding) -> MatchCandidate | None:
    """Open the candidate of the two, or tell it what is new; None where nobody needs to be asked."""
    if one is other or not may_be_one(one, other, identity_rules(work).namespaces):
        return None
    tenant = work.context.tenant
    candidate = work.find(MatchCandidate, candidate_id(tenant, *sorted((one.id, other.id))))
    if candidate is None:
        candidate = MatchCandidate.of_pair(tenant, one.id, other.id, finding, work.now)
        work.add(candidate)
        return candidate
    return candidate if candidate.find_again(finding, work.now) else None


def settle(work: UnitOfWork, candidate: MatchCandidate) -> None:
    """Expire an open candidate that was overtaken; what was found of a customer who became part of another is found of that one."""
    if not candidate.is_open:
        return
    one, other = canonical(work, candidate.a), canonical(work, candidate.b)
    if one is None or other is None:
        raise ValueError("the customers of a candidate exist")
    if one is other:
        candidate.expire(ExpiryReason.ONE_CUSTOMER, work.now)
    elif {one.id, other.id} != {candidate.a, candidate.b}:
        candidate.expire(ExpiryReason.MERGED, work.now)
        propose(work, one, other, candidate.finding)
    elif not may_be_one(one, other, identity_rules(work).namespaces):
        candidate.expire(ExpiryReason.BARRED, work.now)


def model_of(work: UnitOfWork) -> MatchModel:
    """By which the customers of the tenant are compared."""
    rules = work.find(MatchRules, match_rules_id(work.context.tenant))
    return rules.model if rules is not None else DEFAULT


def rules_of(work: UnitOfWork) -> MatchRules:
    """The same as an aggregate, made where there is none."""
    rules = work.find(MatchRules, match_rules_id(work.context.tenant))
    if rules is None:
        rules = MatchRules.of_tenant(work.context.tenant)
        work.add(rules)
    return rules
