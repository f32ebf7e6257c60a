"""How much a purchase brings (gamma-gamma: Fader, Hardie 2013), and what a customer is worth with the purchases to come."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, sqrt
from typing import Final, NamedTuple

from services.tagging.domain.value.buying import Buyer, Buying
from services.tagging.domain.value.simplex import minimum

STRONGEST_CORRELATION: Final = 0.3
"""Where frequent buyers spend more than this goes with, amounts are not independent of purchases and nothing is fitted."""

_WEEKS_OF_A_YEAR: Final = 52
_STEP: Final = 4


class Spender(NamedTuple):
    """`repeats` purchase occasions after the first, and the `mean` amount of those."""

    repeats: int
    mean: float


@dataclass(frozen=True, slots=True)
class Spending:
    """The fitted parameters."""

    p: float
    q: float
    v: float

    def expected(self, it: Spender) -> float:
        """The amount to expect of a purchase."""
        return self.p * (self.v + it.repeats * it.mean) / (self.p * it.repeats + self.q - 1)


def fit(spenders: Sequence[Spender]) -> Spending | None:
    """The parameters that make the amounts most likely; None where they depend on frequency, or none are the most likely."""
    again = [it for it in spenders if it.repeats > 0 and it.mean > 0]
    if len(again) < 2 or correlation(again) >= STRONGEST_CORRELATION:
        return None
    scale = sum(it.mean for it in again) / len(again)
    scaled = [Spender(it.repeats, it.mean / scale) for it in again]
    found = minimum(lambda logs: -_log_likelihood(Spending(*map(exp, logs)), scaled), (1.0, 1.0, 1.0))
    if found is None:
        return None
    p, q, v = map(exp, found)
    return Spending(p, q, v * scale) if q > 1 else None


def correlation(spenders: Sequence[Spender]) -> float:
    """Pearson's, of repeats and means; 0 where one of them does not vary."""
    n = len(spenders)
    x = sum(it.repeats for it in spenders) / n
    y = sum(it.mean for it in spenders) / n
    both = sum((it.repeats - x) * (it.mean - y) for it in spenders)
    spread = sqrt(sum((it.repeats - x) ** 2 for it in spenders) * sum((it.mean - y) ** 2 for it in spenders))
    return both / spread if spread else 0.0


class Margin(NamedTuple):
    """What is left of an amount, and by how much a year of waiting lessens it."""

    margin: float
    yearly_discount: float


def lifetime_value(buying: Buying, buyer: Buyer, amount: float, weeks: int, terms: Margin) -> float:
    """What the purchases of the next `weeks` bring, each discounted from the middle of its four weeks."""
    total, before = 0.0, 0.0
    for start in range(0, weeks, _STEP):
        end = min(start + _STEP, weeks)
        until = buying.expected(buyer, end)
        years = (start + end) / 2 / _WEEKS_OF_A_YEAR
        total += (until - before) * amount * terms.margin / (1 + terms.yearly_discount) ** years
        before = until
    return total


def _log_likelihood(it: Spending, spenders: Sequence[Spender]) -> float:
    p, q, v = it.p, it.q, it.v
    same = q * log(v) - lgamma(q)
    return sum(
        same
        + lgamma(p * x + q)
        - lgamma(p * x)
        + (p * x - 1) * log(mean)
        + p * x * log(x)
        - (p * x + q) * log(x * mean + v)
        for x, mean in spenders
    )
