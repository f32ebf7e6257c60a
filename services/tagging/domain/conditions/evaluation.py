"""Whether a condition holds for one customer at one instant (spec TG-4), and what the leaves counted.

Two-valued: what is missing makes every comparison false but NOT_EXISTS, so NOT of it is true. A fact counts from the instant it
happened, whenever it became known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import behaviours, dealt, orders
from services.tagging.domain.conditions.comparing import plain, tester, total_compares
from services.tagging.domain.conditions.dimensions import CREATED_DAYS, KNOWN, KNOWN_DAYS, OF_MEMBERSHIP, meaning
from services.tagging.domain.conditions.facts import Facts
from services.tagging.domain.conditions.leaves import (
    Absence,
    AttributeTest,
    Delivered,
    EventTest,
    HasConsent,
    InFlow,
    InGroup,
    Leaf,
    LookedUp,
    OrderTest,
    Reachable,
    RelatedTo,
    Streak,
    Succession,
)
from services.tagging.domain.conditions.tree import Condition, Kind
from services.tagging.domain.history import History

Lookups = Callable[[LookedUp], bool]
"""Whether the customer is in a set that is kept: has a tag, is in a layer, has scores, is in a segment."""


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer, ready to be asked for many conditions at many instants; what is found for one is kept for the next."""

    facts: Facts
    lookups: Lookups

    @classmethod
    def of(cls, history: History, calendar: Calendar, lookups: Lookups) -> "Customer":
        return cls(Facts(history, calendar), lookups)

    def holds(self, condition: Condition, at: datetime) -> bool:
        match condition.kind:
            case Kind.ALL:
                return all(self.holds(it, at) for it in condition.parts)
            case Kind.ANY:
                return any(self.holds(it, at) for it in condition.parts)
            case Kind.NOT:
                return not self.holds(condition.parts[0], at)
        leaf = condition.leaf
        assert leaf is not None  # noqa: S101 (by its kind)
        return self.leaf_holds(leaf, at)

    def leaf_holds(self, leaf: Leaf, at: datetime) -> bool:
        leaf = meaning(leaf)
        match leaf:
            case EventTest():
                figure = behaviours.figure(self.facts, leaf, at)
                return total_compares(leaf.comparison, figure.value, figure.parts)
            case OrderTest():
                figure = orders.figure(self.facts, leaf, at)
                return total_compares(leaf.comparison, figure.value, figure.parts)
            case Absence():
                return bool(behaviours.unfollowed(self.facts, leaf, at))
            case Succession():
                return bool(behaviours.succession(self.facts, leaf, at))
            case Streak():
                return behaviours.longest_streak(self.facts, leaf, at).length >= leaf.length
            case AttributeTest() | RelatedTo():
                return tester(leaf.comparison)(self.value(leaf, at))
            case InGroup() | HasConsent() | Reachable() | InFlow() | Delivered():
                return self._dealt(leaf, at)
        return self.lookups(leaf)

    def _dealt(self, leaf: InGroup | HasConsent | Reachable | InFlow | Delivered, at: datetime) -> bool:
        history = self.facts.history
        match leaf:
            case InGroup(group):
                return bool(history.groups) if group is None else group in history.groups
            case HasConsent(purpose):
                return purpose in history.consents
            case Reachable(channel):
                reached = history.dealings.reachable
                return bool(reached) if channel is None else channel in reached
            case InFlow():
                return bool(dealt.passages(self.facts, leaf, at))
        return bool(dealt.delivered(self.facts, leaf, at))

    def value(self, leaf: AttributeTest | RelatedTo, at: datetime) -> Any:
        """What is compared; None if it is missing."""
        history, calendar = self.facts.history, self.facts.calendar
        match leaf:
            case RelatedTo(tie):
                return history.relations.get(tie) or None
            case AttributeTest(key):
                if key == KNOWN:
                    return history.known_since is not None and history.known_since <= at
                if key in (KNOWN_DAYS, CREATED_DAYS):
                    since = history.known_since if key == KNOWN_DAYS else history.created_at
                    return None if since is None or since > at else calendar.day(at) - calendar.day(since)
                if key in OF_MEMBERSHIP:
                    return dealt.of_membership(self.facts, key, at)
                return plain(history.attributes.get(key))
        assert_never(leaf)


def holds(condition: Condition, history: History, calendar: Calendar, at: datetime, lookups: Lookups) -> bool:
    """Whether `condition` holds at `at`. For several conditions of one customer, ask one `Customer`."""
    return Customer.of(history, calendar, lookups).holds(condition, at)
