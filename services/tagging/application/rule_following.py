"""Whenever who is meant by a rule changes, customers are tagged (spec TG-5).

What a rule says of a customer is a claim among the customer's tags, which also counts while a member of staff says otherwise; the set
of all those who are said to be so is kept with it. A rule is followed by comparing it with the segments of its conditions, so that it
may be done at any time, and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Audiences
from services.tagging.application.rule_review import calendar_of
from services.tagging.application.standing import (
    Case,
    Tally,
    cases,
    conclude,
    evaluate_later,
    follow_later,
    taxonomy_of,
)
from services.tagging.domain.claims import Assignment, Cause
from services.tagging.domain.evaluations import RuleEvaluation
from services.tagging.domain.tag_definitions import TagDefinition
from services.tagging.domain.tag_rules import TagRule, TagRules, tag_rules_id

_PAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class FollowRule:
    """Bring the tags of a rule in line with whom it means now, from the customer behind ordinal `after` on.

    With a `tally` on behalf of everybody, to be told what that came to.
    """

    tag: str
    cause: Cause
    after: int = -1
    tally: Tally | None = None


def follow_rule(command: FollowRule, work: UnitOfWork, audiences: Audiences) -> None:
    rules = work.find(TagRules, tag_rules_id(work.context.tenant))
    rule = rules.active.get(command.tag) if rules else None
    taxonomy = taxonomy_of(work)
    if rule is None or taxonomy is None or (command.tally is None and not rule.schedule.realtime):
        return
    audiences.lock(work)
    meant, told = _meant(rule, work, audiences)
    wrong = BitMap()
    for value in meant.keys() | told.keys():
        wrong |= meant.get(value, BitMap()) ^ told.get(value, BitMap())
    rest = wrong[wrong.rank(command.after) if command.after >= 0 else 0 :]
    page = BitMap(rest[:_PAGE])
    following = _Following(rule, taxonomy.definition(rule.tag), command.cause, work)
    found = cases(
        work, audiences, {node: ordinal for ordinal, node, erased in audiences.by_ordinal(work, page) if not erased}
    )
    for it in found.values():
        following.follow(it, [value for value, theirs in meant.items() if it.ordinal in theirs])
    audiences.retag(work, conclude(work, found.values()), BitMap())
    _go_on(rule, command, page[-1] if len(rest) > len(page) else None, following, work)
    if following.due is not None:
        follow_later(work, rule.tag, Cause.TIME, at=following.due)


def _go_on(rule: TagRule, command: FollowRule, after: int | None, page: "_Following", work: UnitOfWork) -> None:
    """Follow a rule behind this ordinal; None: through the last page, and say what all of them came to."""
    tally = command.tally
    if tally is None:
        if after is not None:
            follow_later(work, rule.tag, command.cause, after=after)
        return
    tally = tally._replace(entered=tally.entered + page.entered, exited=tally.exited + page.exited)
    if after is not None:
        evaluate_later(work, rule.tag, command.cause, tally, after)
        return
    told = (rule.tag, rule.version, tally.entered, tally.exited, tally.drift, tally.took_ms(work.now))
    work.add(RuleEvaluation(work.new_id(), work.context.tenant, *told, work.now))


def _meant(rule: TagRule, work: UnitOfWork, audiences: Audiences) -> tuple[dict[str, BitMap], dict[str, BitMap]]:
    """By value, whom a rule means now, and of whom it was said before."""
    if not rule.effect.at(work.now):
        return {}, audiences.told(work, rule.tag)
    kept = audiences.kept(work, [id for id, _, _ in rule.segments()])
    told = audiences.told(work, rule.tag)
    meant = {it.value: kept[it.segment] for it in rule.cases}
    if rule.exit_segment is not None:
        leaving = kept[rule.exit_segment]
        meant = {value: theirs | (told.get(value, BitMap()) - leaving) for value, theirs in meant.items()}
    return meant, told


class _Following:
    """One rule on its way through customers; `due` is when those it may not let go yet are to be looked at again.

    It counts what it said, for each value once.
    """

    def __init__(self, rule: TagRule, definition: TagDefinition, cause: Cause, work: UnitOfWork) -> None:
        self._rule = rule
        self._definition = definition
        self._cause = cause
        self._now = work.now
        self._calendar = calendar_of(work)
        self.entered = 0
        self.exited = 0
        self.due: datetime | None = None

    def follow(self, case: Case, values: Sequence[str]) -> None:
        """Let the customer be said to have these values, and no others."""
        wanted = {self._assignment(case, value).key: self._assignment(case, value) for value in values}
        for key, by_origin in list(case.tags.claims.items()):
            before = by_origin.get(self._rule.origin)
            if before is not None and before.tag == self._rule.tag and key not in wanted and self._may_go(before):
                case.tags.drop(key, self._rule.origin, self._cause, self._now, case.standing)
                self.exited += 1
        for key, it in wanted.items():
            before = case.tags.claims.get(key, {}).get(self._rule.origin)
            if before is None or before.value != it.value:
                case.tags.put(it, case.standing)
                self.entered += 1

    def _may_go(self, before: Assignment) -> bool:
        """Whether a tag was held long enough, by the schedule of the rule; where the rule has ended, every one was."""
        held_until = before.at + timedelta(days=self._rule.min_hold_days)
        held_until = self._rule.schedule.reached(self._calendar, held_until)
        if held_until <= self._now or not self._rule.effect.at(self._now):
            return True
        self.due = min(held_until, self.due or held_until)
        return False

    def _assignment(self, case: Case, value: str) -> Assignment:
        return Assignment(
            tag=self._rule.tag,
            value=value,
            node=case.tags.customer,
            source=self._rule.source,
            cause=self._cause,
            at=self._now,
            slot=self._definition.slot(value),
            mode=self._definition.mode,
        )
