"""Consents and channels over gRPC."""

from typing import Final
from uuid import UUID

from chassis.commands import CommandBus
from chassis.grpc_server import ServicerContext
from scrm.identity.v1 import consent_pb2
from scrm.identity.v1 import privacy_service_pb2 as pb
from scrm.identity.v1.privacy_service_pb2_grpc import PrivacyServiceServicer
from services.identity.adapters.wire import given_instant
from services.identity.application.consent_commands import RecordConsent, SetChannelReachability, WithdrawConsent
from services.identity.application.org_queries import require_own_customer
from services.identity.application.published_events import channel, consent
from services.identity.application.queries import get_permissions
from services.identity.domain.consent import ConsentState, Purpose, reachable, strictest
from services.identity.domain.customer import Customer

_PURPOSES: Final = {consent_pb2.ConsentPurpose.Value(f"CONSENT_PURPOSE_{it}"): it for it in Purpose}
_STATES: Final = {consent_pb2.ConsentState.Value(f"CONSENT_STATE_{it}"): it for it in ConsentState}


class PrivacyServicer(PrivacyServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus) -> None:
        self._bus = bus

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


def _recorded(it: Customer) -> pb.RecordConsentResponse:
    return pb.RecordConsentResponse(customer_id=str(it.id))


def _withdrawn(it: Customer) -> pb.WithdrawConsentResponse:
    return pb.WithdrawConsentResponse(customer_id=str(it.id))


def _set(it: Customer) -> pb.SetChannelReachabilityResponse:
    return pb.SetChannelReachabilityResponse(customer_id=str(it.id))
