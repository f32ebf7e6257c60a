"""What conditions look at in histories: for each leaf the facts without which it could come to something else."""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Final

from services.tagging.domain.conditions.dimensions import CREATED_DAYS, KNOWN, KNOWN_DAYS, OF_MEMBERSHIP, meaning
from services.tagging.domain.conditions.facts import OF_THE_BEHAVIOUR
from services.tagging.domain.conditions.leaves import (
    AttributeTest,
    Delivered,
    EventTest,
    Happening,
    HasConsent,
    InFlow,
    InGroup,
    Leaf,
    OrderFigure,
    OrderTest,
    Reachable,
    RelatedTo,
    Tie,
)
from services.tagging.domain.conditions.limits import happenings
from services.tagging.domain.history import NOTHING, Reads

_NONE: Final = frozenset[str]()
_OF_LINES: Final = frozenset({OrderFigure.QUANTITY, OrderFigure.SKUS, OrderFigure.CATEGORIES})
_OF_PAYMENT: Final = frozenset({"net", "currency", "weekday"})
"""What tests of an order ask that is known without its articles."""


def needs(leaves: Iterable[Leaf]) -> Reads:
    """What has to be in a history for `leaves` to be decided as by all of it."""
    return reduce(or_, map(_of, map(meaning, leaves)), NOTHING)


def _of(leaf: Leaf) -> Reads:
    match leaf:
        case OrderTest():
            lines = leaf.figure in _OF_LINES or any(it.key not in _OF_PAYMENT for it in leaf.where)
            return NOTHING.but(orders=True, lines=lines)
        case AttributeTest(key):
            dealings = key in OF_MEMBERSHIP
            return NOTHING.but(dealings=dealings, who=not dealings and key not in (KNOWN, KNOWN_DAYS, CREATED_DAYS))
        case RelatedTo(Tie.REFERRER):
            return NOTHING.but(referrer=True)
        case RelatedTo() | InGroup() | HasConsent():
            return NOTHING.but(who=True)
        case Reachable() | InFlow() | Delivered():
            return NOTHING.but(dealings=True)
    asked = leaf.property if isinstance(leaf, EventTest) else ""
    return reduce(or_, (_of_behaviours(it, asked) for it in happenings(leaf)), NOTHING)


def _of_behaviours(what: Happening, asked: str) -> Reads:
    """`asked`: the property of which a figure is worked out."""
    types = frozenset({what.type}) if what.type else None
    inside = any(key and key not in OF_THE_BEHAVIOUR for key in (asked, *(it.key for it in what.where)))
    return NOTHING.but(behaviours_of=types, properties_of=types if inside else _NONE)
