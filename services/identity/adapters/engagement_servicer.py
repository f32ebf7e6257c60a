"""Work orders, follow-ups, contacts and leads over gRPC."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.identity.v1 import engagement_service_pb2 as pb
from scrm.identity.v1.engagement_service_pb2_grpc import EngagementServiceServicer
from services.identity.adapters import engagement_requests as requests
from services.identity.adapters import engagement_wire as wire
from services.identity.adapters.unsealing import Unsealer
from services.identity.adapters.wire import given_instant
from services.identity.application.lead_commands import OpenLead
from services.identity.application.pii_views import may_see, record_view
from services.identity.application.published_engagement import LEAD_STATES, PRIORITIES, STATES
from services.identity.application.queries import get_customer
from services.identity.application.work_order_commands import CreateWorkOrder, RateWorkOrder, SetServiceHours, Upserted
from services.identity.domain.errors import CustomerNotFound, LeadNotFound, WorkOrderNotFound
from services.identity.domain.follow_up import CONTENT as FOLLOW_UP_CONTENT
from services.identity.domain.follow_up import Contact, FollowUp
from services.identity.domain.lead import Lead, Prospect
from services.identity.domain.sealing import SealedValue
from services.identity.domain.service_hours import DEFAULT_HOURS, ServiceHours, service_hours_id
from services.identity.domain.work_order import WorkOrder
from services.identity.read_models.contact_history import EntryRow, contact_history
from services.identity.read_models.customer_directory import nodes_with
from services.identity.read_models.issue_board import issue_board
from services.identity.read_models.leads import LeadFilter, LeadRow, list_leads
from services.identity.read_models.work_order_queue import (
    WorkOrderFilter,
    WorkOrderRow,
    list_work_orders,
    work_order_counts,
)

BY_TIME: Final = Keyset(datetime, UUID)
BY_ID: Final = Keyset(UUID)
MOST_ISSUES: Final = 50


class EngagementServicer(EngagementServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, unsealer: Unsealer) -> None:
        self._bus = bus
        self._read_models = read_models
        self._unsealer = unsealer

    async def CreateWorkOrder(
        self, request: pb.CreateWorkOrderRequest, context: ServicerContext
    ) -> pb.CreateWorkOrderResponse:
        command = CreateWorkOrder(requests.about(request))
        answer: pb.CreateWorkOrderResponse = await self._bus.execute(command, reply=_created)
        return answer

    async def GetWorkOrder(self, request: pb.GetWorkOrderRequest, context: ServicerContext) -> pb.GetWorkOrderResponse:
        try:
            found = await self._bus.load(WorkOrder, UUID(request.work_order_id))
        except AggregateNotFound:
            raise WorkOrderNotFound(field="work_order_id") from None
        words = wire.words_of(found) if may_see(request.purpose) else []
        opened = await self._read_models.query(lambda rows: self._unsealer.open(rows, words)) if words else []
        await self._record(found.matter.node, {it.field for it in words}, request.purpose)
        return pb.GetWorkOrderResponse(work_order=wire.whole_work_order(found, opened))

    async def ListWorkOrders(
        self, request: pb.ListWorkOrdersRequest, context: ServicerContext
    ) -> pb.ListWorkOrdersResponse:
        page = BY_TIME.page(request)

        def ask(rows: sa.Connection) -> list[WorkOrderRow]:
            wanted = WorkOrderFilter(
                state=requests.known(STATES, request.state),
                assignee=requests.id_or_none(request.assignee_id),
                priority=requests.known(PRIORITIES, request.priority),
                due_before=given_instant(request, "due_before"),
                nodes=_nodes(rows, request.customer_id) if request.customer_id else None,
            )
            return list_work_orders(rows, wanted, page.after, page.limit)

        found = await self._read_models.query(ask)
        shown, token = BY_TIME.cut(request, found, lambda it: [it.due_at, str(it.work_order)])
        return pb.ListWorkOrdersResponse(
            work_orders=[wire.listed_work_order(it) for it in shown], next_page_token=token
        )

    async def GetWorkOrderStatistics(
        self, request: pb.GetWorkOrderStatisticsRequest, context: ServicerContext
    ) -> pb.GetWorkOrderStatisticsResponse:
        found = await self._read_models.query(work_order_counts)
        return pb.GetWorkOrderStatisticsResponse(counts=[wire.counts(it) for it in found])

    async def TransitionWorkOrder(
        self, request: pb.TransitionWorkOrderRequest, context: ServicerContext
    ) -> pb.TransitionWorkOrderResponse:
        command = requests.transition_command(request)
        answer: pb.TransitionWorkOrderResponse = await self._bus.execute(command, reply=_transitioned)
        return answer

    async def RateWorkOrder(
        self, request: pb.RateWorkOrderRequest, context: ServicerContext
    ) -> pb.RateWorkOrderResponse:
        command = RateWorkOrder(UUID(request.work_order_id), request.rating)
        answer: pb.RateWorkOrderResponse = await self._bus.execute(command, reply=_rated)
        return answer

    async def UpsertExternalWorkOrder(
        self, request: pb.UpsertExternalWorkOrderRequest, context: ServicerContext
    ) -> pb.UpsertExternalWorkOrderResponse:
        command = requests.upsert_command(request)
        answer: pb.UpsertExternalWorkOrderResponse = await self._bus.execute(command, reply=_upserted)
        return answer

    async def RecordFollowUp(
        self, request: pb.RecordFollowUpRequest, context: ServicerContext
    ) -> pb.RecordFollowUpResponse:
        command = requests.follow_up_command(request)
        answer: pb.RecordFollowUpResponse = await self._bus.execute(command, reply=_followed_up)
        return answer

    async def RecordContact(
        self, request: pb.RecordContactRequest, context: ServicerContext
    ) -> pb.RecordContactResponse:
        command = requests.contact_command(request)
        answer: pb.RecordContactResponse = await self._bus.execute(command, reply=_in_touch)
        return answer

    async def ListContactHistory(
        self, request: pb.ListContactHistoryRequest, context: ServicerContext
    ) -> pb.ListContactHistoryResponse:
        page = BY_TIME.page(request)
        kinds = {it for number in request.kinds if (it := requests.known(wire.ENTRY_KINDS, number)) is not None}
        sees_all = may_see(request.purpose)

        def ask(rows: sa.Connection) -> tuple[list[EntryRow], dict[UUID, str | None]]:
            nodes = _nodes(rows, request.customer_id)
            found = contact_history(rows, nodes, kinds, page.after, page.limit)
            return found, self._words(rows, found) if sees_all else {}

        found, words = await self._read_models.query(ask)
        shown, token = BY_TIME.cut(request, found, lambda it: [it.occurred_at, str(it.entry)])
        fields = {FOLLOW_UP_CONTENT for it in shown if it.entry in words}
        await self._record(UUID(request.customer_id), fields, request.purpose)
        entries = [wire.entry(it, words.get(it.entry)) for it in shown]
        return pb.ListContactHistoryResponse(entries=entries, next_page_token=token)

    async def OpenLead(self, request: pb.OpenLeadRequest, context: ServicerContext) -> pb.OpenLeadResponse:
        owner = requests.id_or_none(request.owner_id)
        command = OpenLead(Prospect(UUID(request.customer_id), request.category, request.score, owner))
        answer: pb.OpenLeadResponse = await self._bus.execute(command, reply=_opened)
        return answer

    async def GetLead(self, request: pb.GetLeadRequest, context: ServicerContext) -> pb.GetLeadResponse:
        try:
            found = await self._bus.load(Lead, UUID(request.lead_id))
        except AggregateNotFound:
            raise LeadNotFound(field="lead_id") from None
        return pb.GetLeadResponse(lead=wire.lead(found))

    async def ListLeads(self, request: pb.ListLeadsRequest, context: ServicerContext) -> pb.ListLeadsResponse:
        page = BY_ID.page(request)
        before = page.after[0] if page.after else None

        def ask(rows: sa.Connection) -> list[LeadRow]:
            nodes = _nodes(rows, request.customer_id) if request.customer_id else None
            state, owner = requests.known(LEAD_STATES, request.state), requests.id_or_none(request.owner_id)
            return list_leads(rows, LeadFilter(state, owner, nodes), before, page.limit)

        found = await self._read_models.query(ask)
        shown, token = BY_ID.cut(request, found, lambda it: [str(it.lead)])
        return pb.ListLeadsResponse(leads=[wire.listed_lead(it) for it in shown], next_page_token=token)

    async def UpdateLead(self, request: pb.UpdateLeadRequest, context: ServicerContext) -> pb.UpdateLeadResponse:
        answer: pb.UpdateLeadResponse = await self._bus.execute(requests.update_command(request), reply=_updated)
        return answer

    async def GetIssueBoard(
        self, request: pb.GetIssueBoardRequest, context: ServicerContext
    ) -> pb.GetIssueBoardResponse:
        month, limit = date.fromisoformat(f"{request.month}-01"), request.limit or MOST_ISSUES
        return wire.issue_board(await self._read_models.query(lambda rows: issue_board(rows, month, limit)))

    async def GetServiceHours(
        self, request: pb.GetServiceHoursRequest, context: ServicerContext
    ) -> pb.GetServiceHoursResponse:
        try:
            hours = (await self._bus.load(ServiceHours, service_hours_id(current().tenant))).hours
        except AggregateNotFound:
            hours = DEFAULT_HOURS
        return pb.GetServiceHoursResponse(service_hours=wire.service_hours(hours))

    async def SetServiceHours(
        self, request: pb.SetServiceHoursRequest, context: ServicerContext
    ) -> pb.SetServiceHoursResponse:
        command = SetServiceHours(requests.hours(request.service_hours))
        answer: pb.SetServiceHoursResponse = await self._bus.execute(command, reply=_set)
        return answer

    async def _record(self, node: UUID, fields: Collection[str], purpose: str) -> None:
        """Have it on record that the caller is about to see these fields of the customer of `node`."""
        if fields:
            await record_view(self._bus, (await get_customer(self._bus, node)).customer.id, fields, purpose)

    def _words(self, rows: sa.Connection, found: Sequence[EntryRow]) -> dict[UUID, str | None]:
        """What was said, by entry."""
        sealed: list[tuple[UUID, SealedValue]] = [
            (it.entry, words) for it in found for words in wire.words_of_entry(it)
        ]
        opened = self._unsealer.open(rows, [words for _, words in sealed])
        return {entry: text for (entry, _), text in zip(sealed, opened, strict=True)}


def _nodes(rows: sa.Connection, customer: str) -> list[UUID]:
    """All nodes of the customer. Raises CustomerNotFound."""
    nodes = nodes_with(rows, UUID(customer))
    if not nodes:
        raise CustomerNotFound(field="customer_id")
    return nodes


def _created(it: WorkOrder) -> pb.CreateWorkOrderResponse:
    return pb.CreateWorkOrderResponse(work_order=wire.work_order(it))


def _transitioned(it: WorkOrder) -> pb.TransitionWorkOrderResponse:
    return pb.TransitionWorkOrderResponse(work_order=wire.work_order(it))


def _rated(it: WorkOrder) -> pb.RateWorkOrderResponse:
    return pb.RateWorkOrderResponse(work_order=wire.work_order(it))


def _upserted(it: Upserted) -> pb.UpsertExternalWorkOrderResponse:
    return pb.UpsertExternalWorkOrderResponse(work_order=wire.work_order(it.work_order), applied=it.applied)


def _followed_up(it: FollowUp) -> pb.RecordFollowUpResponse:
    return pb.RecordFollowUpResponse(follow_up_id=str(it.id), node_id=str(it.node))


def _in_touch(it: Contact) -> pb.RecordContactResponse:
    return pb.RecordContactResponse(contact_id=str(it.id), node_id=str(it.node))


def _opened(it: Lead) -> pb.OpenLeadResponse:
    return pb.OpenLeadResponse(lead=wire.lead(it))


def _updated(it: Lead) -> pb.UpdateLeadResponse:
    return pb.UpdateLeadResponse(lead=wire.lead(it))


def _set(it: ServiceHours) -> pb.SetServiceHoursResponse:
    return pb.SetServiceHoursResponse(service_hours=wire.service_hours(it.hours))
