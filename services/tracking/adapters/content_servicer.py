"""ContentService on the wire."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tracking.v1 import content_pb2
from scrm.tracking.v1 import content_service_pb2 as pb
from services.tracking.adapters.grpc_servicer import zone_name
from services.tracking.adapters.time_range import time_range
from services.tracking.application.content_commands import RegisterContent
from services.tracking.application.published_touchpoints import content_message
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.content import Button, Content, ContentDesign, ContentKind, content_key
from services.tracking.domain.errors import ContentNotFound
from services.tracking.read_models import contents
from services.tracking.read_models.content_stats import ContentCounts, ContentsWanted, content_stats

UNREGISTERED: Final = Keyset(str)
VIEWERS: Final = Keyset(UUID, default=1000, maximum=10_000)

_NOBODY: Final = UUID(int=0)

Labels = Mapping[str, Mapping[str, str]]


class ContentServicer:
    """Answers `scrm.tracking.v1.ContentService`."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models

    async def GetContent(self, request: pb.GetContentRequest, _: ServicerContext) -> pb.GetContentResponse:
        try:
            content = await self._bus.load(Content, content_key(current().tenant, request.content_id))
        except AggregateNotFound:
            raise ContentNotFound from None
        return pb.GetContentResponse(content=content_message(content.content_id, content.design))

    async def RegisterContent(
        self, request: pb.RegisterContentRequest, _: ServicerContext
    ) -> pb.RegisterContentResponse:
        command = RegisterContent(current().tenant, request.content.content_id, _design(request.content))

        def reply(content: Content) -> pb.RegisterContentResponse:
            return pb.RegisterContentResponse(content=content_message(content.content_id, content.design))

        return await self._bus.execute(command, reply)  # type: ignore[no-any-return]

    async def GetContentStats(
        self, request: pb.GetContentStatsRequest, _: ServicerContext
    ) -> pb.GetContentStatsResponse:
        zone = zone_name(request.time_zone)
        wanted = ContentsWanted(request.content_ids, *time_range(request), zone if request.by_day else "")

        def read(rows: sa.Connection) -> tuple[list[ContentCounts], Labels]:
            return content_stats(rows, wanted), contents.buttons_of(rows, wanted.ids)

        found, labels = await self._read_models.query(read)
        return pb.GetContentStatsResponse(stats=[_stats(it, labels) for it in found])

    async def ListUnregisteredContents(
        self, request: pb.ListUnregisteredContentsRequest, _: ServicerContext
    ) -> pb.ListUnregisteredContentsResponse:
        page = UNREGISTERED.page(request)
        after = page.after[0] if page.after else ""
        found = await self._read_models.query(lambda rows: contents.unregistered(rows, after, page.limit))
        shown, token = UNREGISTERED.cut(request, found, lambda it: (it.content_id,))
        return pb.ListUnregisteredContentsResponse(
            contents=[
                content_pb2.UnregisteredContent(content_id=it.content_id, last_time=timestamp(it.last_at))
                for it in shown
            ],
            next_page_token=token,
        )

    async def ListContentViewers(
        self, request: pb.ListContentViewersRequest, _: ServicerContext
    ) -> pb.ListContentViewersResponse:
        page = VIEWERS.page(request)
        start, end = time_range(request)
        after = page.after[0] if page.after else _NOBODY
        found = await self._read_models.query(
            lambda rows: contents.viewers(rows, request.content_id, start, end, after, page.limit)
        )
        shown, token = VIEWERS.cut(request, found, lambda it: (str(it),))
        return pb.ListContentViewersResponse(customer_ids=map(str, shown), next_page_token=token)


def _design(content: content_pb2.Content) -> ContentDesign:
    return ContentDesign(
        ContentKind(content_pb2.ContentKind.Name(content.kind).removeprefix("CONTENT_KIND_")),
        content.title,
        tuple(content.topics),
        tuple(content.products),
        tuple(Button(it.button_id, it.label, it.intent) for it in content.buttons),
    )


def _stats(it: ContentCounts, labels: Labels) -> content_pb2.ContentStats:
    reading, known = it.reading, labels.get(it.content_id, {})
    return content_pb2.ContentStats(
        content_id=it.content_id,
        registered=it.content_id in labels,
        day=it.day,
        page_views=reading.page_views,
        unique_viewers=reading.viewers,
        opens=reading.opens,
        average_dwell_seconds=reading.average_dwell,
        median_dwell_seconds=reading.median_dwell,
        completions=reading.completions,
        buttons=[
            content_pb2.ButtonStats(
                button_id=button.button_id,
                label=known.get(button.button_id, ""),
                clicks=button.clicks,
                unique_clickers=button.people,
                unique_ctr=button.people / reading.viewers if reading.viewers else 0.0,
            )
            for button in it.buttons
        ],
        shares=it.shares,
        share_backs=it.share_backs,
        conversions=it.conversions,
    )
