"""Why a customer was in a segment or had a tag at an instant, or not: what was told, and what the definition of then comes to."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.tagging.domain.conditions import Condition, Universe
from services.tagging.domain.conditions.change import next_change
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.explanation import Cited, Explanation, explain
from services.tagging.domain.conditions.text_writing import written
from services.tagging.domain.conditions.tree import Kind
from services.tagging.domain.membership_words import Ground, Membership, Role, Told
from services.tagging.domain.refresh import REALTIME, Refresh
from services.tagging.domain.rules import RULES, SessionHoursRule, Threshold, follow, standing
from services.tagging.domain.segments import Edition
from services.tagging.domain.sessions import sessions
from services.tagging.domain.tag_definitions import lineage
from services.tagging.domain.tag_rules import TagRule
from services.tagging.read_models import memberships, tag_history, visits
from services.tagging.read_models.reasons import Telling


class WhichSegment(NamedTuple):
    """A segment with what it was made of then."""

    id: UUID
    name: str
    universe: Universe
    edition: Edition


class WhichTag(NamedTuple):
    """A tag, with any value or with this one, and the rule that was in force then, if any."""

    key: str
    value: str | None
    rule: TagRule | None


def of_segment(it: Telling, which: WhichSegment) -> Membership:
    """Whether the customer was in a segment, as it was told."""
    member, definition = it.in_segment(which.id), which.edition.definition
    entry = memberships.standing(it.rows, it.tenant, which.id, it.customer.id, it.at)
    told = Told(entry.at, entry.cause) if entry else Told()
    condition = definition.one_condition if definition else None
    if condition is None:
        return Membership("LIST" if definition else "ARCHIVED", which.name, it.at, member, told)
    ground = _ground(it, Role.DEFINITION, which.edition.revision, condition)
    outside = which.universe is Universe.KNOWN and not it.known
    differs = member != (ground.explanation.holds and not outside)
    due = _seen(it, which.edition.refresh, ground.next_change, differs=differs)
    return Membership("SEGMENT", which.name, it.at, member, told, [ground], due, differs=differs, outside=outside)


def of_tag(it: Telling, which: WhichTag) -> Membership:
    """Whether the customer had a tag, as it was told."""
    held = [one for one in it.tags(which.key) if which.value is None or which.value in lineage(one.value)]
    told = Told()
    if held:
        told = Told(held[0].at, held[0].cause, held[0].source)
    elif ended := tag_history.ended(it.rows, it.tenant, it.customer.id, which.key, it.at):
        told = Told(*ended)
    grounds, expected = _grounds(it, which, member=bool(held))
    differs = bool(grounds) and expected != bool(held)
    schedule = which.rule.schedule if which.rule else REALTIME
    due = _seen(it, schedule, _first(one.next_change for one in grounds), differs=differs)
    due = _first([due, *(one.expires_at for one in held)])
    subject = which.key if which.value is None else f"{which.key} = {which.value}"
    return Membership("TAG", subject, it.at, bool(held), told, grounds, due, differs=differs)


def _seen(it: Telling, refresh: Refresh, due: datetime | None, *, differs: bool) -> datetime | None:
    """When a set next changes whose conditions change at `due`, or differ from it already: the next time that it is found anew."""
    if differs and not refresh.realtime:
        return refresh.following(it.calendar, it.at)
    return due and refresh.reached(it.calendar, due)


def _grounds(it: Telling, which: WhichTag, *, member: bool) -> tuple[list[Ground], bool]:
    """The conditions a tag comes and goes by, and whether the customer has it by them."""
    by_sessions = next((rule for rule in RULES if rule.tag == which.key), None)
    if by_sessions is not None:
        return _of_sessions(it, by_sessions, member=member)
    if which.rule is None:
        return [], False
    rule, grounds = which.rule, list[Ground]()
    for case in rule.cases:
        if which.value is None or which.value in lineage(case.value):
            grounds.append(replace(_ground(it, Role.ENTER, rule.version, case.enter), value=case.value))
    expected = any(one.explanation.holds for one in grounds)
    if rule.exit is not None and member:
        grounds.append(_ground(it, Role.EXIT, rule.version, rule.exit))
        expected = expected or not grounds[-1].explanation.holds
    return grounds, expected


def _ground(it: Telling, role: Role, version: int, condition: Condition) -> Ground:
    customer = Customer.of(it.history, it.calendar, it.holds)
    explanation = explain(condition, customer, it.at, it.said)
    return Ground(role, version, written(condition), explanation, "", next_change(condition, customer, it.at))


def _of_sessions(it: Telling, rule: SessionHoursRule, *, member: bool) -> tuple[list[Ground], bool]:
    theirs = sessions(visits.of_customers(it.rows, it.tenant, (it.customer.id,)).get(it.customer.id, ()))
    course = follow(rule, theirs, it.calendar, it.at)
    evidence, starts = standing(rule, theirs, it.calendar, it.at)
    hours = f"hours {rule.from_hour}..{rule.to_hour} in last {rule.window_days} days"
    percent = 100 * evidence.matching / evidence.sessions if evidence.sessions else 0.0
    cited = tuple(Cited(at, "session") for at in starts)

    def bounds(of: Threshold) -> Explanation:
        parts = [_bound(f"sessions at {hours} >= {of.sessions}", evidence.matching, of.sessions, cited)]
        if of.days:
            parts.append(_bound(f"nights of these >= {of.days}", evidence.days, of.days))
        parts.append(_bound(f"percent of all sessions >= {of.percent}", percent, of.percent))
        return Explanation(Kind.ALL, all(one.holds for one in parts), tuple(parts))

    enter, stay = bounds(rule.enter), bounds(rule.stay)
    grounds = [Ground(Role.ENTER, 1, f"sessions at {hours}", enter, next_change=course.next_change)]
    if member:
        leave = Explanation(Kind.NOT, not stay.holds, (stay,))
        grounds.append(Ground(Role.EXIT, 1, f"not sessions at {hours}", leave, next_change=course.next_change))
    return grounds, course.assigned


def _bound(text: str, value: float, least: float, cited: tuple[Cited, ...] = ()) -> Explanation:
    holds = value >= least
    because = tuple(it.at for it in cited)
    short = None if holds else least - value
    return Explanation(Kind.EVENT, holds, (), text, float(value), len(cited), because, short_by=short, cited=cited)


def _first(instants: Iterable[datetime | None]) -> datetime | None:
    return min((it for it in instants if it is not None), default=None)
