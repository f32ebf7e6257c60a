"""Work orders, follow-ups, contacts and leads on the wire."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from google.type.date_pb2 import Date

from scrm.identity.v1 import engagement_pb2 as pb
from scrm.identity.v1 import engagement_service_pb2 as rpc
from services.identity.application.published_engagement import (
    DIRECTIONS,
    LEAD_STATES,
    PRIORITIES,
    STATES,
    optional_id,
    optional_timestamp,
    timestamp,
)
from services.identity.domain.follow_up import CONTENT as FOLLOW_UP_CONTENT
from services.identity.domain.follow_up import Direction
from services.identity.domain.lead import Lead
from services.identity.domain.sealing import SealedValue
from services.identity.domain.service_hours import BusinessHours
from services.identity.domain.work_order import CONTENT, NOTE, WorkOrder
from services.identity.read_models.contact_history import EntryKind, EntryRow
from services.identity.read_models.issue_board import IssueRow
from services.identity.read_models.leads import LeadRow
from services.identity.read_models.work_order_queue import WorkOrderCounts, WorkOrderRow

ENTRY_KINDS: Final = {it: pb.ContactEntryKind.Value(f"CONTACT_ENTRY_KIND_{it}") for it in EntryKind}


def service_hours(it: BusinessHours) -> pb.ServiceHours:
    return pb.ServiceHours(
        time_zone=it.zone,
        weekdays=it.weekdays,
        open_minute=it.opens,
        close_minute=it.closes,
        holidays=[Date(year=day.year, month=day.month, day=day.day) for day in it.holidays],
    )


def work_order(it: WorkOrder) -> pb.WorkOrder:
    """The resource, without anything personal."""
    origin = it.origin
    return pb.WorkOrder(
        work_order_id=str(it.id),
        node_id=str(it.matter.node),
        kind=it.matter.kind,
        priority=PRIORITIES[it.matter.priority],
        topics=it.matter.topics,
        product=it.matter.product,
        state=STATES[it.state],
        assignee_id=optional_id(it.assignee),
        due_time=timestamp(it.due_at),
        breached=it.breached,
        rating=it.rating,
        create_time=timestamp(it.created_at),
        update_time=timestamp(it.changed_at),
        source=origin.source if origin else "",
        external_no=origin.external_no if origin else "",
        source_version=origin.version if origin else 0,
    )


def words_of(it: WorkOrder) -> list[SealedValue]:
    """What is sealed of a work order: its content, then the notes of its steps, as far as there are any."""
    node = it.matter.node
    content = [SealedValue(node, CONTENT, it.content)] if it.content else []
    return content + [SealedValue(node, NOTE, step.note) for step in it.steps if step.note]


def whole_work_order(it: WorkOrder, words: Sequence[str | None]) -> pb.WorkOrder:
    """The resource with its steps; `words` are those of `words_of` it, none for who may not see them."""
    found, waiting = work_order(it), iter(words)
    if it.content and words:
        _set(found, "content", next(waiting))
    for step in it.steps:
        shown = found.steps.add(
            from_state=STATES[step.former],
            to_state=STATES[step.state],
            assignee_id=optional_id(step.assignee),
            step_time=timestamp(step.at),
        )
        if step.note and words:
            _set(shown, "note", next(waiting))
    return found


def listed_work_order(it: WorkOrderRow) -> pb.WorkOrder:
    return pb.WorkOrder(
        work_order_id=str(it.work_order),
        node_id=str(it.node),
        kind=it.kind,
        priority=pb.WorkOrderPriority.Value(f"WORK_ORDER_PRIORITY_{it.priority}"),
        topics=it.topics,
        product=it.product,
        state=pb.WorkOrderState.Value(f"WORK_ORDER_STATE_{it.state}"),
        assignee_id=optional_id(it.assignee),
        due_time=timestamp(it.due_at),
        breached=it.breached,
        rating=it.rating,
        create_time=timestamp(it.created_at),
        update_time=timestamp(it.changed_at),
        source=it.source,
        external_no=it.external_no,
        source_version=it.source_version,
    )


def counts(it: WorkOrderCounts) -> pb.WorkOrderCounts:
    return pb.WorkOrderCounts(
        state=pb.WorkOrderState.Value(f"WORK_ORDER_STATE_{it.state}"),
        priority=pb.WorkOrderPriority.Value(f"WORK_ORDER_PRIORITY_{it.priority}"),
        work_orders=it.work_orders,
        breached=it.breached,
        rated=it.rated,
        average_rating=it.average_rating,
    )


def words_of_entry(it: EntryRow) -> list[SealedValue]:
    return [SealedValue(it.node, FOLLOW_UP_CONTENT, it.content)] if it.content else []


def entry(it: EntryRow, words: str | None) -> pb.ContactEntry:
    found = pb.ContactEntry(
        entry_id=str(it.entry),
        kind=ENTRY_KINDS[it.kind],
        node_id=str(it.node),
        occur_time=timestamp(it.occurred_at),
        code=it.code,
        direction=DIRECTIONS[Direction(it.direction)] if it.direction else pb.CONTACT_DIRECTION_UNSPECIFIED,
        result=it.result or "",
        duration_seconds=it.duration_seconds,
        staff_id=optional_id(it.staff),
        stage=it.stage or "",
        next_follow_time=optional_timestamp(it.next_follow_at),
        topics=it.topics,
        supersedes=optional_id(it.supersedes),
        superseded_by=optional_id(it.superseded_by),
        broadcast_id=optional_id(it.broadcast),
    )
    _set(found, "content", words)
    return found


def lead(it: Lead) -> pb.Lead:
    return pb.Lead(
        lead_id=str(it.id),
        node_id=str(it.prospect.node),
        category=it.prospect.category,
        score=it.prospect.score,
        owner_id=optional_id(it.prospect.owner),
        state=LEAD_STATES[it.state],
        reason=it.reason,
        order_id=optional_id(it.order),
        create_time=timestamp(it.opened_at),
        update_time=timestamp(it.changed_at),
    )


def listed_lead(it: LeadRow) -> pb.Lead:
    return pb.Lead(
        lead_id=str(it.lead),
        node_id=str(it.node),
        category=it.category,
        score=it.score,
        owner_id=optional_id(it.owner),
        state=pb.LeadState.Value(f"LEAD_STATE_{it.state}"),
        reason=it.reason,
        order_id=optional_id(it.order_id),
        create_time=timestamp(it.opened_at),
        update_time=timestamp(it.changed_at),
    )


def issue_board(rows: Iterable[IssueRow]) -> rpc.GetIssueBoardResponse:
    found = list(rows)
    return rpc.GetIssueBoardResponse(
        issues=[
            pb.Issue(
                topic=it.topic,
                mentions=it.mentions,
                share=it.share,
                previous_mentions=it.previous,
                trend=it.trend,
                average_rating=it.average_rating,
                product=it.product or "",
            )
            for it in found
        ],
        mentions=found[0].total if found else 0,
    )


def _set(message: Any, field: str, text: str | None) -> None:
    if text is not None:
        setattr(message, field, text)
