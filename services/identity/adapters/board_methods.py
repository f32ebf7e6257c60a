"""The boards of guides and stores over gRPC: a part of the servicer of the organisation."""

from datetime import date
from functools import partial
from typing import Final
from uuid import UUID

from google.type.date_pb2 import Date
from google.type.money_pb2 import Money

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import BadFormat, ValueOutOfRange
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from scrm.identity.v1 import org_pb2
from scrm.identity.v1 import org_service_pb2 as pb
from scrm.identity.v1.org_service_pb2_grpc import OrgServiceServicer
from services.identity.application.org_queries import get_settings, get_staff, get_store
from services.identity.domain.money import money_parts
from services.identity.read_models.guide_boards import BoardOf, Day, Revenue, board

LONGEST_DAYS: Final = 92


class BoardMethods(OrgServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock

    async def GetGuideBoard(
        self, request: pb.GetGuideBoardRequest, context: ServicerContext
    ) -> pb.GetGuideBoardResponse:
        first, last = _days(request)
        staff = await get_staff(self._bus, UUID(request.staff_id), self._clock.now())
        zone = (await get_settings(self._bus)).time_zone
        days = await self._read_models.query(partial(board, of=BoardOf(first, last, zone, staff=staff.id)))
        return pb.GetGuideBoardResponse(days=[_day(it) for it in days])

    async def GetStoreBoard(
        self, request: pb.GetStoreBoardRequest, context: ServicerContext
    ) -> pb.GetStoreBoardResponse:
        first, last = _days(request)
        store = await get_store(self._bus, UUID(request.store_id))
        zone = (await get_settings(self._bus)).time_zone
        days = await self._read_models.query(partial(board, of=BoardOf(first, last, zone, store=store.id)))
        return pb.GetStoreBoardResponse(days=[_day(it) for it in days])


def _days(request: pb.GetGuideBoardRequest | pb.GetStoreBoardRequest) -> tuple[date, date]:
    """The days asked for. Raises BadFormat and ValueOutOfRange."""
    first, last = _date(request.first_day, "first_day"), _date(request.last_day, "last_day")
    if not 0 <= (last - first).days < LONGEST_DAYS:
        raise ValueOutOfRange(f"a board has 1 to {LONGEST_DAYS} days", field="last_day")
    return first, last


def _date(given: Date, field: str) -> date:
    try:
        return date(given.year, given.month, given.day)
    except ValueError:
        raise BadFormat("there is no such day", field=field) from None


def _day(it: Day) -> org_pb2.BoardDay:
    return org_pb2.BoardDay(
        day=Date(year=it.day.year, month=it.day.month, day=it.day.day),
        new_customers=it.activity.new_customers,
        scans=it.activity.scans,
        clicks=it.activity.clicks,
        follow_ups=it.activity.follow_ups,
        revenues=[_revenue(one) for one in it.revenues],
    )


def _revenue(it: Revenue) -> org_pb2.BoardRevenue:
    units, nanos = money_parts(it.net, it.currency)
    net = Money(currency_code=it.currency, units=units, nanos=nanos)
    return org_pb2.BoardRevenue(orders=it.orders, net=net)
