"""Audiences from the tagging service, by gRPC, for the tenant of the current context."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import grpc

from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub
from services.campaigns.application.ports import AudiencePage
from services.campaigns.domain.errors import AudienceNotFound


class TaggingAudience:
    """Segments and snapshots as tagging knows them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._tagging = TaggingServiceStub(channel)

    async def freeze(self, segment: UUID, request: UUID) -> tuple[UUID, int]:
        call = pb.SnapshotSegmentRequest(request_id=str(request), segment_id=str(segment))
        with _found():
            response = await self._tagging.SnapshotSegment(call)
        return UUID(response.snapshot.snapshot_id), response.snapshot.size

    async def size(self, snapshot: UUID) -> int:
        call = pb.GetSegmentSnapshotRequest(snapshot_id=str(snapshot))
        with _found():
            response = await self._tagging.GetSegmentSnapshot(call)
        return int(response.snapshot.size)

    async def page(self, snapshot: UUID, page: str, size: int) -> AudiencePage:
        call = pb.ListSnapshotMembersRequest(snapshot_id=str(snapshot), page_size=size, page_token=page)
        with _found():
            response = await self._tagging.ListSnapshotMembers(call)
        members = [(UUID(it.customer_id), it.assignment_key) for it in response.members]
        return AudiencePage(members, response.next_page_token)


@contextmanager
def _found() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            raise AudienceNotFound from error
        raise
