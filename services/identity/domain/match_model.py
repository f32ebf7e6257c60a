"""How much each thing that two customers have in common says for their being one person, or against it.

The model of Fellegi and Sunter (1969), as Splink writes it: `m` is how often a level is seen among pairs that are one
person, `u` how often among pairs that are two. Its weight is log2(m/u); the weights of what was compared add up to the
prior log2(λ/(1−λ)). What is missing on either side says nothing and weighs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp2, log2
from typing import Final

import numpy as np
import numpy.typing as npt

from services.identity.domain.errors import BadMatchModel

MISSING: Final = -1
LEAST_AUTO_MERGE: Final = 0.999
PRIOR: Final = "PRIOR"

Levels = npt.NDArray[np.int8]
"""One row per pair, one column per feature in the order of `Feature`: the index of the level, or MISSING."""

Weights = npt.NDArray[np.float64]


class Feature(StrEnum):
    """What is compared of two customers."""

    NAME = "NAME"
    BIRTHDATE = "BIRTHDATE"
    ADDRESS = "ADDRESS"
    DEVICE = "DEVICE"
    GENDER = "GENDER"


class Band(StrEnum):
    """How sure the model is: HIGH and LOW go to a steward, what is below neither is dropped."""

    HIGH = "HIGH"
    LOW = "LOW"


@dataclass(frozen=True, slots=True)
class Level:
    """How far two values agree, and how often that is so among pairs of one person (`m`) and of two (`u`)."""

    name: str
    m: float
    u: float

    @property
    def weight(self) -> float:
        return log2(self.m / self.u)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The levels of one feature, from full agreement to none."""

    feature: Feature
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the account of a pair: what was seen, what it weighs, and the weight of all up to here.

    The first is the prior. An empty `level` means that a value was missing.
    """

    feature: str
    level: str
    m: float
    u: float
    weight: float
    total: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the model says of a pair; `band` is None for one that is dropped."""

    weight: float
    probability: float
    band: Band | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class MatchModel:
    """The model of a tenant; `version` counts its changes, 0 is the default.

    `prior` is λ: how likely it is that two customers taken at random are one person. Pairs from the probability `high`
    on are HIGH, from `low` on LOW. From `auto_merge` on (None: never) a pair is merged without asking anybody.
    """

    version: int
    prior: float
    comparisons: tuple[Comparison, ...]
    high: float = 0.95
    low: float = 0.80
    auto_merge: float | None = None

    def require_sound(self) -> None:
        """Raises BadMatchModel for what is no model: other levels than the default's, or what is no probability."""
        if [(it.feature, _names(it)) for it in self.comparisons] != _SHAPE:
            raise BadMatchModel("the features and levels are those of the default model", field="comparisons")
        for comparison in self.comparisons:
            for total in (sum(it.m for it in comparison.levels), sum(it.u for it in comparison.levels)):
                if abs(total - 1) > 0.01:
                    raise BadMatchModel("the m, and the u, of a feature add up to 1", field="comparisons")
            if not all(0 < it.m < 1 and 0 < it.u < 1 for it in comparison.levels):
                raise BadMatchModel("m and u lie between 0 and 1", field="comparisons")
        if not 0 < self.prior < 1:
            raise BadMatchModel("the prior lies between 0 and 1", field="prior")
        if not 0 < self.low <= self.high < 1:
            raise BadMatchModel("the thresholds lie between 0 and 1, the low one not above the high one", field="low")
        if self.auto_merge is not None and not max(LEAST_AUTO_MERGE, self.high) <= self.auto_merge < 1:
            raise BadMatchModel(
                f"merging unasked needs at least {LEAST_AUTO_MERGE}, and no less than the high threshold",
                field="auto_merge_threshold",
            )

    def weigh(self, levels: Sequence[int]) -> Weighed:
        """The account of one pair, whose `levels` are a row of `Levels`."""
        total = log2(self.prior / (1 - self.prior))
        steps = [Step(PRIOR, "", self.prior, 1 - self.prior, total, total)]
        for comparison, index in zip(self.comparisons, levels, strict=True):
            if index == MISSING:
                steps.append(Step(comparison.feature, "", 0, 0, 0, total))
                continue
            level = comparison.levels[index]
            total += level.weight
            steps.append(Step(comparison.feature, level.name, level.m, level.u, level.weight, total))
        probability = probability_of(total)
        return Weighed(total, probability, self.band(probability), tuple(steps))

    def weights(self, levels: Levels) -> Weights:
        """The total weight of each pair."""
        total = np.full(len(levels), log2(self.prior / (1 - self.prior)))
        for column, comparison in enumerate(self.comparisons):
            by_level = np.array([*(it.weight for it in comparison.levels), 0.0])  # MISSING is the last one
            total += by_level[levels[:, column]]
        return total

    def band(self, probability: float) -> Band | None:
        if probability >= self.high:
            return Band.HIGH
        return Band.LOW if probability >= self.low else None

    @property
    def least_weight(self) -> float:
        """The weight from which on a pair is a candidate."""
        return log2(self.low / (1 - self.low))


def probability_of(weight: float) -> float:
    """p = 2^M / (1 + 2^M)."""
    return 1 / (1 + exp2(min(-weight, 1000.0)))


def levels_of(agreement: Mapping[Feature, str]) -> tuple[int, ...]:
    """The row for these levels by name; features that are not named are missing."""
    return tuple(
        _names(it).index(agreement[it.feature]) if it.feature in agreement else MISSING for it in DEFAULT.comparisons
    )


def _names(comparison: Comparison) -> list[str]:
    return [it.name for it in comparison.levels]


EXACT: Final = "EXACT"
DIFFERENT: Final = "DIFFERENT"

# The published weights are rounded log2(m/u). Where they are all that is given (addresses and devices), m and u are
# chosen so that each column adds up to 1 and the weights come out as published.
DEFAULT: Final = MatchModel(
    version=0,
    prior=1e-4,
    comparisons=(
        Comparison(
            Feature.NAME,
            (Level(EXACT, 0.90, 0.002), Level("SIMILAR", 0.06, 0.004), Level(DIFFERENT, 0.04, 0.994)),
        ),
        Comparison(
            Feature.BIRTHDATE,
            (Level(EXACT, 0.95, 1 / 21900), Level("SLIP", 0.03, 0.002), Level(DIFFERENT, 0.02, 1 - 0.002 - 1 / 21900)),
        ),
        Comparison(
            Feature.ADDRESS,
            (Level(EXACT, 0.70, 0.0005), Level("DISTRICT", 0.202, 0.0202), Level(DIFFERENT, 0.098, 0.9793)),
        ),
        Comparison(Feature.DEVICE, (Level("SHARED", 0.6, 0.0002), Level(DIFFERENT, 0.4, 0.9998))),
        Comparison(Feature.GENDER, (Level(EXACT, 0.98, 0.5), Level(DIFFERENT, 0.02, 0.5))),
    ),
)
"""The model a tenant begins with."""

_SHAPE: Final = [(it.feature, _names(it)) for it in DEFAULT.comparisons]
