"""ChannelService on the wire."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound, DomainError, FieldRequired
from chassis.field_masks import changed_fields
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from chassis.validation import RequestValidator
from scrm.tracking.v1 import channel_pb2
from scrm.tracking.v1 import channel_service_pb2 as pb
from services.tracking.adapters import channel_wire
from services.tracking.adapters.time_range import time_range
from services.tracking.application.channel_commands import (
    ArchiveChannelCode,
    BatchCreateChannelCodes,
    UpdateChannelCode,
)
from services.tracking.domain.channel_code import ChannelCode, code_id
from services.tracking.domain.errors import ChannelCodeNotFound, CustomerNotFound
from services.tracking.read_models import channel_codes, code_stats, customer_nodes
from services.tracking.read_models.code_stats import CodeCounts, CodesWanted, TouchFound

PAGES: Final = Keyset(str)

_CHANGEABLE: Final = ("staff_ids", "auto_tags", "welcome_template")


class ChannelServicer:
    """Answers `scrm.tracking.v1.ChannelService`."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models
        self._validator = RequestValidator()

    async def GetChannelCode(self, request: pb.GetChannelCodeRequest, _: ServicerContext) -> pb.GetChannelCodeResponse:
        try:
            code = await self._bus.load(ChannelCode, code_id(current().tenant, request.code_key))
        except AggregateNotFound:
            raise ChannelCodeNotFound from None
        return pb.GetChannelCodeResponse(code=channel_wire.stored_message(code))

    async def ListChannelCodes(
        self, request: pb.ListChannelCodesRequest, _: ServicerContext
    ) -> pb.ListChannelCodesResponse:
        page = PAGES.page(request)
        after = page.after[0] if page.after else ""
        asked = {"channel": request.channel, "store": request.store_id, "campaign": request.campaign}
        wanted = {name: it for name, it in asked.items() if it}
        found = await self._read_models.query(
            lambda rows: channel_codes.list_codes(rows, wanted, request.with_archived, after, page.limit)
        )
        shown, token = PAGES.cut(request, found, lambda it: (it.code_key,))
        return pb.ListChannelCodesResponse(codes=[channel_wire.row_message(it) for it in shown], next_page_token=token)

    async def CreateChannelCode(
        self, request: pb.CreateChannelCodeRequest, _: ServicerContext
    ) -> pb.CreateChannelCodeResponse:
        return await self._execute(channel_wire.creation(request.code), pb.CreateChannelCodeResponse)  # type: ignore[no-any-return]

    async def BatchCreateChannelCodes(
        self, request: pb.BatchCreateChannelCodesRequest, _: ServicerContext
    ) -> pb.BatchCreateChannelCodesResponse:
        items = tuple(channel_wire.each_creation(self._validator, it) for it in request.codes)

        def reply(outcomes: Sequence[ChannelCode | DomainError]) -> pb.BatchCreateChannelCodesResponse:
            return pb.BatchCreateChannelCodesResponse(results=map(channel_wire.result, outcomes))

        return await self._bus.execute(BatchCreateChannelCodes(items), reply)  # type: ignore[no-any-return]

    async def UpdateChannelCode(
        self, request: pb.UpdateChannelCodeRequest, _: ServicerContext
    ) -> pb.UpdateChannelCodeResponse:
        code = request.code
        if not code.code_key:
            raise FieldRequired(field="code.code_key")
        changes = channel_wire.changes(code, changed_fields(request.update_mask, code, _CHANGEABLE))
        command = UpdateChannelCode(current().tenant, code.code_key, changes)
        return await self._execute(command, pb.UpdateChannelCodeResponse)  # type: ignore[no-any-return]

    async def ArchiveChannelCode(
        self, request: pb.ArchiveChannelCodeRequest, _: ServicerContext
    ) -> pb.ArchiveChannelCodeResponse:
        command = ArchiveChannelCode(current().tenant, request.code_key)
        return await self._execute(command, pb.ArchiveChannelCodeResponse)  # type: ignore[no-any-return]

    async def GetCodeStats(self, request: pb.GetCodeStatsRequest, _: ServicerContext) -> pb.GetCodeStatsResponse:
        wanted = _wanted(request)
        by = channel_pb2.CodeDimension.Name(request.by).removeprefix("CODE_DIMENSION_").replace("UNSPECIFIED", "CODE")

        def read(rows: sa.Connection) -> tuple[list[CodeCounts], int]:
            return (
                code_stats.code_stats(rows, wanted, by),
                code_stats.unknown_scans(rows, wanted.start, wanted.end),
            )

        found, unknown = await self._read_models.query(read)
        return pb.GetCodeStatsResponse(stats=map(channel_wire.stats, found), unknown_code_scans=unknown)

    async def GetAcquisition(self, request: pb.GetAcquisitionRequest, _: ServicerContext) -> pb.GetAcquisitionResponse:
        def read(rows: sa.Connection) -> tuple[TouchFound, TouchFound] | None:
            customer = customer_nodes.customer_of(rows, UUID(request.customer_id))
            found = code_stats.touches_of(rows, customer_nodes.nodes_of(rows, customer))
            if found is None and not customer_nodes.is_known(rows, customer):
                raise CustomerNotFound
            return found

        touches = await self._read_models.query(read)
        if touches is None:
            return pb.GetAcquisitionResponse()
        first, last = map(channel_wire.touch, touches)
        return pb.GetAcquisitionResponse(first_touch=first, last_touch=last)

    async def _execute(self, command: object, response: Any) -> Any:
        return await self._bus.execute(command, lambda code: response(code=channel_wire.stored_message(code)))


def _wanted(request: pb.GetCodeStatsRequest) -> CodesWanted:
    """Raises OUT_OF_RANGE, BadFormat."""
    start, end = time_range(request)
    keys = tuple(request.code_keys) or None
    return CodesWanted(start, end, keys, request.channel, request.store_id, request.campaign)
