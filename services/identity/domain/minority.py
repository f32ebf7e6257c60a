"""Who is under 14: neither marketed to nor profiled (PIPL art. 28), until the 14th birthday."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Final

from services.identity.domain.attributes import AGE_BAND, BIRTHDATE, UNDER_14, MergePolicy
from services.identity.domain.survivorship import Said, ranked

COMING_OF_AGE: Final = 14
_LAST_TO_SEE_A_DAY: Final = time(12, tzinfo=UTC)
"""When, in UTC, a day has begun everywhere: nobody is taken for 14 before it is true wherever they are."""


def of_age_at(said: Iterable[Said]) -> datetime | None:
    """When the person turns, or turned, 14; None where no source tells the year. The best source that does decides."""
    dated = [it for it in said if it.key == BIRTHDATE and not it.text.startswith("-")]
    best = ranked(MergePolicy.BEST_SOURCE, dated)
    return (
        datetime.combine(birthday(date.fromisoformat(best[0].text), COMING_OF_AGE), _LAST_TO_SEE_A_DAY)
        if best
        else None
    )


def is_minor(said: Iterable[Said], now: datetime) -> bool:
    """Whether what was said of one node makes it a child: the birthdate, and without a year of birth the age band."""
    known = list(said)
    of_age = of_age_at(known)
    if of_age is not None:
        return now < of_age
    bands = ranked(MergePolicy.BEST_SOURCE, [it for it in known if it.key == AGE_BAND])
    return bool(bands) and bands[0].text == UNDER_14


def birthday(born: date, age: int) -> date:
    """The birthday on which somebody turns `age`; that of a leap day is observed on 28 February."""
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return date(born.year + age, 2, 28)
