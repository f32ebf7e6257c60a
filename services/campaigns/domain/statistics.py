"""The statistics of an experiment in plain Python: proportions, counts, intervals, sample sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, erfc, exp, fabs, lgamma, log, sqrt
from statistics import NormalDist

Z_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Share:
    """`x` of `n`."""

    x: int
    n: int

    @property
    def rate(self) -> float:
        return self.x / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """Rate of the second minus rate of the first, its 95 % interval, and the test of no difference.

    `z` is None for Fisher's exact test.
    """

    value: float
    low: float
    high: float
    z: float | None
    p: float


def difference(first: Share, second: Share) -> Difference:
    """Two-sided test of two proportions.

    Pooled z; Fisher's exact test where an expected count is below 5. The interval is the
    unpooled (Wald) one in both cases.
    """
    value = second.rate - first.rate
    half = Z_95 * sqrt(_variance(first) + _variance(second))
    if smallest_expected((first, second)) < 5:
        z, p = None, fisher_exact(first, second)
    else:
        pooled = (first.x + second.x) / (first.n + second.n)
        z = value / sqrt(pooled * (1 - pooled) * (1 / first.n + 1 / second.n))
        p = two_sided(z)
    return Difference(value, value - half, value + half, z, p)


def two_sided(z: float) -> float:
    """P(|Z| ≥ |z|) of the standard normal."""
    return erfc(fabs(z) / sqrt(2))


def smallest_expected(shares: Sequence[Share]) -> float:
    """The smallest expected count in the table of converted and not converted by variant."""
    n = sum(it.n for it in shares)
    x = sum(it.x for it in shares)
    if not n:
        return 0.0
    return min(it.n for it in shares) * min(x, n - x) / n


def homogeneity(shares: Sequence[Share]) -> tuple[float, float]:
    """χ² of equal rates in all of `shares`, k − 1 degrees of freedom: (statistic, p)."""
    n = sum(it.n for it in shares)
    rate = sum(it.x for it in shares) / n if n else 0.0
    if rate in (0.0, 1.0):
        return 0.0, 1.0
    statistic = sum((it.x - it.n * rate) ** 2 / (it.n * rate * (1 - rate)) for it in shares if it.n)
    return statistic, chi_square_tail(statistic, len(shares) - 1)


def goodness_of_fit(observed: Sequence[int], weights: Sequence[int]) -> tuple[float, float]:
    """χ² of `observed` counts against shares proportional to `weights`: (statistic, p)."""
    n, total = sum(observed), sum(weights)
    if not n or len(observed) < 2:
        return 0.0, 1.0
    expected = [n * weight / total for weight in weights]
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    return statistic, chi_square_tail(statistic, len(observed) - 1)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """P(X ≥ statistic) for χ² with `degrees` of freedom: the upper incomplete gamma function."""
    a, x = degrees / 2, statistic / 2
    if x <= 0:
        return 1.0
    scale = exp(a * log(x) - x - lgamma(a))
    if x < a + 1:
        return 1.0 - scale * _lower_series(a, x)
    return scale * _upper_fraction(a, x)


def fisher_exact(first: Share, second: Share) -> float:
    """Two-sided p: all tables with the same margins that are at most as likely as this one."""
    x, n = first.x + second.x, first.n + second.n
    low, high = max(0, x - second.n), min(x, first.n)

    def weight(k: int) -> float:
        return _log_choose(first.n, k) + _log_choose(second.n, x - k) - _log_choose(n, x)

    limit = weight(first.x) + 1e-7
    return min(1.0, sum(exp(w) for k in range(low, high + 1) if (w := weight(k)) <= limit))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for their number (Holm–Bonferroni), in the order given."""
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def sample_size(p1: float, p2: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Units per arm that show a change of the rate from `p1` to `p2` with the given power."""
    normal, mean = NormalDist(), (p1 + p2) / 2
    null = normal.inv_cdf(1 - alpha / 2) * sqrt(2 * mean * (1 - mean))
    real = normal.inv_cdf(power) * sqrt(p1 * (1 - p1) + p2 * (1 - p2))
    return ceil((null + real) ** 2 / (p2 - p1) ** 2)


def _variance(share: Share) -> float:
    return share.rate * (1 - share.rate) / share.n if share.n else 0.0


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _lower_series(a: float, x: float) -> float:
    """γ(a, x) · eˣ / xᵃ, by its power series; converges fast for x < a + 1."""
    term = total = 1 / a
    n = a
    while term > total * 1e-16:
        n += 1
        term *= x / n
        total += term
    return total


def _upper_fraction(a: float, x: float) -> float:
    """Γ(a, x) · eˣ / xᵃ, by Lentz's continued fraction; converges fast for x ≥ a + 1."""
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 1000):
        numerator = -i * (i - a)
        b += 2
        d = 1 / (numerator * d + b or tiny)
        c = b + numerator / c or tiny
        fraction *= c * d
        if fabs(c * d - 1) < 1e-15:
            break
    return fraction
