"""Recency, frequency and net amount (spec TG-7): scores by nearest-rank quintiles, eight types, ten segments.

Integers throughout: days, purchase occasions, minor units of the currency; means are compared without dividing.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from services.tagging.domain.rfm_params import DEFAULTS, RfmParams

SMALLEST_POPULATION: Final = 5
"""With fewer customers there are no scores."""


class RfmSegment(StrEnum):
    """The ten named segments of the recency × frequency grid."""

    CHAMPIONS = "CHAMPIONS"
    LOYAL = "LOYAL"
    POTENTIAL_LOYALIST = "POTENTIAL_LOYALIST"
    NEW = "NEW"
    PROMISING = "PROMISING"
    NEED_ATTENTION = "NEED_ATTENTION"
    ABOUT_TO_SLEEP = "ABOUT_TO_SLEEP"
    AT_RISK = "AT_RISK"
    CANT_LOSE = "CANT_LOSE"
    HIBERNATING = "HIBERNATING"


class RfmType(StrEnum):
    """The eight types: score of recency, frequency, net amount above the mean of the population (H) or not (L)."""

    HHH = "HHH"
    HLH = "HLH"
    LHH = "LHH"
    LLH = "LLH"
    HHL = "HHL"
    HLL = "HLL"
    LHL = "LHL"
    LLL = "LLL"


LAYERS: Final = frozenset([*map(str, RfmSegment), *map(str, RfmType)])

_S = RfmSegment
_RARE_OR_OLD: Final = (_S.HIBERNATING, _S.HIBERNATING, _S.AT_RISK, _S.AT_RISK, _S.CANT_LOSE)
GRID: Final = (
    _RARE_OR_OLD,
    _RARE_OR_OLD,
    (_S.ABOUT_TO_SLEEP, _S.ABOUT_TO_SLEEP, _S.NEED_ATTENTION, _S.LOYAL, _S.LOYAL),
    (_S.PROMISING, _S.POTENTIAL_LOYALIST, _S.POTENTIAL_LOYALIST, _S.LOYAL, _S.LOYAL),
    (_S.NEW, _S.POTENTIAL_LOYALIST, _S.POTENTIAL_LOYALIST, _S.CHAMPIONS, _S.CHAMPIONS),
)
"""Segment by recency score − 1 and frequency score − 1."""


class Purchases(NamedTuple):
    """What a customer bought in the window: days since the last occasion, occasions, net amount in minor units."""

    customer: int
    recency: int
    frequency: int
    monetary: int


class RfmRow(NamedTuple):
    """What a run says about a customer; scores 0 and no type or segment where the population is too small."""

    customer: int
    recency: int
    frequency: int
    monetary: int
    recency_score: int
    frequency_score: int
    monetary_score: int
    type: RfmType | None
    segment: RfmSegment | None


@dataclass(frozen=True, slots=True)
class Cuts:
    """Upper bounds of the scores 1 to 4 (of recency: of 5 to 2); empty where the population is too small."""

    recency: tuple[int, ...] = ()
    frequency: tuple[int, ...] = ()
    monetary: tuple[int, ...] = ()


def quintiles(values: Sequence[int]) -> tuple[int, ...]:
    """Q(1/5) … Q(4/5) by nearest rank: Q(p) = sorted[⌈p·n⌉ − 1]."""
    ordered = sorted(values)
    return tuple(ordered[-(-k * len(ordered) // 5) - 1] for k in range(1, 5))


def score(population: Sequence[Purchases], params: RfmParams = DEFAULTS) -> tuple[Cuts, list[RfmRow]]:
    """Score everybody in `population`; equal values get equal scores."""
    if len(population) < SMALLEST_POPULATION:
        return Cuts(), [RfmRow(*it, 0, 0, 0, None, None) for it in population]
    cuts = Cuts(
        *params.cuts
        if params.cuts is not None
        else (
            quintiles([it.recency for it in population]),
            quintiles([it.frequency for it in population]),
            quintiles([it.monetary for it in population]),
        )
    )
    scores = [
        (
            5 - bisect_left(cuts.recency, it.recency),
            1 + bisect_left(cuts.frequency, it.frequency),
            1 + bisect_left(cuts.monetary, it.monetary),
        )
        for it in population
    ]
    types = _types(scores, params.type_thresholds)
    return cuts, [
        RfmRow(*it, *marks, types[marks], GRID[marks[0] - 1][marks[1] - 1])
        for it, marks in zip(population, scores, strict=True)
    ]


def _types(scores: Sequence[tuple[int, int, int]], thresholds: Sequence[float]) -> dict[tuple[int, int, int], RfmType]:
    """The type of every triple of scores that occurs: a score is high if score · n > sum of scores, or above its threshold."""
    n = 1 if thresholds else len(scores)
    bounds = thresholds or [sum(column) for column in zip(*scores, strict=True)]
    return {
        marks: RfmType("".join("H" if mark * n > bound else "L" for mark, bound in zip(marks, bounds, strict=True)))
        for marks in set(scores)
    }
