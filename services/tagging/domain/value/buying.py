"""Who still buys, and how often (BG/NBD: Fader, Hardie, Lee 2005, "Counting your customers the easy way").

Customers buy at rates that follow a gamma distribution (`r`, `alpha`), and after every purchase cease to with chances
that follow a beta distribution (`a`, `b`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log
from typing import Final, NamedTuple

from services.tagging.domain.value.simplex import minimum

FEWEST_REPEATERS: Final = 500
"""With fewer customers who bought again, nothing is fitted."""

_SMALLEST: Final = 1e-12
_MOST_TERMS: Final = 10_000


class Buyer(NamedTuple):
    """`repeats` purchase occasions after the first, the `last` of them and `now` in weeks from the first."""

    repeats: int
    last: float
    now: float


@dataclass(frozen=True, slots=True)
class Buying:
    """The fitted parameters."""

    r: float
    alpha: float
    a: float
    b: float

    def log_likelihood(self, buyers: Iterable[Buyer]) -> float:
        return _log_likelihood(self, list(Counter(buyers).items()))

    def alive(self, it: Buyer) -> float:
        """The chance that a buyer still buys."""
        return 1 / (1 + self._odds_of_gone(it))

    def expected(self, it: Buyer, weeks: float) -> float:
        """The purchases to expect in the next `weeks`."""
        c = self.a + self.b + it.repeats - 1
        rate = self.r + it.repeats
        until = self.alpha + it.now
        series = _hypergeometric(rate, self.b + it.repeats, c, weeks / (until + weeks))
        kept = 1 - exp(rate * log(until / (until + weeks))) * series
        return c / (self.a - 1) * kept / (1 + self._odds_of_gone(it))

    def _odds_of_gone(self, it: Buyer) -> float:
        if not it.repeats:
            return 0.0
        ratio = (self.alpha + it.now) / (self.alpha + it.last)
        return float(self.a / (self.b + it.repeats - 1) * ratio ** (self.r + it.repeats))


def fit(buyers: Iterable[Buyer]) -> Buying | None:
    """The parameters that make what happened most likely; None for too few buyers, or where none are the most likely."""
    counts = Counter(buyers)
    if sum(n for it, n in counts.items() if it.repeats) < FEWEST_REPEATERS:
        return None
    rows = list(counts.items())
    found = minimum(lambda logs: -_log_likelihood(Buying(*map(exp, logs)), rows), (0.0, 0.0, 0.0, 0.0))
    return None if found is None else Buying(*map(exp, found))


def _log_likelihood(it: Buying, rows: Sequence[tuple[Buyer, int]]) -> float:
    r, alpha, a, b = it.r, it.alpha, it.a, it.b
    same = r * log(alpha) - lgamma(r) + lgamma(a + b) - lgamma(b)
    by_repeats = {x: lgamma(r + x) + lgamma(b + x) - lgamma(a + b + x) for x in {it.repeats for it, _ in rows}}
    total = 0.0
    for (x, last, now), n in rows:
        still = -(r + x) * log(alpha + now)
        if x:
            gone = log(a / (b + x - 1)) - (r + x) * log(alpha + last)
            high = max(still, gone)
            still = high + log(exp(still - high) + exp(gone - high))
        total += n * (same + by_repeats[x] + still)
    return total


def _hypergeometric(a: float, b: float, c: float, z: float) -> float:
    """₂F₁(a, b; c; z) for 0 ≤ z < 1, by its series after Euler's transformation."""
    total = term = 1.0
    for n in range(_MOST_TERMS):
        term *= (c - a + n) * (c - b + n) / ((c + n) * (n + 1)) * z
        total += term
        if abs(term) < _SMALLEST * abs(total):
            break
    return float((1 - z) ** (c - a - b) * total)
