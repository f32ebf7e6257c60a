"""Conditions read from the text that people write: whatever is not understood is refused, with its position."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from services.tagging.domain.conditions.leaves import (
    AttributeTest,
    Delivered,
    DeliveryStatus,
    FlowState,
    HasConsent,
    HasTag,
    InFlow,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    OrderFigure,
    OrderTest,
    PropertyTest,
    Reachable,
    RelatedTo,
    RfmScores,
    Tie,
)
from services.tagging.domain.conditions.text_behaviours import read_behaviours, where
from services.tagging.domain.conditions.text_pieces import E, Reader
from services.tagging.domain.conditions.text_tokens import Sort
from services.tagging.domain.conditions.text_words import RESERVED
from services.tagging.domain.conditions.tree import Condition, all_of, any_of, no, that

DEEPEST_BRACKETS: Final = 64


def read(text: str) -> Condition:
    """The condition that `text` says. Raises ConditionSyntax with the position."""
    reader = Reader(text)
    found = _any(reader, 0)
    if reader.token.sort is not Sort.END:
        raise reader.refusal('"and", "or" or the end')
    return found


def _any(reader: Reader, depth: int) -> Condition:
    parts = [_all(reader, depth)]
    while reader.took("or"):
        parts.append(_all(reader, depth))
    return parts[0] if len(parts) == 1 else any_of(*parts)


def _all(reader: Reader, depth: int) -> Condition:
    parts = [_one(reader, depth)]
    while reader.took("and"):
        parts.append(_one(reader, depth))
    return parts[0] if len(parts) == 1 else all_of(*parts)


def _one(reader: Reader, depth: int) -> Condition:
    if depth > DEEPEST_BRACKETS:
        raise reader.refusal("fewer brackets")
    if reader.took("not"):
        return no(_one(reader, depth + 1))
    if reader.took("("):
        found = _any(reader, depth + 1)
        reader.need(")")
        return found
    for word, make in (("all", all_of), ("any", any_of)):
        if reader.took(word):
            return make(*reader.listed(lambda: _any(reader, depth + 1)))
    return that(_leaf(reader))


def _leaf(reader: Reader) -> Leaf:
    word = reader.word("a condition")
    reading = _LEAVES.get(word)
    if reading is not None:
        return reading(reader)
    if word in _TIES:
        return RelatedTo(Tie(word), reader.comparison())
    if word in RESERVED:
        reader.back()
        raise reader.refusal("a condition")
    return AttributeTest(word, reader.comparison())


def _attribute(reader: Reader) -> Leaf:
    return AttributeTest(reader.only_text(), reader.comparison())


def _tag(reader: Reader) -> Leaf:
    found = reader.listed(reader.text)
    if len(found) > 2:
        raise reader.refusal("a tag and at most one value")
    return HasTag(*found)


def _segment(reader: Reader) -> Leaf:
    reader.need("(")
    segment = _uuid(reader)
    reader.need(")")
    return InSegment(segment)


def _group(reader: Reader) -> Leaf:
    reader.need("(")
    group = None if reader.took("any") else reader.text()
    reader.need(")")
    return InGroup(group)


def _consent(reader: Reader) -> Leaf:
    return HasConsent(reader.only_text())


def _reachable(reader: Reader) -> Leaf:
    reader.need("(")
    channel = None if reader.took("any") else reader.text()
    reader.need(")")
    return Reachable(channel)


def _flow(reader: Reader) -> Leaf:
    flow, state = _of_campaign(reader, FlowState)
    return InFlow(flow, state)


def _delivery(reader: Reader) -> Leaf:
    campaign, status = _of_campaign(reader, DeliveryStatus)
    return Delivered(campaign, status, reader.window())


def _of_campaign(reader: Reader, words: type[E]) -> tuple[UUID | None, E]:
    """The id of a campaign, or any, and one of `words`."""
    reader.need("(")
    campaign = None if reader.took("any") else _uuid(reader)
    reader.need(",")
    found = reader.one_of(words)
    reader.need(")")
    return campaign, found


def _layer(reader: Reader) -> Leaf:
    reader.need("(")
    model = reader.text()
    reader.need(",")
    layer, run, as_of = reader.text(), None, None
    while reader.took(","):
        if reader.took("run"):
            run = _uuid(reader)
        else:
            reader.need("as")
            reader.need("of")
            as_of = reader.date()
    reader.need(")")
    return InLayer(model, layer, run, as_of)


def _rfm(reader: Reader) -> Leaf:
    reader.need("(")
    model = reader.text()
    bounds: list[tuple[int, ...]] = []
    for letter in "rfm":
        reader.need(",")
        reader.need(letter)
        bounds.append(reader.range())
    reader.need(")")
    return RfmScores(model, *bounds)


def _order(reader: Reader) -> Leaf:
    tests: tuple[PropertyTest, ...] = ()
    if reader.took("("):
        tests = () if reader.at(")") else where(reader)
        reader.need(")")
    figure = reader.one_of(OrderFigure)
    comparison = reader.comparison()
    return OrderTest(figure, comparison, reader.window(), tests)


def _uuid(reader: Reader) -> UUID:
    at = reader.token.at
    try:
        return UUID(reader.text())
    except ValueError:
        raise reader.refusal("a UUID", at) from None


_TIES: Final = frozenset(it.value for it in Tie)
_LEAVES: Final[dict[str, Callable[[Reader], Leaf]]] = {
    "attr": _attribute,
    "tag": _tag,
    "segment": _segment,
    "layer": _layer,
    "rfm": _rfm,
    "event": read_behaviours,
    "order": _order,
    "group": _group,
    "consent": _consent,
    "reachable": _reachable,
    "flow": _flow,
    "delivery": _delivery,
}
