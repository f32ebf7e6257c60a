"""The RPCs about models of layers, where customers are by them, and how they move."""

from collections.abc import Sequence
from datetime import UTC, date
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound, ValueOutOfRange
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceServicer
from services.tagging.adapters import layer_snapshots as snapshots
from services.tagging.adapters import layer_wire as wire
from services.tagging.adapters.customer_reading import customer_of
from services.tagging.adapters.layer_scores import active_cycle, scores
from services.tagging.adapters.running import model_of
from services.tagging.adapters.segment_wire import calendar_date, segment_result
from services.tagging.adapters.tag_methods import settings_of_tenant
from services.tagging.application.layer_commands import KeepLayerRun, SelectLayerCell
from services.tagging.application.ports import Customer
from services.tagging.application.wire import timestamp
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import Universe
from services.tagging.domain.errors import ModelNotFound
from services.tagging.domain.history import History, Reads
from services.tagging.domain.layer_models import LayerModel, layer_model_id
from services.tagging.domain.layers.kinds import follow
from services.tagging.domain.layers.view import NONE, View
from services.tagging.domain.models import RfmModel
from services.tagging.domain.tenant_settings import DEFAULT_ZONE
from services.tagging.read_models import bitmaps, histories, layers, model_runs, segments

BY_KEY: Final = Keyset(str)


class LayerMethods(TaggingServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    _bus: CommandBus
    _read_models: ReadModels
    _clock: Clock

    async def ListModels(self, request: pb.ListModelsRequest, context: ServicerContext) -> pb.ListModelsResponse:
        tenant, page = contexts.current().tenant, BY_KEY.page(request)
        last = page.after[0] if page.after else ""
        found = await self._read_models.query(lambda rows: layers.after(rows, tenant, last, page.limit))
        shown, token = BY_KEY.cut(request, found, lambda it: (it.key,))
        return pb.ListModelsResponse(models=map(wire.listed_model, shown), next_page_token=token)

    async def GetLayer(self, request: pb.GetLayerRequest, context: ServicerContext) -> pb.GetLayerResponse:
        """Decided on the facts of the one customer, so that it is right at any instant; by an RFM model, what the last run said."""
        tenant, node = contexts.current().tenant, UUID(request.customer_id)
        model = await model_of(self._bus, request.model_id)
        now = self._clock.now()
        at = request.at.ToDatetime(UTC) if request.HasField("at") else now
        if at > now:
            raise ValueOutOfRange("must not be in the future", field="at")
        calendar = Calendar.of(await self._zone())
        if isinstance(model, RfmModel):
            return await self._by_run(model, node, date.fromordinal(calendar.day(at)))
        if not isinstance(model, LayerModel):
            raise ModelNotFound(field="model_id")
        customer, history, known = await self._read_models.query(lambda rows: _customer(rows, tenant, node))
        message = pb.GetLayerResponse(
            customer_id=str(customer.id), model_id=model.key, model_version=model.model_version, layer=NONE
        )
        if known or model.universe is Universe.ALL:
            view = View.of(history, calendar, at)
            found = follow(model.kind, view, model.params)
            message.scores.extend(scores(model, view))
            if (cycle := active_cycle(model, view)) is not None:
                message.active_cycle.CopyFrom(cycle)
            message.layer = found.layer
            message.marks.extend(found.marks)
            if found.next_change is not None:
                message.next_change_time.CopyFrom(timestamp(found.next_change))
        return message

    async def _by_run(self, model: RfmModel, node: UUID, day: date) -> pb.GetLayerResponse:
        """The segment of a customer by the last run as of `day` or before. Raises CustomerErased, CustomerNotFound."""

        def read(rows: sa.Connection) -> pb.GetLayerResponse:
            customer, run = customer_of(rows, model.tenant, node), model_runs.last(rows, model.tenant, model.key, day)
            row = model_runs.rfm_row(rows, model.tenant, run.run, customer.ordinal) if run else None
            return pb.GetLayerResponse(
                customer_id=str(customer.id),
                model_id=model.key,
                model_version=run.version if run else model.model_version,
                layer=str(row.segment) if row and row.segment else NONE,
            )

        return await self._read_models.query(read)

    async def GetLayerReport(
        self, request: pb.GetLayerReportRequest, context: ServicerContext
    ) -> pb.GetLayerReportResponse:
        tenant, model = contexts.current().tenant, await self._layer_model(request.model_id)
        calendar = Calendar.of(await self._zone())
        start, end = calendar_date(getattr(request, "from"), "from"), calendar_date(request.to, "to")
        snapshots.check_dates(start, end, calendar, self._clock.now())

        def report(rows: sa.Connection) -> snapshots.Report:
            dated = snapshots.at_dates(rows, tenant, model, calendar, (start, end))
            if request.segment_id:
                who = segments.Sets(rows, tenant).segment(UUID(request.segment_id))
                dated = [it.among(who) for it in dated]
            return snapshots.Report.of(model, *dated)

        return wire.report(await self._read_models.query(report))

    async def SelectLayerCell(
        self, request: pb.SelectLayerCellRequest, context: ServicerContext
    ) -> pb.SelectLayerCellResponse:
        """A run is made of each date that has none, and kept with the segment."""
        zone = await self._zone()
        calendar = Calendar.of(zone)
        dates = calendar_date(getattr(request, "from"), "from"), calendar_date(request.to, "to")
        snapshots.check_dates(*dates, calendar, self._clock.now())
        command = SelectLayerCell(
            request.display_name,
            request.model_id,
            await self._runs(request.model_id, zone, dates),
            (request.from_layer, request.to_layer),
        )
        found: pb.SelectLayerCellResponse = await self._bus.execute(
            command, reply=lambda it: pb.SelectLayerCellResponse(segment=segment_result(it))
        )
        return found

    async def _runs(self, key: str, zone: str, dates: Sequence[date]) -> list[UUID | KeepLayerRun]:
        """The run of a model as of each date, or what makes it one; none of a model that is not there."""
        tenant, calendar = contexts.current().tenant, Calendar.of(zone)
        try:
            model = await self._layer_model(key)
        except ModelNotFound:
            return []
        dated = await self._read_models.query(lambda rows: snapshots.at_dates(rows, tenant, model, calendar, dates))
        return [it.run or snapshots.to_keep(model, it, zone) for it in dated]

    async def _layer_model(self, key: str) -> LayerModel:
        try:
            return await self._bus.load(LayerModel, layer_model_id(contexts.current().tenant, key))
        except AggregateNotFound:
            raise ModelNotFound(field="model_id") from None

    async def _zone(self) -> str:
        settings = await settings_of_tenant(self._bus)
        return settings.time_zone if settings else DEFAULT_ZONE


def _customer(rows: sa.Connection, tenant: str, node: UUID) -> tuple[Customer, History, bool]:
    """The customer that a node belongs to, and whether it is known. Raises CustomerErased, CustomerNotFound."""
    customer = customer_of(rows, tenant, node)
    history = histories.histories(rows, tenant, (customer.id,), Reads())[customer.id]
    known = bitmaps.among(rows, tenant, (bitmaps.KNOWN,), BitMap((customer.ordinal,)))[bitmaps.KNOWN]
    return customer, history, bool(known)
