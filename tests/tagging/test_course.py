"""A condition followed through time stands at every instant as the letter of the specification says (TG-4)."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from services.tagging.domain.conditions import Condition, LookedUp
from services.tagging.domain.conditions.course import Span, Stand, course
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.facts import Facts
from tests.tagging.naive_conditions import Naive
from tests.tagging.random_conditions import KEPT, Person, condition, person, turning_points

PAIRS = 300
Courses = Callable[[Condition, Person, Mapping[LookedUp, Sequence[datetime]], Span], Sequence[Stand]]


def is_in(who: Person, turns: Mapping[LookedUp, Sequence[datetime]], at: datetime) -> Callable[[LookedUp], bool]:
    """Whether a customer is in a kept set that it came into or went out of at every one of its turns."""
    return lambda leaf: (leaf in who.held) != (bisect_right(turns[leaf], at) % 2 == 1)


def followed(
    what: Condition, who: Person, turns: Mapping[LookedUp, Sequence[datetime]], span: Span, *, moves: bool = True
) -> Sequence[Stand]:
    facts = Facts(who.history, who.calendar)
    instants = sorted({it for several in turns.values() for it in several}) if moves else []
    return list(course(what, lambda at: Customer(facts, is_in(who, turns, at)), span, instants))


def differ(courses: Courses, pairs: int, seed: int = 3) -> int:
    """How many random pairs of a condition and a person stand otherwise than by the letter at some instant."""
    found = 0
    for number in range(pairs):
        random = Random(seed * 100_000 + number)
        what, who = condition(random), person(random)
        instants = sorted(turning_points(who))
        turns = {leaf: sorted(random.sample(instants, 3)) for leaf in KEPT}
        stands = courses(what, who, turns, Span(instants[0], instants[-1]))
        since = [it.at for it in stands]
        for at in random.sample(instants[:-1], 12):
            letter = Naive(who.history, ZoneInfo(who.zone), is_in(who, turns, at)).holds(what, at)
            if stands[bisect_right(since, at) - 1].holds != letter:
                found += 1
                break
    return found


def test_a_condition_is_followed_through_time_as_the_letter_says() -> None:
    assert differ(followed, PAIRS) == 0


# Negative controls: mistakes that are planted are found.


def test_a_course_that_does_not_see_when_tags_come_and_go_is_found() -> None:
    assert differ(lambda *it: followed(*it, moves=False), 100)


def test_a_course_that_ends_early_or_is_late_is_found() -> None:
    def short(
        what: Condition, who: Person, turns: Mapping[LookedUp, Sequence[datetime]], span: Span
    ) -> Sequence[Stand]:
        return followed(what, who, turns, span)[:2]

    def late(what: Condition, who: Person, turns: Mapping[LookedUp, Sequence[datetime]], span: Span) -> Sequence[Stand]:
        first, *rest = followed(what, who, turns, span)
        return [first, *(it._replace(at=it.at + timedelta(hours=1)) for it in rest)]

    assert differ(short, 100)
    assert differ(late, 100)
