"""GroupService on the wire."""

from uuid import UUID

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from scrm.tracking.v1 import group_pb2
from scrm.tracking.v1 import group_service_pb2 as pb
from services.tracking.adapters.order_wire import required_instant
from services.tracking.adapters.time_range import time_range
from services.tracking.application.group_commands import RecordGroupMembership, UpsertGroup
from services.tracking.application.published_groups import group_message
from services.tracking.domain.errors import CustomerNotFound, GroupNotFound
from services.tracking.domain.group import Change, CommunityGroup, GroupMembership, GroupTerms, group_key
from services.tracking.read_models import customer_nodes, groups
from services.tracking.read_models.groups import GroupCounts


class GroupServicer:
    """Answers `scrm.tracking.v1.GroupService`."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models

    async def GetGroup(self, request: pb.GetGroupRequest, _: ServicerContext) -> pb.GetGroupResponse:
        try:
            group = await self._bus.load(CommunityGroup, group_key(current().tenant, request.group_id))
        except AggregateNotFound:
            raise GroupNotFound from None
        return pb.GetGroupResponse(group=group_message(group.group_id, group.terms))

    async def UpsertGroup(self, request: pb.UpsertGroupRequest, _: ServicerContext) -> pb.UpsertGroupResponse:
        group = request.group
        terms = GroupTerms(group.owner_staff_id, group.store_id)

        def reply(found: CommunityGroup) -> pb.UpsertGroupResponse:
            return pb.UpsertGroupResponse(group=group_message(found.group_id, found.terms))

        return await self._bus.execute(UpsertGroup(current().tenant, group.group_id, terms), reply)  # type: ignore[no-any-return]

    async def RecordGroupMembership(
        self, request: pb.RecordGroupMembershipRequest, _: ServicerContext
    ) -> pb.RecordGroupMembershipResponse:
        at = required_instant(request.change_time, "change_time")
        node = UUID(request.customer_id)
        if not await self._read_models.query(lambda rows: customer_nodes.is_known(rows, node)):
            raise CustomerNotFound(field="customer_id")
        change = Change(group_pb2.GroupChange.Name(request.change).removeprefix("GROUP_CHANGE_"))
        command = RecordGroupMembership(current().tenant, request.group_id, node, change, at)

        def reply(membership: GroupMembership) -> pb.RecordGroupMembershipResponse:
            return pb.RecordGroupMembershipResponse(member=membership.is_in)

        return await self._bus.execute(command, reply)  # type: ignore[no-any-return]

    async def GetGroupStats(self, request: pb.GetGroupStatsRequest, _: ServicerContext) -> pb.GetGroupStatsResponse:
        start, end = time_range(request)
        found = await self._read_models.query(lambda rows: groups.group_stats(rows, request.group_ids, start, end))
        return pb.GetGroupStatsResponse(stats=map(_stats, found))


def _stats(it: GroupCounts) -> group_pb2.GroupStats:
    return group_pb2.GroupStats(
        group_id=it.group_id,
        size=it.size,
        joins=it.joins,
        leaves=it.leaves,
        active_members=it.active,
        activity=it.active / it.size if it.size else 0.0,
        silent_members=it.size - it.active,
    )
