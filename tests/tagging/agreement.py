"""Whether the evaluators of the condition language say the same: one customer at a time, by the letter, and the clock (TG-4)."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from services.tagging.domain.conditions import Condition
from services.tagging.domain.conditions.change import next_change
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.needs import needs
from services.tagging.domain.dealings import NO_DEALINGS
from services.tagging.domain.history import History, Reads
from tests.tagging.naive_conditions import Naive
from tests.tagging.random_conditions import Clock, Evaluator, Person, difference


def product(what: Condition, who: Person) -> Callable[[datetime], bool]:
    customer = Customer.of(who.history, who.calendar, who.held.__contains__)
    return lambda at: customer.holds(what, at)


def letter(what: Condition, who: Person) -> Callable[[datetime], bool]:
    naive = Naive(who.history, ZoneInfo(who.zone), who.held.__contains__)
    return lambda at: naive.holds(what, at)


def clock(what: Condition, who: Person, at: datetime) -> datetime | None:
    return next_change(what, Customer.of(who.history, who.calendar, who.held.__contains__), at)


def lean(what: Condition, who: Person) -> Callable[[datetime], bool]:
    """The product, for a history that has only what the condition says it needs."""
    return product(what, who._replace(history=only(needs(what.leaves()), who.history)))


def lean_clock(what: Condition, who: Person, at: datetime) -> datetime | None:
    return clock(what, who._replace(history=only(needs(what.leaves()), who.history)), at)


def only(reads: Reads, it: History) -> History:
    """What is left of a history where nothing else is read, as the statements leave it."""
    inside, types = reads.properties_of, reads.behaviours_of
    behaviours = [one for one in it.behaviours if types is None or one.type in types]
    return replace(
        it,
        behaviours=[one if inside is None or one.type in inside else one._replace(properties={}) for one in behaviours],
        purchases=[one if reads.lines else one._replace(lines=(), coupons=0) for one in it.purchases if reads.orders],
        attributes=it.attributes if reads.who else {},
        relations=it.relations if reads.who else {},
        groups=it.groups if reads.who else frozenset(),
        consents=it.consents if reads.who else frozenset(),
        dealings=it.dealings if reads.dealings else NO_DEALINGS,
        referrals=it.referrals if reads.referrals else (),
    )


def disagreements(
    seeds: Iterable[int], one: Evaluator = product, other: Evaluator = letter, clock: Clock = clock
) -> list[str]:
    """What is different of one random pair of a condition and a person for each seed."""
    found = (difference(Random(seed), one, other, clock) for seed in seeds)
    return [str(it) for it in found if it is not None]


# Mistakes that are planted, one in each.


def forgetful(what: Condition, who: Person) -> Callable[[datetime], bool]:
    """The product, for a history that lacks its last behaviour."""
    if not who.history.behaviours:
        return product(what, who)
    last = who.history.behaviours[-1].at
    return product(what, who._replace(history=who.history.up_to(last - timedelta.resolution)))


def hasty(what: Condition, who: Person) -> Callable[[datetime], bool]:
    """The letter, counting facts before they happened."""
    exact = letter(what, who)
    return lambda at: exact(at + timedelta(minutes=1))


def late(what: Condition, who: Person, at: datetime) -> datetime | None:
    """The clock, an hour late."""
    due = clock(what, who, at)
    return due and due + timedelta(hours=1)
