"""Identity over gRPC: requests into commands and queries, their results into responses."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from chassis.commands import CommandBus
from chassis.context import current
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceServicer
from services.identity.adapters import wire
from services.identity.application.queries import get_customer, lookup_customer
from services.identity.domain.identifiers import GivenIdentifier, IdentifierReader, Reading
from services.identity.read_models.customer_directory import list_customers
from services.identity.read_models.identity_statistics import identity_statistics

BY_ID: Final = Keyset(UUID)


class IdentityServicer(IdentityServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, reader: IdentifierReader) -> None:
        self._bus = bus
        self._read_models = read_models
        self._reader = reader

    async def GetCustomer(self, request: pb.GetCustomerRequest, context: ServicerContext) -> pb.GetCustomerResponse:
        found = await get_customer(self._bus, UUID(request.customer_id))
        return pb.GetCustomerResponse(customer=wire.customer(found.customer))

    async def ListCustomers(
        self, request: pb.ListCustomersRequest, context: ServicerContext
    ) -> pb.ListCustomersResponse:
        page = BY_ID.page(request)
        after = page.after[0] if page.after else None
        rows = await self._read_models.query(
            lambda rows: list_customers(rows, wire.state(request.state), after, page.limit)
        )
        shown, token = BY_ID.cut(request, rows, lambda it: [str(it.customer_id)])
        return pb.ListCustomersResponse(customers=[wire.summary(it) for it in shown], next_page_token=token)

    async def LookupCustomer(
        self, request: pb.LookupCustomerRequest, context: ServicerContext
    ) -> pb.LookupCustomerResponse:
        identifier = self._reader.read_one(current().tenant, wire.given(request.identifier))
        return wire.found_customer(await lookup_customer(self._bus, identifier))

    async def ResolveIdentity(
        self, request: pb.ResolveIdentityRequest, context: ServicerContext
    ) -> pb.ResolveIdentityResponse:
        command = wire.resolve_command(request, self._read)
        answer: pb.ResolveIdentityResponse = await self._bus.execute(command, reply=wire.resolved)
        return answer

    async def BatchResolve(self, request: pb.BatchResolveRequest, context: ServicerContext) -> pb.BatchResolveResponse:
        command = wire.batch_command(request, self._read)
        answer: pb.BatchResolveResponse = await self._bus.execute(command, reply=wire.batch_resolved)
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
        )

    def _read(self, identifiers: Sequence[GivenIdentifier]) -> Reading:
        return self._reader.read(current().tenant, identifiers)
