"""Commands on the rules of tags: define, activate, pause; and whenever who is meant by one changes, tag them.

The conditions of a rule are segments that are kept up to date like all others. What a rule says of a customer is a claim among
the customer's tags, which also counts while a member of staff says otherwise; the set of all those who are said to be so is kept
with it. A rule is followed by comparing the one with the other, so that it may be done at any time, and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.condition_commands import check_definition
from services.tagging.application.ports import Audiences
from services.tagging.application.standing import Case, cases, conclude, follow_later, taxonomy_of
from services.tagging.domain.claims import Assignment, Cause, Origin
from services.tagging.domain.conditions import Condition, Universe
from services.tagging.domain.errors import NameTaken, TagExists, TagNotFound, TagsNotAlike
from services.tagging.domain.fact_tags import FACT_TAGS, FactParameters
from services.tagging.domain.rules import RULE_TAGS
from services.tagging.domain.segments import Definition, Segment, SegmentName
from services.tagging.domain.tag_definitions import TagDefinition, TagKind
from services.tagging.domain.tag_rules import (
    RuleCase,
    RuleStatus,
    TagRule,
    TagRules,
    segment_id,
    tag_rules_id,
    with_consent,
)
from services.tagging.domain.taxonomy import Taxonomy, preset_id

_PAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class DefineRule:
    """A rule for a tag of the kind RULE, or a new version of it: pairs of value and condition."""

    tag: str
    cases: Sequence[tuple[str, Condition]]
    exit: Condition | None = None
    min_hold_days: int = 0


def define_rule(command: DefineRule, work: UnitOfWork, audiences: Audiences) -> TagRule:
    taxonomy = taxonomy_of(work)
    if taxonomy is None:
        raise TagNotFound(field="tag_key")
    if taxonomy.active(command.tag).kind is not TagKind.RULE or command.tag in RULE_TAGS:
        raise TagsNotAlike("the tag is not one of rules", field="tag_key")
    return _define(command, Origin.RULE, taxonomy, work, audiences)


@dataclass(frozen=True, slots=True)
class ActivateRule:
    """Let the last version of a rule be in force."""

    tag: str


def activate_rule(command: ActivateRule, work: UnitOfWork, audiences: Audiences) -> TagRule:
    rules = _rules(work)
    rule = rules.rule(command.tag)
    if rules.activate(command.tag, work.now):
        audiences.lock(work)
        for id, name, condition in rule.segments():
            _keep_segment(id, name, condition, work, audiences)
        follow_later(work, command.tag, Cause.BACKFILL)
    return rules.rule(command.tag)


@dataclass(frozen=True, slots=True)
class PauseRule:
    """Let a rule say nothing new: whoever has the tag keeps it."""

    tag: str


def pause_rule(command: PauseRule, work: UnitOfWork) -> TagRule:
    rules = _rules(work)
    rules.pause(command.tag, work.now)
    return rules.rule(command.tag)


@dataclass(frozen=True, slots=True)
class BackfillRule:
    """Find anew who is meant by an active rule, and tag them."""

    tag: str


def backfill_rule(command: BackfillRule, work: UnitOfWork, audiences: Audiences) -> TagRule:
    rules = _rules(work)
    rule = rules.rule(command.tag)
    if rule.status is RuleStatus.ACTIVE:
        audiences.lock(work)
        audiences.recount(work)
        follow_later(work, command.tag, Cause.BACKFILL)
    return rule


@dataclass(frozen=True, slots=True)
class EnableFactTag:
    """Have one of the preset tags that follow from facts, with its parameters."""

    key: str
    parameters: FactParameters


def enable_fact_tag(command: EnableFactTag, work: UnitOfWork, audiences: Audiences) -> TagRule:
    fact = FACT_TAGS.get(command.key)
    if fact is None:
        raise TagNotFound(field="tag_key")
    found = fact.cases(command.parameters)
    taxonomy = taxonomy_of(work)
    if taxonomy is None:
        taxonomy = Taxonomy.open(work.context.tenant)
        work.add(taxonomy)
    values = tuple(value for value, _ in found if value)
    definition = TagDefinition(
        key=command.key,
        name=fact.name,
        category=preset_id(work.context.tenant, *fact.category),
        mode=fact.mode,
        kind=TagKind.FACT,
        values=values,
        manual_allowed=False,
    )
    if command.key in taxonomy.tags:
        if taxonomy.active(command.key).kind is not TagKind.FACT:
            raise TagExists("the key is that of another tag", field="tag_key")
        taxonomy.update_tag(definition)
    else:
        taxonomy.define_tag(definition)
    _define(DefineRule(command.key, found), Origin.FACT, taxonomy, work, audiences)
    return activate_rule(ActivateRule(command.key), work, audiences)


@dataclass(frozen=True, slots=True)
class FollowRule:
    """Bring the tags of a rule in line with whom it means now, from the customer behind ordinal `after` on."""

    tag: str
    cause: Cause
    after: int = -1


def follow_rule(command: FollowRule, work: UnitOfWork, audiences: Audiences) -> None:
    rules = work.find(TagRules, tag_rules_id(work.context.tenant))
    rule = rules.active.get(command.tag) if rules else None
    taxonomy = taxonomy_of(work)
    if rule is None or taxonomy is None:
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
    if len(rest) > len(page):
        follow_later(work, rule.tag, command.cause, after=page[-1])
    if following.due is not None:
        follow_later(work, rule.tag, Cause.TIME, at=following.due)


def _meant(rule: TagRule, work: UnitOfWork, audiences: Audiences) -> tuple[dict[str, BitMap], dict[str, BitMap]]:
    """By value, whom a rule means now, and of whom it was said before."""
    kept = audiences.kept(work, [id for id, _, _ in rule.segments()])
    told = audiences.told(work, rule.tag)
    meant = {it.value: kept[it.segment] for it in rule.cases}
    if rule.exit_segment is not None:
        leaving = kept[rule.exit_segment]
        meant = {value: theirs | (told.get(value, BitMap()) - leaving) for value, theirs in meant.items()}
    return meant, told


class _Following:
    """One rule on its way through customers; `due` is when those it may not let go yet are to be looked at again."""

    def __init__(self, rule: TagRule, definition: TagDefinition, cause: Cause, work: UnitOfWork) -> None:
        self._rule = rule
        self._definition = definition
        self._cause = cause
        self._now = work.now
        self.due: datetime | None = None

    def follow(self, case: Case, values: Sequence[str]) -> None:
        """Let the customer be said to have these values, and no others."""
        wanted = {self._assignment(case, value).key: self._assignment(case, value) for value in values}
        for key, by_origin in list(case.tags.claims.items()):
            before = by_origin.get(self._rule.origin)
            if before is not None and before.tag == self._rule.tag and key not in wanted and self._may_go(before):
                case.tags.drop(key, self._rule.origin, self._cause, self._now, case.standing)
        for key, it in wanted.items():
            before = case.tags.claims.get(key, {}).get(self._rule.origin)
            if before is None or before.value != it.value:
                case.tags.put(it, case.standing)

    def _may_go(self, before: Assignment) -> bool:
        held_until = before.at + timedelta(days=self._rule.min_hold_days)
        if held_until <= self._now:
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


def _define(command: DefineRule, origin: str, taxonomy: Taxonomy, work: UnitOfWork, audiences: Audiences) -> TagRule:
    rules = _rules(work)
    definition = taxonomy.active(command.tag)
    tenant = work.context.tenant
    found = tuple(
        RuleCase(definition.value(value), enter, segment_id(tenant, command.tag, value))
        for value, enter in command.cases
    )
    exit_segment = segment_id(tenant, command.tag) if command.exit is not None else None
    rule = TagRule(command.tag, origin, found, command.exit, exit_segment, command.min_hold_days)
    if taxonomy.bars(command.tag):
        rule = with_consent(rule)
    for _, _, condition in rule.segments():
        check_definition(Definition(condition=condition), work, audiences)
    work.add(rules)
    return rules.define(rule, work.now)


def _keep_segment(id: UUID, name: str, condition: Condition, work: UnitOfWork, audiences: Audiences) -> None:
    tenant, definition = work.context.tenant, Definition(condition=condition)
    segment = work.find(Segment, id)
    if segment is None:
        if work.find(SegmentName, SegmentName.id_of(tenant, name)) is not None:
            raise NameTaken(field="tag_key")
        segment = Segment(id, tenant, name, definition, Universe.ALL, work.now)
        work.add(segment)
        work.add(SegmentName(SegmentName.id_of(tenant, name), tenant, id))
        audiences.keep_segment(work, id, segment)
    elif segment.update(definition, work.now):
        audiences.keep_segment(work, id, segment)


def _rules(work: UnitOfWork) -> TagRules:
    id = tag_rules_id(work.context.tenant)
    return work.find(TagRules, id) or TagRules(id, work.context.tenant)
