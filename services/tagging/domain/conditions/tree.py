"""Conditions: leaves put together by all of, any of and not, in any nesting (spec TG-4)."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

from services.tagging.domain.conditions.leaves import (
    Absence,
    AttributeTest,
    Delivered,
    EventTest,
    HasConsent,
    HasTag,
    InFlow,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    OrderTest,
    Reachable,
    RelatedTo,
    RfmScores,
    Streak,
    Succession,
)
from services.tagging.domain.conditions.limits import DEFAULT_LIMITS, Limits, check_leaf, cost
from services.tagging.domain.errors import ConditionTooComplex


class Kind(StrEnum):
    """What a condition says."""

    ALL = "ALL"
    ANY = "ANY"
    NOT = "NOT"
    TAG = "TAG"
    LAYER = "LAYER"
    RFM = "RFM"
    SEGMENT = "SEGMENT"
    ATTRIBUTE = "ATTRIBUTE"
    EVENT = "EVENT"
    ABSENCE = "ABSENCE"
    SEQUENCE = "SEQUENCE"
    STREAK = "STREAK"
    ORDER = "ORDER"
    RELATION = "RELATION"
    GROUP = "GROUP"
    CONSENT = "CONSENT"
    REACHABLE = "REACHABLE"
    FLOW = "FLOW"
    DELIVERY = "DELIVERY"


@dataclass(frozen=True, slots=True)
class Condition:
    """A node of the expression: `parts` of ALL, ANY and NOT, or the leaf of its kind."""

    kind: Kind
    parts: "tuple[Condition, ...]" = ()
    tag: HasTag | None = None
    layer: InLayer | None = None
    rfm: RfmScores | None = None
    segment: InSegment | None = None
    attribute: AttributeTest | None = None
    event: EventTest | None = None
    absence: Absence | None = None
    sequence: Succession | None = None
    streak: Streak | None = None
    order: OrderTest | None = None
    relation: RelatedTo | None = None
    group: InGroup | None = None
    consent: HasConsent | None = None
    reachable: Reachable | None = None
    flow: InFlow | None = None
    delivery: Delivered | None = None

    @property
    def leaf(self) -> Leaf | None:
        field = _FIELDS.get(self.kind)
        return None if field is None else cast(Leaf, getattr(self, field))

    def leaves(self) -> Iterator[Leaf]:
        if (leaf := self.leaf) is not None:
            yield leaf
        for part in self.parts:
            yield from part.leaves()

    def placed(self, path: str = "") -> Iterator[tuple[str, Leaf]]:
        """The leaves with their paths, such as "all[0].not.event" (spec TG-4: errors name the path of the leaf)."""
        if (leaf := self.leaf) is not None:
            yield f"{path}{_FIELDS[self.kind]}", leaf
        for number, part in enumerate(self.parts):
            yield from part.placed(f"{path}{self.step(number)}.")

    def step(self, number: int) -> str:
        """The part of a path that leads to part `number`."""
        return "not" if self.kind is Kind.NOT else f"{self.kind.lower()}[{number}]"

    @property
    def depth(self) -> int:
        """How many ALL, ANY and NOT are nested."""
        return 1 + max((it.depth for it in self.parts), default=0) if self.leaf is None else 0

    def check(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Raises ConditionTooComplex naming the limit."""
        placed = list(self.placed())
        if len(placed) > limits.leaves:
            raise ConditionTooComplex(f"more than {limits.leaves} leaves", field="definition", limit=limits.leaves)
        if self.depth > limits.depth:
            raise ConditionTooComplex("nested too deep", field="definition", limit=limits.depth)
        for path, leaf in placed:
            check_leaf(leaf, f"definition.{path}", limits)
        if sum(cost(leaf) for _, leaf in placed) > limits.cost:
            raise ConditionTooComplex("costs too much to work out", field="definition", limit=limits.cost)


_FIELDS: Final[dict[Kind, str]] = {it: it.value.lower() for it in Kind if it not in (Kind.ALL, Kind.ANY, Kind.NOT)}
_KINDS: Final[dict[type, Kind]] = {
    HasTag: Kind.TAG,
    InLayer: Kind.LAYER,
    RfmScores: Kind.RFM,
    InSegment: Kind.SEGMENT,
    AttributeTest: Kind.ATTRIBUTE,
    EventTest: Kind.EVENT,
    Absence: Kind.ABSENCE,
    Succession: Kind.SEQUENCE,
    Streak: Kind.STREAK,
    OrderTest: Kind.ORDER,
    RelatedTo: Kind.RELATION,
    InGroup: Kind.GROUP,
    HasConsent: Kind.CONSENT,
    Reachable: Kind.REACHABLE,
    InFlow: Kind.FLOW,
    Delivered: Kind.DELIVERY,
}


def all_of(*parts: Condition) -> Condition:
    return Condition(Kind.ALL, parts)


def any_of(*parts: Condition) -> Condition:
    return Condition(Kind.ANY, parts)


def no(part: Condition) -> Condition:
    return Condition(Kind.NOT, (part,))


def that(leaf: Leaf) -> Condition:
    """The condition that is only `leaf`."""
    kind = _KINDS[type(leaf)]
    return Condition(kind, **{_FIELDS[kind]: leaf})  # type: ignore[arg-type]
