"""Two server processes of identity over one database: who is seen for the first time by both is one customer."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import uuid4

import grpc

from deploy.local.processes import free_port
from deploy.local.stack import LocalStack, Service
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

CALLS = 200


def test_ac_4_parallel_first_sights_over_two_server_processes_make_one_customer(state_dir: Path) -> None:
    with LocalStack(state_dir / "two-servers", services=["identity"]) as stack:
        other = {**stack.environment_of("identity"), "SCRM_GRPC_PORT": str(free_port()), "SCRM_METRICS_PORT": "0"}
        second = Service("identity", other, stack.log_of("second"), roles=["serve"])
        second.start()
        try:
            token = stack.credentials.mint("acme", ["identity.write"])
            found = asyncio.run(first_sights([stack.address("identity"), second.address], token))
        finally:
            second.stop()

    outcomes = Counter(pb.Outcome.Name(it.outcome) for it in found)
    assert outcomes == {"OUTCOME_CREATED": 1, "OUTCOME_MATCHED": CALLS - 1}
    assert len({it.customer_id for it in found}) == 1


async def first_sights(addresses: list[str], token: str) -> list[pb.ResolveIdentityResponse]:
    """The answers to calls with the same new phone, made at once and in turn at each address."""
    channels = [grpc.aio.insecure_channel(it) for it in addresses]
    stubs = [IdentityServiceStub(it) for it in channels]
    phone = customer_pb2.Identifier(namespace="phone", value="+8613800000001")

    async def call(number: int) -> pb.ResolveIdentityResponse:
        request = pb.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[phone])
        metadata = (("authorization", f"Bearer {token}"),)
        answer: pb.ResolveIdentityResponse = await stubs[number % 2].ResolveIdentity(request, metadata=metadata)
        return answer

    try:
        return await asyncio.gather(*(call(number) for number in range(CALLS)))
    finally:
        for it in channels:
            await it.close()
