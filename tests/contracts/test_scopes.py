"""Every RPC names the scope it needs, and one that fits what it does."""

from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from chassis.grpc_server import UnguardedMethodError, request_id_rule, scope_of
from tests.chassis import echo_contract
from tests.contracts import contracts

READS = ("Get", "List", "Search", "BatchGet", "Lookup", "Count", "Estimate", "Explain", "Preview")

SPECIAL = {"identity.merge", "identity.configure", "identity.erase", "tracking.configure"}
"""Changes that only some of those may make who may write: saying who is one person is a data steward's; how a brand is organised, by
what rules people are known, what it wants to know and track of them, and who reports it, its administrator's; erasing has an office
of its own."""

UNMASKED = {"identity.pii"}
"""Reads of what is personal."""

RPCS = contracts.rpcs()
each_rpc = pytest.mark.parametrize("rpc", RPCS, ids=[it.full_name for it in RPCS])


def complaints(rpc: Any) -> list[str]:
    """What is wrong with the scope and the request id of an RPC."""
    found: list[str] = []
    scope = scope_of(rpc)
    service = rpc.full_name.split(".")[1]
    if scope not in {
        f"{service}.read",
        f"{service}.write",
        *(it for it in SPECIAL | UNMASKED if it.startswith(f"{service}.")),
    }:
        found.append(f"{scope} is no scope of {service}")
    changes = not scope.endswith(".read") and scope not in UNMASKED
    if changes and request_id_rule(rpc.input_type) == "none":
        found.append("changes something and has no request_id")
    if changes and rpc.name.startswith(READS):
        found.append("is named like a read")
    if not changes and request_id_rule(rpc.input_type) != "none":
        found.append("has a request_id and changes nothing")
    return found


@each_rpc
def test_an_rpc_names_a_fitting_scope(rpc: MethodDescriptor) -> None:
    assert complaints(rpc) == []


@each_rpc
def test_no_request_says_which_tenant_it_is_for(rpc: MethodDescriptor) -> None:
    assert not {"tenant", "tenant_id", "actor"} & set(rpc.input_type.fields_by_name)


def test_the_list_of_services_is_complete() -> None:
    assert {it.full_name.split(".")[1] for it in contracts.services()} == {*contracts.SERVICES, "ops"}


def _echo(service: str, method: str) -> Any:
    return descriptor_pool.Default().FindServiceByName(f"{echo_contract.PACKAGE}.{service}").methods_by_name[method]


def test_an_rpc_without_a_scope_is_found() -> None:
    with pytest.raises(UnguardedMethodError):
        complaints(_echo("OpenService", "Say"))


def test_an_rpc_with_an_unfitting_scope_is_found() -> None:
    assert complaints(_echo("EchoService", "Say")) == []
    assert complaints(_echo("EchoService", "Forget")) == ["changes something and has no request_id"]
