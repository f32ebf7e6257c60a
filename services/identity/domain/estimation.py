"""Learning the figures of a model from a tenant's own customers.

`u` is how often pairs taken at random agree: nearly all of them are two persons. `m` is found by expectation-maximisation
over pairs of blocks (Winkler 1988), each kind of block apart and without the features that its pairs agree in because of the
key, or counted over pairs that stewards accepted. `λ` is the expected number of true pairs in the blocks over the number of all pairs:
those outside of the blocks make it too low, and those with keys of several kinds, which are counted for each, too high.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from services.identity.domain.match_model import Comparison, Feature, Level, Levels, MatchModel, Weights

MOST_ROUNDS: Final = 200
SETTLED_BELOW: Final = 1e-5
PRIOR_PAIRS: Final = 20.0
"""How many pairs the present figures of a model count for against what is observed: a level never seen keeps some weight."""

_LEAST: Final = 1e-6

Shares = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Compared pairs that have a key in common, and the features which agree because of that key."""

    levels: Levels
    blind: frozenset[Feature] = frozenset()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was learnt, and of how many pairs; `expected` counts those of the samples that probably are one person."""

    model: MatchModel
    pairs: int
    random_pairs: int
    expected: float


def estimate(model: MatchModel, samples: Sequence[Sample], at_random: Levels, all_pairs: float) -> Estimate:
    """`model` with m and λ by expectation-maximisation over `samples`, and u from the pairs `at_random`.

    `all_pairs` is the number of pairs of the customers concerned. A feature that every sample is blind to keeps its m.
    """
    model = with_u(model, at_random)
    learnt: dict[Feature, list[tuple[float, Shares]]] = {}
    expected = 0.0
    for sample in (it for it in samples if len(it.levels)):
        matched, found = _maximised(model, sample)
        expected += matched
        for feature, shares in found.items():
            learnt.setdefault(feature, []).append((matched, shares))
    prior = min(max(expected / max(all_pairs, 1.0), _LEAST), 0.5) if expected else model.prior
    comparisons = tuple(_with_m(it, _mean(learnt.get(it.feature, ()))) for it in model.comparisons)
    pairs = sum(len(it.levels) for it in samples)
    return Estimate(replace(model, prior=prior, comparisons=comparisons), pairs, len(at_random), expected)


def with_u(model: MatchModel, at_random: Levels) -> MatchModel:
    """`model` with u as seen among pairs taken at random."""
    ones = np.ones(len(at_random))
    comparisons = tuple(
        _with_u(it, _shares(at_random[:, column], ones, [level.u for level in it.levels]))
        for column, it in enumerate(model.comparisons)
    )
    return replace(model, comparisons=comparisons)


def with_accepted(model: MatchModel, accepted: Levels) -> MatchModel:
    """`model` with m as seen among the pairs that stewards found to be one person.

    The pairs they rejected say nothing of u: a steward is only shown two persons who look like one.
    """
    ones = np.ones(len(accepted))
    comparisons = tuple(
        _with_m(it, _shares(accepted[:, column], ones, [level.m for level in it.levels]))
        for column, it in enumerate(model.comparisons)
    )
    return replace(model, comparisons=comparisons)


def _maximised(model: MatchModel, sample: Sample) -> tuple[float, Mapping[Feature, Shares]]:
    """How many pairs of the sample are one person, and the m of the features it can tell about, when both have settled."""
    patterns, counts = np.unique(sample.levels, axis=0, return_counts=True)
    sizes = counts.astype(np.float64)
    seen = [column for column, it in enumerate(model.comparisons) if it.feature not in sample.blind]
    shares = {column: tuple(level.m for level in model.comparisons[column].levels) for column in seen}
    prior = 0.5
    for _ in range(MOST_ROUNDS):
        current = _with_shares(model, shares, prior)
        matched = _posteriors(current, patterns, sample.blind) * sizes
        updated = {
            column: _shares(patterns[:, column], matched, [it.m for it in model.comparisons[column].levels])
            for column in seen
        }
        moved = max((abs(a - b) for it in seen for a, b in zip(shares[it], updated[it], strict=True)), default=0.0)
        shares, prior = updated, min(max(float(matched.sum() / sizes.sum()), _LEAST), 1 - _LEAST)
        if moved < SETTLED_BELOW:
            break
    return float(matched.sum()), {model.comparisons[it].feature: shares[it] for it in seen}


def _posteriors(model: MatchModel, patterns: Levels, blind: Collection[Feature]) -> Weights:
    """How likely a pair of each pattern is one person, by the features that can tell."""
    visible = patterns.copy()
    for column, it in enumerate(model.comparisons):
        if it.feature in blind:
            visible[:, column] = -1
    probabilities: Weights = 1 / (1 + np.exp2(-np.clip(model.weights(visible), -1000, 1000)))
    return probabilities


def _with_shares(model: MatchModel, shares: Mapping[int, Shares], prior: float) -> MatchModel:
    comparisons = tuple(
        _with_m(it, shares[column]) if column in shares else it for column, it in enumerate(model.comparisons)
    )
    return replace(model, prior=prior, comparisons=comparisons)


def _shares(column: npt.NDArray[np.int8], sizes: Weights, present: Sequence[float]) -> Shares:
    """Of the pairs where nothing is missing, the share of each level, mixed with the present ones."""
    known = column >= 0
    counted = np.bincount(column[known], weights=sizes[known], minlength=len(present))
    mixed = counted + PRIOR_PAIRS * np.asarray(present)
    return tuple(np.clip(mixed / mixed.sum(), _LEAST, 1 - _LEAST).tolist())


def _mean(found: Sequence[tuple[float, Shares]]) -> Shares | None:
    """The shares of several samples as one, each by the pairs it rests on."""
    total = sum(size for size, _ in found)
    if total <= 0:
        return None
    return tuple(
        sum(size * one for size, one in zip((s for s, _ in found), level, strict=True)) / total
        for level in zip(*(shares for _, shares in found), strict=True)
    )


def _with_m(comparison: Comparison, shares: Shares | None) -> Comparison:
    if shares is None:
        return comparison
    levels = zip(comparison.levels, shares, strict=True)
    return replace(comparison, levels=tuple(Level(it.name, m, it.u) for it, m in levels))


def _with_u(comparison: Comparison, shares: Shares) -> Comparison:
    levels = zip(comparison.levels, shares, strict=True)
    return replace(comparison, levels=tuple(Level(it.name, it.m, u) for it, u in levels))
