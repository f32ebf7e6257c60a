"""The analysis over gRPC in tests: the service, and somebody who calls it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from chassis.credentials import KeySet, Verifier
from chassis.grpc_server import Gate, GrpcServer
from chassis.status import refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from scrm.tracking.v1.analysis_service_pb2_grpc import AnalysisServiceStub, add_AnalysisServiceServicer_to_server
from services.tracking.adapters.analysis_servicer import AnalysisServicer
from tests.tracking.analyst import Analyst


class Caller:
    """Calls the service; `refused` gives the reason of a refusal."""

    def __init__(self, stub: Any, credentials: Credentials) -> None:
        self._stub = stub
        self._credentials = credentials

    async def call(self, name: str, request: Any, tenant: str = "acme") -> Any:
        token = self._credentials.mint(tenant, ("tracking.read", "tracking.write"))
        return await getattr(self._stub, name)(request, metadata=(("authorization", f"Bearer {token}"),), timeout=20)

    async def refused(self, name: str, request: Any, tenant: str = "acme") -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, request, tenant)
        return refusal(caught.value).reason


AnalysisServing = Callable[[Callable[[Caller], Awaitable[None]]], None]


@asynccontextmanager
async def answering(analyst: Analyst, credentials: Credentials) -> AsyncIterator[Caller]:
    """A caller of the service on the database of `analyst`."""
    verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
    servicer = AnalysisServicer(analyst.shop.bus, analyst.read_models, analyst.clock)
    gate = Gate("tracking", verifier, Metrics(), Tracing(), wait_for=analyst.read_models.wait_for)
    server = GrpcServer(gate, [(add_AnalysisServiceServicer_to_server, servicer)])
    analyst.shop.bus.start()
    try:
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Caller(AnalysisServiceStub(channel), credentials)
    finally:
        await server.stop(0)
        analyst.shop.bus.stop()
