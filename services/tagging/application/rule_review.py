"""Whenever a fact arrives, a customer is merged or un-merged or a moment comes: do the tags still fit the facts?"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.ports import NO_STATE, Audiences, Customer, RuleState
from services.tagging.application.standing import SETTLE_TAGS, Changes, both, cases, conclude
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.rules import RULE_TAGS, RULES, Course, SessionHoursRule, follow
from services.tagging.domain.sessions import Visit, sessions
from services.tagging.domain.tags import Cause, CustomerTags, tags_id
from services.tagging.domain.tenant_settings import DEFAULT_ZONE, TenantSettings, settings_id

REVIEW_CUSTOMER = "review_customer"
"""Kind of the timers that bring a customer back here when time alone changes a tag."""


def calendar_of(work: UnitOfWork) -> Calendar:
    """The calendar of the tenant."""
    settings = work.find(TenantSettings, settings_id(work.context.tenant))
    return Calendar.of(settings.time_zone if settings else DEFAULT_ZONE)


def review(
    work: UnitOfWork,
    audiences: Audiences,
    visits: Mapping[UUID, Sequence[Visit]],
    ordinal_of: Mapping[UUID, int],
    cause: Callable[[UUID], Cause],
) -> Changes:
    """Decide all rule tags anew for the customers with these `visits`; who comes into and goes out of which tag.

    Since when and why a tag is there is decided anew too for those whose `cause` is MERGE.
    """
    changes: Changes = {}
    for rule in RULES:
        flips = _decide(work, audiences, rule, visits, cause)
        if flips:
            found = cases(work, audiences, {customer: ordinal_of[customer] for customer in flips})
            for customer, course in flips.items():
                it = found[customer]
                it.tags.follow_rule(rule.tag, course, cause(customer), it.standing)
            changes = both(changes, conclude(work, found.values()))
    return changes


def _decide(
    work: UnitOfWork,
    audiences: Audiences,
    rule: SessionHoursRule,
    visits: Mapping[UUID, Sequence[Visit]],
    cause: Callable[[UUID], Cause],
) -> dict[UUID, Course]:
    """The courses of those for whom the tag comes or goes, or is to be explained anew; keeps the states of all."""
    calendar = calendar_of(work)
    before = audiences.rule_states(work, rule.tag, visits)
    kept: dict[UUID, RuleState] = {}
    flips: dict[UUID, Course] = {}
    for customer, theirs in visits.items():
        old = before.get(customer, NO_STATE)
        if old is NO_STATE and len(theirs) < rule.enter.sessions:
            continue
        course = follow(rule, sessions(theirs), calendar, work.now)
        new = RuleState(course.assigned, course.first, course.next_change)
        if new.assigned != old.assigned or (new.assigned and cause(customer) is Cause.MERGE):
            flips[customer] = course
        if new == old:
            continue
        kept[customer] = new
        if new.next_change != old.next_change:
            _set_timer(work, customer, rule.tag, new)
    audiences.keep_rule_states(work, rule.tag, kept)
    return flips


def _set_timer(work: UnitOfWork, customer: UUID, tag: str, state: RuleState) -> None:
    key = f"{tag}:{customer}"
    if state.next_change is None:
        work.unschedule(REVIEW_CUSTOMER, key)
    else:
        payload = {"customer": str(customer)}
        work.schedule(Timer(REVIEW_CUSTOMER, key, state.next_change, payload))


def regroup(
    work: UnitOfWork,
    audiences: Audiences,
    customers: Collection[UUID],
    gone: Collection[UUID],
    ordinal_of: Mapping[UUID, int],
) -> Changes:
    """Let tags go with their nodes after merges and un-merges; who comes into and goes out of which set.

    `customers` have other nodes than before; whoever ceased to be a customer is `gone` and loses all tags. The rule tags
    of the others are for `review`.
    """
    _forget_states(work, audiences, gone)
    left = cases(work, audiences, {it: ordinal_of[it] for it in sorted(gone)})
    for it in left.values():
        it.tags.leave(work.now)
        work.unschedule(SETTLE_TAGS, str(it.tags.customer))
        it.due = it.tags.due(it.standing)
    stay = cases(work, audiences, {it: ordinal_of[it] for it in customers})
    for it in stay.values():
        it.tags.settle(Cause.MERGE, it.standing)
    known = [it for it in stay.values() if it.tags.claims or it.sets or it.parts]
    return both(conclude(work, left.values()), conclude(work, known, fired=True))


def _forget_states(work: UnitOfWork, audiences: Audiences, gone: Collection[UUID]) -> None:
    for tag in RULE_TAGS:
        states = audiences.rule_states(work, tag, gone)
        for customer in states:
            work.unschedule(REVIEW_CUSTOMER, f"{tag}:{customer}")
        audiences.keep_rule_states(work, tag, dict.fromkeys(states, NO_STATE))


def erase(work: UnitOfWork, nodes: Collection[UUID]) -> Counter[UUID]:
    """Take every tag from `nodes`, which are erased, and the timers that would bring them back; of each, how many tags."""
    ids = {tags_id(work.context.tenant, node): node for node in nodes}
    count: Counter[UUID] = Counter()
    for id, it in work.find_all(CustomerTags, list(ids)).items():
        count[ids[id]] = len(it.assignments)
        it.erase(work.now)
    for node in nodes:
        work.unschedule(SETTLE_TAGS, str(node))
        for tag in RULE_TAGS:
            work.unschedule(REVIEW_CUSTOMER, f"{tag}:{node}")
    return count


def reviewed(work: UnitOfWork, audiences: Audiences, customers: Sequence[Customer], cause: Cause) -> None:
    """Review customers with all they have, and change the sets accordingly."""
    ordinal_of = {it.id: it.ordinal for it in customers}
    visits = audiences.visits(work, ordinal_of)
    changes = review(work, audiences, visits, ordinal_of, lambda customer: cause)
    audiences.retag(work, changes, BitMap())
