"""The RPCs about segments and snapshots."""

from typing import Final
from uuid import UUID

from pyroaring import BitMap
from sqlalchemy import Connection

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import segment_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceServicer
from services.tagging.adapters import segment_wire as wire
from services.tagging.adapters.condition_checking import check
from services.tagging.application.ports import Customer
from services.tagging.application.segment_commands import (
    ComputeSetOperation,
    CreateSegment,
    SnapshotSegment,
    UpdateSegment,
    UpdateStaticMembers,
)
from services.tagging.domain.conditions.text_writing import leaf_text
from services.tagging.domain.errors import CustomerNotFound, SnapshotNotFound
from services.tagging.domain.refresh import REALTIME
from services.tagging.domain.segments import Snapshot
from services.tagging.read_models import audiences, directory, segments

BY_NAME: Final = Keyset(str, maximum=100)
BY_ORDINAL: Final = Keyset(int, default=1000, maximum=10_000)
SAMPLE: Final = 20


class SegmentMethods(TaggingServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    _clock: Clock

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models

    async def CreateSegment(
        self, request: pb.CreateSegmentRequest, context: ServicerContext
    ) -> pb.CreateSegmentResponse:
        command = CreateSegment(
            request.display_name,
            wire.definition(request.definition),
            wire.universe(request.universe),
            wire.refresh(request.refresh) or REALTIME,
        )
        found: pb.CreateSegmentResponse = await self._bus.execute(
            command, reply=lambda it: pb.CreateSegmentResponse(segment=wire.segment_result(it))
        )
        return found

    async def UpdateSegment(
        self, request: pb.UpdateSegmentRequest, context: ServicerContext
    ) -> pb.UpdateSegmentResponse:
        command = UpdateSegment(
            UUID(request.segment_id),
            wire.definition(request.definition),
            wire.revision(request.etag),
            wire.refresh(request.refresh),
        )
        found: pb.UpdateSegmentResponse = await self._bus.execute(
            command, reply=lambda it: pb.UpdateSegmentResponse(segment=wire.segment_result(it))
        )
        return found

    async def GetSegment(self, request: pb.GetSegmentRequest, context: ServicerContext) -> pb.GetSegmentResponse:
        tenant, id = contexts.current().tenant, UUID(request.segment_id)

        def read(rows: Connection) -> segment_pb2.Segment:
            listing = segments.require(rows, tenant, id)
            return wire.segment(id, listing, len(segments.Sets(rows, tenant).segment(id)))

        return pb.GetSegmentResponse(segment=await self._read_models.query(read))

    async def ListSegments(self, request: pb.ListSegmentsRequest, context: ServicerContext) -> pb.ListSegmentsResponse:
        tenant, page = contexts.current().tenant, BY_NAME.page(request)
        name = page.after[0] if page.after else ""

        def read(rows: Connection) -> tuple[list[segment_pb2.Segment], str]:
            shown, token = BY_NAME.cut(request, segments.after(rows, tenant, name, page.limit), lambda it: (it.name,))
            sets = segments.Sets(rows, tenant)
            return [wire.segment(it.id, it, len(sets.segment(it.id))) for it in shown], token

        found, token = await self._read_models.query(read)
        return pb.ListSegmentsResponse(segments=found, next_page_token=token)

    async def UpdateStaticMembers(
        self, request: pb.UpdateStaticMembersRequest, context: ServicerContext
    ) -> pb.UpdateStaticMembersResponse:
        command = UpdateStaticMembers(UUID(request.segment_id), [wire.member_change(it) for it in request.changes])
        found: pb.UpdateStaticMembersResponse = await self._bus.execute(command, reply=wire.members_result)
        return found

    async def PreviewSegment(
        self, request: pb.PreviewSegmentRequest, context: ServicerContext
    ) -> pb.PreviewSegmentResponse:
        tenant, definition = contexts.current().tenant, wire.definition(request.definition)
        await check(definition, self._bus, self._read_models)

        def read(rows: Connection) -> tuple[int, list[Customer], list[pb.LeafCount]]:
            sets, about = segments.Sets(rows, tenant, at=self._clock.now()), wire.universe(request.universe)
            found, everybody = sets.of(definition, about), sets.universe(about)
            placed = definition.condition.placed() if definition.condition else ()
            breakdown = [
                pb.LeafCount(path=path, text=leaf_text(leaf), count=len(sets.leaf(leaf) & everybody))
                for path, leaf in placed
            ]
            return len(found), directory.by_ordinal(rows, tenant, found[:SAMPLE]), breakdown

        count, sample, breakdown = await self._read_models.query(read)
        return pb.PreviewSegmentResponse(
            count=count, sample_customer_ids=[str(it.id) for it in sample], breakdown=breakdown
        )

    async def ComputeSetOperation(
        self, request: pb.ComputeSetOperationRequest, context: ServicerContext
    ) -> pb.ComputeSetOperationResponse:
        command = ComputeSetOperation(
            wire.operation(request.operation), wire.universe(request.universe), request.save_as
        )
        found: pb.ComputeSetOperationResponse = await self._bus.execute(
            command,
            reply=lambda it: pb.ComputeSetOperationResponse(
                count=it.count, segment=wire.segment_result(it.saved) if it.saved else None
            ),
        )
        return found

    async def SnapshotSegment(
        self, request: pb.SnapshotSegmentRequest, context: ServicerContext
    ) -> pb.SnapshotSegmentResponse:
        found: pb.SnapshotSegmentResponse = await self._bus.execute(
            SnapshotSegment(UUID(request.segment_id)),
            reply=lambda it: pb.SnapshotSegmentResponse(snapshot=wire.snapshot(*it)),
        )
        return found

    async def GetSegmentSnapshot(
        self, request: pb.GetSegmentSnapshotRequest, context: ServicerContext
    ) -> pb.GetSegmentSnapshotResponse:
        try:
            found = await self._bus.load(Snapshot, UUID(request.snapshot_id))
        except AggregateNotFound:
            raise SnapshotNotFound(field="snapshot_id") from None
        return pb.GetSegmentSnapshotResponse(snapshot=wire.snapshot(UUID(request.snapshot_id), found))

    async def ListSnapshotMembers(
        self, request: pb.ListSnapshotMembersRequest, context: ServicerContext
    ) -> pb.ListSnapshotMembersResponse:
        tenant, page = contexts.current().tenant, BY_ORDINAL.page(request)
        after = page.after[0] if page.after else -1

        def read(rows: Connection) -> list[Customer] | None:
            members = audiences.snapshot(rows, tenant, UUID(request.snapshot_id))
            if members is None:
                return None
            start = members.rank(after) if after >= 0 else 0
            return directory.by_ordinal(rows, tenant, members[start : start + page.limit])

        found = await self._read_models.query(read)
        if found is None:
            raise SnapshotNotFound(field="snapshot_id")
        shown, token = BY_ORDINAL.cut(request, found, lambda it: (it.ordinal,))
        return pb.ListSnapshotMembersResponse(members=[wire.snapshot_member(it) for it in shown], next_page_token=token)

    async def CheckMembership(
        self, request: pb.CheckMembershipRequest, context: ServicerContext
    ) -> pb.CheckMembershipResponse:
        tenant, node = contexts.current().tenant, UUID(request.customer_id)

        def read(rows: Connection) -> tuple[UUID, list[str]]:
            customer = directory.canonical(rows, tenant, (node,)).get(node)
            if customer is None:
                raise CustomerNotFound(field="customer_id")
            sets = segments.Sets(rows, tenant, BitMap((customer.ordinal,)))
            return customer.id, [it for it in request.segment_ids if sets.segment(UUID(it))]

        customer, found = await self._read_models.query(read)
        return pb.CheckMembershipResponse(customer_id=str(customer), segment_ids=found)
