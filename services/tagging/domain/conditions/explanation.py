"""Why a condition holds for a customer or not (spec TG-4): what every leaf counted, which facts made it so, what would change it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from services.tagging.domain.conditions import behaviours, dealt, orders
from services.tagging.domain.conditions.change import leaf_change
from services.tagging.domain.conditions.dimensions import meaning
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.facts import MILLI
from services.tagging.domain.conditions.figures import Worked
from services.tagging.domain.conditions.leaves import (
    Absence,
    AttributeTest,
    Delivered,
    EventTest,
    FlowState,
    InFlow,
    Leaf,
    OrderTest,
    RelatedTo,
    Streak,
    Succession,
)
from services.tagging.domain.conditions.text_writing import leaf_text
from services.tagging.domain.conditions.tree import Condition, Kind
from services.tagging.domain.conditions.values import Comparison, Operator, Plain
from services.tagging.domain.dealings import Passage
from services.tagging.domain.history import Behaviour

MOST_FACTS: Final = 100


class Cited(NamedTuple):
    """A fact that made a leaf what it is: `what` is the type of a behaviour, or "order", "tag", "segment" and the like; `detail` the
    content, the net amount, the value or whatever else tells it from others."""

    at: datetime
    what: str
    detail: str = ""


class Said(NamedTuple):
    """What is told of a customer beside its history: the words about it by an instant, and whether there are `later` ones, so that
    it may have been otherwise then. `value` is what it is in place of what a leaf asks for."""

    cited: tuple[Cited, ...] = ()
    later: bool = False
    value: Plain | None = None


Saying = Callable[[Leaf], Said]
"""What is told of the customer, by a leaf that is about attributes, relations, groups, consents or kept sets."""


def nothing_said(leaf: Leaf) -> Said:
    return Said()


@dataclass(frozen=True, slots=True)
class Explanation:
    """One node of the condition: the operator of `parts`, or the `text` of a leaf.

    `value` is what a leaf compared (None: missing, or it only asks whether), `because` the instants of the facts in it, the latest
    of them if they are many, out of `facts`. `short_by` is how much more (or, negative, less) the value would have to be for the
    leaf to hold. `changes_at` is when time alone may change it. `cited` are the facts themselves, `known_now` is set where an instant
    of the past was asked for and what is known of it is only how things are now.
    """

    kind: Kind
    holds: bool
    parts: "tuple[Explanation, ...]" = ()
    text: str = ""
    value: Plain | None = None
    facts: int = 0
    because: tuple[datetime, ...] = ()
    short_by: float | None = None
    changes_at: datetime | None = None
    cited: tuple[Cited, ...] = ()
    known_now: bool = False

    def decisive(self) -> "list[Explanation]":
        """The leaves that alone make the whole what it is: to change it, some of these have to change."""
        if not self.parts:
            return [self]
        return [leaf for it in self.parts if self.kind is Kind.NOT or it.holds == self.holds for leaf in it.decisive()]


def explain(condition: Condition, customer: Customer, at: datetime, saying: Saying = nothing_said) -> Explanation:
    """The explanation of `condition` for `customer` as of `at`."""
    leaf = condition.leaf
    if leaf is not None:
        return _of_leaf(condition.kind, leaf, customer, at, saying)
    parts = tuple(explain(it, customer, at, saying) for it in condition.parts)
    return Explanation(condition.kind, customer.holds(condition, at), parts)


def _of_leaf(kind: Kind, leaf: Leaf, customer: Customer, at: datetime, saying: Saying) -> Explanation:
    found = _worked(leaf, customer, at)
    cited = tuple(_cited(meaning(leaf), customer, found.because[-MOST_FACTS:]))
    said = Said() if isinstance(meaning(leaf), _OF_FACTS) else saying(meaning(leaf))
    value = _value(found) if said.value is None else said.value
    holds = customer.leaf_holds(leaf, at)
    return Explanation(
        kind,
        holds,
        text=leaf_text(leaf),
        value=value,
        facts=len(found.because),
        because=tuple(found.because[-MOST_FACTS:]),
        short_by=None if holds else _short_by(meaning(leaf), value),
        changes_at=leaf_change(leaf, customer, at),
        cited=cited or said.cited[-MOST_FACTS:],
        known_now=said.later,
    )


_OF_FACTS: Final = (EventTest, OrderTest, Absence, Succession, Streak, InFlow, Delivered)


def _cited(leaf: Leaf, customer: Customer, because: Sequence[datetime]) -> Iterator[Cited]:
    """The facts of these instants; where several are of one instant, each once."""
    facts = customer.facts
    found: dict[datetime, Iterator[Cited]] = {}
    match leaf:
        case OrderTest():
            found = _by_instant(Cited(it.at, "order", f"{it.net / MILLI:g}") for it in facts.ordered(leaf).facts)
        case EventTest(what) | Absence(what) | Streak(what):
            found = _by_instant(map(_behaviour, facts.meant(what).facts))
        case Succession(steps):
            several = {id(it): it for what in steps for it in facts.meant(what).facts}
            found = _by_instant(map(_behaviour, several.values()))
        case Delivered(campaign, status):
            found = _by_instant(Cited(at, f"message {status.lower()}", str(campaign or "")) for at in because)
        case InFlow():
            found = _by_instant(_passages(leaf, facts.history.dealings.passages))
    for at in because:
        if (it := next(found.get(at, iter(())), None)) is not None:
            yield it


def _behaviour(it: Behaviour) -> Cited:
    return Cited(it.at, it.type, it.content)


def _passages(leaf: InFlow, passages: Iterable[Passage]) -> Iterator[Cited]:
    """What of the ways through flows a leaf speaks of: that they were begun, or how they ended."""
    for it in passages:
        if leaf.flow not in (None, it.flow):
            continue
        if leaf.state is FlowState.IN:
            yield Cited(it.entered_at, "flow entered", str(it.flow))
        elif it.ended_at is not None:
            yield Cited(it.ended_at, f"flow {it.reason.lower()}", str(it.flow))


def _by_instant(cited: Iterable[Cited]) -> dict[datetime, Iterator[Cited]]:
    found: dict[datetime, list[Cited]] = {}
    for it in cited:
        found.setdefault(it.at, []).append(it)
    return {at: iter(several) for at, several in found.items()}


def _worked(leaf: Leaf, customer: Customer, at: datetime) -> Worked:
    leaf, facts = meaning(leaf), customer.facts
    match leaf:
        case EventTest():
            return behaviours.figure(facts, leaf, at)
        case OrderTest():
            return orders.figure(facts, leaf, at)
        case Absence():
            alone = behaviours.unfollowed(facts, leaf, at)
            return Worked(len(alone), 1, alone)
        case Succession():
            return Worked(None, 1, behaviours.succession(facts, leaf, at))
        case Streak():
            streak = behaviours.longest_streak(facts, leaf, at)
            return Worked(streak.length, 1, streak.because)
        case Delivered():
            return Worked(None, 1, dealt.delivered(facts, leaf, at))
        case InFlow():
            return Worked(None, 1, sorted(it.at for it in _passages(leaf, dealt.passages(facts, leaf, at))))
        case AttributeTest() | RelatedTo():
            return Worked(customer.value(leaf, at), 1, ())
    return Worked(None, 1, ())


def _value(it: Worked) -> Plain | None:
    match it.value:
        case None | bool() | str():
            return it.value
        case int() | float() | Decimal():
            return float(it.value / it.parts) if it.parts != 1 else float(it.value)
        case list() | tuple() | set() | frozenset():
            return ", ".join(map(str, it.value))
    return str(it.value)


def _short_by(leaf: Leaf, value: Plain | None) -> float | None:
    """By how much a number misses its bound; None where there is no such thing."""
    match leaf:
        case Streak(length=length):
            return length - float(value or 0)
        case EventTest(comparison=comparison) | OrderTest(comparison=comparison) | AttributeTest(comparison=comparison):
            return _missing(comparison, value)
    return None


def _missing(comparison: Comparison, value: Plain | None) -> float | None:
    bounds: Sequence[float] = [it.number for it in comparison.values if it.number is not None]
    if not bounds or isinstance(value, str | bool) or value is None:
        return None
    match comparison.operator:
        case Operator.GE | Operator.GT | Operator.LE | Operator.LT | Operator.EQ:
            return bounds[0] - value
        case Operator.BETWEEN:
            return bounds[0] - value if value < bounds[0] else bounds[-1] - value
    return None
