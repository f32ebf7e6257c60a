"""Rule tags (spec TG-5): which rules there are, and the course of a tag through time.

Whether a customer has a tag is a function of the customer's facts and the present instant, never of the order in
which facts arrived: `follow` goes through business time from the first fact on and remembers what hysteresis needs.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.sessions import Visit


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a rule counted: sessions in the window, those in its hours, and on how many nights or days those were."""

    sessions: int
    matching: int
    days: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """Bounds for `Evidence`; `percent` is of matching sessions in all sessions."""

    sessions: int
    days: int
    percent: int

    def reached(self, evidence: Evidence) -> bool:
        return (
            evidence.matching >= self.sessions
            and evidence.days >= self.days
            and evidence.matching * 100 >= self.percent * evidence.sessions
        )


@dataclass(frozen=True, slots=True)
class SessionHoursRule:
    """Enough sessions that start in certain local hours, in a window of calendar days.

    Hours are [from_hour, to_hour); past midnight if to_hour is smaller, and then belong to the night before. The tag
    comes when `enter` is reached and goes when `stay` is not reached any more.
    """

    tag: str
    window_days: int
    from_hour: int
    to_hour: int
    enter: Threshold
    stay: Threshold

    def night(self, local: datetime) -> int | None:
        """The day number for which a session starting at wall-clock `local` counts; None outside of the hours."""
        if self.from_hour < self.to_hour:
            return local.toordinal() if self.from_hour <= local.hour < self.to_hour else None
        if local.hour >= self.from_hour:
            return local.toordinal()
        return local.toordinal() - 1 if local.hour < self.to_hour else None


RULES: tuple[SessionHoursRule, ...] = (
    SessionHoursRule(
        tag="night_owl",
        window_days=30,
        from_hour=23,
        to_hour=5,
        enter=Threshold(sessions=5, days=3, percent=50),
        stay=Threshold(sessions=3, days=0, percent=40),
    ),
    # A new tag rule goes here. One with another kind of condition needs its own class beside SessionHoursRule,
    # with `tag` and a function like `follow`.
)

RULE_TAGS = frozenset(rule.tag for rule in RULES)


@dataclass(frozen=True, slots=True)
class Course:
    """A rule tag of one customer at one instant.

    `since` is when it came to be as it is (None: it never was otherwise), `first` when the tag was first reached,
    `evidence` what counted at `since`, `next_change` when the passing of time alone will change it (None: never).
    """

    assigned: bool = False
    since: datetime | None = None
    first: datetime | None = None
    evidence: Evidence = Evidence(0, 0, 0)
    next_change: datetime | None = None


NEVER = Course()


def follow(rule: SessionHoursRule, sessions: Sequence[Visit], calendar: Calendar, now: datetime) -> Course:
    """The course of `rule` for a customer with these `sessions` (by start) up to `now`."""
    nights = [rule.night(calendar.local(it.start, it.offset)) for it in sessions]
    if len(nights) - nights.count(None) < rule.enter.sessions:
        return NEVER
    assigned, since, first, found = False, None, None, Evidence(0, 0, 0)
    for at, evidence in _counts(rule, sessions, nights, calendar):
        reached = rule.enter.reached(evidence) or (assigned and rule.stay.reached(evidence))
        if reached == assigned:
            continue
        if at > now:
            return Course(assigned, since, first, found, next_change=at)
        assigned, since, first, found = reached, at, first or at, evidence
    return Course(assigned, since, first, found)


def standing(
    rule: SessionHoursRule, sessions: Sequence[Visit], calendar: Calendar, now: datetime
) -> tuple[Evidence, Sequence[datetime]]:
    """What counts at `now`, and when the sessions in its window and hours began."""
    first = calendar.day(now) - rule.window_days + 1
    inside = [it for it in sessions if it.start <= now and calendar.day(it.start) >= first]
    matching = [(it.start, night) for it in inside if (night := rule.night(calendar.local(it.start, it.offset)))]
    return Evidence(len(inside), len(matching), len({night for _, night in matching})), [at for at, _ in matching]


def _counts(
    rule: SessionHoursRule, sessions: Sequence[Visit], nights: Sequence[int | None], calendar: Calendar
) -> Iterator[tuple[datetime, Evidence]]:
    """What is in the window after every instant at which a session enters or leaves it."""
    changes = [(it.start, 1, night) for it, night in zip(sessions, nights, strict=True)]
    changes += [(calendar.midnight(calendar.day(start) + rule.window_days), -1, night) for start, _, night in changes]
    changes.sort(key=itemgetter(0))
    total, matching, by_night = 0, 0, Counter[int]()
    for at, together in groupby(changes, key=itemgetter(0)):
        for _, step, night in together:
            total += step
            if night is not None:
                matching += step
                by_night[night] += step
                if not by_night[night]:
                    del by_night[night]
        yield at, Evidence(total, matching, len(by_night))
