"""What the RPCs about models do where a model is one of value."""

import asyncio
from datetime import date
from uuid import UUID

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.read_models import ReadModels
from scrm.tagging.v1 import tagging_service_pb2 as pb
from services.tagging.adapters import value_wire as wire
from services.tagging.adapters.tag_methods import settings_of_tenant
from services.tagging.application.value_commands import KeepValueRun, Place
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.errors import CustomerNotFound, CustomerNotScored, RunNotFound
from services.tagging.domain.models import Window
from services.tagging.domain.tenant_settings import DEFAULT_CURRENCY, DEFAULT_ZONE
from services.tagging.domain.value_models import ValueModel, ValueRun
from services.tagging.read_models import audiences, directory, value_runs


class Valuing:
    """Values customers beside the writer; only keeping the result is a command."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock

    async def run(self, model: ValueModel, as_of: date, *, monthly: bool = False) -> pb.RunModelResponse:
        """A run as of a date; the next one is due in a month, if it is a `monthly` one. Raises AsOfInFuture."""
        settings = await settings_of_tenant(self._bus)
        zone = settings.time_zone if settings else DEFAULT_ZONE
        currency = settings.currency if settings else DEFAULT_CURRENCY
        window = Window.before(as_of, 0, Calendar.of(zone), self._clock.now())
        population, position = await self._read_models.query(
            lambda rows: (
                value_runs.records(rows, model.tenant, window, zone, currency),
                audiences.input_position(rows, model.tenant),
            )
        )
        place = Place(as_of, zone, currency, position)
        command = await asyncio.to_thread(KeepValueRun.of, model, population, place, monthly)
        found: pb.RunModelResponse = await self._bus.execute(
            command, reply=lambda it: pb.RunModelResponse(run=wire.run(*it))
        )
        return found

    async def customer(self, tenant: str, run_id: str, customer_id: str) -> pb.GetValueCustomerResponse:
        """Raises RunNotFound, CustomerNotFound, and CustomerNotScored for somebody who had bought nothing."""
        id, node = UUID(run_id), UUID(customer_id)
        try:
            run = await self._bus.load(ValueRun, id)
        except AggregateNotFound:
            raise RunNotFound(field="run_id") from None
        found = await self._read_models.query(lambda rows: directory.canonical(rows, tenant, (node,)))
        if node not in found:
            raise CustomerNotFound(field="customer_id")
        response, customer = pb.GetValueCustomerResponse(fit=wire.fit(run)), found[node]
        if run.buying:
            row = await self._read_models.query(lambda rows: value_runs.row(rows, tenant, id, customer.ordinal))
            if row is None:
                raise CustomerNotScored(field="customer_id")
            response.row.CopyFrom(wire.row(row, customer, run.currency))
        return response
