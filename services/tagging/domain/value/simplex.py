"""The minimum of a function of a few variables (Nelder and Mead 1965), started again until a start changes nothing."""

from collections.abc import Callable, Sequence
from typing import Final

Function = Callable[[Sequence[float]], float]
Point = tuple[float, ...]

MOST_STEPS: Final = 2_000
MOST_STARTS: Final = 6


def minimum(function: Function, start: Sequence[float], *, spread: float = 0.3, within: float = 1e-8) -> Point | None:
    """Where `function` is least, values being equal `within` that part of them; None where that does not settle."""
    best: Point = tuple(start)
    value = function(best)
    for _ in range(MOST_STARTS):
        found = _descent(function, best, spread, within)
        if found is None:
            return None
        settled = abs(found[0] - value) <= within * (abs(value) + within)
        value, best = found
        if settled:
            return best
    return None


def _descent(function: Function, start: Point, spread: float, within: float) -> tuple[float, Point] | None:
    points = [start, *(tuple(x + spread * (i == k) for i, x in enumerate(start)) for k in range(len(start)))]
    simplex = sorted((function(it), it) for it in points)
    for _ in range(MOST_STEPS):
        low, high = simplex[0][0], simplex[-1][0]
        if high - low <= within * within * (abs(low) + 1) or _width(simplex) < within:
            return simplex[0]
        simplex = sorted(_step(function, simplex))
    return None


def _step(function: Function, simplex: list[tuple[float, Point]]) -> list[tuple[float, Point]]:
    """The simplex without its worst point: reflected, stretched, contracted, or all drawn to the best."""
    *kept, (worst, far) = simplex
    centre = tuple(sum(column) / len(kept) for column in zip(*(it for _, it in kept), strict=True))

    def tried(factor: float) -> tuple[float, Point]:
        point = tuple(c + factor * (c - w) for c, w in zip(centre, far, strict=True))
        return function(point), point

    reflected = tried(1)
    if reflected[0] < kept[0][0]:
        return [*kept, min(reflected, tried(2))]
    if reflected[0] < kept[-1][0]:
        return [*kept, reflected]
    contracted = tried(0.5 if reflected[0] < worst else -0.5)
    if contracted[0] < min(worst, reflected[0]):
        return [*kept, contracted]
    best = kept[0][1]
    drawn = [tuple((b + x) / 2 for b, x in zip(best, it, strict=True)) for _, it in simplex[1:]]
    return [kept[0], *((function(it), it) for it in drawn)]


def _width(simplex: list[tuple[float, Point]]) -> float:
    best = simplex[0][1]
    return max(abs(x - b) for _, it in simplex for x, b in zip(it, best, strict=True))
