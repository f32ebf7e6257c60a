"""Consents, channels, export and erasure over gRPC."""

from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.commands import CommandBus
from chassis.context import current, entered
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.identity.v1 import consent_pb2
from scrm.identity.v1 import privacy_service_pb2 as pb
from scrm.identity.v1.privacy_service_pb2_grpc import PrivacyServiceServicer
from services.identity.adapters import erasure_wire
from services.identity.adapters.customer_export import SECTIONS, Dossier, lines
from services.identity.adapters.unsealing import Unsealer
from services.identity.adapters.wire import given_instant
from services.identity.application.attribute_queries import get_attributes
from services.identity.application.certificate import get_case, get_certificate
from services.identity.application.consent_commands import RecordConsent, SetChannelReachability, WithdrawConsent
from services.identity.application.erasure_commands import CancelErasure, RequestErasure
from services.identity.application.org_queries import require_own_customer
from services.identity.application.pii_views import record_view
from services.identity.application.published_events import channel, consent
from services.identity.application.queries import get_permissions
from services.identity.domain.consent import ConsentState, Purpose, reachable, strictest
from services.identity.domain.customer import Customer
from services.identity.read_models.erasure_cases import list_cases

_PURPOSES: Final = {consent_pb2.ConsentPurpose.Value(f"CONSENT_PURPOSE_{it}"): it for it in Purpose}
_BY_CASE: Final = Keyset(UUID)
_BY_SECTION: Final = Keyset(int, default=1)
_STATES: Final = {consent_pb2.ConsentState.Value(f"CONSENT_STATE_{it}"): it for it in ConsentState}


class PrivacyServicer(PrivacyServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, unsealer: Unsealer) -> None:
        self._bus = bus
        self._read_models = read_models
        self._unsealer = unsealer

    async def GetPermissions(
        self, request: pb.GetPermissionsRequest, context: ServicerContext
    ) -> pb.GetPermissionsResponse:
        await require_own_customer(self._bus, UUID(request.customer_id), self._bus.clock.now())
        customer, permissions = await get_permissions(self._bus, UUID(request.customer_id))
        return pb.GetPermissionsResponse(
            customer_id=str(customer.id),
            consents=[consent(it) for _, it in sorted(strictest(permissions).items())],
            channels=[channel(it) for _, it in sorted(reachable(permissions).items())],
        )

    async def RecordConsent(
        self, request: pb.RecordConsentRequest, context: ServicerContext
    ) -> pb.RecordConsentResponse:
        command = RecordConsent(
            node=UUID(request.customer_id),
            purpose=_PURPOSES[request.purpose],
            channel=request.channel,
            state=_STATES[request.state],
            policy_version=request.policy_version,
            source=request.source,
            made_at=given_instant(request, "make_time"),
        )
        answer: pb.RecordConsentResponse = await self._bus.execute(command, reply=_recorded)
        return answer

    async def WithdrawConsent(
        self, request: pb.WithdrawConsentRequest, context: ServicerContext
    ) -> pb.WithdrawConsentResponse:
        command = WithdrawConsent(
            node=UUID(request.customer_id),
            purpose=_PURPOSES[request.purpose],
            channel=request.channel,
            source=request.source,
            made_at=given_instant(request, "make_time"),
        )
        answer: pb.WithdrawConsentResponse = await self._bus.execute(command, reply=_withdrawn)
        return answer

    async def SetChannelReachability(
        self, request: pb.SetChannelReachabilityRequest, context: ServicerContext
    ) -> pb.SetChannelReachabilityResponse:
        command = SetChannelReachability(
            node=UUID(request.customer_id),
            channel=request.channel,
            reachable=request.reachable,
            reason=request.reason,
            since=given_instant(request, "since_time"),
        )
        answer: pb.SetChannelReachabilityResponse = await self._bus.execute(command, reply=_set)
        return answer

    async def RequestErasure(
        self, request: pb.RequestErasureRequest, context: ServicerContext
    ) -> pb.RequestErasureResponse:
        command = RequestErasure(UUID(request.customer_id), request.legal_basis, request.verified_by)
        answer: pb.RequestErasureResponse = await self._bus.execute(command, reply=erasure_wire.requested)
        return answer

    async def CancelErasure(
        self, request: pb.CancelErasureRequest, context: ServicerContext
    ) -> pb.CancelErasureResponse:
        command = CancelErasure(UUID(request.case_id))
        answer: pb.CancelErasureResponse = await self._bus.execute(command, reply=erasure_wire.cancelled)
        return answer

    async def GetErasureCase(
        self, request: pb.GetErasureCaseRequest, context: ServicerContext
    ) -> pb.GetErasureCaseResponse:
        found = await get_case(self._bus, UUID(request.case_id))
        return pb.GetErasureCaseResponse(case=erasure_wire.case(found))

    async def ListErasureCases(
        self, request: pb.ListErasureCasesRequest, context: ServicerContext
    ) -> pb.ListErasureCasesResponse:
        page = _BY_CASE.page(request)
        after = page.after[0] if page.after else None
        wanted = erasure_wire.state(request.state)
        rows = await self._read_models.query(lambda rows: list_cases(rows, wanted, after, page.limit))
        shown, token = _BY_CASE.cut(request, rows, lambda it: [str(it.case_id)])
        cases = [erasure_wire.summary(it, it.case_id) for it in shown]
        return pb.ListErasureCasesResponse(cases=cases, next_page_token=token)

    async def ExportCustomer(
        self, request: pb.ExportCustomerRequest, context: ServicerContext
    ) -> pb.ExportCustomerResponse:
        page = _BY_SECTION.page(request)
        start, names, caller = page.after[0] if page.after else 0, list(SECTIONS), current()
        wanted = names[start : start + page.size]
        node = UUID(request.customer_id)
        customer, permissions = await get_permissions(self._bus, node)
        attributes = (await get_attributes(self._bus, node)).of_nodes

        def ask(rows: sa.Connection) -> list[str]:
            with entered(caller):
                dossier = Dossier(customer, permissions, attributes, rows, self._unsealer)
                return [line for section in wanted for line in lines(section, dossier)]

        found = await self._read_models.query(ask)
        await record_view(self._bus, customer.id, [f"export.{it}" for it in wanted], request.purpose)
        end = start + len(wanted)
        token = _BY_SECTION.token(request, [end]) if end < len(names) else ""
        return pb.ExportCustomerResponse(lines=found, next_page_token=token)

    async def GetErasureCertificate(
        self, request: pb.GetErasureCertificateRequest, context: ServicerContext
    ) -> pb.GetErasureCertificateResponse:
        found = await get_certificate(self._bus, UUID(request.case_id))
        return pb.GetErasureCertificateResponse(certificate=erasure_wire.certificate(found))


def _recorded(it: Customer) -> pb.RecordConsentResponse:
    return pb.RecordConsentResponse(customer_id=str(it.id))


def _withdrawn(it: Customer) -> pb.WithdrawConsentResponse:
    return pb.WithdrawConsentResponse(customer_id=str(it.id))


def _set(it: Customer) -> pb.SetChannelReachabilityResponse:
    return pb.SetChannelReachabilityResponse(customer_id=str(it.id))
