"""Flows over gRPC: requests into commands and queries, their results into responses."""

from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.campaigns.v1 import flow_service_pb2 as pb
from scrm.campaigns.v1.flow_service_pb2_grpc import FlowServiceServicer
from services.campaigns.adapters import flow_wire as wire
from services.campaigns.application.flow_commands import CreateFlow, EndFlow, PublishFlow, UpdateFlow
from services.campaigns.domain.errors import FlowNotFound
from services.campaigns.domain.flow import Flow
from services.campaigns.read_models import flow_progress, flows

LATEST_FIRST: Final = Keyset(datetime, UUID)


class FlowServicer(FlowServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models

    async def CreateFlow(self, request: pb.CreateFlowRequest, context: ServicerContext) -> pb.CreateFlowResponse:
        command = CreateFlow(request.display_name, wire.definition(request.definition))
        found: pb.CreateFlowResponse = await self._bus.execute(command, reply=wire.created)
        return found

    async def GetFlow(self, request: pb.GetFlowRequest, context: ServicerContext) -> pb.GetFlowResponse:
        return pb.GetFlowResponse(flow=wire.flow(await self._load(request.flow_id)))

    async def ListFlows(self, request: pb.ListFlowsRequest, context: ServicerContext) -> pb.ListFlowsResponse:
        page = LATEST_FIRST.page(request)
        before = (page.after[0], page.after[1]) if page.after else None
        rows = await self._read_models.query(lambda rows: flows.latest(rows, page.limit, before))
        shown, token = LATEST_FIRST.cut(request, rows, lambda it: (it.created_at, str(it.flow)))
        return pb.ListFlowsResponse(flows=[wire.listed(it) for it in shown], next_page_token=token)

    async def UpdateFlow(self, request: pb.UpdateFlowRequest, context: ServicerContext) -> pb.UpdateFlowResponse:
        definition = wire.definition(request.definition)
        command = UpdateFlow(UUID(request.flow_id), request.display_name, definition, request.etag)
        found: pb.UpdateFlowResponse = await self._bus.execute(command, reply=wire.updated)
        return found

    async def PublishFlow(self, request: pb.PublishFlowRequest, context: ServicerContext) -> pb.PublishFlowResponse:
        command = PublishFlow(UUID(request.flow_id), request.etag)
        found: pb.PublishFlowResponse = await self._bus.execute(command, reply=wire.published)
        return found

    async def EndFlow(self, request: pb.EndFlowRequest, context: ServicerContext) -> pb.EndFlowResponse:
        command = EndFlow(UUID(request.flow_id), request.etag)
        found: pb.EndFlowResponse = await self._bus.execute(command, reply=wire.ended)
        return found

    async def ListInstances(
        self, request: pb.ListInstancesRequest, context: ServicerContext
    ) -> pb.ListInstancesResponse:
        page, flow = LATEST_FIRST.page(request), await self._load(request.flow_id)
        before = (page.after[0], page.after[1]) if page.after else None
        customer = UUID(request.customer_id) if request.customer_id else None
        rows = await self._read_models.query(
            lambda rows: flow_progress.latest(rows, flow.id, page.limit, before, customer)
        )
        shown, token = LATEST_FIRST.cut(request, rows, lambda it: (it.entered_at, str(it.instance)))
        return pb.ListInstancesResponse(instances=[wire.instance(it) for it in shown], next_page_token=token)

    async def GetFlowStatistics(
        self, request: pb.GetFlowStatisticsRequest, context: ServicerContext
    ) -> pb.GetFlowStatisticsResponse:
        flow = await self._load(request.flow_id)
        rows = await self._read_models.query(lambda rows: flow_progress.counts(rows, flow.id))
        return pb.GetFlowStatisticsResponse(statistics=wire.statistics(str(flow.id), rows))

    async def _load(self, id: str) -> Flow:
        try:
            return await self._bus.load(Flow, UUID(id))
        except AggregateNotFound:
            raise FlowNotFound from None
