"""What the product says of a customer is what the letter of the specification says, at every instant (TG-4)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import Condition
from services.tagging.domain.conditions.change import next_change
from services.tagging.domain.conditions.evaluation import Customer
from tests.tagging.naive_conditions import Naive
from tests.tagging.random_conditions import Person, difference

PAIRS = 2_000


def product(what: Condition, who: Person) -> Callable[[datetime], bool]:
    customer = Customer.of(who.history, who.calendar, who.held.__contains__)
    return lambda at: customer.holds(what, at)


def letter(what: Condition, who: Person) -> Callable[[datetime], bool]:
    naive = Naive(who.history, ZoneInfo(who.zone), who.held.__contains__)
    return lambda at: naive.holds(what, at)


def clock(what: Condition, who: Person, at: datetime) -> datetime | None:
    return next_change(what, Customer.of(who.history, who.calendar, who.held.__contains__), at)


def agree(seed: int, pairs: int) -> None:
    """Compare so many random pairs of conditions and people; AssertionError with the first that differs."""
    random = Random(seed)
    for _ in range(pairs):
        found = difference(random, product, letter, clock)
        assert found is None, found


def test_the_product_agrees_with_the_letter_at_every_instant_and_its_clock_is_never_late() -> None:
    agree(1, PAIRS)


# Negative controls: mistakes that are planted are found.


def finds(one: object = product, other: object = letter, clock: object = clock, pairs: int = 400) -> bool:
    random = Random(2)
    return any(difference(random, one, other, clock) for _ in range(pairs))  # type: ignore[arg-type]


def test_days_of_another_zone_are_found() -> None:
    def elsewhere(what: Condition, who: Person) -> Callable[[datetime], bool]:
        customer = Customer.of(who.history, Calendar.of("Pacific/Auckland"), who.held.__contains__)
        return lambda at: customer.holds(what, at)

    assert finds(one=elsewhere)


def test_a_history_that_lacks_its_last_behaviour_is_found() -> None:
    def forgetful(what: Condition, who: Person) -> Callable[[datetime], bool]:
        return product(
            what,
            who._replace(history=who.history.up_to(who.history.behaviours[-1].at - timedelta.resolution))
            if who.history.behaviours
            else who,
        )

    assert finds(one=forgetful)


def test_a_reference_that_counts_a_fact_before_it_happened_is_found() -> None:
    def hasty(what: Condition, who: Person) -> Callable[[datetime], bool]:
        naive = Naive(who.history, ZoneInfo(who.zone), who.held.__contains__)
        return lambda at: naive.holds(what, at + timedelta(minutes=1))

    assert finds(other=hasty)


def test_a_clock_that_is_late_or_stands_is_found() -> None:
    def late(what: Condition, who: Person, at: datetime) -> datetime | None:
        due = clock(what, who, at)
        return due and due + timedelta(hours=1)

    assert finds(clock=late)
    assert finds(clock=lambda what, who, at: None)
    assert finds(clock=lambda what, who, at: at)
