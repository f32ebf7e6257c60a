"""What the gateway serves below /docs: a valid OpenAPI document of every RPC, and pages to read it with."""

import asyncio
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from deploy.local.contracts import DESCRIPTORS
from deploy.openapi.document import document
from tests.contracts import contracts
from tests.gateway.conftest import Front
from tests.gateway.wires import operation_of

DOCUMENT = document(DESCRIPTORS)


def get(front: Front, loop: asyncio.AbstractEventLoop, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(verify=False) as client:
            return await client.get(f"http://{front.address}{path}")

    return loop.run_until_complete(ask())


def test_the_document_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_a_document_that_is_not_valid_is_found() -> None:
    small = {**DOCUMENT, "tags": [], "paths": {}, "components": {}}
    spoilt = {**small, "info": {name: it for name, it in DOCUMENT["info"].items() if name != "title"}}
    assert not list(OpenAPIV31SpecValidator(small).iter_errors())
    assert list(OpenAPIV31SpecValidator(spoilt).iter_errors())


def test_every_rpc_with_a_path_is_in_it_with_its_scope() -> None:
    for rpc in contracts.rpcs():
        if rpc.containing_service.file.package == "scrm.ops.v1" or rpc.client_streaming:
            continue
        _, _, operation = operation_of(DOCUMENT, rpc)
        assert operation["x-scope"]
        assert operation["description"]


def test_a_stream_of_requests_has_no_path_and_is_named_as_a_call_of_native_grpc() -> None:
    for rpc in contracts.rpcs():
        if rpc.client_streaming:
            with pytest.raises(LookupError):
                operation_of(DOCUMENT, rpc)
            assert f"`{rpc.containing_service.full_name}/{rpc.name}`" in DOCUMENT["info"]["description"]


def test_a_stream_of_answers_is_an_array_that_may_end_before_its_time() -> None:
    _, _, operation = operation_of(DOCUMENT, next(it for it in contracts.rpcs() if it.name == "ExportSegment"))
    answer = operation["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    assert schema == {"type": "array", "items": {"$ref": "#/components/schemas/scrm.tagging.v1.ExportSegmentResponse"}}
    assert "nextPageToken" in answer["description"]


def test_rules_of_the_contract_are_in_the_schemas() -> None:
    resolve = DOCUMENT["paths"]["/v1/identity:batchResolve"]["post"]
    schema: dict[str, Any] = resolve["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["requestId", "items"]
    assert schema["properties"]["requestId"]["format"] == "uuid"
    items = schema["properties"]["items"]
    assert (items["minItems"], items["maxItems"]) == (1, 500)


def test_the_reasons_of_refusals_are_listed_with_the_status_they_have() -> None:
    link = DOCUMENT["paths"]["/v1/identity/customers/{customerId}:linkIdentifier"]["post"]
    refusal = link["responses"]["409"]["$ref"].rpartition("/")[2]
    described = DOCUMENT["components"]["responses"][refusal]["description"]
    assert "| `IDENTIFIER_TAKEN` |" in described
    assert "CUSTOMER_NOT_FOUND" not in described


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/docs/", "text/html"),
        ("/docs/start.js", "text/javascript"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/swagger-ui.css", "text/css"),
        ("/docs/favicon-32x32.png", "image/png"),
        ("/docs/openapi.json", "application/json"),
        ("/docs/asyncapi.json", "application/json"),
        ("/docs/events.html", "text/html"),
    ],
)
def test_the_pages_are_served_to_anybody(front: Front, loop: asyncio.AbstractEventLoop, path: str, kind: str) -> None:
    answer = get(front, loop, path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_folder_stands_for_its_page(front: Front, loop: asyncio.AbstractEventLoop) -> None:
    answer = get(front, loop, "/docs")
    assert (answer.status_code, answer.headers["location"].endswith("/docs/")) == (301, True)


def test_the_served_document_is_that_of_the_contracts(front: Front, loop: asyncio.AbstractEventLoop) -> None:
    assert get(front, loop, "/docs/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("path", ["/docs/../v1/identity/customers", "/docs/%2e%2e/v1/identity/customers", "/docsy"])
def test_nothing_else_is_served_without_a_token(front: Front, loop: asyncio.AbstractEventLoop, path: str) -> None:
    assert get(front, loop, path).status_code in (401, 404)
    assert front.parrot.heard == []
