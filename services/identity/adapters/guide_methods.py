"""The guides of customers over gRPC: a part of the servicer of the organisation."""

from typing import Final
from uuid import UUID

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.grpc_server import ServicerContext
from scrm.identity.v1 import org_pb2
from scrm.identity.v1 import org_service_pb2 as pb
from scrm.identity.v1.org_service_pb2_grpc import OrgServiceServicer
from services.identity.adapters import org_wire as wire
from services.identity.adapters.wire import given_instant
from services.identity.application.guides import Guided
from services.identity.application.org_queries import Guide, get_guide, get_settings, get_transfer
from services.identity.application.published_org import SOURCES
from services.identity.application.relationship_commands import (
    AssignCustomer,
    RecordGuideTouch,
    SetOrgSettings,
    UnassignCustomer,
)
from services.identity.application.routing_commands import RouteCustomer, Routed, RouteOutcome
from services.identity.application.transfer_commands import TransferCustomers
from services.identity.domain.org_settings import AssignmentRule, OrgSettings
from services.identity.domain.relationships import Guidance, TouchKind
from services.identity.domain.transfers import Transfer, TransferState

_SOURCES: Final = {number: it for it, number in SOURCES.items()}
_RULES: Final = {org_pb2.AssignmentRule.Value(f"ASSIGNMENT_RULE_{it}"): it for it in AssignmentRule}
_KINDS: Final = {org_pb2.TouchKind.Value(f"TOUCH_KIND_{it}"): it for it in TouchKind}
_OUTCOMES: Final = {it: org_pb2.RouteOutcome.Value(f"ROUTE_OUTCOME_{it}") for it in RouteOutcome}
_STATES: Final = {it: org_pb2.TransferState.Value(f"TRANSFER_STATE_{it}") for it in TransferState}


class GuideMethods(OrgServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def GetOrgSettings(
        self, request: pb.GetOrgSettingsRequest, context: ServicerContext
    ) -> pb.GetOrgSettingsResponse:
        return pb.GetOrgSettingsResponse(settings=_settings(await get_settings(self._bus)))

    async def UpdateOrgSettings(
        self, request: pb.UpdateOrgSettingsRequest, context: ServicerContext
    ) -> pb.UpdateOrgSettingsResponse:
        command = SetOrgSettings(_RULES[request.settings.assignment], request.settings.time_zone)
        answer: pb.UpdateOrgSettingsResponse = await self._bus.execute(
            command, reply=lambda it: pb.UpdateOrgSettingsResponse(settings=_settings(it))
        )
        return answer

    async def GetGuide(self, request: pb.GetGuideRequest, context: ServicerContext) -> pb.GetGuideResponse:
        found = await get_guide(self._bus, UUID(request.customer_id), self._clock.now())
        return pb.GetGuideResponse(
            customer_id=str(found.customer.id),
            guidance=_guide(found.guide),
            connected_staff_ids=[str(it) for it in found.connected],
        )

    async def AssignCustomer(
        self, request: pb.AssignCustomerRequest, context: ServicerContext
    ) -> pb.AssignCustomerResponse:
        command = AssignCustomer(UUID(request.customer_id), UUID(request.staff_id), _SOURCES[request.source])
        answer: pb.AssignCustomerResponse = await self._bus.execute(command, reply=_assigned)
        return answer

    async def UnassignCustomer(
        self, request: pb.UnassignCustomerRequest, context: ServicerContext
    ) -> pb.UnassignCustomerResponse:
        command = UnassignCustomer(UUID(request.customer_id), request.reason)
        answer: pb.UnassignCustomerResponse = await self._bus.execute(command, reply=_unassigned)
        return answer

    async def RecordGuideTouch(
        self, request: pb.RecordGuideTouchRequest, context: ServicerContext
    ) -> pb.RecordGuideTouchResponse:
        at = given_instant(request, "touch_time")
        command = RecordGuideTouch(UUID(request.customer_id), UUID(request.staff_id), _KINDS[request.kind], at)
        answer: pb.RecordGuideTouchResponse = await self._bus.execute(command, reply=_touched)
        return answer

    async def RouteCustomer(
        self, request: pb.RouteCustomerRequest, context: ServicerContext
    ) -> pb.RouteCustomerResponse:
        command = RouteCustomer(
            code_key=request.code_key,
            node=UUID(request.customer_id),
            staff=tuple(map(UUID, request.staff_ids)),
            fallback=UUID(request.fallback_staff_id) if request.fallback_staff_id else None,
        )
        answer: pb.RouteCustomerResponse = await self._bus.execute(command, reply=_routed)
        return answer

    async def GetTransfer(self, request: pb.GetTransferRequest, context: ServicerContext) -> pb.GetTransferResponse:
        found = await get_transfer(self._bus, UUID(request.transfer_id), self._clock.now())
        return pb.GetTransferResponse(transfer=_transfer(found))

    async def TransferCustomers(
        self, request: pb.TransferCustomersRequest, context: ServicerContext
    ) -> pb.TransferCustomersResponse:
        command = TransferCustomers(
            from_staff=UUID(request.from_staff_id),
            to_staff=UUID(request.to_staff_id),
            customers=None if request.all else tuple(map(UUID, request.listed.customer_ids)),
            reason=request.reason,
            effective_at=given_instant(request, "effective_time"),
        )
        answer: pb.TransferCustomersResponse = await self._bus.execute(
            command, reply=lambda it: pb.TransferCustomersResponse(transfer=_transfer(it))
        )
        return answer


def _assigned(it: Guided) -> pb.AssignCustomerResponse:
    return pb.AssignCustomerResponse(
        customer_id=str(it.customer), guidance=guidance_message(it.guidance, it.store), changed=it.changed
    )


def _unassigned(it: Guided) -> pb.UnassignCustomerResponse:
    return pb.UnassignCustomerResponse(customer_id=str(it.customer), changed=it.changed)


def _touched(it: Guided) -> pb.RecordGuideTouchResponse:
    return pb.RecordGuideTouchResponse(
        customer_id=str(it.customer), guidance=guidance_message(it.guidance, it.store), changed=it.changed
    )


def _routed(it: Routed) -> pb.RouteCustomerResponse:
    return pb.RouteCustomerResponse(
        customer_id=str(it.customer), staff_id=str(it.staff), outcome=_OUTCOMES[it.outcome], assigned=it.assigned
    )


def _guide(it: Guide | None) -> org_pb2.Guidance | None:
    return guidance_message(it.guidance, it.store) if it else None


def guidance_message(it: Guidance | None, store: UUID | None) -> org_pb2.Guidance | None:
    """Who looks after a customer, and the store where that one works; nothing for nobody."""
    if it is None:
        return None
    return org_pb2.Guidance(
        staff_id=str(it.staff),
        store_id=str(store) if store else "",
        source=SOURCES[it.source],
        since_time=wire.timestamp(it.since),
    )


def _settings(it: OrgSettings) -> org_pb2.OrgSettings:
    rule = org_pb2.AssignmentRule.Value(f"ASSIGNMENT_RULE_{it.assignment}")
    return org_pb2.OrgSettings(assignment=rule, time_zone=it.time_zone)


def _transfer(it: Transfer) -> org_pb2.Transfer:
    return org_pb2.Transfer(
        name=f"transfers/{it.id}",
        transfer_id=str(it.id),
        from_staff_id=str(it.from_staff),
        to_staff_id=str(it.to_staff),
        all_customers=it.customers is None,
        reason=it.reason,
        effective_time=wire.timestamp(it.effective_at),
        state=_STATES[it.state],
        moved=it.moved,
        skipped=it.skipped,
    )
