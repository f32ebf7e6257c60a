"""How customers moved between the layers of a model from one instant to another (spec TG-13, TG-15)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import or_
from typing import Protocol, Self, TypeVar

from services.tagging.domain.layers.kinds import LayerKind
from services.tagging.domain.layers.view import NONE


class Members(Protocol):
    """A set of customers: a Roaring bitmap, or a set."""

    def __and__(self, other: Self, /) -> Self: ...
    def __or__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...
    def __len__(self) -> int: ...


M = TypeVar("M", bound=Members)


@dataclass(frozen=True, slots=True)
class Reach:
    """Customers on a step or above it, and which part of them is above it (None: nobody, or the last step)."""

    layer: str
    customers: int
    conversion: Fraction | None


@dataclass(frozen=True, slots=True)
class Moves:
    """What became of the customers of a layer: to which layers they went, and of which kind the moves were."""

    layer: str
    customers: int
    to: Mapping[str, int]
    up: int
    down: int
    lost: int
    won_back: int

    def part(self, moves: int) -> Fraction | None:
        """`moves` as a part of the customers."""
        return Fraction(moves, self.customers) if self.customers else None


@dataclass(frozen=True, slots=True)
class LayerReport:
    """Counts at both instants with a row for NONE: those the model says nothing about at one of the two."""

    layers: tuple[str, ...]
    before: Mapping[str, int]
    after: Mapping[str, int]
    rows: tuple[Moves, ...]
    reach: tuple[Reach, ...]
    deepening: Fraction | None

    def row(self, layer: str) -> Moves:
        return next(it for it in self.rows if it.layer == layer)


def between(kind: LayerKind, before: Mapping[str, M], after: Mapping[str, M]) -> LayerReport:
    """The report on members by layer at two instants; at each, nobody is in two layers."""
    names = kind.layers or tuple(sorted({*before, *after}))
    old, new = _with_none(before, after), _with_none(after, before)
    layers = (*names, NONE)
    rows = tuple(_moves(kind, it, old, new, layers) for it in layers)
    counts = {it: len(new[it]) if it in new else 0 for it in layers}
    return LayerReport(
        layers,
        {it.layer: it.customers for it in rows},
        counts,
        rows,
        reach(kind.steps, counts),
        _deepening(kind, rows),
    )


def reach(steps: Sequence[str], counts: Mapping[str, int]) -> tuple[Reach, ...]:
    """Cumulative reach: customers on each step or a higher one, and the part of them that is higher."""
    found: list[Reach] = []
    above = 0
    for layer in reversed(steps):
        customers = above + counts.get(layer, 0)
        conversion = Fraction(above, customers) if customers and found else None
        found.append(Reach(layer, customers, conversion))
        above = customers
    return tuple(reversed(found))


def _with_none(some: Mapping[str, M], others: Mapping[str, M]) -> dict[str, M]:
    """The members by layer, and under NONE those who are in a layer at the other instant only."""
    here, there = list(some.values()), list(others.values())
    found = dict(some)
    if there:
        found[NONE] = reduce(or_, there) - reduce(or_, here) if here else reduce(or_, there)
    return found


def _moves(kind: LayerKind, layer: str, old: Mapping[str, M], new: Mapping[str, M], layers: Sequence[str]) -> Moves:
    members = old.get(layer)
    if members is None:
        return Moves(layer, 0, {}, 0, 0, 0, 0)
    to = {it: n for it in layers if it in new and (n := len(members & new[it]))}
    rank = {it: n for n, it in enumerate(kind.steps)}
    up = down = 0
    if layer in rank:
        up = sum(n for it, n in to.items() if rank.get(it, -1) > rank[layer])
        down = sum(n for it, n in to.items() if it in rank and rank[it] < rank[layer])
    gone = layer in kind.lost or layer == NONE
    lost = 0 if gone else sum(n for it, n in to.items() if it in kind.lost)
    back = sum(n for it, n in to.items() if it not in kind.lost and it != NONE) if layer in kind.lost else 0
    return Moves(layer, len(members), to, up, down, lost, back if layer != NONE else 0)


def _deepening(kind: LayerKind, rows: Sequence[Moves]) -> Fraction | None:
    """Moves upward as a part of all who could move upward."""
    able = [it for it in rows if it.layer in kind.steps[:-1]]
    customers = sum(it.customers for it in able)
    return Fraction(sum(it.up for it in able), customers) if customers else None
