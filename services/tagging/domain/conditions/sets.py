"""Conditions on whole sets of customers, and how sets are combined (spec TG-4, TG-6).

Evaluated set by set, on whole sets or cut down to the customers something happened to. Two-valued: what is not known
of a customer is false, and NOT of it true.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import and_, or_, sub
from typing import Final, Protocol, Self, TypeVar

from services.tagging.domain.conditions.leaves import Leaf
from services.tagging.domain.conditions.limits import DEFAULT_LIMITS, Limits
from services.tagging.domain.conditions.tree import Condition, Kind
from services.tagging.domain.errors import ConditionTooComplex

MOST_OPERANDS: Final = 8


class Universe(StrEnum):
    """Which customers there are for a condition."""

    KNOWN = "KNOWN"
    ALL = "ALL"


class SetOperator(StrEnum):
    """How sets are combined; DIFFERENCE is the first without all the others."""

    UNION = "UNION"
    INTERSECT = "INTERSECT"
    DIFFERENCE = "DIFFERENCE"


@dataclass(frozen=True, slots=True)
class SetOperation:
    """A combination of sets; each operand is a leaf."""

    operator: SetOperator
    operands: tuple[Condition, ...]

    def leaves(self) -> Iterator[Leaf]:
        for operand in self.operands:
            yield from operand.leaves()

    def check(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Raises ConditionTooComplex."""
        del limits  # operands are single leaves about kept sets
        if len(self.operands) > MOST_OPERANDS:
            raise ConditionTooComplex(f"more than {MOST_OPERANDS} operands", field="operands", limit=MOST_OPERANDS)


class CustomerSet(Protocol):
    """What evaluation needs of a set: a Roaring bitmap has it, a frozenset too."""

    def __and__(self, other: Self, /) -> Self: ...
    def __or__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...


S = TypeVar("S", bound=CustomerSet)


def members(what: Condition | SetOperation, resolve: Callable[[Leaf], S], universe: S) -> S:
    """Everybody in `universe` for whom `what` holds; `resolve` gives the set of a leaf."""
    if isinstance(what, SetOperation):
        return universe & combine(what.operator, [members(it, resolve, universe) for it in what.operands])
    leaf = what.leaf
    if leaf is not None:
        return universe & resolve(leaf)
    parts = [members(it, resolve, universe) for it in what.parts]
    match what.kind:
        case Kind.ALL:
            return reduce(and_, parts)
        case Kind.ANY:
            return reduce(or_, parts)
        case _:
            return universe - parts[0]


def combine(operator: SetOperator, sets: list[S]) -> S:
    match operator:
        case SetOperator.UNION:
            return reduce(or_, sets)
        case SetOperator.INTERSECT:
            return reduce(and_, sets)
        case SetOperator.DIFFERENCE:
            return reduce(sub, sets)
