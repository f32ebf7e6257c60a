"""What the gateway does beside passing calls on: it limits each caller alone, speaks TLS, and logs nobody's data."""

import asyncio
import json
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor import MethodDescriptor

from chassis.grpc_server import scope_of
from chassis.status import refusal
from deploy.local.credentials import Credentials
from tests.contracts import contracts
from tests.contracts.requests import good_request
from tests.gateway.certificates import self_signed
from tests.gateway.conftest import Front, fronting
from tests.gateway.wires import path_of

RPC = next(it for it in contracts.rpcs() if it.name == "GetCustomer")


async def calls(front: Front, subject: str, number: int, **headers: str) -> Counter[str]:
    """How so many calls of one caller, all at once, were answered."""
    token = front.credentials.mint("acme", [scope_of(RPC)], subject)
    metadata = (("authorization", f"Bearer {token}"), *headers.items())

    async def call(channel: grpc.aio.Channel, rpc: MethodDescriptor) -> str:
        method: Any = channel.unary_unary(path_of(rpc))
        try:
            await method(good_request(rpc.input_type).SerializeToString(), metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            return refusal(error).code
        return "OK"

    async with grpc.aio.insecure_channel(front.address) as channel:
        return Counter(await asyncio.gather(*(call(channel, RPC) for _ in range(number))))


def test_a_caller_who_asks_too_much_is_slowed_and_nobody_else(
    credentials: Credentials, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    async def check() -> tuple[Counter[str], Counter[str], Counter[str]]:
        async with fronting(credentials, tmp_path, requests_per_second_of_caller=5) as front:
            greedy = await calls(front, "greedy", 50)
            other = await calls(front, "modest", 3)
            disguised = await calls(front, "greedy", 50, **{"x-scrm-caller": "somebody"})
            return greedy, other, disguised

    greedy, other, disguised = loop.run_until_complete(check())
    assert greedy["RESOURCE_EXHAUSTED"] >= 30
    assert greedy["OK"] >= 5
    assert other == {"OK": 3}
    assert disguised["RESOURCE_EXHAUSTED"] >= 30, "whoever claims to be somebody else is still who the token says"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return self_signed(tmp_path)


def test_it_speaks_tls_where_it_has_a_certificate(
    credentials: Credentials, tmp_path: Path, certificate: tuple[Path, Path], loop: asyncio.AbstractEventLoop
) -> None:
    async def check() -> tuple[int, bytes]:
        async with fronting(credentials, tmp_path, tls=certificate) as front:
            port = front.address.rpartition(":")[2]
            trusting = ssl.create_default_context(cafile=str(certificate[0]))
            async with httpx.AsyncClient(verify=trusting) as client:
                page = await client.get(f"https://localhost:{port}/docs/")
            roots = grpc.ssl_channel_credentials(certificate[0].read_bytes())
            async with grpc.aio.secure_channel(f"localhost:{port}", roots) as channel:
                method: Any = channel.unary_unary(path_of(RPC))
                metadata = tuple(front.bearer(scope_of(RPC)).items())
                answer = await method(good_request(RPC.input_type).SerializeToString(), metadata=metadata, timeout=20)
            with pytest.raises(httpx.TransportError):
                async with httpx.AsyncClient() as client:
                    await client.get(f"http://localhost:{port}/docs/")
            return page.status_code, answer

    assert loop.run_until_complete(check()) == (200, b"")


def test_the_access_log_tells_of_calls_and_nothing_of_people(
    credentials: Credentials, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    log = tmp_path / "access.log"

    async def check() -> None:
        async with fronting(credentials, tmp_path, access_log=log) as front:
            async with httpx.AsyncClient() as client:
                await client.get(
                    f"http://{front.address}/v1/identity/customers?pageToken=jane%40example.com",
                    headers={**front.bearer("identity.read"), "user-agent": "Jane's telephone"},
                )
            await calls(front, "jane", 1)

    loop.run_until_complete(check())
    written = log.read_text()
    paths = [json.loads(it)["path"] for it in written.splitlines()]
    assert paths == ["/v1/identity/customers", path_of(RPC)]
    assert "jane" not in written.lower()
    assert "Bearer" not in written
