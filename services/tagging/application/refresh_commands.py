"""Commands that find sets anew by the clock: segments with a pace (spec TG-6), rules with a schedule, and each night the sets of the
other rules, which must be right as they are (spec TG-5).

Who may be in a set wrongly, or missing from it, is found out beside the writer; a command looks at these alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.ports import Audiences
from services.tagging.application.rule_review import calendar_of
from services.tagging.application.standing import Tally, evaluate_later
from services.tagging.domain.claims import Cause
from services.tagging.domain.evaluations import Recomputation
from services.tagging.domain.memberships import MembershipCause
from services.tagging.domain.refresh import Refresh
from services.tagging.domain.segments import Segment
from services.tagging.domain.tag_rules import TagRule, TagRules, tag_rules_id

REFRESH = "refresh_sets"
"""Kind of the timers at which sets are found anew; by "segment:<id>" or "rule:<tag>", with the segments it is about."""


def refresh_segment_later(work: UnitOfWork, id: UUID, segment: Segment, audiences: Audiences) -> None:
    """Set the timer of a segment with a pace, and take away that of another."""
    if segment.refresh.realtime or segment.archived:
        work.unschedule(REFRESH, f"segment:{id}")
    else:
        _later(work, f"segment:{id}", segment.refresh, [id], audiences)


def refresh_rule_later(work: UnitOfWork, rule: TagRule, audiences: Audiences) -> None:
    """Set the timer at which everybody is looked at for a rule."""
    _later(work, f"rule:{rule.tag}", rule.rounds, [id for id, _, _ in rule.segments()], audiences)


def refresh_all_later(work: UnitOfWork, audiences: Audiences) -> None:
    """Set all timers anew, because days begin at other instants."""
    rules = work.find(TagRules, tag_rules_id(work.context.tenant))
    of_rules = set(rules.rule_of) if rules else set()
    for rule in rules.active.values() if rules else ():
        refresh_rule_later(work, rule, audiences)
    for id, refresh in audiences.paced(work).items():
        if id not in of_rules:
            _later(work, f"segment:{id}", refresh, [id], audiences)


def _later(work: UnitOfWork, subject: str, refresh: Refresh, segments: list[UUID], audiences: Audiences) -> None:
    """What others are made of comes a moment before them."""
    at = refresh.following(calendar_of(work), work.now)
    depth = max((audiences.depth(work, it) for it in segments), default=0)
    payload = {"segments": [str(it) for it in segments]}
    work.schedule(Timer(REFRESH, subject, at + timedelta(microseconds=depth), payload))


@dataclass(frozen=True, slots=True)
class RefreshSets:
    """Look at those who may be in a set wrongly or missing from it, by segment; `since`: when they began to be looked for."""

    subject: str
    suspects: Mapping[UUID, BitMap]
    since: datetime


def refresh_sets(command: RefreshSets, work: UnitOfWork, audiences: Audiences) -> int:
    """How many customers were in a wrong set of a rule that follows every change."""
    kind, _, key = command.subject.partition(":")
    if kind == "segment":
        _refresh_segment(UUID(key), command, work, audiences)
        return 0
    rules = work.find(TagRules, tag_rules_id(work.context.tenant))
    rule = rules.active.get(key) if rules else None
    if rule is None:
        work.unschedule(REFRESH, command.subject)
        return 0
    return _refresh_rule(rule, command, work, audiences)


@dataclass(frozen=True, slots=True)
class SkipRefresh:
    """Leave sets as they are until the next time, because they cannot be found now."""

    subject: str


def skip_refresh(command: SkipRefresh, work: UnitOfWork, audiences: Audiences) -> None:
    kind, _, key = command.subject.partition(":")
    segment = work.find(Segment, UUID(key)) if kind == "segment" else None
    rules = work.find(TagRules, tag_rules_id(work.context.tenant))
    if segment is not None:
        refresh_segment_later(work, UUID(key), segment, audiences)
    elif kind == "rule" and rules is not None and key in rules.active:
        refresh_rule_later(work, rules.active[key], audiences)
    else:
        work.unschedule(REFRESH, command.subject)


def _refresh_segment(id: UUID, command: RefreshSets, work: UnitOfWork, audiences: Audiences) -> None:
    segment = work.find(Segment, id)
    if segment is None or segment.archived or segment.refresh.realtime:
        work.unschedule(REFRESH, command.subject)
        return
    audiences.lock(work)
    audiences.look_at(work, command.suspects, MembershipCause.TIME)
    took = Tally(command.since).took_ms(work.now)
    size = audiences.size(work, id)
    work.add(Recomputation(work.new_id(), work.context.tenant, id, segment.revision, size, took, work.now))
    refresh_segment_later(work, id, segment, audiences)


def _refresh_rule(rule: TagRule, command: RefreshSets, work: UnitOfWork, audiences: Audiences) -> int:
    audiences.lock(work)
    nightly = rule.schedule.realtime
    changed = audiences.look_at(work, command.suspects, MembershipCause.BACKFILL if nightly else MembershipCause.TIME)
    drift = changed if nightly else 0
    evaluate_later(work, rule.tag, Cause.BACKFILL if drift else Cause.TIME, Tally(command.since, drift=drift))
    refresh_rule_later(work, rule, audiences)
    return drift
