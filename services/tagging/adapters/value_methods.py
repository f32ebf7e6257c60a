"""What the RPCs about models do where a model is one of value."""

from uuid import UUID

from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.read_models import ReadModels
from scrm.tagging.v1 import tagging_service_pb2 as pb
from services.tagging.adapters import value_wire as wire
from services.tagging.adapters.customer_reading import customer_of
from services.tagging.domain.errors import CustomerNotScored, RunNotFound
from services.tagging.domain.value_models import ValueRun
from services.tagging.read_models import value_runs


class Valuing:
    """Says what runs found of customers."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models

    async def customer(self, tenant: str, run_id: str, customer_id: str) -> pb.GetValueCustomerResponse:
        """Raises RunNotFound, CustomerNotFound, CustomerErased, and CustomerNotScored for somebody who had bought nothing."""
        id, node = UUID(run_id), UUID(customer_id)
        try:
            run = await self._bus.load(ValueRun, id)
        except AggregateNotFound:
            raise RunNotFound(field="run_id") from None
        customer = await self._read_models.query(lambda rows: customer_of(rows, tenant, node))
        response = pb.GetValueCustomerResponse(fit=wire.fit(run))
        if run.buying:
            row = await self._read_models.query(lambda rows: value_runs.row(rows, tenant, id, customer.ordinal))
            if row is None:
                raise CustomerNotScored(field="customer_id")
            response.row.CopyFrom(wire.row(row, customer, run.currency))
        return response
