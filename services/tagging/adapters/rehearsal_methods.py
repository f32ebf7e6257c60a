"""RehearseSegment on the wire: a draft over the recorded past."""

from datetime import date

from sqlalchemy import Connection

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import ValueOutOfRange
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from scrm.tagging.v1 import condition_service_pb2 as pb
from scrm.tagging.v1.condition_service_pb2_grpc import ConditionServiceServicer
from services.tagging.adapters import segment_wire
from services.tagging.adapters.condition_checking import check
from services.tagging.application.wire import day, timestamp
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions.text_writing import leaf_text
from services.tagging.domain.errors import MalformedCondition
from services.tagging.read_models import settings
from services.tagging.read_models.rehearsal import MOST_DAYS, Draft, Rehearsal, as_now, rehearse


class RehearsalMethods(ConditionServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    _bus: CommandBus
    _read_models: ReadModels
    _clock: Clock

    async def RehearseSegment(
        self, request: pb.RehearseSegmentRequest, context: ServicerContext
    ) -> pb.RehearseSegmentResponse:
        tenant, now = contexts.current().tenant, self._clock.now()
        definition = segment_wire.definition(request.definition)
        condition = definition.one_condition
        if condition is None:
            raise MalformedCondition("a list has no past to rehearse", field="definition")
        await check(definition, self._bus, self._read_models)
        first = segment_wire.calendar_date(request.from_day, "from_day")
        last = segment_wire.calendar_date(request.to_day, "to_day")
        if not 0 <= (last - first).days < MOST_DAYS:
            raise ValueOutOfRange(f"must be from from_day on, and within {MOST_DAYS} days", field="to_day")
        draft = Draft(condition, segment_wire.universe(request.universe), first, last, now)

        def read(rows: Connection) -> pb.RehearseSegmentResponse:
            calendar = Calendar.of(settings.get(rows, tenant)[0])
            if last.toordinal() > calendar.day(now):
                raise ValueOutOfRange("must not be in the future", field="to_day")
            return _message(rehearse(rows, tenant, draft), draft)

        return await self._read_models.query(read)


def _message(it: Rehearsal, draft: Draft) -> pb.RehearseSegmentResponse:
    days, members = [], it.before
    for number in range(draft.first.toordinal(), draft.last.toordinal() + 1):
        on = date.fromordinal(number)
        entered, exited = it.entered[on], it.exited[on]
        members += entered - exited
        days.append(pb.RehearsalDay(day=day(on), entered=entered, exited=exited, members=members))
    return pb.RehearseSegmentResponse(
        members_before=it.before,
        days=days,
        sample=[
            pb.RehearsalMove(customer_id=str(one.customer), move_time=timestamp(one.at), entered=one.entered)
            for one in it.sample
        ],
        followed_customers=it.looked_at,
        known_now_leaves=[leaf_text(leaf) for leaf in as_now(draft.condition)],
    )
