"""The AsyncAPI document is valid, says what the relay writes, and leaves out nothing that is published."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from grpc_tools import protoc
from jsonschema import Draft7Validator

from chassis.envelope import Address, Offset, Outgoing, seal
from chassis.jetstream import parse_header_lines
from deploy.asyncapi.document import ALWAYS, HEADERS, document
from deploy.asyncapi.page import page
from deploy.local.contracts import DESCRIPTORS, ROOT, published
from proto.generate import include_paths

DOCUMENT = document(DESCRIPTORS)
VALIDATOR = Draft7Validator(json.loads((ROOT / "third_party" / "asyncapi" / "3.0.0.json").read_text()))


def spoilt(change: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    change(found)
    return found


def test_the_document_is_valid() -> None:
    assert list(VALIDATOR.iter_errors(DOCUMENT)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it["info"].pop("version"),
        lambda it: it["operations"]["publish.identity.customers_merged"].update(action="tell"),
        lambda it: it["channels"]["identity.customers_merged"].update(adress="scrm"),
        lambda it: it["components"]["messages"]["scrm.identity.v1.CustomersMerged"].update(payload=7),
    ],
)
def test_a_document_that_is_not_valid_is_found(change: Any) -> None:
    assert list(VALIDATOR.iter_errors(spoilt(change)))


def test_every_reference_leads_somewhere() -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT)):
        place: Any = DOCUMENT
        for word in reference.split("/"):
            place = place[word]
        assert place


def test_every_published_type_has_a_channel_with_a_description() -> None:
    assert set(DOCUMENT["channels"]) == {f"{it.service}.{it.name}" for it in published()}
    assert all(it["description"] for it in DOCUMENT["channels"].values())
    assert len(DOCUMENT["channels"]) > 100


def test_addresses_and_headers_are_those_the_relay_writes() -> None:
    for event in published():
        told = Outgoing(
            3, "acme", event.name, "node", b"", datetime(2026, 5, 1, tzinfo=UTC), event.type, "00-trace", "c", "d"
        )
        parcel = seal(told, Address(event.service, 1, Offset(3)))
        address = DOCUMENT["channels"][f"{event.service}.{event.name}"]["address"]
        assert re.fullmatch(address.replace("{tenant}", "acme").replace("{partition}", r"\d+"), parcel.subject)
        headers = parse_header_lines(parcel.headers.encode())
        assert set(headers) == set(HEADERS)
        assert set(ALWAYS) <= set(headers)
        for name, schema in HEADERS.items():
            assert re.search(schema.get("pattern", ""), headers[name])
            assert headers[name] == schema.get("const", headers[name])


def test_every_payload_is_a_proto_file_that_compiles(tmp_path: Path) -> None:
    includes = [f"--proto_path={it}" for it in include_paths(ROOT / "gen" / "googleapis")[2:]]
    for name, message in DOCUMENT["components"]["messages"].items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "event.proto").write_text(message["payload"]["schema"])
        where = [f"--proto_path={tmp_path / name}", f"--descriptor_set_out={tmp_path / name / 'out'}"]
        assert protoc.main(["protoc", *includes, *where, "event.proto"]) == 0, name


def test_the_page_shows_every_event() -> None:
    text = page(DOCUMENT)
    assert all(f'id="{key}"' in text for key in DOCUMENT["channels"])
    assert "<script" not in text
