"""Whenever a fact arrives, a customer is merged or un-merged or a moment comes: do the tags still fit the facts?"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.ports import NO_STATE, Audiences, Change, Customer, RuleState
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.rules import RULE_TAGS, RULES, Course, SessionHoursRule, follow
from services.tagging.domain.sessions import Visit, sessions
from services.tagging.domain.tags import Cause, CustomerTags, latest, tags_id
from services.tagging.domain.tenant_settings import DEFAULT_ZONE, TenantSettings, settings_id

REVIEW_CUSTOMER = "review_customer"
"""Kind of the timers that bring a customer back here when time alone changes a tag."""

Changes = dict[str, Change]


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
            _record(work, rule.tag, flips, cause)
            changes[rule.tag] = Change(
                BitMap(ordinal_of[customer] for customer, course in flips.items() if course.assigned),
                BitMap(ordinal_of[customer] for customer, course in flips.items() if not course.assigned),
            )
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


def _record(work: UnitOfWork, tag: str, flips: Mapping[UUID, Course], cause: Callable[[UUID], Cause]) -> None:
    found = tags_of(work, flips)
    for customer, course in flips.items():
        found[customer].follow_rule(tag, course, cause(customer), work.now)


def tags_of(work: UnitOfWork, customers: Iterable[UUID]) -> dict[UUID, CustomerTags]:
    """The tags of each customer, opened where there were none."""
    tenant = work.context.tenant
    ids = {customer: tags_id(tenant, customer) for customer in customers}
    found = work.find_all(CustomerTags, list(ids.values()))
    tags: dict[UUID, CustomerTags] = {}
    for customer, id in ids.items():
        if id not in found:
            work.add(found.setdefault(id, CustomerTags.open(tenant, customer)))
        tags[customer] = found[id]
    return tags


def regroup(
    work: UnitOfWork,
    audiences: Audiences,
    nodes: Mapping[UUID, Sequence[UUID]],
    gone: Collection[UUID],
    ordinal_of: Mapping[UUID, int],
) -> Changes:
    """Let tags go with their nodes after merges and un-merges; who comes into and goes out of which tag.

    `nodes` are those of every customer that has others than before; whoever ceased to be a customer is `gone` and
    loses all tags. The rule tags of the others are for `review`.
    """
    _forget_states(work, audiences, gone)
    tenant = work.context.tenant
    ids = [tags_id(tenant, node) for theirs in nodes.values() for node in theirs]
    tags = {it.customer: it for it in work.find_all(CustomerTags, ids).values()}
    changes: Changes = {}
    for customer in sorted(gone):
        if customer in tags:
            for tag in tags[customer].leave(work.now):
                change(changes, tag).remove.add(ordinal_of[customer])
    for customer, theirs in nodes.items():
        given = latest([tags[node].given for node in theirs if node in tags], customer)
        if given or customer in tags:
            came, went = tags_of(work, (customer,))[customer].regroup(given, work.now)
            for tag in came:
                change(changes, tag).add.add(ordinal_of[customer])
            for tag in went:
                change(changes, tag).remove.add(ordinal_of[customer])
    return changes


def _forget_states(work: UnitOfWork, audiences: Audiences, gone: Collection[UUID]) -> None:
    for tag in RULE_TAGS:
        states = audiences.rule_states(work, tag, gone)
        for customer in states:
            work.unschedule(REVIEW_CUSTOMER, f"{tag}:{customer}")
        audiences.keep_rule_states(work, tag, dict.fromkeys(states, NO_STATE))


def erase(work: UnitOfWork, nodes: Collection[UUID]) -> int:
    """Take every tag from `nodes`, which are erased, and the timers that would bring them back; how many tags that were."""
    tags = work.find_all(CustomerTags, [tags_id(work.context.tenant, node) for node in nodes]).values()
    count = sum(len(it.assignments) for it in tags)
    for it in tags:
        it.erase(work.now)
    for node in nodes:
        for tag in RULE_TAGS:
            work.unschedule(REVIEW_CUSTOMER, f"{tag}:{node}")
    return count


def change(changes: Changes, tag: str) -> Change:
    """The change of one tag out of `changes`, made where there is none."""
    return changes.setdefault(tag, Change(BitMap(), BitMap()))


def both(first: Changes, second: Changes) -> Changes:
    """One after the other, as one."""
    result = {tag: Change(BitMap(it.add), BitMap(it.remove)) for tag, it in first.items()}
    for tag, it in second.items():
        old = change(result, tag)
        result[tag] = Change((old.add - it.remove) | it.add, (old.remove - it.add) | it.remove)
    return result


def reviewed(work: UnitOfWork, audiences: Audiences, customers: Sequence[Customer], cause: Cause) -> None:
    """Review customers with all they have, and change the sets accordingly."""
    ordinal_of = {it.id: it.ordinal for it in customers}
    visits = audiences.visits(work, ordinal_of)
    changes = review(work, audiences, visits, ordinal_of, lambda customer: cause)
    audiences.retag(work, changes, BitMap())
