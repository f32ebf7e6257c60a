"""Envoy with the template of the local stack in front of a server that knows of all services only their contracts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from chassis.context import current
from chassis.credentials import KeySet, Verifier
from chassis.grpc_server import Gate, GrpcServer, Registration
from chassis.telemetry import Metrics, Tracing
from deploy.local.contracts import DESCRIPTORS
from deploy.local.credentials import Credentials
from deploy.local.envoy_process import Envoy
from deploy.local.gateway import Gateway
from deploy.local.processes import free_port
from tests.contracts import contracts
from tests.contracts.kinds import handler_of


class Parrot:
    """All services at once; `heard` is what came through, with the metadata of the last call.

    `answers`, by RPC, is what it says, `streams` what it says one after the other, with an error to end it by.
    """

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.answers: dict[str, Message] = {}
        self.streams: dict[str, list[Any]] = {}
        self.metadata: dict[str, str] = {}
        self.callers: set[tuple[str, str]] = set()  # tenant and actor, as the services take them

    def registrations(self) -> list[Registration]:
        return [(self._adder(service), self) for service in contracts.services()]

    def _adder(self, service: Any) -> Callable[[Any, Any], None]:
        handlers: dict[str, Any] = {it.name: handler_of(it, self._answer(it)) for it in service.methods}
        return lambda servicer, server: server.add_registered_method_handlers(service.full_name, handlers)

    def _answer(self, rpc: MethodDescriptor) -> Any:
        response = message_factory.GetMessageClass(rpc.output_type)

        async def answer(request: Message, call: Any) -> Any:
            self.heard.append(request)
            self.metadata = dict(call.invocation_metadata())
            self.callers.add((current().tenant, current().actor))
            return self.streams.get(rpc.full_name) or self.answers.get(rpc.full_name) or response()

        return answer


@dataclass(slots=True)
class Front:
    """A gateway and what is behind it; `direct` is the way beside the gateway."""

    envoy: Envoy
    parrot: Parrot
    credentials: Credentials
    direct: str
    tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.envoy.address

    def bearer(self, *scopes: str) -> dict[str, str]:
        if scopes not in self.tokens:
            self.tokens[scopes] = self.credentials.mint("acme", scopes)
        return {"authorization": f"Bearer {self.tokens[scopes]}"}


@asynccontextmanager
async def fronting(credentials: Credentials, folder: Path, **settings: Any) -> AsyncIterator[Front]:
    """A gateway with `settings` of its own."""
    parrot = Parrot()
    verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
    server = GrpcServer(Gate("contracts", verifier, Metrics(), Tracing()), parrot.registrations(), reflect=True)
    port = await server.start("127.0.0.1:0")
    gateway = Gateway(
        listen=("127.0.0.1", free_port()),
        admin=("127.0.0.1", free_port()),
        backends=dict.fromkeys(contracts.SERVICES, ("127.0.0.1", port)),
        descriptors=DESCRIPTORS,
        jwks=credentials.jwks,
        pages=folder / "docs",
        **settings,
    )
    envoy = Envoy(folder, gateway)
    try:
        await asyncio.to_thread(envoy.start)
        yield Front(envoy, parrot, credentials, f"127.0.0.1:{port}")
    finally:
        await asyncio.to_thread(envoy.stop)
        await server.stop(0)


@pytest.fixture(scope="module")
def _front(
    loop: asyncio.AbstractEventLoop, credentials: Credentials, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    context = fronting(credentials, tmp_path_factory.mktemp("gateway"))
    yield loop.run_until_complete(context.__aenter__())
    loop.run_until_complete(context.__aexit__(None, None, None))


@pytest.fixture
def front(_front: Front) -> Front:
    _front.parrot.heard.clear()
    _front.parrot.callers.clear()
    return _front
