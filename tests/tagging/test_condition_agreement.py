"""What the product says of a customer is what the letter of the specification says, at every instant (TG-4)."""

from collections.abc import Callable
from datetime import datetime

import pytest

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import AttributeTest, Condition, EventTest, OrderTest, Reachable, needs
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.history import NOTHING
from tests.tagging.agreement import disagreements, forgetful, hasty, late, lean, lean_clock
from tests.tagging.random_conditions import Person

PAIRS = range(2_000)
SOME = range(400)


def test_the_product_agrees_with_the_letter_at_every_instant_and_its_clock_is_never_late() -> None:
    assert disagreements(PAIRS) == []


def test_what_a_condition_says_that_it_needs_of_a_history_decides() -> None:
    assert disagreements(range(2_000, 2_600), one=lean, clock=lean_clock) == []


# Negative controls: mistakes that are planted are found.


def test_days_of_another_zone_are_found() -> None:
    def elsewhere(what: Condition, who: Person) -> Callable[[datetime], bool]:
        customer = Customer.of(who.history, Calendar.of("Pacific/Auckland"), who.held.__contains__)
        return lambda at: customer.holds(what, at)

    assert disagreements(SOME, one=elsewhere)


def test_a_history_that_lacks_its_last_behaviour_is_found() -> None:
    assert disagreements(SOME, one=forgetful)


@pytest.mark.parametrize("kind", [EventTest, OrderTest, AttributeTest, Reachable])
def test_a_kind_of_leaf_that_does_not_say_what_it_needs_is_found(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    said = needs._of
    monkeypatch.setattr(needs, "_of", lambda leaf: NOTHING if isinstance(leaf, kind) else said(leaf))
    assert disagreements(SOME, one=lean)


def test_a_reference_that_counts_a_fact_before_it_happened_is_found() -> None:
    assert disagreements(SOME, other=hasty)


def test_a_clock_that_is_late_or_stands_is_found() -> None:
    assert disagreements(SOME, clock=late)
    assert disagreements(SOME, clock=lambda what, who, at: None)
    assert disagreements(SOME, clock=lambda what, who, at: at)
