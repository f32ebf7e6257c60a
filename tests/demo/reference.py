"""RFM and the win-back experiment computed from the raw file in plain Python, to hold against what the services say."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction

from demo.buckets import bucket
from demo.calendar import local_day
from demo.dataset import Order

SLIPPING_AWAY = {"NEED_ATTENTION", "ABOUT_TO_SLEEP", "AT_RISK", "CANT_LOSE", "HIBERNATING"}
RANGES = {"holdout": (0, 1000), "A": (1000, 2500), "B": (2500, 4000), "remainder": (4000, 10000)}

_GRID = {
    1: ["HIBERNATING", "HIBERNATING", "AT_RISK", "AT_RISK", "CANT_LOSE"],
    2: ["HIBERNATING", "HIBERNATING", "AT_RISK", "AT_RISK", "CANT_LOSE"],
    3: ["ABOUT_TO_SLEEP", "ABOUT_TO_SLEEP", "NEED_ATTENTION", "LOYAL", "LOYAL"],
    4: ["PROMISING", "POTENTIAL_LOYALIST", "POTENTIAL_LOYALIST", "LOYAL", "LOYAL"],
    5: ["NEW", "POTENTIAL_LOYALIST", "POTENTIAL_LOYALIST", "CHAMPIONS", "CHAMPIONS"],
}


@dataclass(frozen=True)
class Scored:
    """One customer: days since the last purchase day, purchase days, cents, and what follows from them."""

    recency: int
    frequency: int
    monetary: int
    scores: tuple[int, int, int]
    type: str
    segment: str


@dataclass(frozen=True)
class Scoring:
    """All customers with a purchase before a day, by the five digits of the file."""

    cuts: Mapping[str, Sequence[int]]
    customers: Mapping[str, Scored]


def rfm(orders: Sequence[Order], as_of: date) -> Scoring:
    spent: defaultdict[str, int] = defaultdict(int)
    days: defaultdict[str, set[date]] = defaultdict(set)
    for order in orders:
        day = local_day(order.paid_at)
        if order.amount > 0 and day < as_of:
            spent[order.customer] += order.amount
            days[order.customer].add(day)
    values = {it: ((as_of - max(days[it])).days, len(days[it]), spent[it]) for it in spent}
    cuts = [_cuts([value[axis] for value in values.values()]) for axis in range(3)]
    scores = {
        it: (5 - _above(r, cuts[0]), 1 + _above(f, cuts[1]), 1 + _above(m, cuts[2])) for it, (r, f, m) in values.items()
    }
    means = [Fraction(sum(it[axis] for it in scores.values()), len(scores)) for axis in range(3)]
    return Scoring(
        dict(zip("RFM", cuts, strict=True)),
        {it: _scored(values[it], scores[it], means) for it in values},
    )


def converted(orders: Sequence[Order], units: Mapping[str, str], start: datetime, end: datetime) -> dict[str, int]:
    """By variant, how many of `units` (variant by customer) paid for an order in [start, end)."""
    persons = {it.customer for it in orders if it.amount > 0 and start <= it.paid_at < end}
    return {variant: sum(units.get(it) == variant for it in persons) for variant in RANGES}


def assigned(scoring: Scoring) -> dict[str, str]:
    """The variant of each customer who is slipping away and is not in the global control group."""
    members = [it for it, scored in scoring.customers.items() if scored.segment in SLIPPING_AWAY]
    units = [it for it in members if bucket("gcg:cdnow-demo", f"cdnow:{it}") >= 500]
    return {it: _variant(bucket("exp:winback-9801", f"cdnow:{it}")) for it in units}


def _variant(slot: int) -> str:
    return next(variant for variant, (start, end) in RANGES.items() if start <= slot < end)


def _scored(value: tuple[int, int, int], scores: tuple[int, int, int], means: Sequence[Fraction]) -> Scored:
    kind = "".join("H" if score > mean else "L" for score, mean in zip(scores, means, strict=True))
    return Scored(*value, scores, kind, _GRID[scores[0]][scores[1] - 1])


def _cuts(values: Sequence[int]) -> list[int]:
    """The 20th, 40th, 60th and 80th percentile by nearest rank."""
    ordered = sorted(values)
    return [ordered[math.ceil(Fraction(k * len(ordered), 5)) - 1] for k in range(1, 5)]


def _above(value: int, cuts: Sequence[int]) -> int:
    return sum(value > cut for cut in cuts)
