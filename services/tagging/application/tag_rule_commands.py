"""Commands on the rules of tags: define, activate, pause. The conditions of a rule are segments, which are kept like all others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.condition_commands import check_definition
from services.tagging.application.ports import Audiences
from services.tagging.application.refresh_commands import REFRESH, refresh_rule_later
from services.tagging.application.standing import FOLLOW_RULE, Tally, evaluate_later, taxonomy_of
from services.tagging.domain.claims import Cause, Origin
from services.tagging.domain.conditions import Condition, Universe
from services.tagging.domain.errors import NameTaken, TagExists, TagNotFound, TagsNotAlike
from services.tagging.domain.fact_tags import FACT_TAGS, FactParameters
from services.tagging.domain.refresh import REALTIME, Refresh
from services.tagging.domain.rules import RULE_TAGS
from services.tagging.domain.segments import Definition, Segment, SegmentName
from services.tagging.domain.tag_definitions import TagDefinition, TagKind
from services.tagging.domain.tag_rules import (
    ALWAYS,
    Effect,
    RuleCase,
    RuleStatus,
    TagRule,
    TagRules,
    segment_id,
    tag_rules_id,
    with_consent,
)
from services.tagging.domain.taxonomy import Taxonomy, preset_id


@dataclass(frozen=True, slots=True)
class DefineRule:
    """A rule for a tag of the kind RULE, or a new version of it: pairs of value and condition."""

    tag: str
    cases: Sequence[tuple[str, Condition]]
    exit: Condition | None = None
    min_hold_days: int = 0
    schedule: Refresh = REALTIME
    effect: Effect = ALWAYS


def define_rule(command: DefineRule, work: UnitOfWork, audiences: Audiences) -> TagRule:
    taxonomy = taxonomy_of(work)
    if taxonomy is None:
        raise TagNotFound(field="tag_key")
    if taxonomy.active(command.tag).kind is not TagKind.RULE or command.tag in RULE_TAGS:
        raise TagsNotAlike("the tag is not one of rules", field="tag_key")
    return _define(command, Origin.RULE, taxonomy, work, audiences)


@dataclass(frozen=True, slots=True)
class ActivateRule:
    """Let the last version of a rule be in force: at once, or with a schedule from its next time on."""

    tag: str


def activate_rule(command: ActivateRule, work: UnitOfWork, audiences: Audiences) -> TagRule:
    rules = _rules(work)
    rule = rules.rule(command.tag)
    taxonomy = taxonomy_of(work)
    if taxonomy is not None:
        taxonomy.active(command.tag)  # raises TagNotActive of one that was archived meanwhile
    if rules.activate(command.tag, work.now):
        audiences.lock(work)
        for it in rule.segments():
            _keep_segment(it, rule.schedule, work, audiences)
        _set_timers(rule, work, audiences)
        if rule.schedule.realtime:
            evaluate_later(work, command.tag, Cause.BACKFILL, Tally(work.now))
    return rules.rule(command.tag)


def _set_timers(rule: TagRule, work: UnitOfWork, audiences: Audiences) -> None:
    """When everybody is looked at for a rule, and when it begins and ends; a scheduled one begins with its first time."""
    refresh_rule_later(work, rule, audiences)
    start = rule.effect.start if rule.schedule.realtime else None
    for name, at in (("start", start), ("end", rule.effect.end)):
        key = f"{rule.tag}:{name}"
        if at is None or at <= work.now:
            work.unschedule(FOLLOW_RULE, key)
        else:
            payload = {"tag": rule.tag, "cause": str(Cause.TIME), "after": -1, **Tally(at).payload}
            work.schedule(Timer(FOLLOW_RULE, key, at, payload))


@dataclass(frozen=True, slots=True)
class PauseRule:
    """Let a rule say nothing new: whoever has the tag keeps it."""

    tag: str


def pause_rule(command: PauseRule, work: UnitOfWork) -> TagRule:
    rules = _rules(work)
    if rules.pause(command.tag, work.now):
        work.unschedule(REFRESH, f"rule:{command.tag}")
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
        evaluate_later(work, command.tag, Cause.BACKFILL, Tally(work.now))
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
    rule = replace(rule, schedule=command.schedule, effect=command.effect)
    if taxonomy.bars(command.tag):
        rule = with_consent(rule)
    for _, _, condition in rule.segments():
        check_definition(Definition(condition=condition), work, audiences)
    work.add(rules)
    return rules.define(rule, work.now)


def _keep_segment(it: tuple[UUID, str, Condition], schedule: Refresh, work: UnitOfWork, audiences: Audiences) -> None:
    id, name, condition = it
    tenant, definition = work.context.tenant, Definition(condition=condition)
    segment = work.find(Segment, id)
    if segment is None:
        if work.find(SegmentName, SegmentName.id_of(tenant, name)) is not None:
            raise NameTaken(field="tag_key")
        segment = Segment(id, tenant, name, definition, Universe.ALL, work.now, schedule)
        work.add(segment)
        work.add(SegmentName(SegmentName.id_of(tenant, name), tenant, id))
        audiences.keep_segment(work, id, segment)
    elif segment.update(definition, schedule, work.now):
        audiences.keep_segment(work, id, segment)


def _rules(work: UnitOfWork) -> TagRules:
    id = tag_rules_id(work.context.tenant)
    return work.find(TagRules, id) or TagRules(id, work.context.tenant)
