"""Who is meant: the condition language (spec TG-4, the part built so far) and set operations (TG-6).

Evaluated set by set, on whole sets or cut down to the customers something happened to. Two-valued: what is not known
of a customer is false, and NOT of it true. A new kind of leaf is a dataclass here, a field of `Condition`, and a way
to resolve it to a set in `read_models/segments.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import reduce
from operator import and_, or_, sub
from typing import Final, Protocol, Self, TypeVar
from uuid import UUID

from services.tagging.domain.errors import ConditionTooComplex

MOST_LEAVES: Final = 8
DEEPEST_NESTING: Final = 3
MOST_OPERANDS: Final = 8


class Universe(StrEnum):
    """Which customers there are for a condition."""

    KNOWN = "KNOWN"
    ALL = "ALL"


@dataclass(frozen=True, slots=True)
class HasTag:
    """The customer has a tag."""

    tag: str


@dataclass(frozen=True, slots=True)
class InLayer:
    """The customer is in a layer of a run: of `run`, else of the latest one as of `as_of`, else of the latest."""

    model: str
    layer: str
    run: UUID | None = None
    as_of: date | None = None


@dataclass(frozen=True, slots=True)
class RfmScores:
    """The customer's scores in the latest run of a model lie within inclusive bounds: (lowest, highest) of each."""

    model: str
    recency: tuple[int, ...] = (0, 5)
    frequency: tuple[int, ...] = (0, 5)
    monetary: tuple[int, ...] = (0, 5)


@dataclass(frozen=True, slots=True)
class InSegment:
    """The customer is in a segment."""

    segment: UUID


Leaf = HasTag | InLayer | RfmScores | InSegment


class Kind(StrEnum):
    """What a condition says."""

    ALL = "ALL"
    ANY = "ANY"
    NOT = "NOT"
    TAG = "TAG"
    LAYER = "LAYER"
    RFM = "RFM"
    SEGMENT = "SEGMENT"


@dataclass(frozen=True, slots=True)
class Condition:
    """A node of the expression: `parts` of ALL, ANY and NOT, or the leaf of its kind."""

    kind: Kind
    parts: "tuple[Condition, ...]" = ()
    tag: HasTag | None = None
    layer: InLayer | None = None
    rfm: RfmScores | None = None
    segment: InSegment | None = None

    @property
    def leaf(self) -> Leaf | None:
        return self.tag or self.layer or self.rfm or self.segment

    def leaves(self) -> Iterator[Leaf]:
        if (leaf := self.leaf) is not None:
            yield leaf
        for part in self.parts:
            yield from part.leaves()

    @property
    def depth(self) -> int:
        """How many ALL, ANY and NOT are nested."""
        return 1 + max((it.depth for it in self.parts), default=0) if self.leaf is None else 0

    def check(self) -> None:
        """Raises ConditionTooComplex naming the limit."""
        if sum(1 for _ in self.leaves()) > MOST_LEAVES:
            raise ConditionTooComplex(f"more than {MOST_LEAVES} leaves", field="definition", limit=MOST_LEAVES)
        if self.depth > DEEPEST_NESTING:
            raise ConditionTooComplex("nested too deep", field="definition", limit=DEEPEST_NESTING)


def all_of(*parts: Condition) -> Condition:
    return Condition(Kind.ALL, parts)


def any_of(*parts: Condition) -> Condition:
    return Condition(Kind.ANY, parts)


def no(part: Condition) -> Condition:
    return Condition(Kind.NOT, (part,))


def that(leaf: Leaf) -> Condition:
    """The condition that is only `leaf`."""
    match leaf:
        case HasTag():
            return Condition(Kind.TAG, tag=leaf)
        case InLayer():
            return Condition(Kind.LAYER, layer=leaf)
        case RfmScores():
            return Condition(Kind.RFM, rfm=leaf)
        case InSegment():
            return Condition(Kind.SEGMENT, segment=leaf)


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

    def check(self) -> None:
        """Raises ConditionTooComplex."""
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
