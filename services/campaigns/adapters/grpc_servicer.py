"""Campaigns over gRPC: requests into commands and queries, their results into responses."""

from datetime import datetime, timedelta
from uuid import UUID

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound, ValueOutOfRange
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.campaigns.v1 import campaigns_service_pb2 as pb
from scrm.campaigns.v1.campaigns_service_pb2_grpc import CampaignsServiceServicer
from services.campaigns.adapters import wire
from services.campaigns.adapters.result_wire import result
from services.campaigns.application.commands import (
    ApproveBroadcast,
    CancelBroadcast,
    RollOutArm,
    SetGlobalControl,
    UpdateExperiment,
)
from services.campaigns.domain.broadcast import Broadcast
from services.campaigns.domain.errors import BroadcastNotApproved, BroadcastNotFound
from services.campaigns.domain.global_control import (
    DEFAULT_BUCKETS,
    GlobalControl,
    buckets_of,
)
from services.campaigns.read_models import broadcasts, captured_messages, conversions, deliveries

BY_CREATION = Keyset(datetime, UUID)
BY_DELIVERY = Keyset(UUID, default=1000, maximum=10_000)


class CampaignsServicer(CampaignsServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock

    async def CreateBroadcast(
        self, request: pb.CreateBroadcastRequest, context: ServicerContext
    ) -> pb.CreateBroadcastResponse:
        found: pb.CreateBroadcastResponse = await self._bus.execute(wire.create_command(request), reply=wire.created)
        return found

    async def GetBroadcast(self, request: pb.GetBroadcastRequest, context: ServicerContext) -> pb.GetBroadcastResponse:
        broadcast = await self._load(request.broadcast_id)
        return pb.GetBroadcastResponse(broadcast=wire.broadcast(broadcast))

    async def ListBroadcasts(
        self, request: pb.ListBroadcastsRequest, context: ServicerContext
    ) -> pb.ListBroadcastsResponse:
        page = BY_CREATION.page(request)
        before = (page.after[0], page.after[1]) if page.after else None
        rows = await self._read_models.query(lambda rows: broadcasts.latest(rows, page.limit, before))
        shown, token = BY_CREATION.cut(request, rows, lambda it: (it.created_at, str(it.broadcast)))
        return pb.ListBroadcastsResponse(broadcasts=[wire.listed(it) for it in shown], next_page_token=token)

    async def UpdateExperiment(
        self, request: pb.UpdateExperimentRequest, context: ServicerContext
    ) -> pb.UpdateExperimentResponse:
        command = UpdateExperiment(UUID(request.broadcast_id), wire.design(request.experiment), request.etag)
        found: pb.UpdateExperimentResponse = await self._bus.execute(command, reply=wire.updated)
        return found

    async def ApproveBroadcast(
        self, request: pb.ApproveBroadcastRequest, context: ServicerContext
    ) -> pb.ApproveBroadcastResponse:
        command = ApproveBroadcast(UUID(request.broadcast_id), request.etag)
        found: pb.ApproveBroadcastResponse = await self._bus.execute(command, reply=wire.approved)
        return found

    async def CancelBroadcast(
        self, request: pb.CancelBroadcastRequest, context: ServicerContext
    ) -> pb.CancelBroadcastResponse:
        command = CancelBroadcast(UUID(request.broadcast_id), request.reason, request.etag)
        found: pb.CancelBroadcastResponse = await self._bus.execute(command, reply=wire.cancelled)
        return found

    async def RollOutArm(self, request: pb.RollOutArmRequest, context: ServicerContext) -> pb.RollOutArmResponse:
        command = RollOutArm(UUID(request.broadcast_id), request.arm, request.reason, request.etag)
        found: pb.RollOutArmResponse = await self._bus.execute(command, reply=wire.rolled_out)
        return found

    async def GetBroadcastStatistics(
        self, request: pb.GetBroadcastStatisticsRequest, context: ServicerContext
    ) -> pb.GetBroadcastStatisticsResponse:
        id = UUID(request.broadcast_id)
        sizes, counts = await self._read_models.query(
            lambda rows: (broadcasts.sizes(rows, id), deliveries.counts(rows, id))
        )
        if sizes is None:
            await self._load(request.broadcast_id)
        statistics = wire.statistics(str(id), sizes or (0, 0, 0), counts)
        return pb.GetBroadcastStatisticsResponse(statistics=statistics)

    async def GetExperimentResult(
        self, request: pb.GetExperimentResultRequest, context: ServicerContext
    ) -> pb.GetExperimentResultResponse:
        broadcast = await self._load(request.broadcast_id)
        if broadcast.opens_at is None:
            raise BroadcastNotApproved(state=broadcast.state)
        window = broadcast.design.window
        if request.HasField("window"):
            window = request.window.ToTimedelta()
            if not timedelta() < window <= broadcast.design.observation:
                raise ValueOutOfRange(field="window")
        until = broadcast.opens_at + window
        tallies = await self._read_models.query(lambda rows: conversions.tallies(rows, broadcast.id, until))
        found = result(broadcast, tallies, window, self._clock.now())
        return pb.GetExperimentResultResponse(result=found)

    async def ListCapturedMessages(
        self, request: pb.ListCapturedMessagesRequest, context: ServicerContext
    ) -> pb.ListCapturedMessagesResponse:
        page = BY_DELIVERY.page(request)
        broadcast = await self._load(request.broadcast_id)
        after: UUID | None = page.after[0] if page.after else None
        rows = await self._read_models.query(lambda rows: captured_messages.page(rows, broadcast.id, after, page.limit))
        shown, token = BY_DELIVERY.cut(request, rows, lambda it: (str(it.delivery),))
        return pb.ListCapturedMessagesResponse(
            messages=[wire.captured(str(broadcast.id), it) for it in shown], next_page_token=token
        )

    async def SetGlobalControl(
        self, request: pb.SetGlobalControlRequest, context: ServicerContext
    ) -> pb.SetGlobalControlResponse:
        found: pb.SetGlobalControlResponse = await self._bus.execute(
            SetGlobalControl(buckets_of(request.percent)),
            reply=lambda buckets: pb.SetGlobalControlResponse(percent=buckets / 100),
        )
        return found

    async def GetGlobalControl(
        self, request: pb.GetGlobalControlRequest, context: ServicerContext
    ) -> pb.GetGlobalControlResponse:
        try:
            control = await self._bus.load(GlobalControl, GlobalControl.id_of(current().tenant))
            buckets = control.buckets
        except AggregateNotFound:
            buckets = DEFAULT_BUCKETS
        return pb.GetGlobalControlResponse(percent=buckets / 100)

    async def _load(self, id: str) -> Broadcast:
        try:
            return await self._bus.load(Broadcast, UUID(id))
        except AggregateNotFound:
            raise BroadcastNotFound from None
