"""The RPCs about who is in segments, and who came and went."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceServicer
from services.tagging.adapters import segment_wire as wire
from services.tagging.application.ports import Customer
from services.tagging.application.segment_commands import ArchiveSegment
from services.tagging.read_models import directory, memberships, segments
from services.tagging.read_models.memberships import Entry

BY_ORDINAL: Final = Keyset(int, default=1000, maximum=10_000)
BY_NUMBER: Final = Keyset(int, str, maximum=1000)
_FIRST: Final = (0, str(UUID(int=0)))


class MembershipMethods(TaggingServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._commands = bus
        self._tables = read_models
        self._now = clock

    async def ArchiveSegment(
        self, request: pb.ArchiveSegmentRequest, context: ServicerContext
    ) -> pb.ArchiveSegmentResponse:
        command = ArchiveSegment(UUID(request.segment_id), wire.revision(request.etag))
        found: pb.ArchiveSegmentResponse = await self._commands.execute(
            command, reply=lambda it: pb.ArchiveSegmentResponse(segment=wire.segment_result(it))
        )
        return found

    async def ListSegmentMembers(
        self, request: pb.ListSegmentMembersRequest, context: ServicerContext
    ) -> pb.ListSegmentMembersResponse:
        tenant, page, id = contexts.current().tenant, BY_ORDINAL.page(request), UUID(request.segment_id)
        after = page.after[0] if page.after else -1

        def read(rows: Connection) -> list[Customer]:
            members = segments.Sets(rows, tenant).segment(id)
            start = members.rank(after) if after >= 0 else 0
            return directory.by_ordinal(rows, tenant, members[start : start + page.limit])

        found = await self._tables.query(read)
        shown, token = BY_ORDINAL.cut(request, found, lambda it: (it.ordinal,))
        return pb.ListSegmentMembersResponse(members=[wire.snapshot_member(it) for it in shown], next_page_token=token)

    async def GetMembership(
        self, request: pb.GetMembershipRequest, context: ServicerContext
    ) -> pb.GetMembershipResponse:
        tenant, segment, customer = contexts.current().tenant, UUID(request.segment_id), UUID(request.customer_id)
        at = request.as_of.ToDatetime(UTC) if request.HasField("as_of") else self._now.now()

        def read(rows: Connection, at: datetime = at) -> Entry | None:
            segments.require(rows, tenant, segment)
            return memberships.standing(rows, tenant, segment, customer, at)

        found = await self._tables.query(read)
        if found is None:
            return pb.GetMembershipResponse()
        return pb.GetMembershipResponse(member=found.entered, change=wire.membership_change(found))

    async def ListMembershipChanges(
        self, request: pb.ListMembershipChangesRequest, context: ServicerContext
    ) -> pb.ListMembershipChangesResponse:
        tenant, page, segment = contexts.current().tenant, BY_NUMBER.page(request), UUID(request.segment_id)
        number, node = page.after or _FIRST

        def read(rows: Connection) -> list[Entry]:
            segments.require(rows, tenant, segment)
            if request.customer_id:
                customer = UUID(request.customer_id)
                return memberships.of_customer(rows, tenant, segment, customer, number, page.limit)
            return memberships.after(rows, tenant, segment, number, UUID(node), page.limit)

        found = await self._tables.query(read)
        shown, token = BY_NUMBER.cut(request, found, lambda it: (it.number, str(it.customer)))
        changes = [wire.membership_change(it) for it in shown]
        return pb.ListMembershipChangesResponse(changes=changes, next_page_token=token)
