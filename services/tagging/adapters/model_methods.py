"""The RPCs about models and their runs."""

import asyncio
from typing import Any, Final
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
from services.tagging.adapters import layer_wire, schedule_wire, value_wire
from services.tagging.adapters import model_wire as wire
from services.tagging.adapters.customer_reading import customer_of
from services.tagging.adapters.running import KeepRun, Model, Running, model_of, run_message
from services.tagging.adapters.segment_wire import calendar_date, universe
from services.tagging.adapters.value_methods import Valuing
from services.tagging.application.layer_commands import ActivateModel, DefineLayerModel, UpdateModel
from services.tagging.application.model_commands import DefineModel
from services.tagging.application.value_commands import DefineValueModel
from services.tagging.domain.errors import CustomerNotScored, RunNotFound
from services.tagging.domain.layer_models import LayerRun
from services.tagging.domain.layers.params import bad
from services.tagging.domain.models import ModelRun, RfmModel
from services.tagging.domain.value_models import ValueModel, ValueRun
from services.tagging.read_models import model_runs

BY_NUMBER: Final = Keyset(int)
BY_ORDINAL: Final = Keyset(int, default=1000, maximum=10_000)


class ModelMethods(TaggingServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock
        self._valuing = Valuing(bus, read_models)
        self._running = Running(bus, read_models, clock)

    async def DefineModel(self, request: pb.DefineModelRequest, context: ServicerContext) -> pb.DefineModelResponse:
        found: pb.DefineModelResponse
        kind, params = layer_wire.kind(request.kind), layer_wire.params(request.params)
        schedule = schedule_wire.schedule(request)
        if request.kind == layer_pb2.MODEL_KIND_VALUE:
            found = await self._bus.execute(
                DefineValueModel(request.model_id, params, schedule),
                reply=lambda it: pb.DefineModelResponse(value_model=value_wire.model(it)),
            )
        elif kind is None:
            given = {"window_days": request.window_days, **params} if request.window_days else params
            found = await self._bus.execute(
                DefineModel(request.model_id, given, schedule),
                reply=lambda it: pb.DefineModelResponse(model=wire.model(it)),
            )
        else:
            if schedule is not None:
                raise bad("schedule", "layers are kept up to date with every fact")
            found = await self._bus.execute(
                DefineLayerModel(request.model_id, kind, universe(request.universe), params),
                reply=lambda it: pb.DefineModelResponse(layer_model=layer_wire.model(it)),
            )
        return found

    async def GetModel(self, request: pb.GetModelRequest, context: ServicerContext) -> pb.GetModelResponse:
        return pb.GetModelResponse(**_messages(await model_of(self._bus, request.model_id)))

    async def UpdateModel(self, request: pb.UpdateModelRequest, context: ServicerContext) -> pb.UpdateModelResponse:
        found: pb.UpdateModelResponse = await self._bus.execute(
            UpdateModel(request.model_id, layer_wire.params(request.params), schedule_wire.schedule(request)),
            reply=lambda it: pb.UpdateModelResponse(**_messages(it)),
        )
        return found

    async def ActivateModel(
        self, request: pb.ActivateModelRequest, context: ServicerContext
    ) -> pb.ActivateModelResponse:
        found: pb.ActivateModelResponse = await self._bus.execute(
            ActivateModel(request.model_id), reply=lambda it: pb.ActivateModelResponse(**_messages(it))
        )
        return found

    async def RunModel(self, request: pb.RunModelRequest, context: ServicerContext) -> pb.RunModelResponse:
        """Scores on a snapshot of the facts beside the writer; only keeping the result is a command, and a run that was asked for
        before is not made again."""

        async def command() -> KeepRun:
            return await self._running.command(request.model_id, calendar_date(request.as_of, "as_of"))

        found: pb.RunModelResponse = await self._bus.find_out(
            command, reply=lambda it: pb.RunModelResponse(run=run_message(*it))
        )
        return found

    async def GetModelRun(self, request: pb.GetModelRunRequest, context: ServicerContext) -> pb.GetModelRunResponse:
        return pb.GetModelRunResponse(run=await self._run_message(UUID(request.run_id)))

    async def ListModelRuns(
        self, request: pb.ListModelRunsRequest, context: ServicerContext
    ) -> pb.ListModelRunsResponse:
        tenant, page = contexts.current().tenant, BY_NUMBER.page(request)
        before = page.after[0] if page.after else None
        await model_of(self._bus, request.model_id)
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
        customer = await self._read_models.query(lambda rows: customer_of(rows, tenant, node))
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

    async def _run_message(self, id: UUID) -> model_pb2.ModelRun:
        for kind in (LayerRun, ValueRun):
            try:
                return run_message(id, await self._bus.load(kind, id))
            except AggregateNotFound:
                continue
        return wire.run(id, await self._run(str(id)))

    async def _run(self, id: str) -> ModelRun:
        try:
            return await self._bus.load(ModelRun, UUID(id))
        except AggregateNotFound:
            raise RunNotFound(field="run_id") from None


def _messages(it: Model) -> dict[str, Any]:
    """A model as the field of an answer that is for its kind."""
    match it:
        case RfmModel():
            return {"rfm_model": wire.model(it)}
        case ValueModel():
            return {"value_model": value_wire.model(it)}
    return {"model": layer_wire.model(it)}
