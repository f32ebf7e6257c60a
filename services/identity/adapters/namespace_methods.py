"""The RPCs about namespaces and about values that are never identifiers."""

from typing import Final
from uuid import UUID

from chassis.commands import CommandBus
from chassis.context import current
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from scrm.identity.v1 import namespace_pb2 as pb
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceServicer
from services.identity.adapters import namespace_wire as wire
from services.identity.application.namespace_commands import SetAnonymousLifetime, UnblockIdentifierValue
from services.identity.application.queries import rules_of_tenant, settings_of_tenant
from services.identity.application.rehearsing import Rehearsals
from services.identity.application.tenant_rules import TenantRules
from services.identity.domain.identifiers import IdentifierReader

BY_PRIORITY: Final = Keyset(int, str)
BY_ID: Final = Keyset(UUID)
MOST_EVENTS: Final = 20_000
SAMPLES: Final = 10


class NamespaceMethods(IdentityServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, reader: IdentifierReader) -> None:
        self._bus = bus
        self._reader = reader
        self._rules = TenantRules(bus, reader)
        self._rehearsals = Rehearsals(bus)

    async def SetNamespaceConfig(
        self, request: pb.SetNamespaceConfigRequest, context: ServicerContext
    ) -> pb.SetNamespaceConfigResponse:
        name = request.config.namespace
        answer: pb.SetNamespaceConfigResponse = await self._bus.execute(
            wire.set_command(request), reply=lambda settings: wire.configured(settings, name)
        )
        await self._rules.renew()
        return answer

    async def GetNamespaceConfig(
        self, request: pb.GetNamespaceConfigRequest, context: ServicerContext
    ) -> pb.GetNamespaceConfigResponse:
        return wire.got(await settings_of_tenant(self._bus), request.namespace)

    async def ListNamespaces(
        self, request: pb.ListNamespacesRequest, context: ServicerContext
    ) -> pb.ListNamespacesResponse:
        page = BY_PRIORITY.page(request)
        rows = wire.listed(await settings_of_tenant(self._bus))
        behind = [it for it in rows if page.after is None or (it.priority, it.namespace) > page.after]
        shown, token = BY_PRIORITY.cut(request, behind[: page.limit], lambda it: [it.priority, it.namespace])
        return pb.ListNamespacesResponse(namespaces=shown, next_page_token=token)

    async def PreviewNamespaceConfig(
        self, request: pb.PreviewNamespaceConfigRequest, context: ServicerContext
    ) -> pb.PreviewNamespaceConfigResponse:
        most_events, samples = request.max_events or MOST_EVENTS, request.sample_size or SAMPLES
        return wire.rehearsed(await self._rehearsals.preview(wire.config(request.config), most_events, samples))

    async def SetAnonymousLifetime(
        self, request: pb.SetAnonymousLifetimeRequest, context: ServicerContext
    ) -> pb.SetAnonymousLifetimeResponse:
        answer: pb.SetAnonymousLifetimeResponse = await self._bus.execute(
            SetAnonymousLifetime(request.days),
            reply=lambda it: pb.SetAnonymousLifetimeResponse(days=it.anonymous_lifetime.days),
        )
        return answer

    async def GetAnonymousLifetime(
        self, request: pb.GetAnonymousLifetimeRequest, context: ServicerContext
    ) -> pb.GetAnonymousLifetimeResponse:
        rules = await rules_of_tenant(self._bus)
        return pb.GetAnonymousLifetimeResponse(days=rules.anonymous_lifetime.days)

    async def BlockIdentifierValue(
        self, request: pb.BlockIdentifierValueRequest, context: ServicerContext
    ) -> pb.BlockIdentifierValueResponse:
        await self._rules.refresh()
        answer: pb.BlockIdentifierValueResponse = await self._bus.execute(
            wire.block_command(request, self._reader, current().tenant),
            reply=lambda it: pb.BlockIdentifierValueResponse(blocked=wire.blocked(it)),
        )
        await self._rules.renew()
        return answer

    async def ListBlockedIdentifierValues(
        self, request: pb.ListBlockedIdentifierValuesRequest, context: ServicerContext
    ) -> pb.ListBlockedIdentifierValuesResponse:
        page = BY_ID.page(request)
        settings = await settings_of_tenant(self._bus)
        rows = sorted(settings.blocked.values() if settings else (), key=lambda it: it.block_id)
        wanted = [it for it in rows if request.namespace in ("", it.namespace)]
        behind = [it for it in wanted if page.after is None or it.block_id > page.after[0]]
        shown, token = BY_ID.cut(request, behind[: page.limit], lambda it: [str(it.block_id)])
        return pb.ListBlockedIdentifierValuesResponse(blocked=[wire.blocked(it) for it in shown], next_page_token=token)

    async def UnblockIdentifierValue(
        self, request: pb.UnblockIdentifierValueRequest, context: ServicerContext
    ) -> pb.UnblockIdentifierValueResponse:
        answer: pb.UnblockIdentifierValueResponse = await self._bus.execute(
            UnblockIdentifierValue(UUID(request.block_id)), reply=lambda _: pb.UnblockIdentifierValueResponse()
        )
        await self._rules.renew()
        return answer
