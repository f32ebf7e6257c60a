"""Parts of groups of customers, and whether two of them differ by more than chance (spec TG-17)."""

from dataclasses import dataclass
from math import erfc, sqrt
from typing import NamedTuple


class Part(NamedTuple):
    """`hits` of `n` customers."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The part; None of nobody."""
        return self.hits / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Difference:
    """How a part differs from another one: relatively (None: from nothing), and the statistic of the test with its two-sided p."""

    relative: float | None
    z: float
    p_value: float


def difference(now: Part, before: Part) -> Difference | None:
    """Two-proportion z-test with the pooled variance; None where one of the two groups is empty."""
    if not now.n or not before.n:
        return None
    pooled = (now.hits + before.hits) / (now.n + before.n)
    return _tested(now.hits / now.n, before.hits / before.n, pooled, 1 / now.n + 1 / before.n)


def difference_from(now: Part, target: float) -> Difference | None:
    """One-proportion z-test against a fixed part; None where the group is empty."""
    if not now.n:
        return None
    return _tested(now.hits / now.n, target, target, 1 / now.n)


def _tested(now: float, before: float, expected: float, parts: float) -> Difference:
    spread = sqrt(expected * (1 - expected) * parts)
    z = (now - before) / spread if spread else 0.0
    return Difference((now - before) / before if before else None, z, erfc(abs(z) / sqrt(2)))
