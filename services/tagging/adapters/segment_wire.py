"""Segments on the wire: requests into definitions and changes, segments and snapshots into messages."""

from uuid import UUID

from chassis.errors import BadFormat
from scrm.tagging.v1 import segment_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from services.tagging.adapters.condition_leaf_wire import calendar_date as calendar_date
from services.tagging.adapters.condition_wire import (
    condition,
    condition_message,
    layer,
    layer_message,
    tag,
    tag_message,
)
from services.tagging.application.ports import Customer
from services.tagging.application.segment_commands import (
    MemberChange,
    MemberOutcome,
    MembersResult,
    SegmentResult,
)
from services.tagging.application.wire import refresh as refresh_message
from services.tagging.application.wire import timestamp
from services.tagging.domain.conditions import (
    Condition,
    HasTag,
    InLayer,
    InSegment,
    SetOperation,
    SetOperator,
    Universe,
    that,
)
from services.tagging.domain.refresh import Pace, Refresh
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


def operation(message: segment_pb2.SetOperation) -> SetOperation:
    operator = segment_pb2.SetOperator.Name(message.operator).removeprefix("SET_OPERATOR_")
    return SetOperation(SetOperator(operator), tuple(map(_operand, message.operands)))


def universe(number: int) -> Universe:
    return Universe.ALL if number == segment_pb2.UNIVERSE_ALL else Universe.KNOWN


def refresh(number: segment_pb2.Refresh.ValueType) -> Refresh | None:
    """None where it is not said."""
    return Refresh(Pace(segment_pb2.Refresh.Name(number).removeprefix("REFRESH_"))) if number else None


def _operand(message: segment_pb2.Operand) -> Condition:
    match message.WhichOneof("kind"):
        case "layer":
            return that(layer(message.layer))
        case "tag":
            return that(tag(message.tag))
    return that(InSegment(UUID(message.segment_id)))


def definition_message(it: Definition) -> segment_pb2.SegmentDefinition:
    if it.condition is not None:
        return segment_pb2.SegmentDefinition(dynamic=condition_message(it.condition))
    if it.operation is not None:
        operands = [_operand_message(one) for one in it.operation.operands]
        operator = segment_pb2.SetOperator.Value(f"SET_OPERATOR_{it.operation.operator}")
        return segment_pb2.SegmentDefinition(derived=segment_pb2.SetOperation(operator=operator, operands=operands))
    return segment_pb2.SegmentDefinition(static=segment_pb2.StaticList())


def _operand_message(it: Condition) -> segment_pb2.Operand:
    match it.leaf:
        case InLayer() as layer:
            return segment_pb2.Operand(layer=layer_message(layer))
        case HasTag() as tag:
            return segment_pb2.Operand(tag=tag_message(tag))
        case InSegment(segment):
            return segment_pb2.Operand(segment_id=str(segment))
    raise TypeError(f"{it.kind} is no operand")


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
        refresh=refresh_message(it.refresh),
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
        MemberOutcome.ERASED: pb.MemberChangeResult.STATUS_CUSTOMER_ERASED,
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
