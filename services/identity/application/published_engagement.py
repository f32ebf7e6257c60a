"""What other services are told of work orders, follow-ups, contacts and leads; of what people said in their own words, nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.log import Recorded
from scrm.identity.v1 import engagement_pb2
from scrm.identity.v1 import events_pb2 as pb
from services.identity.domain.follow_up import Contact, Direction, FollowUp, FollowUpType
from services.identity.domain.lead import Lead, LeadSlot, LeadState
from services.identity.domain.service_hours import ServiceHours
from services.identity.domain.work_order import Matter, Priority, WorkOrder, WorkOrderState

PRIVATE: Final = frozenset[type](
    {ServiceHours.Opened, ServiceHours.Changed, FollowUp.Superseded, LeadSlot.Made, LeadSlot.Taken}
)
"""That a follow-up was superseded is told by the one that did it."""

STATES: Final = {it: engagement_pb2.WorkOrderState.Value(f"WORK_ORDER_STATE_{it}") for it in WorkOrderState}
PRIORITIES: Final = {it: engagement_pb2.WorkOrderPriority.Value(f"WORK_ORDER_PRIORITY_{it}") for it in Priority}
TYPES: Final = {it: engagement_pb2.FollowUpType.Value(f"FOLLOW_UP_TYPE_{it}") for it in FollowUpType}
DIRECTIONS: Final = {it: engagement_pb2.ContactDirection.Value(f"CONTACT_DIRECTION_{it}") for it in Direction}
LEAD_STATES: Final = {it: engagement_pb2.LeadState.Value(f"LEAD_STATE_{it}") for it in LeadState}


def of_engagement(recorded: Recorded) -> Sequence[Message] | None:
    """The messages for an event of this kind; None for a private one and for any other."""
    return _of_work_order(recorded) or _of_contact(recorded) or _of_lead(recorded)


def node_concerned(recorded: Recorded) -> UUID | None:
    """The node by which an event of this kind is kept in order; None for one of another kind."""
    match recorded.event:
        case WorkOrder.Mirrored(row=row):
            return row.matter.node
        case WorkOrder.Created(matter=matter) | WorkOrder.Transitioned(matter=matter):
            return matter.node
        case WorkOrder.SlaBreached(matter=matter) | WorkOrder.Rated(matter=matter):
            return matter.node
        case FollowUp.Recorded(node=node) | Contact.Recorded(node=node):
            return node
        case Lead.Opened(prospect=prospect) | Lead.Changed(prospect=prospect):
            return prospect.node
        case Lead.Won(prospect=prospect) | Lead.Lost(prospect=prospect):
            return prospect.node
    return None


def _of_work_order(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case WorkOrder.Created() as event:
            return _created(event)
        case WorkOrder.Transitioned(step=step) as event:
            return [
                pb.WorkOrderTransitioned(
                    **_about(event, event.matter),
                    from_state=STATES[step.former],
                    to_state=STATES[step.state],
                    assignee_id=optional_id(step.assignee),
                    due_time=timestamp(event.due_at),
                    transition_time=timestamp(step.at),
                )
            ]
        case WorkOrder.Mirrored() as event:
            return _mirrored(event)
        case WorkOrder.SlaBreached() as event:
            return [pb.WorkOrderSlaBreached(**_about(event, event.matter), due_time=timestamp(event.due_at))]
        case WorkOrder.Rated() as event:
            return [_rated(event, event.matter, event.rating, event.rated_at)]
    return None


def _created(event: WorkOrder.Created) -> Sequence[Message]:
    created = pb.WorkOrderCreated(
        **_about(event, event.matter),
        state=STATES[event.progress.state],
        due_time=timestamp(event.due_at),
        source=event.origin.source if event.origin else "",
        source_version=event.origin.version if event.origin else 0,
        create_time=timestamp(event.created_at),
    )
    rating = event.progress.rating
    return [created] if rating is None else [created, _rated(event, event.matter, rating, event.created_at)]


def _mirrored(event: WorkOrder.Mirrored) -> Sequence[Message]:
    row, former = event.row, event.former
    moved = pb.WorkOrderTransitioned(
        **_about(event, row.matter),
        from_state=STATES[former.state],
        to_state=STATES[row.progress.state],
        assignee_id=optional_id(row.progress.assignee),
        due_time=timestamp(row.due_at),
        source=event.origin.source,
        source_version=event.origin.version,
        transition_time=timestamp(event.mirrored_at),
    )
    rating = row.progress.rating
    if rating is None or rating == former.rating:
        return [moved]
    return [moved, _rated(event, row.matter, rating, event.mirrored_at)]


def _rated(event: Any, matter: Matter, rating: int, at: datetime) -> Message:
    return pb.WorkOrderRated(**_about(event, matter), rating=rating, rate_time=timestamp(at))


def _about(event: Any, matter: Matter) -> dict[str, Any]:
    return {
        "work_order_id": str(event.originator_id),
        "node_id": str(matter.node),
        "kind": matter.kind,
        "priority": PRIORITIES[matter.priority],
        "topics": matter.topics,
        "product": matter.product,
    }


def _of_contact(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case FollowUp.Recorded(notes=notes) as event:
            return [
                pb.FollowUpRecorded(
                    follow_up_id=str(event.originator_id),
                    node_id=str(event.node),
                    staff_id=optional_id(event.staff),
                    type=TYPES[notes.type],
                    stage=notes.stage,
                    topics=notes.topics,
                    product=notes.product,
                    next_follow_time=optional_timestamp(notes.next_follow_at),
                    supersedes=optional_id(event.supersedes),
                    occur_time=timestamp(event.occurred_at),
                )
            ]
        case Contact.Recorded() as event:
            return [
                pb.ContactRecorded(
                    contact_id=str(event.originator_id),
                    node_id=str(event.node),
                    channel=event.channel,
                    direction=DIRECTIONS[event.direction],
                    result=event.result,
                    duration_seconds=event.duration_seconds,
                    staff_id=optional_id(event.staff),
                    occur_time=timestamp(event.occurred_at),
                )
            ]
    return None


def _of_lead(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case Lead.Opened() as event:
            return [pb.LeadOpened(**_prospect(event), open_time=timestamp(event.opened_at))]
        case Lead.Changed() as event:
            state, at = LEAD_STATES[event.state], timestamp(event.changed_at)
            return [pb.LeadChanged(**_prospect(event), state=state, change_time=at)]
        case Lead.Won() as event:
            order, at = optional_id(event.order), timestamp(event.won_at)
            return [pb.LeadWon(**_prospect(event), order_id=order, reason=event.reason, win_time=at)]
        case Lead.Lost() as event:
            return [pb.LeadLost(**_prospect(event), reason=event.reason, lose_time=timestamp(event.lost_at))]
    return None


def _prospect(event: Any) -> dict[str, Any]:
    return {
        "lead_id": str(event.originator_id),
        "node_id": str(event.prospect.node),
        "category": event.prospect.category,
        "score": event.prospect.score,
        "staff_id": optional_id(event.prospect.owner),
    }


def optional_id(id: UUID | None) -> str:
    return str(id) if id is not None else ""


def optional_timestamp(at: datetime | None) -> Timestamp | None:
    return timestamp(at) if at is not None else None


def timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
