"""A client that we did not write and that knows no contract beforehand: `buf curl`, which learns it by reflection."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor

from chassis.grpc_server import scope_of
from tests.contracts import contracts
from tests.contracts.requests import good_request
from tests.gateway.conftest import Front
from tests.gateway.wires import path_of

BUF = Path(sys.executable).with_name("buf")


def first_rpc(service: str) -> MethodDescriptor:
    return next(it for it in contracts.rpcs() if it.full_name.startswith(f"scrm.{service}."))


async def curl(front: Front, service: str, rpc: MethodDescriptor, *flags: str) -> subprocess.CompletedProcess[str]:
    bearer = f"authorization: {front.bearer(scope_of(rpc))['authorization']}"
    request = json.dumps(json_format.MessageToDict(good_request(rpc.input_type)))
    headers = ["--header", bearer, "--reflect-header", bearer, "--reflect-header", f"scrm-service: {service}"]
    address = f"http://{front.address}{path_of(rpc)}"
    command: list[Any] = [BUF, "curl", "--http2-prior-knowledge", *flags, *headers, "--data", request, address]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("protocol", ["grpc", "grpcweb"])
@pytest.mark.parametrize("service", contracts.SERVICES)
def test_an_independent_client_calls_each_service(
    service: str, protocol: str, front: Front, loop: asyncio.AbstractEventLoop
) -> None:
    rpc = first_rpc(service)

    done = loop.run_until_complete(curl(front, service, rpc, "--protocol", protocol))

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {}
    assert len(front.parrot.heard) == 1


def test_contracts_are_shown_to_nobody_without_a_token(front: Front, loop: asyncio.AbstractEventLoop) -> None:
    rpc = first_rpc("identity")
    stranger = Front(front.envoy, front.parrot, front.credentials, front.direct, {(scope_of(rpc),): "none"})

    done = loop.run_until_complete(curl(stranger, "identity", rpc, "--protocol", "grpc"))

    assert done.returncode != 0
    assert front.parrot.heard == []
