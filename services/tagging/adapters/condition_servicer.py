"""ConditionService on the wire: the language of conditions, for people and for programs."""

from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import condition_service_pb2 as pb
from services.tagging.adapters import condition_wire as wire
from services.tagging.adapters.condition_checking import check, limits_of_tenant, vocabulary_of_tenant
from services.tagging.adapters.membership_explanation import MembershipExplanation
from services.tagging.adapters.rehearsal_methods import RehearsalMethods
from services.tagging.application.condition_commands import UpdateConditionLimits
from services.tagging.application.wire import timestamp
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import Condition, Limits
from services.tagging.domain.conditions.change import next_change
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.explanation import explain
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.conditions.text_writing import written
from services.tagging.domain.segments import Definition
from services.tagging.read_models import histories, settings
from services.tagging.read_models.reasons import Telling

BY_KEY: Final = Keyset(str, default=100)


class ConditionServicer(MembershipExplanation, RehearsalMethods):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock

    async def ListDimensions(
        self, request: pb.ListDimensionsRequest, context: ServicerContext
    ) -> pb.ListDimensionsResponse:
        page = BY_KEY.page(request)
        after = page.after[0] if page.after else ""
        words = await vocabulary_of_tenant(self._bus, self._read_models)
        found = [it for it in words.dimensions() if it.key > after][: page.limit]
        shown, token = BY_KEY.cut(request, found, lambda it: (it.key,))
        return pb.ListDimensionsResponse(dimensions=map(wire.dimension, shown), next_page_token=token)

    async def FormatCondition(
        self, request: pb.FormatConditionRequest, context: ServicerContext
    ) -> pb.FormatConditionResponse:
        it = await self._given(request)
        return pb.FormatConditionResponse(condition=wire.condition_message(it), text=written(it))

    async def ExplainCondition(
        self, request: pb.ExplainConditionRequest, context: ServicerContext
    ) -> pb.ExplainConditionResponse:
        it, now, tenant = await self._given(request), self._clock.now(), contexts.current().tenant
        who = await self._customer(UUID(request.customer_id))
        held = await self._held(tenant, who.id)

        def explained(rows: Connection) -> pb.ExplainConditionResponse:
            history = histories.histories(rows, tenant, (who.id,))[who.id]
            calendar = Calendar.of(settings.get(rows, tenant)[0])
            telling = Telling(rows, tenant, who, history, calendar, now, held)
            customer = Customer.of(history, calendar, telling.holds)
            due = next_change(it, customer, now)
            return pb.ExplainConditionResponse(
                customer_id=str(who.id),
                explanation=wire.explanation(explain(it, customer, now, telling.said)),
                change_time=None if due is None else timestamp(due),
            )

        return await self._read_models.query(explained)

    async def GetConditionLimits(
        self, request: pb.GetConditionLimitsRequest, context: ServicerContext
    ) -> pb.GetConditionLimitsResponse:
        return pb.GetConditionLimitsResponse(limits=_limits(await limits_of_tenant(self._bus)))

    async def UpdateConditionLimits(
        self, request: pb.UpdateConditionLimitsRequest, context: ServicerContext
    ) -> pb.UpdateConditionLimitsResponse:
        found: pb.UpdateConditionLimitsResponse = await self._bus.execute(
            UpdateConditionLimits(request.leaves, request.depth),
            reply=lambda it: pb.UpdateConditionLimitsResponse(limits=_limits(it)),
        )
        return found

    async def _given(self, request: pb.FormatConditionRequest | pb.ExplainConditionRequest) -> Condition:
        """The condition of a request, in whichever form. Refused as it would be when it is kept."""
        it = read(request.text) if request.HasField("text") else wire.condition(request.condition)
        await check(Definition(condition=it), self._bus, self._read_models)
        return it


def _limits(it: Limits) -> pb.ConditionLimits:
    return pb.ConditionLimits(leaves=it.leaves, depth=it.depth, window_days=it.window_days, cost=it.cost)
