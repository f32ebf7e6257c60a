"""The RPC that tells all members of a segment, however many there are."""

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from pyroaring import BitMap
from sqlalchemy import Connection

from chassis import context as contexts
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceServicer
from services.tagging.adapters import segment_wire as wire
from services.tagging.application.ports import Customer
from services.tagging.read_models import directory, memberships, segments

PORTIONS: Final = Keyset(int, int, default=1000, maximum=10_000)
"""By the number of the segment's last change before the export began, and the ordinal of the last member told."""


class ExportMethods(TaggingServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    _tables: ReadModels

    async def ExportSegment(
        self, request: pb.ExportSegmentRequest, context: ServicerContext
    ) -> AsyncIterator[pb.ExportSegmentResponse]:
        """In memory are the ordinals of all members, a bit or two of each, and one portion of their ids."""
        tenant, id, page = contexts.current().tenant, UUID(request.segment_id), PORTIONS.page(request)
        number, after = page.after or (None, -1)

        def settle(rows: Connection) -> tuple[int, BitMap]:
            members = segments.Sets(rows, tenant).segment(id)
            if number is None:
                return memberships.last_numbers(rows, tenant, (id,))[id], members
            return number, memberships.before(rows, tenant, id, number, members)

        begun, members = await self._tables.query(settle)
        size, place = len(members), members.rank(after) if after >= 0 else 0
        while True:
            portion = members[place : place + page.size]
            place += page.size

            def read(rows: Connection, ordinals: BitMap = portion) -> list[Customer]:
                return directory.by_ordinal(rows, tenant, ordinals)

            following = PORTIONS.token(request, (begun, portion[-1])) if place < size else ""
            found = await self._tables.query(read)
            yield pb.ExportSegmentResponse(
                members=[wire.snapshot_member(it) for it in found], size=size, next_page_token=following
            )
            if not following:
                return
