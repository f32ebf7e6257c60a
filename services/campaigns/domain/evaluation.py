"""What an experiment shows: health of the split, the winner at a fixed horizon, and the uplift."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.campaigns.domain.conversion import Tally
from services.campaigns.domain.design import HOLDOUT, REMAINDER, Design
from services.campaigns.domain.statistics import (
    Difference,
    Share,
    difference,
    goodness_of_fit,
    holm,
    homogeneity,
    smallest_expected,
)

ALPHA = 0.05
TREATED = "treated"
"""All variants together that got a message."""

LOW_POWER_UNITS = 100
LOW_POWER_CONVERSIONS = 5


class Health(StrEnum):
    """Whether the assigned counts fit the ranges (sample ratio mismatch)."""

    OK = "OK"
    WARNING = "WARNING"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """χ² of the assigned counts against the widths of the ranges."""

    statistic: float
    degrees: int
    p: float
    health: Health


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second arm against the first; `p_adjusted` after Holm among its siblings."""

    first: str
    second: str
    difference: Difference
    p_adjusted: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Who won. `leader` has the highest rate; it is the winner only if it beats every other arm.

    `omnibus` is χ² and p of equal rates in all arms, from three arms on.
    """

    leader: str | None
    winner: str | None
    comparisons: tuple[Comparison, ...]
    omnibus: tuple[float, float] | None = None

    @property
    def is_inconclusive(self) -> bool:
        return self.winner is None


@dataclass(frozen=True, slots=True)
class Uplift:
    """The causal effect on assigned units, against the hold-out (intention to treat).

    `relative` is None where nobody in the hold-out converted. Incremental numbers are persons.
    """

    variant: str
    treated: Share
    control: Share
    difference: Difference
    relative: float | None
    incremental: float
    incremental_low: float
    incremental_high: float
    low_power: bool


def sample_ratio(assigned: Mapping[str, int], widths: Mapping[str, int]) -> SampleRatio:
    """Compare counts and widths of the same variants.

    INVALID: p < 0.001 and some share off by at least 0.1 percentage points; a warning to p < 0.01.
    """
    observed = [assigned.get(variant, 0) for variant in widths]
    statistic, p = goodness_of_fit(observed, list(widths.values()))
    n, total = sum(observed), sum(widths.values())
    pairs = zip(observed, widths.values(), strict=True)
    deviation = max((abs(o / n - w / total) for o, w in pairs), default=0.0) if n else 0.0
    health = Health.OK
    if p < 0.001 and deviation >= 0.001:
        health = Health.INVALID
    elif p < 0.01:
        health = Health.WARNING
    return SampleRatio(statistic, len(widths) - 1, p, health)


def decide(arms: Sequence[Tally], health: Health = Health.OK) -> Decision:
    """FIXED_HORIZON: evaluated once, at the deadline. Ties and broken splits have no winner.

    With three arms and more the omnibus χ² must reject first, and the leader must then beat each
    other arm after Holm. Where an expected count is below 5 the omnibus test does not hold and
    Fisher's exact tests with Holm decide alone.
    """
    ranked = sorted(arms, key=lambda it: _share(it).rate, reverse=True)
    if len(ranked) < 2 or not any(it.converted for it in ranked):
        return Decision(None, None, ())
    leader, others = ranked[0], ranked[1:]
    found = [difference(_share(it), _share(leader)) for it in others]
    adjusted = holm([it.p for it in found])
    comparisons = tuple(
        Comparison(it.variant, leader.variant, d, p) for it, d, p in zip(others, found, adjusted, strict=True)
    )
    omnibus, wins = None, True
    if len(ranked) > 2:
        shares = [_share(it) for it in ranked]
        omnibus = homogeneity(shares)
        wins = omnibus[1] < ALPHA or smallest_expected(shares) < 5
    wins = wins and health is not Health.INVALID
    wins = wins and all(it.p_adjusted < ALPHA and it.difference.value > 0 for it in comparisons)
    return Decision(leader.variant, leader.variant if wins else None, comparisons, omnibus)


def uplift(variant: str, treated: Share, control: Share) -> Uplift | None:
    """The effect on `treated` against `control`; None without control: no causal estimate."""
    if not control.n or not treated.n:
        return None
    found = difference(control, treated)
    return Uplift(
        variant=variant,
        treated=treated,
        control=control,
        difference=found,
        relative=found.value / control.rate if control.x else None,
        incremental=treated.n * found.value,
        incremental_low=treated.n * found.low,
        incremental_high=treated.n * found.high,
        low_power=control.n < LOW_POWER_UNITS or control.x < LOW_POWER_CONVERSIONS,
    )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that an experiment shows at one moment."""

    sample_ratio: SampleRatio
    crossover_share: float
    decision: Decision
    uplifts: tuple[Uplift, ...]


def evaluate(design: Design, tallies: Mapping[str, Tally], rolled_out: str | None) -> Evaluation:
    """Evaluate `tallies` by variant; the remainder counts as treated once an arm was rolled out."""
    everybody = {variant: it.assigned + it.crossed_over for variant, it in tallies.items()}
    ratio = sample_ratio(everybody, {variant: it.size for variant, it in design.ranges.items()})
    crossed = sum(it.crossed_over for it in tallies.values())
    arms = [_tally(tallies, arm.key) for arm in design.arms]
    treated = [*arms, *([_tally(tallies, REMAINDER)] if rolled_out else [])]
    return Evaluation(
        ratio,
        crossed / max(1, sum(everybody.values())),
        decide(arms, ratio.health),
        tuple(_uplifts(treated, _tally(tallies, HOLDOUT))),
    )


def _uplifts(treated: Sequence[Tally], holdout: Tally) -> Iterator[Uplift]:
    everyone = Tally(TREATED, sum(it.assigned for it in treated), sum(it.converted for it in treated))
    for it in (*treated, everyone):
        if found := uplift(it.variant, _share(it), _share(holdout)):
            yield found


def _tally(tallies: Mapping[str, Tally], variant: str) -> Tally:
    return tallies.get(variant) or Tally(variant, 0, 0)


def _share(tally: Tally) -> Share:
    return Share(tally.converted, tally.assigned)
