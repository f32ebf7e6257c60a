"""What callers bound to stores may do: with the customers whose guides work there, and nothing with others.

Every RPC of a servicer that is held to it has a rule; there is none without.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from services.identity.application.org_queries import get_staff, require_own_customer
from services.identity.domain.lead import Lead
from services.identity.domain.work_order import WorkOrder

Rule = Callable[[CommandBus, Any], Awaitable[None]]
"""Raises StoreScope for a request that is not about the caller's stores, or would tell of something that does not exist."""


class StoreBound:
    """A servicer in whose place it stands: asks the rule of the RPC before each call of somebody who is bound to stores."""

    def __init__(self, servicer: object, bus: CommandBus) -> None:
        self._servicer = servicer
        self._bus = bus

    def __getattr__(self, name: str) -> Callable[[Any, ServicerContext], Awaitable[Any]]:
        answer, rule = getattr(self._servicer, name), RULES[name]

        async def bound(request: Any, context: ServicerContext) -> Any:
            if current().stores is not None:
                await rule(self._bus, request)
            return await answer(request, context)

        return bound


async def _anybody(bus: CommandBus, request: Any) -> None:
    """It says nothing of a single customer, or looks itself whom it is about."""


async def _head_office(bus: CommandBus, request: Any) -> None:
    """It is about customers of all stores."""
    current().require_store(None)


async def _own(bus: CommandBus, request: Any) -> None:
    await require_own_customer(bus, UUID(request.customer_id), bus.clock.now())


async def _own_if_named(bus: CommandBus, request: Any) -> None:
    if request.customer_id:
        await _own(bus, request)


async def _own_work_order(bus: CommandBus, request: Any) -> None:
    try:
        found = await bus.load(WorkOrder, UUID(request.work_order_id))
    except AggregateNotFound:
        current().require_store(None)
        raise
    await require_own_customer(bus, found.matter.node, bus.clock.now())


async def _own_lead(bus: CommandBus, request: Any) -> None:
    try:
        found = await bus.load(Lead, UUID(request.lead_id))
    except AggregateNotFound:
        current().require_store(None)
        raise
    await require_own_customer(bus, found.prospect.node, bus.clock.now())


def _own_or_of_colleague(colleague: str) -> Rule:
    """A list for one customer, or for one member of staff, who is named by the field `colleague`."""

    async def rule(bus: CommandBus, request: Any) -> None:
        if request.customer_id:
            await _own(bus, request)
        elif getattr(request, colleague):
            await get_staff(bus, UUID(getattr(request, colleague)), bus.clock.now())
        else:
            current().require_store(None)

    return rule


_IDENTITY: Final[Mapping[str, Rule]] = {
    "GetCustomer": _anybody,
    "ListCustomers": _anybody,
    "LookupCustomer": _anybody,
    "ResolveIdentity": _own_if_named,
    "BatchResolve": _head_office,
    "ImportCustomers": _head_office,
    "LinkIdentifier": _own,
    "UnlinkIdentifier": _own,
    "PreviewMerge": _head_office,
    "MergeCustomers": _head_office,
    "UnmergeCustomer": _head_office,
    "GetMergeHistory": _own,
    "ExplainIdentity": _head_office,
    "SetNeverMerge": _head_office,
    "RevokeNeverMerge": _head_office,
    "GetIdentityStatistics": _anybody,
    "GetAttributes": _own,
    "ListAttributeDefinitions": _anybody,
    "DefineAttribute": _head_office,
    "UpsertAttributes": _own,
    "BatchUpsertAttributes": _head_office,
}
_MATCHING: Final = dict.fromkeys(
    (
        "RunMatching",
        "GetMatchRun",
        "ListMatchCandidates",
        "DecideMatchCandidate",
        "GetMatchModel",
        "SetMatchModel",
        "EstimateMatchModel",
    ),
    _head_office,
)
_NAMESPACES: Final[Mapping[str, Rule]] = {
    "SetNamespaceConfig": _head_office,
    "GetNamespaceConfig": _anybody,
    "ListNamespaces": _anybody,
    "PreviewNamespaceConfig": _head_office,
    "SetAnonymousLifetime": _head_office,
    "GetAnonymousLifetime": _anybody,
    "BlockIdentifierValue": _head_office,
    "ListBlockedIdentifierValues": _head_office,
    "UnblockIdentifierValue": _head_office,
}
_PRIVACY: Final[Mapping[str, Rule]] = {
    "GetPermissions": _own,
    "RecordConsent": _own,
    "WithdrawConsent": _own,
    "SetChannelReachability": _own,
    "RequestErasure": _own,
    "CancelErasure": _head_office,
    "GetErasureCase": _head_office,
    "ListErasureCases": _head_office,
    "ExportCustomer": _own,
    "GetErasureCertificate": _head_office,
}
_ENGAGEMENT: Final[Mapping[str, Rule]] = {
    "CreateWorkOrder": _own,
    "GetWorkOrder": _own_work_order,
    "ListWorkOrders": _own_or_of_colleague("assignee_id"),
    "GetWorkOrderStatistics": _anybody,
    "TransitionWorkOrder": _own_work_order,
    "RateWorkOrder": _own_work_order,
    "UpsertExternalWorkOrder": _head_office,
    "RecordFollowUp": _own,
    "RecordContact": _own,
    "ListContactHistory": _own,
    "OpenLead": _own,
    "GetLead": _own_lead,
    "ListLeads": _own_or_of_colleague("owner_id"),
    "UpdateLead": _own_lead,
    "GetIssueBoard": _anybody,
    "GetServiceHours": _anybody,
    "SetServiceHours": _head_office,
}
RULES: Final[Mapping[str, Rule]] = {**_IDENTITY, **_MATCHING, **_NAMESPACES, **_PRIVACY, **_ENGAGEMENT}
"""By RPC."""
