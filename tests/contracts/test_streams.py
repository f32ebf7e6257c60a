"""Streams are of the kinds that every way can carry, and can be gone on with."""

from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from chassis.grpc_server import request_id_rule
from tests.chassis import echo_contract
from tests.contracts import contracts

RPCS = [it for it in contracts.rpcs() if it.full_name.split(".")[1] in contracts.SERVICES]


def complaints(rpc: Any) -> list[str]:
    """What is wrong with how an RPC streams, or with the ways it can be called."""
    found: list[str] = []
    asked, told = rpc.input_type.fields_by_name, rpc.output_type.fields_by_name
    if rpc.client_streaming and rpc.server_streaming:
        found.append("streams both ways")
    if rpc.server_streaming and not ("page_token" in asked and "next_page_token" in told):
        found.append("does not say where to go on")
    if rpc.client_streaming and request_id_rule(rpc.input_type) != "required":
        found.append("is not told to be one request")
    if rpc.client_streaming == rpc.GetOptions().HasExtension(annotations_pb2.http):
        found.append("has a path for a stream of requests" if rpc.client_streaming else "has no path")
    return found


@pytest.mark.parametrize("rpc", RPCS, ids=[it.full_name for it in RPCS])
def test_a_call_streams_in_a_way_that_can_be_carried_and_gone_on_with(rpc: MethodDescriptor) -> None:
    assert complaints(rpc) == []


@pytest.mark.parametrize(
    ("service", "method", "found"),
    [
        ("EndlessService", "Converse", ["streams both ways", "does not say where to go on"]),
        ("EndlessService", "Mutter", ["does not say where to go on", "has no path"]),
        ("EchoService", "Recite", ["has no path"]),
        ("EchoService", "Dictate", []),
    ],
)
def test_a_stream_that_cannot_be_is_found(service: str, method: str, found: list[str]) -> None:
    pool = descriptor_pool.Default()
    assert complaints(pool.FindServiceByName(f"{echo_contract.PACKAGE}.{service}").methods_by_name[method]) == found
