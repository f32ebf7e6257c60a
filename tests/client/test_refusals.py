"""Refusals reach the users of `scrm-client` as exceptions of their own, one for each reason there is."""

import importlib
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message

from chassis import errors, status
from chassis.errors import DomainError
from scrm.identity.v1.customer_pb2 import Identifier
from scrm.identity.v1.identity_service_pb2 import GetCustomerRequest, ResolveIdentityRequest
from scrm_client import Refused, masked, refusals
from scrm_client.connection import numbered
from tests.contracts import contracts


def on_the_wire(error: DomainError, service: str) -> grpc.aio.AioRpcError:
    """What grpc raises in the client when a service answers with `error`."""
    answer = status.to_status(error, service)
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", answer.SerializeToString()))
    code = next(it for it in grpc.StatusCode if it.value[0] == answer.code)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=answer.message)


def reasons_of(service: str) -> list[str]:
    enum = descriptor_pool.Default().FindEnumTypeByName(f"scrm.{service}.v1.ErrorReason")
    return [it.name.removeprefix("ERROR_REASON_") for it in enum.values if it.number]


@pytest.mark.parametrize("service", contracts.SERVICES)
def test_every_reason_of_a_service_is_an_exception_of_its_own(service: str) -> None:
    importlib.import_module(f"scrm.{service}.v1.error_reason_pb2")
    module = importlib.import_module(f"scrm.{service}.v1.refusals")
    for reason in reasons_of(service):
        error = errors.FailedPrecondition()
        error.reason = reason
        found = refusals.refusal(on_the_wire(error, service), "the id")
        assert type(found) is getattr(module, type(found).__name__)
        assert (found.reason, found.domain, found.request_id) == (reason, f"{service}.scrm", "the id")
        assert type(found).__doc__


def shared() -> list[type[DomainError]]:
    return [
        it for base in DomainError.__subclasses__() for it in base.__subclasses__() if it.__module__ == "chassis.errors"
    ]


@pytest.mark.parametrize("kind", shared(), ids=lambda it: it.__name__)
def test_every_reason_that_services_share_is_an_exception_of_its_own(kind: type[DomainError]) -> None:
    found = refusals.refusal(on_the_wire(kind(), "tagging"))

    assert type(found) is getattr(refusals, type(found).__name__)
    assert type(found) is not Refused
    assert found.reason == kind().reason


def test_a_refusal_says_which_field_and_when_to_try_again() -> None:
    wrong = refusals.refusal(on_the_wire(errors.BadFormat("no", field="items[3].name", limit=7), "identity"))
    busy = refusals.refusal(on_the_wire(errors.Overloaded(), "identity"))

    assert [it.field for it in wrong.violations] == ["items[3].name"]
    assert (wrong.metadata, wrong.retry_after) == ({"limit": "7"}, None)
    assert (busy.retry_after, busy.may_have_happened) == (0.5, False)


@pytest.mark.parametrize("reason", ["INVENTED_LATER", ""])
def test_what_this_version_does_not_know_is_a_plain_refusal(reason: str) -> None:
    error = errors.Unavailable()
    error.reason = reason
    found = refusals.refusal(on_the_wire(error, "billing"))

    assert (type(found), found.reason, found.may_have_happened) == (Refused, reason, True)


def test_a_request_gets_an_id_only_where_it_has_none() -> None:
    asked = ResolveIdentityRequest(customer_id="c")
    sent, made = numbered(asked)

    assert made is not None
    assert (sent.request_id, asked.request_id) == (made, "")  # type: ignore[attr-defined]
    assert numbered(sent) == (sent, made)
    assert numbered(GetCustomerRequest()) == (GetCustomerRequest(), None)


ID = "0192d3c4-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            ResolveIdentityRequest(
                request_id=ID, identifiers=[Identifier(namespace="email", value="jane@example.com")]
            ),
            {"request_id": ID, "identifiers": [{"namespace": "***", "value": "***"}]},
        ),
        (ResolveIdentityRequest(customer_id="jane@example.com"), {"customer_id": "***"}),
        (ResolveIdentityRequest(authenticated=True), {"authenticated": True}),
    ],
)
def test_logs_show_what_a_message_is_made_of_and_nothing_that_was_written(message: Message, shown: Any) -> None:
    assert masked(message) == shown
