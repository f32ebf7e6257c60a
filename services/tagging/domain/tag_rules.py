"""Tags that follow conditions (spec TG-5, TG-3): who comes to have them, who ceases to, and since which version."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.conditions import Condition, HasConsent, HasTag, all_of, any_of, no, that
from services.tagging.domain.errors import RuleCycle, RuleNeverEffective, RuleNotFound
from services.tagging.domain.refresh import NIGHTLY, REALTIME, Refresh

CONSENT: Final = "SENSITIVE_INFERENCE"
MOST_CASES: Final = 50


class RuleStatus(StrEnum):
    """DRAFT: not in force yet, ACTIVE: in force, PAUSED: what it said stays, and nothing new is said."""

    DRAFT = "DRAFT"
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"


@dataclass(frozen=True, slots=True)
class RuleCase:
    """Customers for whom `enter` holds have the tag with `value` ("" for a flag); they are kept as `segment`."""

    value: str
    enter: Condition
    segment: UUID


@dataclass(frozen=True, slots=True)
class Effect:
    """When a rule means anybody: from `start` on and before `end`, each with no limit if it is None."""

    start: datetime | None = None
    end: datetime | None = None

    def at(self, instant: datetime) -> bool:
        return (self.start is None or self.start <= instant) and (self.end is None or instant < self.end)

    def check(self) -> None:
        """Raises RuleNeverEffective."""
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise RuleNeverEffective(field="effective_to")


ALWAYS: Final = Effect()


@dataclass(frozen=True, slots=True)
class TagRule:
    """Who has a tag. It comes when `enter` of a case holds.

    It goes when `exit` holds and `enter` does not, or without `exit` when `enter` does not; not before it was there for
    `min_hold_days`. Both are seen at once, or with a `schedule` only then. While it is not in `effect` it means nobody. `origin` is
    RULE or FACT.
    """

    tag: str
    origin: str
    cases: tuple[RuleCase, ...]
    exit: Condition | None = None
    exit_segment: UUID | None = None
    min_hold_days: int = 0
    version: int = 1
    status: RuleStatus = RuleStatus.DRAFT
    schedule: Refresh = REALTIME
    effect: Effect = ALWAYS

    @property
    def source(self) -> str:
        return f"{self.origin}:{self.tag}"

    @property
    def rounds(self) -> Refresh:
        """When everybody is looked at: as scheduled, or each night whether anybody is in a wrong set."""
        return NIGHTLY if self.schedule.realtime else self.schedule

    def segments(self) -> Iterator[tuple[UUID, str, Condition]]:
        """The segments it is worked out by: id, name and condition."""
        for it in self.cases:
            yield it.segment, f"{self.origin.lower()}:{self.tag}:{it.value or 'enter'}", it.enter
        if self.exit is not None and self.exit_segment is not None:
            yield self.exit_segment, f"{self.origin.lower()}:{self.tag}:exit", self.exit

    def reads(self) -> set[str]:
        """The tags its conditions speak of."""
        conditions = [it.enter for it in self.cases] + ([self.exit] if self.exit else [])
        return {leaf.tag for it in conditions for leaf in it.leaves() if isinstance(leaf, HasTag)}


def with_fewer_leaves(fields: dict[str, Any]) -> None:
    """When there were no leaves on channels, flows and messages: they are absent, and stay so."""


def at_once_and_always(fields: dict[str, Any]) -> None:
    """When every rule followed every change, and had no end."""
    fields["rule"] |= {"schedule": {"pace": "REALTIME", "minute": 0}, "effect": {"start": None, "end": None}}


def with_consent(rule: TagRule) -> TagRule:
    """The rule of a sensitive tag: only for customers who agree to that."""
    agrees = that(HasConsent(CONSENT))
    cases = tuple(replace(it, enter=all_of(agrees, it.enter)) for it in rule.cases)
    return replace(rule, cases=cases, exit=any_of(no(agrees), rule.exit) if rule.exit else None)


def segment_id(tenant: str, tag: str, *value: str) -> UUID:
    """The segment for whom a tag with a value comes; without a value, for whom it goes. The same in all versions."""
    return natural_id(tenant, "tag_rule_segment", tag, *value)


def tag_rules_id(tenant: str) -> UUID:
    return natural_id(tenant, "tag_rules")


class TagRules(Aggregate):
    """The rules of one tenant, by the tags they are about."""

    TOPIC = "tagging.TagRules"

    class Opened(InitialEvent):
        TOPIC = "tagging.TagRulesOpened"
        tenant: str

    class Defined(Event):
        """A rule, or a new version of it, which is a draft."""

        TOPIC = "tagging.TagRuleDefined"
        class_version = 3
        upcast_v1_v2 = staticmethod(with_fewer_leaves)
        upcast_v2_v3 = staticmethod(at_once_and_always)
        rule: TagRule
        at: datetime

    class Activated(Event):
        TOPIC = "tagging.TagRuleActivated"
        tag: str
        version: int
        at: datetime

    class Paused(Event):
        TOPIC = "tagging.TagRulePaused"
        tag: str
        version: int
        at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.rules: dict[str, TagRule] = {}
        self.active: dict[str, TagRule] = {}
        self.courses: dict[str, list[tuple[datetime, TagRule | None]]] = {}

    def in_force(self, tag: str, at: datetime) -> TagRule | None:
        """The rule by which a tag came and went at an instant; None while there was none, or not in effect, and while it was paused."""
        found = next((rule for since, rule in reversed(self.courses.get(tag, [])) if since <= at), None)
        return found if found is not None and found.effect.at(at) else None

    @property
    def rule_of(self) -> dict[UUID, TagRule]:
        """The active rules that segments are for."""
        return {id: it for it in self.active.values() for id, _, _ in it.segments()}

    def rule(self, tag: str) -> TagRule:
        """The last version. Raises RuleNotFound."""
        if tag not in self.rules:
            raise RuleNotFound(field="tag_key")
        return self.rules[tag]

    def define(self, rule: TagRule, at: datetime) -> TagRule:
        """A rule, or the next version of the one there is, as a draft. Raises RuleCycle, RuleNeverEffective."""
        self._require_no_cycle(rule)
        rule.effect.check()
        before = self.rules.get(rule.tag)
        new = replace(rule, version=before.version + 1 if before else 1, status=RuleStatus.DRAFT)
        self._defined(rule=new, at=at)
        return new

    def activate(self, tag: str, at: datetime) -> bool:
        """Let the last version of a rule be in force; whether that changed anything."""
        it = self.rule(tag)
        if it.status is RuleStatus.ACTIVE:
            return False
        self._activated(tag=tag, version=it.version, at=at)
        return True

    def pause(self, tag: str, at: datetime) -> bool:
        """Let a rule say nothing new; whether that changed anything."""
        it = self.rule(tag)
        if tag not in self.active:
            return False
        self._paused(tag=tag, version=it.version, at=at)
        return True

    def _require_no_cycle(self, rule: TagRule) -> None:
        seen: set[str] = set()
        waiting = rule.reads()
        while waiting:
            if rule.tag in waiting:
                raise RuleCycle(field="enter")
            seen |= waiting
            waiting = {tag for it in waiting if it in self.rules for tag in self.rules[it].reads()} - seen

    @event(Defined)
    def _defined(self, rule: TagRule, at: datetime) -> None:
        self.rules[rule.tag] = rule

    @event(Activated)
    def _activated(self, tag: str, version: int, at: datetime) -> None:
        self.rules[tag] = self.active[tag] = replace(self.rules[tag], status=RuleStatus.ACTIVE)
        self.courses.setdefault(tag, []).append((at, self.active[tag]))

    @event(Paused)
    def _paused(self, tag: str, version: int, at: datetime) -> None:
        self.active.pop(tag, None)
        self.courses.setdefault(tag, []).append((at, None))
        self.rules[tag] = replace(self.rules[tag], status=RuleStatus.PAUSED)
