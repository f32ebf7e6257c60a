"""The RPCs about models and their runs."""

import asyncio
from datetime import date
from typing import Final
from uuid import UUID

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import layer_pb2, model_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceServicer
from services.tagging.adapters import layer_snapshots as snapshots
from services.tagging.adapters import layer_wire, value_wire
from services.tagging.adapters import model_wire as wire
from services.tagging.adapters.segment_wire import calendar_date, universe
from services.tagging.adapters.tag_methods import settings_of_tenant
from services.tagging.adapters.value_methods import Valuing
from services.tagging.application.layer_commands import DefineLayerModel
from services.tagging.application.model_commands import DefineModel, KeepModelRun
from services.tagging.application.value_commands import DefineValueModel
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.errors import (
    AsOfInFuture,
    CustomerNotFound,
    CustomerNotScored,
    ModelNotFound,
    RunNotFound,
)
from services.tagging.domain.layer_models import LayerModel, LayerRun, layer_model_id
from services.tagging.domain.models import ModelRun, RfmModel, Window, model_id
from services.tagging.domain.tenant_settings import DEFAULT_CURRENCY, DEFAULT_ZONE
from services.tagging.domain.value_models import ValueModel, ValueRun, value_model_id
from services.tagging.read_models import audiences, directory, model_runs, purchases

BY_NUMBER: Final = Keyset(int)
BY_ORDINAL: Final = Keyset(int, default=1000, maximum=10_000)


class ModelMethods(TaggingServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock
        self._valuing = Valuing(bus, read_models, clock)
        self._deciding = snapshots.Deciding(read_models)

    async def DefineModel(self, request: pb.DefineModelRequest, context: ServicerContext) -> pb.DefineModelResponse:
        found: pb.DefineModelResponse
        kind = layer_wire.kind(request.kind)
        if request.kind == layer_pb2.MODEL_KIND_VALUE:
            found = await self._bus.execute(
                DefineValueModel(request.model_id, layer_wire.params(request.params)),
                reply=lambda it: pb.DefineModelResponse(value_model=value_wire.model(it)),
            )
        elif kind is None:
            found = await self._bus.execute(
                DefineModel(request.model_id, request.window_days),
                reply=lambda it: pb.DefineModelResponse(model=wire.model(it)),
            )
        else:
            params, about = layer_wire.params(request.params), universe(request.universe)
            found = await self._bus.execute(
                DefineLayerModel(request.model_id, kind, about, params),
                reply=lambda it: pb.DefineModelResponse(layer_model=layer_wire.model(it)),
            )
        return found

    async def RunModel(self, request: pb.RunModelRequest, context: ServicerContext) -> pb.RunModelResponse:
        """Scores on a snapshot of the facts beside the writer; only keeping the result is a command, and a run that was asked for
        before is not made again."""
        earlier = await self._bus.answered()
        if isinstance(earlier, pb.RunModelResponse):
            return earlier
        tenant, as_of = contexts.current().tenant, calendar_date(request.as_of, "as_of")
        model = await self._model(request.model_id)
        if isinstance(model, ValueModel):
            return await self._valuing.run(model, as_of)
        settings = await settings_of_tenant(self._bus)
        zone = settings.time_zone if settings else DEFAULT_ZONE
        if isinstance(model, LayerModel):
            return await self._run_layers(model, as_of, zone)
        currency = settings.currency if settings else DEFAULT_CURRENCY
        window = Window.before(as_of, model.window_days, Calendar.of(zone), self._clock.now())
        population, position = await self._read_models.query(
            lambda rows: (
                purchases.bought(rows, tenant, window, zone, currency),
                audiences.input_position(rows, tenant),
            )
        )
        command = await asyncio.to_thread(KeepModelRun.of, model, as_of, zone, currency, population, position)
        found: pb.RunModelResponse = await self._bus.execute(
            command, reply=lambda it: pb.RunModelResponse(run=wire.run(*it))
        )
        return found

    async def _run_layers(self, model: LayerModel, as_of: date, zone: str) -> pb.RunModelResponse:
        if Calendar.of(zone).midnight(as_of.toordinal()) > self._clock.now():
            raise AsOfInFuture(field="as_of")
        dated = await self._deciding.decided(model, zone, as_of)
        found: pb.RunModelResponse = await self._bus.execute(
            snapshots.to_keep(model, dated, zone),
            reply=lambda it: pb.RunModelResponse(run=layer_wire.run(*it)),
        )
        return found

    async def GetModelRun(self, request: pb.GetModelRunRequest, context: ServicerContext) -> pb.GetModelRunResponse:
        return pb.GetModelRunResponse(run=await self._run_message(UUID(request.run_id)))

    async def ListModelRuns(
        self, request: pb.ListModelRunsRequest, context: ServicerContext
    ) -> pb.ListModelRunsResponse:
        tenant, page = contexts.current().tenant, BY_NUMBER.page(request)
        before = page.after[0] if page.after else None
        await self._model(request.model_id)
        found = await self._read_models.query(
            lambda rows: model_runs.of_model(rows, tenant, request.model_id, before, page.limit)
        )
        shown, token = BY_NUMBER.cut(request, found, lambda it: (it[0],))
        messages = await asyncio.gather(*(self._run_message(run) for _, run in shown))
        return pb.ListModelRunsResponse(runs=messages, next_page_token=token)

    async def GetRfmTable(self, request: pb.GetRfmTableRequest, context: ServicerContext) -> pb.GetRfmTableResponse:
        return wire.rfm_table(UUID(request.run_id), await self._run(request.run_id))

    async def GetRfmCustomer(
        self, request: pb.GetRfmCustomerRequest, context: ServicerContext
    ) -> pb.GetRfmCustomerResponse:
        tenant, run_id, node = contexts.current().tenant, UUID(request.run_id), UUID(request.customer_id)
        run = await self._run(request.run_id)
        found = await self._read_models.query(lambda rows: directory.canonical(rows, tenant, (node,)))
        if node not in found:
            raise CustomerNotFound(field="customer_id")
        customer = found[node]
        row = await self._read_models.query(lambda rows: model_runs.rfm_row(rows, tenant, run_id, customer.ordinal))
        if row is None:
            raise CustomerNotScored(field="customer_id")
        return pb.GetRfmCustomerResponse(row=wire.rfm_row(row, customer, run.currency))

    async def GetValueCustomer(
        self, request: pb.GetValueCustomerRequest, context: ServicerContext
    ) -> pb.GetValueCustomerResponse:
        return await self._valuing.customer(contexts.current().tenant, request.run_id, request.customer_id)

    async def ListRfmRows(self, request: pb.ListRfmRowsRequest, context: ServicerContext) -> pb.ListRfmRowsResponse:
        tenant, run_id, page = contexts.current().tenant, UUID(request.run_id), BY_ORDINAL.page(request)
        after = page.after[0] if page.after else -1
        run = await self._run(request.run_id)
        found, customers = await self._read_models.query(
            lambda rows: model_runs.rfm_rows_with_customers(rows, tenant, run_id, after, page.limit)
        )
        shown, token = BY_ORDINAL.cut(request, found, lambda it: (it.customer,))
        messages = [wire.rfm_row(it, customers[it.customer], run.currency) for it in shown]
        return pb.ListRfmRowsResponse(rows=messages, next_page_token=token)

    async def _model(self, key: str) -> RfmModel | LayerModel | ValueModel:
        tenant = contexts.current().tenant
        try:
            return await self._bus.load(RfmModel, model_id(tenant, key))
        except AggregateNotFound:
            pass
        try:
            return await self._bus.load(ValueModel, value_model_id(tenant, key))
        except AggregateNotFound:
            pass
        try:
            return await self._bus.load(LayerModel, layer_model_id(tenant, key))
        except AggregateNotFound:
            raise ModelNotFound(field="model_id") from None

    async def _run_message(self, id: UUID) -> model_pb2.ModelRun:
        try:
            return layer_wire.run(id, await self._bus.load(LayerRun, id))
        except AggregateNotFound:
            pass
        try:
            return value_wire.run(id, await self._bus.load(ValueRun, id))
        except AggregateNotFound:
            return wire.run(id, await self._run(str(id)))

    async def _run(self, id: str) -> ModelRun:
        try:
            return await self._bus.load(ModelRun, UUID(id))
        except AggregateNotFound:
            raise RunNotFound(field="run_id") from None
