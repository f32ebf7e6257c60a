"""AnalysisService on the wire: purchase paths, insights, shares and boards."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import ValueOutOfRange
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tracking.v1 import analysis_service_pb2 as pb
from scrm.tracking.v1 import board_pb2, insight_pb2, path_pb2
from scrm.tracking.v1.analysis_service_pb2_grpc import AnalysisServiceServicer
from services.tracking.adapters import analysis_wire, board_wire
from services.tracking.adapters.order_wire import required_instant
from services.tracking.application.share_commands import CreateShare
from services.tracking.domain.boards import Board
from services.tracking.domain.errors import CustomerNotFound, ShareNotFound, UnknownTimeZone
from services.tracking.domain.funnel import WINDOW, Funnel, Question
from services.tracking.domain.insights import Kind
from services.tracking.domain.missions import Mission
from services.tracking.domain.path_facts import Step
from services.tracking.domain.trail import Session
from services.tracking.read_models import boards, customer_nodes
from services.tracking.read_models.histories import missions_of, missions_of_all, orders_of
from services.tracking.read_models.insights import list_insights
from services.tracking.read_models.shares import relations_of, tree_of
from services.tracking.read_models.trail import trail_of

SESSION_PAGES: Final = Keyset(datetime, str)
MISSION_PAGES: Final = Keyset(datetime, UUID)
INSIGHT_PAGES: Final = Keyset(datetime, UUID)
RELATION_PAGES: Final = Keyset(int, UUID)
LONGEST_RANGE: Final = timedelta(days=400)
LAST_MINUTE: Final = timedelta(seconds=60, microseconds=-1)
TOP: Final = 20

_BOARDS: Final = {board_pb2.Board.Value(f"BOARD_{it}"): it for it in Board}
_KINDS: Final = {insight_pb2.InsightKind.Value(f"INSIGHT_KIND_{it}"): it for it in Kind}
_STEPS: Final = {path_pb2.PathNode.Value(f"PATH_NODE_{it}"): it for it in Step}

T = TypeVar("T")


class AnalysisServicer(AnalysisServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock

    async def GetCustomerActivity(
        self, request: pb.GetCustomerActivityRequest, context: ServicerContext
    ) -> pb.GetCustomerActivityResponse:
        zone = _zone(request.time_zone)
        activity, orders = await self._of_customer(
            request.customer_id, lambda rows, nodes: (trail_of(rows, nodes).activity(zone), orders_of(rows, nodes))
        )
        return analysis_wire.activity(activity, orders)

    async def ListSessions(self, request: pb.ListSessionsRequest, context: ServicerContext) -> pb.ListSessionsResponse:
        page = SESSION_PAGES.page(request)
        found = await self._of_customer(request.customer_id, lambda rows, nodes: trail_of(rows, nodes).sessions())

        def place(session: Session) -> tuple[datetime, str]:
            return session.start, session.family

        behind = [it for it in found if page.after is None or place(it) > page.after]
        shown, token = SESSION_PAGES.cut(request, behind[: page.limit], place)
        return pb.ListSessionsResponse(sessions=[analysis_wire.session(it) for it in shown], next_page_token=token)

    async def ListMissions(self, request: pb.ListMissionsRequest, context: ServicerContext) -> pb.ListMissionsResponse:
        page, tenant, now = MISSION_PAGES.page(request), current().tenant, self._clock.now()
        found = await self._of_customer(request.customer_id, lambda rows, nodes: missions_of(rows, nodes, now))

        def place(mission: Mission) -> tuple[datetime, UUID]:
            return mission.opening.at, mission.id(tenant)

        behind = [it for it in sorted(found, key=place) if page.after is None or place(it) > page.after]
        shown, token = MISSION_PAGES.cut(request, behind[: page.limit], place)
        missions = [analysis_wire.mission(it, tenant) for it in shown]
        return pb.ListMissionsResponse(missions=missions, next_page_token=token)

    async def GetPathFunnel(
        self, request: pb.GetPathFunnelRequest, context: ServicerContext
    ) -> pb.GetPathFunnelResponse:
        question = _question(request)
        until = min(question.until, self._clock.now())

        def count(rows: sa.Connection) -> Funnel:
            funnel = Funnel(question)
            for it in missions_of_all(rows, question.start, until):
                funnel.add(it.missions)
            return funnel

        return analysis_wire.funnel(await self._read_models.query(count))

    async def ListInsights(self, request: pb.ListInsightsRequest, context: ServicerContext) -> pb.ListInsightsResponse:
        page = INSIGHT_PAGES.page(request)
        after = (page.after[0], page.after[1]) if page.after else None
        kind = _KINDS.get(request.kind, "")

        def read(rows: sa.Connection, nodes: Sequence[UUID] | None) -> list[sa.Row[tuple[object, ...]]]:
            return list_insights(rows, nodes=nodes, kind=kind, after=after, limit=page.limit)

        if request.customer_id:
            found = await self._of_customer(request.customer_id, read)
        else:
            found = await self._read_models.query(lambda rows: read(rows, None))
        shown, token = INSIGHT_PAGES.cut(request, found, lambda it: (it.detected_at, it.insight_id))
        return pb.ListInsightsResponse(insights=[analysis_wire.insight(it) for it in shown], next_page_token=token)

    async def GetShareTree(self, request: pb.GetShareTreeRequest, context: ServicerContext) -> pb.GetShareTreeResponse:
        found = await self._read_models.query(lambda rows: tree_of(rows, request.share_id))
        if not found:
            raise ShareNotFound
        return analysis_wire.share_tree(found)

    async def ListRelations(
        self, request: pb.ListRelationsRequest, context: ServicerContext
    ) -> pb.ListRelationsResponse:
        page = RELATION_PAGES.page(request)
        after = (page.after[0], page.after[1]) if page.after else None
        found = await self._of_customer(
            request.customer_id, lambda rows, nodes: relations_of(rows, nodes, after, page.limit)
        )
        shown, token = RELATION_PAGES.cut(request, found, lambda it: (-it.weight, it.visitor))
        relations = [analysis_wire.relation(it) for it in shown]
        return pb.ListRelationsResponse(relations=relations, next_page_token=token)

    async def GetBoard(self, request: pb.GetBoardRequest, context: ServicerContext) -> pb.GetBoardResponse:
        start, end = _range(request)
        board, top = _BOARDS[request.board], request.top or TOP
        first, last = boards.floor(start, boards.MINUTE), boards.floor(end + LAST_MINUTE, boards.MINUTE)
        width = board_wire.width_of(last - first)

        def read(rows: sa.Connection) -> pb.GetBoardResponse:
            found = boards.buckets(rows, board, first, last, by_day=width == boards.DAY)
            return board_wire.board(found, boards.customers(rows), width, top)

        return await self._read_models.query(read)

    async def CreateShare(self, request: pb.CreateShareRequest, context: ServicerContext) -> pb.CreateShareResponse:
        node = UUID(request.customer_id)
        customer = await self._of_customer(
            request.customer_id, lambda rows, nodes: customer_nodes.customer_of(rows, node)
        )
        command = CreateShare(request.share_id, node, request.content_id, request.activity_id, request.parent_share_id)
        answer: pb.CreateShareResponse = await self._bus.execute(
            command, lambda share: pb.CreateShareResponse(share=analysis_wire.new_share(share, customer))
        )
        return answer

    async def _of_customer(self, customer_id: str, read: Callable[[sa.Connection, Sequence[UUID]], T]) -> T:
        """What `read` finds for the nodes of a customer. Raises CustomerNotFound for one of whom identity has told nothing."""

        def ask(rows: sa.Connection) -> T:
            customer = customer_nodes.customer_of(rows, UUID(customer_id))
            if not customer_nodes.is_known(rows, customer):
                raise CustomerNotFound
            return read(rows, customer_nodes.nodes_of(rows, customer))

        return await self._read_models.query(ask)


def _question(request: pb.GetPathFunnelRequest) -> Question:
    start, end = _range(request)
    return Question(
        start=start,
        end=end,
        steps=tuple(_STEPS[it] for it in request.path_nodes),
        window=request.window.ToTimedelta() if request.HasField("window") else WINDOW,
        any_order=request.any_order,
        category=request.category,
    )


def _range(request: pb.GetPathFunnelRequest | pb.GetBoardRequest) -> tuple[datetime, datetime]:
    """Raises ValueOutOfRange for a range that is empty or longer than 400 days."""
    start = required_instant(request.start_time, "start_time")
    end = required_instant(request.end_time, "end_time")
    if not start < end <= start + LONGEST_RANGE:
        raise ValueOutOfRange("the range must be between nothing and 400 days", field="end_time")
    return start, end


def _zone(name: str) -> ZoneInfo:
    """An IANA zone; UTC for none. Raises UnknownTimeZone."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        raise UnknownTimeZone(field="time_zone") from None
