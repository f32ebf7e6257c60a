"""Conditions on the wire: messages into trees and back; the leaves on behaviours and orders are in `condition_leaf_wire`."""

from datetime import date
from uuid import UUID

from scrm.tagging.v1 import condition_pb2, segment_pb2
from services.tagging.adapters import condition_leaf_wire as leaves
from services.tagging.adapters.condition_leaf_wire import calendar_date
from services.tagging.application.wire import day, timestamp
from services.tagging.domain.conditions import (
    AttributeTest,
    Condition,
    HasConsent,
    HasTag,
    InGroup,
    InLayer,
    InSegment,
    Kind,
    Leaf,
    Reachable,
    RelatedTo,
    RfmScores,
    Tie,
    no,
    that,
)
from services.tagging.domain.conditions.dimensions import Dimension
from services.tagging.domain.conditions.explanation import Explanation


def condition(message: segment_pb2.Condition) -> Condition:
    """Raises BadFormat for a date that there is not."""
    match message.WhichOneof("kind"):
        case "all":
            return Condition(Kind.ALL, tuple(map(condition, message.all.conditions)))
        case "any":
            return Condition(Kind.ANY, tuple(map(condition, message.any.conditions)))
        case "negated":
            return no(condition(message.negated))
    return that(_leaf(message))


def condition_message(it: Condition) -> segment_pb2.Condition:
    message = segment_pb2.Condition()
    match it.kind:
        case Kind.NOT:
            message.negated.CopyFrom(condition_message(it.parts[0]))
        case Kind.ALL | Kind.ANY:
            several = message.all if it.kind is Kind.ALL else message.any
            several.conditions.extend(condition_message(part) for part in it.parts)
        case _:
            assert it.leaf is not None  # noqa: S101 (by its kind)
            getattr(message, it.kind.lower()).CopyFrom(_leaf_message(it.leaf))
    return message


def tag(message: segment_pb2.HasTag) -> HasTag:
    return HasTag(message.tag_key, message.value if message.HasField("value") else None)


def tag_message(it: HasTag) -> segment_pb2.HasTag:
    return segment_pb2.HasTag(tag_key=it.tag, value=it.value)


def layer(message: segment_pb2.InLayer) -> InLayer:
    run = UUID(message.run_id) if message.HasField("run_id") else None
    as_of: date | None = calendar_date(message.as_of, "as_of") if message.HasField("as_of") else None
    return InLayer(message.model_id, message.layer, run, as_of)


def layer_message(it: InLayer) -> segment_pb2.InLayer:
    message = segment_pb2.InLayer(model_id=it.model, layer=it.layer)
    if it.run is not None:
        message.run_id = str(it.run)
    elif it.as_of is not None:
        message.as_of.CopyFrom(day(it.as_of))
    return message


def dimension(it: Dimension) -> condition_pb2.Dimension:
    return condition_pb2.Dimension(
        key=it.key,
        type=condition_pb2.Dimension.Type.Value(f"TYPE_{it.type}"),
        operators=[condition_pb2.Operator.Value(f"OPERATOR_{one}") for one in it.type.operators],
        source=condition_pb2.Dimension.Source.Value(f"SOURCE_{it.source}"),
        choices=it.choices,
    )


def explanation(it: Explanation) -> condition_pb2.Explanation:
    """With the leaves marked that make the whole what it is."""
    return _explained(it, {id(one) for one in it.decisive()})


def _explained(it: Explanation, decisive: set[int]) -> condition_pb2.Explanation:
    kind = it.kind if it.kind in (Kind.ALL, Kind.ANY, Kind.NOT) else "LEAF"
    return condition_pb2.Explanation(
        kind=condition_pb2.Explanation.Kind.Value(f"KIND_{kind}"),
        holds=it.holds,
        parts=[_explained(part, decisive) for part in it.parts],
        text=it.text,
        value=None if it.value is None else leaves.value_message(it.value),
        fact_count=it.facts,
        fact_times=map(timestamp, it.because),
        short_by=it.short_by,
        change_time=None if it.changes_at is None else timestamp(it.changes_at),
        decisive=id(it) in decisive,
        facts=[condition_pb2.CitedFact(time=timestamp(one.at), what=one.what, detail=one.detail) for one in it.cited],
        known_now=it.known_now,
    )


def _leaf(message: segment_pb2.Condition) -> Leaf:
    match message.WhichOneof("kind"):
        case "tag":
            return tag(message.tag)
        case "layer":
            return layer(message.layer)
        case "rfm":
            return _scores(message.rfm)
        case "segment":
            return InSegment(UUID(message.segment.segment_id))
        case "attribute":
            return AttributeTest(message.attribute.key, leaves.comparison(message.attribute.comparison))
        case "relation":
            tie = Tie(condition_pb2.RelatedTo.Tie.Name(message.relation.tie).removeprefix("TIE_").lower())
            return RelatedTo(tie, leaves.comparison(message.relation.comparison))
        case "group":
            return InGroup(message.group.group_id or None)
        case "consent" | "reachable":
            return _allowed(message)
    return leaves.of_facts(message)


def _allowed(message: segment_pb2.Condition) -> HasConsent | Reachable:
    if message.WhichOneof("kind") == "consent":
        return HasConsent(message.consent.purpose)
    return Reachable(message.reachable.channel or None)


def _leaf_message(it: Leaf) -> object:
    match it:
        case HasTag():
            return tag_message(it)
        case InLayer():
            return layer_message(it)
        case RfmScores():
            return _scores_message(it)
        case InSegment(segment):
            return segment_pb2.InSegment(segment_id=str(segment))
        case AttributeTest(key, comparison):
            return condition_pb2.AttributeTest(key=key, comparison=leaves.comparison_message(comparison))
        case RelatedTo(tie, comparison):
            number = condition_pb2.RelatedTo.Tie.Value(f"TIE_{tie.upper()}")
            return condition_pb2.RelatedTo(tie=number, comparison=leaves.comparison_message(comparison))
        case InGroup(group):
            return condition_pb2.InGroup(group_id=group or "")
        case HasConsent() | Reachable():
            return _allowed_message(it)
    return leaves.of_facts_message(it)


def _allowed_message(it: HasConsent | Reachable) -> object:
    if isinstance(it, HasConsent):
        return condition_pb2.HasConsent(purpose=it.purpose)
    return condition_pb2.Reachable(channel=it.channel or "")


def _scores(it: segment_pb2.RfmScores) -> RfmScores:
    return RfmScores(
        it.model_id,
        (it.min_recency, it.max_recency or 5),
        (it.min_frequency, it.max_frequency or 5),
        (it.min_monetary, it.max_monetary or 5),
    )


def _scores_message(it: RfmScores) -> segment_pb2.RfmScores:
    return segment_pb2.RfmScores(
        model_id=it.model,
        min_recency=it.recency[0],
        max_recency=it.recency[1],
        min_frequency=it.frequency[0],
        max_frequency=it.frequency[1],
        min_monetary=it.monetary[0],
        max_monetary=it.monetary[1],
    )
