"""Segments on the wire: requests into definitions and changes, segments and snapshots into messages."""

from datetime import date
from uuid import UUID

from google.type.date_pb2 import Date

from chassis.errors import BadFormat
from scrm.tagging.v1 import segment_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from services.tagging.application.ports import Customer
from services.tagging.application.segment_commands import (
    MemberChange,
    MemberOutcome,
    MembersResult,
    SegmentResult,
)
from services.tagging.application.wire import day, timestamp
from services.tagging.domain.conditions import (
    Condition,
    HasTag,
    InLayer,
    InSegment,
    Kind,
    RfmScores,
    SetOperation,
    SetOperator,
    Universe,
    no,
    that,
)
from services.tagging.domain.segments import Definition, Segment, Snapshot
from services.tagging.read_models.memberships import Entry
from services.tagging.read_models.segments import Listing


def definition(message: segment_pb2.SegmentDefinition) -> Definition:
    match message.WhichOneof("kind"):
        case "dynamic":
            return Definition(condition=condition(message.dynamic))
        case "derived":
            return Definition(operation=operation(message.derived))
    return Definition()


def condition(message: segment_pb2.Condition) -> Condition:
    match message.WhichOneof("kind"):
        case "all":
            return Condition(Kind.ALL, tuple(map(condition, message.all.conditions)))
        case "any":
            return Condition(Kind.ANY, tuple(map(condition, message.any.conditions)))
        case "negated":
            return no(condition(message.negated))
        case "tag":
            return that(HasTag(message.tag.tag_key))
        case "layer":
            return that(_layer(message.layer))
        case "rfm":
            return that(_scores(message.rfm))
    return that(InSegment(UUID(message.segment.segment_id)))


def operation(message: segment_pb2.SetOperation) -> SetOperation:
    operator = segment_pb2.SetOperator.Name(message.operator).removeprefix("SET_OPERATOR_")
    return SetOperation(SetOperator(operator), tuple(map(_operand, message.operands)))


def universe(number: int) -> Universe:
    return Universe.ALL if number == segment_pb2.UNIVERSE_ALL else Universe.KNOWN


def _operand(message: segment_pb2.Operand) -> Condition:
    match message.WhichOneof("kind"):
        case "layer":
            return that(_layer(message.layer))
        case "tag":
            return that(HasTag(message.tag.tag_key))
    return that(InSegment(UUID(message.segment_id)))


def _layer(message: segment_pb2.InLayer) -> InLayer:
    run = UUID(message.run_id) if message.HasField("run_id") else None
    as_of = calendar_date(message.as_of, "as_of") if message.HasField("as_of") else None
    return InLayer(message.model_id, message.layer, run, as_of)


def _scores(it: segment_pb2.RfmScores) -> RfmScores:
    return RfmScores(
        it.model_id,
        (it.min_recency, it.max_recency or 5),
        (it.min_frequency, it.max_frequency or 5),
        (it.min_monetary, it.max_monetary or 5),
    )


def calendar_date(message: Date, field: str) -> date:
    """Raises BadFormat for what is no day of the calendar."""
    try:
        return date(message.year, message.month, message.day)
    except ValueError:
        raise BadFormat(f"{field} is no day of the calendar", field=field) from None


def definition_message(it: Definition) -> segment_pb2.SegmentDefinition:
    if it.condition is not None:
        return segment_pb2.SegmentDefinition(dynamic=condition_message(it.condition))
    if it.operation is not None:
        operands = [_operand_message(one) for one in it.operation.operands]
        operator = segment_pb2.SetOperator.Value(f"SET_OPERATOR_{it.operation.operator}")
        return segment_pb2.SegmentDefinition(derived=segment_pb2.SetOperation(operator=operator, operands=operands))
    return segment_pb2.SegmentDefinition(static=segment_pb2.StaticList())


def condition_message(it: Condition) -> segment_pb2.Condition:
    message = segment_pb2.Condition()
    match it.leaf:
        case HasTag(tag):
            message.tag.tag_key = tag
        case InLayer() as layer:
            message.layer.CopyFrom(_layer_message(layer))
        case RfmScores() as scores:
            message.rfm.CopyFrom(_scores_message(scores))
        case InSegment(segment):
            message.segment.segment_id = str(segment)
        case None if it.kind is Kind.NOT:
            message.negated.CopyFrom(condition_message(it.parts[0]))
        case None:
            several = message.all if it.kind is Kind.ALL else message.any
            several.conditions.extend(condition_message(part) for part in it.parts)
    return message


def _operand_message(it: Condition) -> segment_pb2.Operand:
    match it.leaf:
        case InLayer() as layer:
            return segment_pb2.Operand(layer=_layer_message(layer))
        case HasTag(tag):
            return segment_pb2.Operand(tag=segment_pb2.HasTag(tag_key=tag))
        case InSegment(segment):
            return segment_pb2.Operand(segment_id=str(segment))
    raise TypeError(f"{it.kind} is no operand")


def _layer_message(it: InLayer) -> segment_pb2.InLayer:
    message = segment_pb2.InLayer(model_id=it.model, layer=it.layer)
    if it.run is not None:
        message.run_id = str(it.run)
    elif it.as_of is not None:
        message.as_of.CopyFrom(day(it.as_of))
    return message


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


def segment(id: UUID, it: Segment | Listing, size: int) -> segment_pb2.Segment:
    return segment_pb2.Segment(
        segment_id=str(id),
        display_name=it.name,
        definition=definition_message(it.definition),
        universe=segment_pb2.Universe.Value(f"UNIVERSE_{it.universe}"),
        size=size,
        create_time=timestamp(it.created_at),
        update_time=timestamp(it.updated_at),
        etag=str(it.revision),
        archived=it.archived,
    )


def segment_result(it: SegmentResult) -> segment_pb2.Segment:
    return segment(it.id, it.segment, it.size)


def revision(etag: str) -> int | None:
    """Raises BadFormat for an etag that was never given."""
    if etag and not etag.isdecimal():
        raise BadFormat("not an etag of a segment", field="etag")
    return int(etag) if etag else None


def member_change(message: pb.MemberChange) -> MemberChange:
    return MemberChange(message.action == pb.MemberChange.ACTION_ADD, UUID(message.customer_id))


def members_result(it: MembersResult) -> pb.UpdateStaticMembersResponse:
    status = {
        MemberOutcome.CHANGED: pb.MemberChangeResult.STATUS_CHANGED,
        MemberOutcome.UNCHANGED: pb.MemberChangeResult.STATUS_UNCHANGED,
        MemberOutcome.NOT_FOUND: pb.MemberChangeResult.STATUS_NOT_FOUND,
    }
    results = [
        pb.MemberChangeResult(status=status[outcome], customer_id=str(customer) if customer else "")
        for outcome, customer in it.outcomes
    ]
    return pb.UpdateStaticMembersResponse(results=results, size=it.size)


def snapshot(id: UUID, it: Snapshot) -> segment_pb2.SegmentSnapshot:
    return segment_pb2.SegmentSnapshot(
        snapshot_id=str(id),
        segment_id=str(it.segment),
        size=it.size,
        members_hash=it.digest,
        take_time=timestamp(it.taken_at),
    )


def membership_change(it: Entry) -> segment_pb2.MembershipChange:
    return segment_pb2.MembershipChange(
        customer_id=str(it.customer),
        entered=it.entered,
        cause=segment_pb2.MembershipCause.Value(f"MEMBERSHIP_CAUSE_{it.cause}"),
        change_time=timestamp(it.at),
    )


def snapshot_member(it: Customer) -> segment_pb2.SnapshotMember:
    return segment_pb2.SnapshotMember(customer_id=str(it.id), assignment_key=it.assignment_key)
