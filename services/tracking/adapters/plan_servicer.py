"""PlanService on the wire."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from google.protobuf.message import Message

from chassis.commands import CommandBus
from chassis.context import current
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.unit_of_work import replay
from scrm.tracking.v1 import behaviour_pb2, plan_pb2
from scrm.tracking.v1 import plan_service_pb2 as pb
from services.tracking.adapters import order_wire
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.application.plan_commands import (
    DecideUnplanned,
    DeprecateEventType,
    RegisterEventType,
    UpdateEventType,
)
from services.tracking.application.published_plan import category_value, event_type_message
from services.tracking.application.quarantine_commands import MOST_REPLAYED, Replayed, ReplayQuarantined
from services.tracking.domain.event_types import KINDS, PRESETS, EventType
from services.tracking.domain.intake import Reason
from services.tracking.domain.plan import (
    Category,
    EventTypeDef,
    PropertyDef,
    PropertyType,
    TrackingPlan,
    Unplanned,
    plan_id,
)

PAGES: Final = Keyset(str, default=100)

_KIND_NAMES: Final = {check: kind.upper() for kind, check in KINDS.items()}


class PlanServicer:
    """Answers `scrm.tracking.v1.PlanService`."""

    def __init__(self, bus: CommandBus, plans: PlanBook) -> None:
        self._bus = bus
        self._plans = plans

    async def ListEventTypes(self, request: pb.ListEventTypesRequest, _: ServicerContext) -> pb.ListEventTypesResponse:
        page = PAGES.page(request)
        after = page.after[0] if page.after else ""
        plan = await self._plan()
        found = [event_type_message(it) for it in plan.types.values()] if plan else []
        if request.with_presets:
            found += map(_preset_message, PRESETS.values())
        behind = sorted((it for it in found if it.event_type > after), key=lambda it: it.event_type)
        shown, token = PAGES.cut(request, behind[: page.limit], lambda it: (it.event_type,))
        return pb.ListEventTypesResponse(event_types=shown, next_page_token=token)

    async def RegisterEventType(
        self, request: pb.RegisterEventTypeRequest, _: ServicerContext
    ) -> pb.RegisterEventTypeResponse:
        definition = EventTypeDef(request.event_type, _category(request.category), _properties(request.properties))
        command = RegisterEventType(current().tenant, definition)
        return await self._define(command, pb.RegisterEventTypeResponse)  # type: ignore[no-any-return]

    async def UpdateEventType(
        self, request: pb.UpdateEventTypeRequest, _: ServicerContext
    ) -> pb.UpdateEventTypeResponse:
        category, properties = _category(request.category), _properties(request.properties)
        command = UpdateEventType(current().tenant, request.event_type, category, properties)
        return await self._define(command, pb.UpdateEventTypeResponse)  # type: ignore[no-any-return]

    async def DeprecateEventType(
        self, request: pb.DeprecateEventTypeRequest, _: ServicerContext
    ) -> pb.DeprecateEventTypeResponse:
        command = DeprecateEventType(current().tenant, request.event_type)
        return await self._define(command, pb.DeprecateEventTypeResponse)  # type: ignore[no-any-return]

    async def GetUnplannedPolicy(
        self, request: pb.GetUnplannedPolicyRequest, _: ServicerContext
    ) -> pb.GetUnplannedPolicyResponse:
        plan = await self._plan()
        return pb.GetUnplannedPolicyResponse(policy=_policy(plan.unplanned if plan else Unplanned.QUARANTINE))

    async def UpdateUnplannedPolicy(
        self, request: pb.UpdateUnplannedPolicyRequest, _: ServicerContext
    ) -> pb.UpdateUnplannedPolicyResponse:
        name = plan_pb2.UnplannedPolicy.Name(request.policy).removeprefix("UNPLANNED_POLICY_")
        command = DecideUnplanned(current().tenant, Unplanned(name))

        def reply(unplanned: Unplanned) -> Message:
            return pb.UpdateUnplannedPolicyResponse(policy=_policy(unplanned))

        return await self._execute(command, reply)  # type: ignore[no-any-return]

    async def ReplayQuarantined(
        self, request: pb.ReplayQuarantinedRequest, _: ServicerContext
    ) -> pb.ReplayQuarantinedResponse:
        wanted = request.filter
        reason = (
            Reason(behaviour_pb2.TrackReason.Name(wanted.reason).removeprefix("TRACK_REASON_"))
            if wanted.reason
            else None
        )
        command = ReplayQuarantined(
            source_key=wanted.source_key,
            event_type=wanted.event_type,
            message_id=wanted.message_id,
            reason=reason,
            start=_bound(wanted, "start_time"),
            end=_bound(wanted, "end_time"),
            after=request.after_number,
            limit=request.limit or MOST_REPLAYED,
            accept_late=request.accept_late,
        )
        return await self._bus.execute(command, _replayed)  # type: ignore[no-any-return]

    async def _define(self, command: Any, response: Any) -> Any:
        return await self._execute(command, lambda it: response(event_type=event_type_message(it)))

    async def _execute(self, command: Any, reply: Any) -> Any:
        """Carry out the command, so that this process knows of it at once."""
        answer: Message = await self._bus.execute(command, reply)
        self._plans.forget(command.tenant)
        return answer

    async def _plan(self) -> TrackingPlan | None:
        """The plan of the caller as stored now."""
        id = plan_id(current().tenant)
        streams = await asyncio.to_thread(self._bus.store.load, [id])
        found = replay(streams[id]) if id in streams else None
        return found if isinstance(found, TrackingPlan) else None


def _bound(wanted: pb.QuarantineFilter, name: str) -> datetime | None:
    return order_wire.required_instant(getattr(wanted, name), f"filter.{name}") if wanted.HasField(name) else None  # type: ignore[arg-type]


def _replayed(replayed: Replayed) -> pb.ReplayQuarantinedResponse:
    return pb.ReplayQuarantinedResponse(
        accepted=replayed.accepted,
        refused=[
            pb.ReplayRefusal(reason=behaviour_pb2.TrackReason.Value(f"TRACK_REASON_{reason}"), count=count)
            for reason, count in sorted(replayed.refused.items())
        ],
        last_number=replayed.last,
        more=replayed.more,
    )


def _category(category: plan_pb2.EventCategory.ValueType) -> Category:
    name = plan_pb2.EventCategory.Name(category).removeprefix("EVENT_CATEGORY_")
    return Category.NONE if name == "UNSPECIFIED" else Category(name)


def _properties(properties: Iterable[plan_pb2.EventProperty]) -> tuple[PropertyDef, ...]:
    return tuple(
        PropertyDef(
            it.key,
            PropertyType(plan_pb2.PropertyType.Name(it.type).removeprefix("PROPERTY_TYPE_")),
            it.required,
            it.pii,
            tuple(dict.fromkeys(it.enum_values)),
        )
        for it in properties
    )


def _policy(unplanned: Unplanned) -> plan_pb2.UnplannedPolicy.ValueType:
    return plan_pb2.UnplannedPolicy.Value(f"UNPLANNED_POLICY_{unplanned}")


def _preset_message(preset: EventType) -> plan_pb2.EventType:
    return plan_pb2.EventType(
        event_type=preset.name,
        category=category_value(preset.category),
        properties=[
            plan_pb2.EventProperty(
                key=key,
                type=plan_pb2.PropertyType.Value(f"PROPERTY_TYPE_{_KIND_NAMES[check]}"),
                required=key in preset.required,
            )
            for key, check in preset.properties.items()
        ],
        preset=True,
    )
