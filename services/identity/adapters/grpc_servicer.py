"""Identity over gRPC: requests into commands and queries, their results into responses."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import current, entered
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as pb
from services.identity.adapters import attribute_wire, import_wire, wire
from services.identity.adapters.attribute_reading import opened, rows_of, shown
from services.identity.adapters.explanation import explained
from services.identity.adapters.matching_servicer import MatchingParts, MatchingServicer
from services.identity.adapters.namespace_methods import NamespaceMethods
from services.identity.application.attribute_queries import attribute_definitions, get_attributes
from services.identity.application.attribute_upsert import sealed_as
from services.identity.application.explaining import Trace, explain
from services.identity.application.link_commands import LinkIdentifier, UnlinkIdentifier
from services.identity.application.merge_commands import (
    Disposition,
    MergeCustomers,
    RevokeNeverMerge,
    SetNeverMerge,
    UnmergeCustomer,
)
from services.identity.application.org_queries import require_own_customer
from services.identity.application.pii_views import may_see, record_view
from services.identity.application.published_attributes import definition
from services.identity.application.queries import get_customer, lookup_customer, preview_merge
from services.identity.domain.errors import CustomerNotFound
from services.identity.domain.identifiers import GivenIdentifier, Identifier, IdentifierReader, Reading
from services.identity.domain.survivorship import Said, resolve_all
from services.identity.read_models.customer_directory import customers, list_customers, nodes_with
from services.identity.read_models.customer_guides import within
from services.identity.read_models.identity_statistics import identity_statistics
from services.identity.read_models.merge_history import MergeRow, merge_history

BY_ID: Final = Keyset(UUID)
BY_KEY: Final = Keyset(str)


class IdentityServicer(MatchingServicer, NamespaceMethods):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(
        self,
        bus: CommandBus,
        read_models: ReadModels,
        reader: IdentifierReader,
        clock: Clock,
        matching: MatchingParts,
    ) -> None:
        MatchingServicer.__init__(self, bus, matching)
        NamespaceMethods.__init__(self, bus, reader)
        self._clock = clock
        self._read_models = read_models
        self._unsealer = matching.unsealer

    async def GetCustomer(self, request: pb.GetCustomerRequest, context: ServicerContext) -> pb.GetCustomerResponse:
        await require_own_customer(self._bus, UUID(request.customer_id), self._clock.now())
        found = await get_customer(self._bus, UUID(request.customer_id))
        return pb.GetCustomerResponse(customer=wire.customer(found.customer))

    async def ListCustomers(
        self, request: pb.ListCustomersRequest, context: ServicerContext
    ) -> pb.ListCustomersResponse:
        page = BY_ID.page(request)
        after = page.after[0] if page.after else None
        stores = current().stores
        only = None if stores is None else within(customers.c.customer, stores, self._clock.now())
        rows = await self._read_models.query(
            lambda rows: list_customers(rows, wire.state(request.state), after, page.limit, only=only)
        )
        shown, token = BY_ID.cut(request, rows, lambda it: [str(it.customer_id)])
        return pb.ListCustomersResponse(customers=[wire.summary(it) for it in shown], next_page_token=token)

    async def LookupCustomer(
        self, request: pb.LookupCustomerRequest, context: ServicerContext
    ) -> pb.LookupCustomerResponse:
        await self._rules.refresh()
        identifier = self._read_one(request.identifier, "identifier")
        try:
            found = await lookup_customer(self._bus, identifier)
        except CustomerNotFound:
            current().require_store(None)
            raise
        await require_own_customer(self._bus, found.node_id, self._clock.now())
        return wire.found_customer(found)

    async def ResolveIdentity(
        self, request: pb.ResolveIdentityRequest, context: ServicerContext
    ) -> pb.ResolveIdentityResponse:
        await self._rules.refresh()
        command = wire.resolve_command(request, self._read)
        answer: pb.ResolveIdentityResponse = await self._bus.execute(command, reply=wire.resolved)
        return answer

    async def BatchResolve(self, request: pb.BatchResolveRequest, context: ServicerContext) -> pb.BatchResolveResponse:
        await self._rules.refresh()
        command = wire.batch_command(request, self._read)
        answer: pb.BatchResolveResponse = await self._bus.execute(command, reply=wire.batch_resolved)
        return answer

    async def ImportCustomers(
        self, request: pb.ImportCustomersRequest, context: ServicerContext
    ) -> pb.ImportCustomersResponse:
        await self._rules.refresh()
        command = import_wire.command(request, self._read)
        answer: pb.ImportCustomersResponse = await self._bus.execute(command, reply=import_wire.imported)
        return answer

    async def LinkIdentifier(
        self, request: pb.LinkIdentifierRequest, context: ServicerContext
    ) -> pb.LinkIdentifierResponse:
        await self._rules.refresh()
        command = LinkIdentifier(UUID(request.customer_id), self._read_one(request.identifier, "identifier"))
        answer: pb.LinkIdentifierResponse = await self._bus.execute(command, reply=wire.linked)
        return answer

    async def UnlinkIdentifier(
        self, request: pb.UnlinkIdentifierRequest, context: ServicerContext
    ) -> pb.UnlinkIdentifierResponse:
        await self._rules.refresh()
        command = UnlinkIdentifier(UUID(request.customer_id), self._read_one(request.identifier, "identifier"))
        answer: pb.UnlinkIdentifierResponse = await self._bus.execute(command, reply=wire.unlinked)
        return answer

    async def PreviewMerge(self, request: pb.PreviewMergeRequest, context: ServicerContext) -> pb.PreviewMergeResponse:
        current().require_store(None)
        found = await preview_merge(
            self._bus,
            UUID(request.survivor_id),
            UUID(request.loser_id),
            evidence=wire.evidence(request.evidence),
            at=self._clock.now(),
        )
        return wire.preview(found)

    async def MergeCustomers(
        self, request: pb.MergeCustomersRequest, context: ServicerContext
    ) -> pb.MergeCustomersResponse:
        command = MergeCustomers(
            UUID(request.survivor_id), UUID(request.loser_id), request.reason, wire.evidence(request.evidence)
        )
        answer: pb.MergeCustomersResponse = await self._bus.execute(command, reply=wire.merged)
        return answer

    async def UnmergeCustomer(
        self, request: pb.UnmergeCustomerRequest, context: ServicerContext
    ) -> pb.UnmergeCustomerResponse:
        await self._rules.refresh()
        dispositions = tuple(
            Disposition(
                self._read_one(it.identifier, f"identifier_dispositions[{position}].identifier"), wire.side(it.side)
            )
            for position, it in enumerate(request.identifier_dispositions)
        )
        command = UnmergeCustomer(UUID(request.merge_id), dispositions, request.reason)
        answer: pb.UnmergeCustomerResponse = await self._bus.execute(command, reply=wire.unmerged)
        return answer

    async def GetMergeHistory(
        self, request: pb.GetMergeHistoryRequest, context: ServicerContext
    ) -> pb.GetMergeHistoryResponse:
        await require_own_customer(self._bus, UUID(request.customer_id), self._clock.now())
        page = BY_ID.page(request)
        before = page.after[0] if page.after else None

        def ask(rows: sa.Connection) -> list[MergeRow]:
            nodes = nodes_with(rows, UUID(request.customer_id))
            if not nodes:
                raise CustomerNotFound(field="customer_id")
            return merge_history(rows, nodes, before, page.limit)

        found = await self._read_models.query(ask)
        shown, token = BY_ID.cut(request, found, lambda it: [str(it.merge_id)])
        return pb.GetMergeHistoryResponse(merges=[wire.merge(it) for it in shown], next_page_token=token)

    async def ExplainIdentity(
        self, request: pb.ExplainIdentityRequest, context: ServicerContext
    ) -> pb.ExplainIdentityResponse:
        current().require_store(None)
        await self._rules.refresh()
        one, other = self._trace(request.one, "one"), self._trace(request.other, "other")
        return explained(await explain(self._bus, one, other))

    async def SetNeverMerge(
        self, request: pb.SetNeverMergeRequest, context: ServicerContext
    ) -> pb.SetNeverMergeResponse:
        command = SetNeverMerge(UUID(request.customer_id), UUID(request.other_customer_id))
        answer: pb.SetNeverMergeResponse = await self._bus.execute(command, reply=wire.kept_apart)
        return answer

    async def RevokeNeverMerge(
        self, request: pb.RevokeNeverMergeRequest, context: ServicerContext
    ) -> pb.RevokeNeverMergeResponse:
        command = RevokeNeverMerge(UUID(request.customer_id), UUID(request.other_customer_id))
        answer: pb.RevokeNeverMergeResponse = await self._bus.execute(command, reply=wire.reunion_allowed)
        return answer

    async def GetIdentityStatistics(
        self, request: pb.GetIdentityStatisticsRequest, context: ServicerContext
    ) -> pb.GetIdentityStatisticsResponse:
        found = await self._read_models.query(identity_statistics)
        return pb.GetIdentityStatisticsResponse(
            anonymous_created=found.anonymous_created,
            known_created=found.known_created,
            became_known=found.became_known,
            merges=found.merges,
            anonymous_customers=found.anonymous_customers,
            known_customers=found.known_customers,
            shared_identifiers=found.shared_identifiers,
            shared_devices=found.shared_devices,
            reassignments=found.reassignments,
            conflicts=found.conflicts,
            unmerges=found.unmerges,
        )

    async def GetAttributes(
        self, request: pb.GetAttributesRequest, context: ServicerContext
    ) -> pb.GetAttributesResponse:
        await require_own_customer(self._bus, UUID(request.customer_id), self._clock.now())
        known = await get_attributes(self._bus, UUID(request.customer_id))
        unmasked, caller = may_see(request.purpose), current()

        def ask(rows: sa.Connection) -> list[Said]:
            with entered(caller):
                return opened(rows, self._unsealer, [row for it in known.of_nodes for row in rows_of(it)])

        resolved = resolve_all(known.definitions, await self._read_models.query(ask))
        if unmasked:
            personal = [sealed_as(it.definition.key) for it in resolved if it.definition.pii]
            await record_view(self._bus, known.customer.id, personal, request.purpose)
        return pb.GetAttributesResponse(
            customer_id=str(known.customer.id),
            attributes=[attribute_wire.attribute(shown(it, unmasked)) for it in resolved],
            minor=known.minor,
        )

    async def ListAttributeDefinitions(
        self, request: pb.ListAttributeDefinitionsRequest, context: ServicerContext
    ) -> pb.ListAttributeDefinitionsResponse:
        page = BY_KEY.page(request)
        after = page.after[0] if page.after else ""
        found = [it for it in await attribute_definitions(self._bus) if it.key > after][: page.limit]
        listed, token = BY_KEY.cut(request, found, lambda it: [it.key])
        return pb.ListAttributeDefinitionsResponse(definitions=[definition(it) for it in listed], next_page_token=token)

    async def DefineAttribute(
        self, request: pb.DefineAttributeRequest, context: ServicerContext
    ) -> pb.DefineAttributeResponse:
        command = attribute_wire.define_command(request)
        answer: pb.DefineAttributeResponse = await self._bus.execute(command, reply=attribute_wire.defined)
        return answer

    async def UpsertAttributes(
        self, request: pb.UpsertAttributesRequest, context: ServicerContext
    ) -> pb.UpsertAttributesResponse:
        command = attribute_wire.upsert_command(request)
        answer: pb.UpsertAttributesResponse = await self._bus.execute(command, reply=attribute_wire.upserted)
        return answer

    async def BatchUpsertAttributes(
        self, request: pb.BatchUpsertAttributesRequest, context: ServicerContext
    ) -> pb.BatchUpsertAttributesResponse:
        command = attribute_wire.batch_command(request)
        answer: pb.BatchUpsertAttributesResponse = await self._bus.execute(command, reply=attribute_wire.batch_upserted)
        return answer

    def _trace(self, trace: pb.Trace, field: str) -> Trace:
        if trace.HasField("customer_id"):
            return Trace(f"{field}.customer_id", node=UUID(trace.customer_id))
        return Trace(f"{field}.identifier", self._read_one(trace.identifier, f"{field}.identifier"))

    def _read_one(self, identifier: customer_pb2.Identifier, field: str) -> Identifier | None:
        return self._reader.read_one(current().tenant, wire.given(identifier), field)

    def _read(self, identifiers: Sequence[GivenIdentifier]) -> Reading:
        return self._reader.read(current().tenant, identifiers)
