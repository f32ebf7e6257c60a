"""When somebody buys: the days with a purchase, what lies between them, and when the next is to be expected."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from statistics import median


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Occasions in their order (local days with something paid and not given back), and the days between them."""

    occasions: tuple[date, ...]
    intervals: tuple[int, ...]

    @classmethod
    def of(cls, days: Iterable[date]) -> "Rhythm":
        """Of the days, in any order and as often as there were orders."""
        occasions = sorted(set(days))
        return cls(tuple(occasions), tuple(_between(occasions)))

    @property
    def cycle_days(self) -> int | None:
        """The median interval in whole days; None with fewer than two occasions."""
        return round(median(self.intervals)) if self.intervals else None

    @property
    def last(self) -> date | None:
        return self.occasions[-1] if self.occasions else None

    @property
    def next_expected(self) -> date | None:
        """The last occasion and the cycle; None without a cycle."""
        if self.last is None or self.cycle_days is None:
            return None
        return self.last + timedelta(days=self.cycle_days)


def _between(days: Sequence[date]) -> Iterable[int]:
    return ((later - earlier).days for earlier, later in pairwise(days))
