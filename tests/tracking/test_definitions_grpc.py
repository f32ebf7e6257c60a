"""What a brand defines, as callers meet it: over gRPC, on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.credentials import KeySet, Verifier
from chassis.event_store import PostgresEventStore
from chassis.grpc_server import Gate, GrpcServer, Registration
from chassis.projection import Projector
from chassis.read_models import ReadModels
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from scrm.tracking.v1 import plan_pb2
from scrm.tracking.v1 import plan_service_pb2 as plan_pb
from scrm.tracking.v1.plan_service_pb2_grpc import PlanServiceStub, add_PlanServiceServicer_to_server
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.plan_servicer import PlanServicer
from services.tracking.application.definition_handlers import definition_handlers
from services.tracking.service import quarantine
from tests.chassis.streams import until
from tests.tracking.touches import NOON, Tracking, event

SCOPES = ("tracking.read", "tracking.write", "tracking.configure")


class Caller:
    """Somebody of a brand who defines what is tracked."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stubs: tuple[Any, ...] = (PlanServiceStub(channel),)
        self._credentials = credentials

    async def call(self, name: str, request: Any, tenant: str = "acme", *scopes: str) -> Any:
        token = self._credentials.mint(tenant, scopes or SCOPES)
        [method] = [getattr(it, name) for it in self._stubs if hasattr(it, name)]
        return await method(request, metadata=(("authorization", f"Bearer {token}"),), timeout=20)

    async def refused(self, name: str, request: Any, tenant: str = "acme", *scopes: str) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, request, tenant, *scopes)
        return refusal(caught.value)


Serve = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def serve(
    tables: Database, postgres_store: PostgresEventStore, credentials: Credentials, loop: asyncio.AbstractEventLoop
) -> Serve:
    """`serve(check)` awaits `check(caller)` with the services running."""

    @asynccontextmanager
    async def serving() -> AsyncIterator[Caller]:
        store, clock = postgres_store, ReplayClock(NOON)
        async with AsyncExitStack() as closing:
            bus = CommandBus(store, clock, definition_handlers(quarantine))
            bus.start()
            closing.callback(bus.stop)
            read_models = ReadModels(tables.reader_dsn)
            closing.callback(read_models.close)
            servicers: list[Registration] = [
                (add_PlanServiceServicer_to_server, PlanServicer(bus, PlanBook(store))),
            ]
            verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
            gate = Gate("tracking", verifier, Metrics(), Tracing(), wait_for=read_models.wait_for)
            server = GrpcServer(gate, servicers)
            port = await server.start("127.0.0.1:0")
            closing.push_async_callback(server.stop, 0)
            projector = Projector(PROJECTIONS, store.engine, store)
            projecting = asyncio.create_task(projector.run())
            closing.push_async_callback(asyncio.wait, [projecting])
            closing.callback(projecting.cancel)

            async def is_ready() -> bool:
                return all(it.version for it in await projector.progress())

            await until(is_ready, "the read models are there")
            channel = await closing.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            yield Caller(channel, credentials)

    def run(check: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with serving() as caller:
                await check(caller)

        loop.run_until_complete(served())

    return run


PROJECTIONS: tuple[Any, ...] = ()


def new_id() -> str:
    return str(uuid4())


def test_event_types_are_registered_listed_added_to_and_given_up(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        wine = plan_pb2.EventProperty(key="wine", type=plan_pb2.PROPERTY_TYPE_TEXT, required=True)
        register = plan_pb.RegisterEventTypeRequest(
            request_id=new_id(), event_type="tasted", category=plan_pb2.EVENT_CATEGORY_I, properties=[wine]
        )
        made = await caller.call("RegisterEventType", register)
        assert (made.event_type.event_type, made.event_type.version) == ("tasted", 1)
        assert await caller.call("RegisterEventType", register) == made

        update = plan_pb.UpdateEventTypeRequest(
            request_id=new_id(), event_type="tasted", category=plan_pb2.EVENT_CATEGORY_I
        )
        assert (await caller.refused("UpdateEventType", update)).reason == "INCOMPATIBLE_SCHEMA"
        glass = plan_pb2.EventProperty(key="glass", type=plan_pb2.PROPERTY_TYPE_TEXT, enum_values=["big", "small"])
        update.properties.extend([wine, glass])
        update.request_id = new_id()
        assert (await caller.call("UpdateEventType", update)).event_type.version == 2
        deprecate = plan_pb.DeprecateEventTypeRequest(request_id=new_id(), event_type="tasted")
        assert (await caller.call("DeprecateEventType", deprecate)).event_type.deprecated

        own = await caller.call("ListEventTypes", plan_pb.ListEventTypesRequest())
        assert [(it.event_type, it.version, len(it.properties)) for it in own.event_types] == [("tasted", 3, 2)]
        page = plan_pb.ListEventTypesRequest(with_presets=True, page_size=40)
        first = await caller.call("ListEventTypes", page)
        page.page_token = first.next_page_token
        second = await caller.call("ListEventTypes", page)
        names = [it.event_type for it in [*first.event_types, *second.event_types]]
        assert names == sorted(names)
        assert {"tasted", "content_engaged"} <= set(names)
        assert not (await caller.call("ListEventTypes", plan_pb.ListEventTypesRequest(), "globex")).event_types
        foreign = plan_pb.DeprecateEventTypeRequest(request_id=new_id(), event_type="tasted")
        assert (await caller.refused("DeprecateEventType", foreign, "globex")).reason == "EVENT_TYPE_NOT_FOUND"
        assert (await caller.refused("DeprecateEventType", foreign, "acme", "tracking.write")).reason == "MISSING_SCOPE"

    serve(check)


def test_what_becomes_of_other_types_is_decided_and_what_was_put_aside_is_replayed(
    serve: Serve, tracking: Tracking
) -> None:
    async def check(caller: Caller) -> None:
        asked = plan_pb.GetUnplannedPolicyRequest()
        quarantined = plan_pb2.UNPLANNED_POLICY_QUARANTINE
        assert (await caller.call("GetUnplannedPolicy", asked)).policy == quarantined
        tracking.track(event("m1", "unheard_of"), event("m2", identifiers=[]))
        policy = plan_pb2.UNPLANNED_POLICY_ACCEPT_UNPLANNED
        decided = plan_pb.UpdateUnplannedPolicyRequest(request_id=new_id(), policy=policy)
        assert (await caller.call("UpdateUnplannedPolicy", decided)).policy == policy
        assert (await caller.call("GetUnplannedPolicy", asked)).policy == policy
        replay = plan_pb.ReplayQuarantinedRequest(request_id=new_id())
        done = await caller.call("ReplayQuarantined", replay)
        assert (done.accepted, [it.count for it in done.refused], done.last_number, done.more) == (1, [1], 2, False)
        assert await caller.call("ReplayQuarantined", replay) == done
        assert tracking.count("accepted") == 1

    serve(check)
