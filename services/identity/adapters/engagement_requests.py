"""Requests about work orders, follow-ups, contacts and leads, as commands."""

from collections.abc import Mapping
from datetime import date
from typing import TypeVar
from uuid import UUID

from google.type.date_pb2 import Date

from chassis.errors import BadFormat
from scrm.identity.v1 import engagement_pb2 as pb
from scrm.identity.v1 import engagement_service_pb2 as rpc
from services.identity.adapters.wire import given_instant
from services.identity.application.contact_commands import RecordContact, RecordFollowUp
from services.identity.application.lead_commands import UpdateLead
from services.identity.application.published_engagement import DIRECTIONS, LEAD_STATES, PRIORITIES, STATES, TYPES
from services.identity.application.work_order_commands import About, TransitionWorkOrder, UpsertExternalWorkOrder
from services.identity.domain.service_hours import BusinessHours
from services.identity.domain.work_order import Origin, Progress

K = TypeVar("K")


def known(values: Mapping[K, int], number: int) -> K | None:
    """The value of the domain that an enum stands for; None for the unspecified one."""
    return next((it for it, there in values.items() if there == number), None)


def chosen(values: Mapping[K, int], number: int) -> K:
    """The value of the domain that an enum stands for, of which the contract asks for one."""
    return next(it for it, there in values.items() if there == number)


def id_or_none(text: str) -> UUID | None:
    return UUID(text) if text else None


def about(request: rpc.CreateWorkOrderRequest | pb.ExternalWorkOrder) -> About:
    return About(
        node=UUID(request.customer_id),
        kind=request.kind,
        priority=chosen(PRIORITIES, request.priority),
        topics=tuple(request.topics),
        product=request.product,
        content=request.content,
    )


def transition_command(request: rpc.TransitionWorkOrderRequest) -> TransitionWorkOrder:
    return TransitionWorkOrder(
        UUID(request.work_order_id), chosen(STATES, request.to), id_or_none(request.assignee_id), request.note
    )


def upsert_command(request: rpc.UpsertExternalWorkOrderRequest) -> UpsertExternalWorkOrder:
    row = request.row
    created_at = given_instant(row, "create_time")
    assert created_at is not None  # noqa: S101 - the contract asks for it
    return UpsertExternalWorkOrder(
        origin=Origin(request.source, request.external_no, request.source_version),
        about=about(row),
        progress=Progress(chosen(STATES, row.state), id_or_none(row.assignee_id), row.rating or None),
        created_at=created_at,
    )


def follow_up_command(request: rpc.RecordFollowUpRequest) -> RecordFollowUp:
    return RecordFollowUp(
        node=UUID(request.customer_id),
        type=chosen(TYPES, request.type),
        content=request.content,
        stage=request.stage,
        next_follow_at=given_instant(request, "next_follow_time"),
        topics=tuple(request.topics),
        product=request.product,
        staff=id_or_none(request.staff_id),
        supersedes=id_or_none(request.supersedes),
        occurred_at=given_instant(request, "occur_time"),
    )


def contact_command(request: rpc.RecordContactRequest) -> RecordContact:
    return RecordContact(
        node=UUID(request.customer_id),
        channel=request.channel,
        direction=chosen(DIRECTIONS, request.direction),
        result=request.result,
        duration_seconds=request.duration_seconds if request.HasField("duration_seconds") else None,
        staff=id_or_none(request.staff_id),
        occurred_at=given_instant(request, "occur_time"),
    )


def update_command(request: rpc.UpdateLeadRequest) -> UpdateLead:
    return UpdateLead(
        lead_id=UUID(request.lead_id),
        state=known(LEAD_STATES, request.state),
        score=request.score if request.HasField("score") else None,
        owner=id_or_none(request.owner_id),
        reason=request.reason,
    )


def hours(it: pb.ServiceHours) -> BusinessHours:
    """Raises BadFormat, and ValueOutOfRange."""
    holidays = [_date(day, number) for number, day in enumerate(it.holidays)]
    return BusinessHours.of(it.time_zone, it.weekdays, (it.open_minute, it.close_minute), holidays)


def _date(it: Date, number: int) -> date:
    try:
        return date(it.year, it.month, it.day)
    except ValueError:
        raise BadFormat("there is no such day", field=f"service_hours.holidays[{number}]") from None
