"""The five services as an outside client sees them: gRPC stubs with the token of the demo's tenant, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from chassis.context import Context, entered
from chassis.grpc_client import channel
from scrm.campaigns.v1.campaigns_service_pb2_grpc import CampaignsServiceStub
from scrm.campaigns.v1.flow_service_pb2_grpc import FlowServiceStub
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from scrm.identity.v1.privacy_service_pb2_grpc import PrivacyServiceStub
from scrm.identity.v1.profile_service_pb2_grpc import ProfileServiceStub
from scrm.membership.v1.membership_service_pb2_grpc import MembershipServiceStub
from scrm.ops.v1.operations_service_pb2_grpc import OperationsServiceStub
from scrm.tagging.v1.condition_service_pb2_grpc import ConditionServiceStub
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub
from scrm.tracking.v1.analysis_service_pb2_grpc import AnalysisServiceStub
from scrm.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

TENANT: Final = "cdnow-demo"
PATIENCE_SECONDS: Final = 120.0
_IN_FLIGHT: Final = 4


@dataclass(frozen=True, slots=True)
class Backend:
    """One stub per gRPC service that the demo needs, and one per process for its progress."""

    identity: Any
    profiles: Any
    privacy: Any
    tracking: Any
    analysis: Any
    tagging: Any
    conditions: Any
    membership: Any
    campaigns: Any
    flows: Any
    operations: Mapping[str, Any]


@asynccontextmanager
async def connected(addresses: Mapping[str, str], token: str) -> AsyncIterator[Backend]:
    """Stubs for the services at `addresses` (host:port by name); every call carries `token`."""
    channels = {
        name: channel(address, lambda _: token, deadline=PATIENCE_SECONDS) for name, address in addresses.items()
    }
    try:
        with entered(Context.system(TENANT, "demo")):
            yield Backend(
                identity=IdentityServiceStub(channels["identity"]),
                profiles=ProfileServiceStub(channels["identity"]),
                privacy=PrivacyServiceStub(channels["identity"]),
                tracking=TrackingServiceStub(channels["tracking"]),
                analysis=AnalysisServiceStub(channels["tracking"]),
                tagging=TaggingServiceStub(channels["tagging"]),
                conditions=ConditionServiceStub(channels["tagging"]),
                membership=MembershipServiceStub(channels["membership"]),
                campaigns=CampaignsServiceStub(channels["campaigns"]),
                flows=FlowServiceStub(channels["campaigns"]),
                operations={name: OperationsServiceStub(it) for name, it in channels.items()},
            )
    finally:
        await asyncio.gather(*(it.close() for it in channels.values()))


def request_id(*about: object) -> str:
    """The id of the request about these things: the same again in every run, so that a repeated request is a retry."""
    return str(uuid5(NAMESPACE_OID, "/".join(map(str, (TENANT, *about)))))


async def pages(call: Callable[..., Any], request: Any, field: str) -> AsyncIterator[Any]:
    """Every row of a list, page by page; `field` holds the rows of a page."""
    while True:
        page = await call(request)
        for row in getattr(page, field):
            yield row
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def together(**asked: Awaitable[Any]) -> dict[str, Any]:
    """The answers to what can be asked at once, by name in the order given."""
    return dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))


class Lanes:
    """Several requests in flight at once, and no more."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_IN_FLIGHT)
        self._running: list[asyncio.Task[Any]] = []

    async def send(self, call: Any, request: Any, then: Callable[[Any, Any], None]) -> None:
        """Send `request` as soon as a lane is free; `then(request, response)` sees the answer."""
        await self._free.acquire()
        self._running.append(asyncio.create_task(self._sent(call, request, then)))

    async def emptied(self) -> None:
        """Wait for everything sent so far; raises the first failure."""
        running, self._running = self._running, []
        await asyncio.gather(*running)

    async def _sent(self, call: Any, request: Any, then: Callable[[Any, Any], None]) -> None:
        try:
            then(request, await call(request))
        finally:
            self._free.release()
