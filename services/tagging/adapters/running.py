"""Running a model of any kind as of a date, beside the writer: what comes of it is a command that keeps the run."""

import asyncio
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.read_models import ReadModels
from scrm.tagging.v1 import model_pb2
from services.tagging.adapters import layer_snapshots as snapshots
from services.tagging.adapters import layer_wire, model_wire, value_wire
from services.tagging.adapters.tag_methods import settings_of_tenant
from services.tagging.application.layer_commands import KeepLayerRun
from services.tagging.application.model_commands import KeepModelRun
from services.tagging.application.value_commands import KeepValueRun, Place
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.errors import AsOfInFuture, ModelNotFound
from services.tagging.domain.layer_models import LayerModel, LayerRun, layer_model_id
from services.tagging.domain.models import ModelRun, RfmModel, Window, model_id
from services.tagging.domain.tenant_settings import DEFAULT_CURRENCY, DEFAULT_ZONE
from services.tagging.domain.value_models import ValueModel, ValueRun, value_model_id
from services.tagging.read_models import audiences, purchases, value_runs

Model = RfmModel | LayerModel | ValueModel
KeepRun = KeepModelRun | KeepLayerRun | KeepValueRun


async def model_of(bus: CommandBus, key: str) -> Model:
    """The model under a key, of whatever kind. Raises ModelNotFound."""
    tenant = contexts.current().tenant
    kinds: tuple[tuple[type[Model], UUID], ...] = (
        (RfmModel, model_id(tenant, key)),
        (ValueModel, value_model_id(tenant, key)),
        (LayerModel, layer_model_id(tenant, key)),
    )
    for kind, id in kinds:
        try:
            return await bus.load(kind, id)
        except AggregateNotFound:
            continue
    raise ModelNotFound(field="model_id")


class Running:
    """Scores on a snapshot of the facts."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock
        self._deciding = snapshots.Deciding(read_models)

    async def command(self, key: str, as_of: date, *, due: bool = False) -> KeepRun:
        """What keeps a run as of a date; one that was `due` has the next one follow. Raises ModelNotFound, AsOfInFuture."""
        model, settings = await model_of(self._bus, key), await settings_of_tenant(self._bus)
        zone = settings.time_zone if settings else DEFAULT_ZONE
        currency = settings.currency if settings else DEFAULT_CURRENCY
        match model:
            case RfmModel():
                return replace(await self._scored(model, as_of, zone, currency), due=due)
            case ValueModel():
                return replace(await self._valued(model, as_of, zone, currency), due=due)
        if Calendar.of(zone).midnight(as_of.toordinal()) > self._clock.now():
            raise AsOfInFuture(field="as_of")
        return snapshots.to_keep(model, await self._deciding.decided(model, zone, as_of), zone)

    async def _scored(self, model: RfmModel, as_of: date, zone: str, currency: str) -> KeepModelRun:
        window = model.window(as_of, Calendar.of(zone), self._clock.now())
        population, position = await self._read_models.query(
            lambda rows: (
                purchases.bought(rows, model.tenant, window, zone, currency),
                audiences.input_position(rows, model.tenant),
            )
        )
        return await asyncio.to_thread(KeepModelRun.of, model, as_of, zone, currency, population, position)

    async def _valued(self, model: ValueModel, as_of: date, zone: str, currency: str) -> KeepValueRun:
        window = Window.before(as_of, 0, Calendar.of(zone), self._clock.now())
        population, position = await self._read_models.query(
            lambda rows: (
                value_runs.records(rows, model.tenant, window, zone, currency),
                audiences.input_position(rows, model.tenant),
            )
        )
        place = Place(as_of, zone, currency, position)
        return await asyncio.to_thread(KeepValueRun.of, model, population, place)


def run_message(id: UUID, run: Any) -> model_pb2.ModelRun:
    """A run of a model of any kind."""
    match run:
        case LayerRun():
            return layer_wire.run(id, run)
        case ValueRun():
            return value_wire.run(id, run)
        case ModelRun():
            return model_wire.run(id, run)
    raise TypeError(type(run))
