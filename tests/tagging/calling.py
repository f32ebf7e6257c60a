"""Somebody who calls the services of tagging over gRPC, for tests."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final
from uuid import uuid4

import grpc
import pytest

from chassis.credentials import KeySet, Verifier
from chassis.grpc_server import Gate, GrpcServer
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from scrm.tagging.v1 import analysis_service_pb2 as analysis_pb
from scrm.tagging.v1 import condition_service_pb2 as pb
from scrm.tagging.v1 import tag_service_pb2 as tag_pb
from scrm.tagging.v1 import tagging_service_pb2 as tagging_pb
from scrm.tagging.v1.analysis_service_pb2_grpc import AnalysisServiceStub, add_AnalysisServiceServicer_to_server
from scrm.tagging.v1.condition_service_pb2_grpc import ConditionServiceStub, add_ConditionServiceServicer_to_server
from scrm.tagging.v1.tag_service_pb2_grpc import TagServiceStub, add_TagServiceServicer_to_server
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub, add_TaggingServiceServicer_to_server
from services.tagging.adapters.analysis_servicer import AnalysisServicer
from services.tagging.adapters.condition_servicer import ConditionServicer
from services.tagging.adapters.grpc_servicer import TaggingServicer
from services.tagging.adapters.tag_servicer import TagServicer
from services.tagging.adapters.trainer import Trainer
from tests.tagging.world import TENANT, World

TRAINER: Final = Trainer()
"""One for all tests: its child takes its time to start."""


class Caller:
    """Somebody with a token, before the services of a world."""

    def __init__(self, world: World, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self.world = world
        self._stubs = (
            (pb, ConditionServiceStub(channel)),
            (tagging_pb, TaggingServiceStub(channel)),
            (tag_pb, TagServiceStub(channel)),
            (analysis_pb, AnalysisServiceStub(channel)),
        )
        self._credentials = credentials

    async def call(self, name: str, tenant: str = TENANT, **fields: Any) -> Any:
        messages, stub = next(it for it in self._stubs if hasattr(it[1], name))
        kind = getattr(messages, f"{name}Request")
        if "request_id" in kind.DESCRIPTOR.fields_by_name:
            fields.setdefault("request_id", str(uuid4()))
        token = self._credentials.mint(tenant, ("tagging.read", "tagging.write"))
        return await getattr(stub, name)(kind(**fields), metadata=(("authorization", f"Bearer {token}"),), timeout=90)

    async def refused(self, name: str, **fields: Any) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, **fields)
        return refusal(caught.value)


Serve = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]


def serving(world: World, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """`serving(…)(check)` runs `check(caller)` against a server."""

    async def served(check: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        gate = Gate("tagging", verifier, Metrics(), Tracing(), wait_for=world.read_models.wait_for)
        server = GrpcServer(
            gate,
            [
                (add_ConditionServiceServicer_to_server, ConditionServicer(world.bus, world.read_models, world.clock)),
                (
                    add_TaggingServiceServicer_to_server,
                    TaggingServicer(world.bus, world.read_models, world.clock),
                ),
                (add_TagServiceServicer_to_server, TagServicer(world.bus, world.read_models)),
                (
                    add_AnalysisServiceServicer_to_server,
                    AnalysisServicer(world.bus, world.read_models, world.clock, TRAINER),
                ),
            ],
        )
        world.bus.start()
        try:
            port = await server.start("127.0.0.1:0")
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await check(Caller(world, channel, credentials))
        finally:
            await server.stop(0)
            world.bus.stop()

    return lambda check: loop.run_until_complete(served(check))
