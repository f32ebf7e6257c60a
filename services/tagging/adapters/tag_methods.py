"""The RPCs about settings and the tags of customers."""

from uuid import UUID

from chassis import context as contexts
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from scrm.tagging.v1 import settings_pb2, tag_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceServicer
from services.tagging.adapters.tag_wire import giver
from services.tagging.application.settings_commands import UpdateTenantSettings
from services.tagging.application.tag_commands import AssignTags, RemoveTags
from services.tagging.application.wire import tag_assignment, timestamp
from services.tagging.domain.errors import CustomerNotFound
from services.tagging.domain.rules import RULE_TAGS
from services.tagging.domain.tags import CustomerTags, tags_id
from services.tagging.domain.tenant_settings import (
    DEFAULT_CURRENCY,
    DEFAULT_ZONE,
    TenantSettings,
    settings_id,
)
from services.tagging.read_models import bitmaps, directory, referrals, rule_states, tag_holders


class TagMethods(TaggingServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models

    async def UpdateTenantSettings(
        self, request: pb.UpdateTenantSettingsRequest, context: ServicerContext
    ) -> pb.UpdateTenantSettingsResponse:
        command = UpdateTenantSettings(request.time_zone, request.currency)
        found: pb.UpdateTenantSettingsResponse = await self._bus.execute(
            command, reply=lambda it: pb.UpdateTenantSettingsResponse(settings=_settings(it))
        )
        return found

    async def GetTenantSettings(
        self, request: pb.GetTenantSettingsRequest, context: ServicerContext
    ) -> pb.GetTenantSettingsResponse:
        return pb.GetTenantSettingsResponse(settings=_settings(await settings_of_tenant(self._bus)))

    async def GetCustomerTags(
        self, request: pb.GetCustomerTagsRequest, context: ServicerContext
    ) -> pb.GetCustomerTagsResponse:
        tenant, node = contexts.current().tenant, UUID(request.customer_id)
        found = await self._read_models.query(lambda rows: directory.canonical(rows, tenant, (node,)))
        if node not in found:
            raise CustomerNotFound(field="customer_id")
        customer = found[node].id
        try:
            tags = await self._bus.load(CustomerTags, tags_id(tenant, customer))
        except AggregateNotFound:
            return pb.GetCustomerTagsResponse(customer_id=str(customer))
        return pb.GetCustomerTagsResponse(customer_id=str(customer), tags=_assignments(tags))

    async def AssignTags(self, request: pb.AssignTagsRequest, context: ServicerContext) -> pb.AssignTagsResponse:
        tags = [(it.tag_key, it.value) for it in request.tags]
        command = AssignTags(UUID(request.customer_id), tags, giver(request.giver))
        found: pb.AssignTagsResponse = await self._bus.execute(
            command, reply=lambda it: pb.AssignTagsResponse(customer_id=str(it.customer), tags=_assignments(it))
        )
        return found

    async def RemoveTags(self, request: pb.RemoveTagsRequest, context: ServicerContext) -> pb.RemoveTagsResponse:
        values = [(it.tag_key, it.value) for it in request.values]
        command = RemoveTags(UUID(request.customer_id), [*request.tag_keys, *values])
        found: pb.RemoveTagsResponse = await self._bus.execute(
            command, reply=lambda it: pb.RemoveTagsResponse(customer_id=str(it.customer), tags=_assignments(it))
        )
        return found

    async def GetTagStatistics(
        self, request: pb.GetTagStatisticsRequest, context: ServicerContext
    ) -> pb.GetTagStatisticsResponse:
        tenant, tag = contexts.current().tenant, request.tag_key
        ever = rule_states.ever if tag in RULE_TAGS else tag_holders.ever
        name = bitmaps.of_tag(tag)
        current, all_time = await self._read_models.query(
            lambda rows: (len(bitmaps.load(rows, tenant, (name,))[name]), ever(rows, tenant, tag))
        )
        return pb.GetTagStatisticsResponse(tag_key=tag, current=current, ever=all_time)

    async def GetReferralStatistics(
        self, request: pb.GetReferralStatisticsRequest, context: ServicerContext
    ) -> pb.GetReferralStatisticsResponse:
        tenant = contexts.current().tenant
        it = await self._read_models.query(lambda rows: referrals.counted(rows, tenant))
        return pb.GetReferralStatisticsResponse(
            holders=it.holders,
            sharers=it.sharers,
            named=it.named,
            invited=it.invited,
            converted=it.converted,
            conversion_rate=it.converted / it.invited if it.invited else None,
            referrers=sum(it.referrers.values()),
            referrers_by_successes=[pb.ReferrerCount(successes=n, customers=who) for n, who in it.referrers.items()],
        )


async def settings_of_tenant(bus: CommandBus) -> TenantSettings | None:
    """The settings of the caller's tenant, once they were set."""
    try:
        return await bus.load(TenantSettings, settings_id(contexts.current().tenant))
    except AggregateNotFound:
        return None


def _settings(it: TenantSettings | None) -> settings_pb2.TenantSettings:
    if it is None:
        return settings_pb2.TenantSettings(time_zone=DEFAULT_ZONE, currency=DEFAULT_CURRENCY)
    updated = timestamp(it.updated_at) if it.updated_at else None
    return settings_pb2.TenantSettings(time_zone=it.time_zone, currency=it.currency, update_time=updated)


def _assignments(tags: CustomerTags) -> list[tag_pb2.TagAssignment]:
    return [tag_assignment(tags.tenant, it) for _, it in sorted(tags.assignments.items())]
