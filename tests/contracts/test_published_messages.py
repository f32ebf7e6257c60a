"""What earlier versions published is read by this one: frozen messages of every type, by the contracts and by policies."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chassis.consumer import Subscription
from chassis.envelope import Address, Incoming, Offset, Outgoing, seal, unseal
from chassis.jetstream import parse_header_lines
from deploy.local.contracts import published
from scrm.identity.v1.events_pb2 import CustomerUnmerged
from services.identity.application import credit_policies
from services.membership.application import policies as membership_policies
from tests.contracts import published_messages as golden

PATHS = list(golden.paths())


def told(path: Path) -> Incoming:
    """The frozen message as a consumer gets it from the stream."""
    kind = json.loads(path.read_text())["type"]
    service, _, name = path.stem.partition(".")
    outgoing = Outgoing(3, "acme", name, golden.ID, golden.payload(path), datetime(2026, 5, 1, tzinfo=UTC), kind)
    parcel = seal(outgoing, Address(service, 1, Offset(3)))
    return unseal("test", 3, parcel.subject, parse_header_lines(parcel.headers.encode()), parcel.payload)


def test_every_published_type_has_a_frozen_message() -> None:
    assert golden.missing() == [], "write them: PYTHONPATH=.:gen python -m tests.contracts.published_messages"


def test_no_published_type_was_given_up() -> None:
    known = {golden.path_of(it).name for it in published()}
    assert {it.name for it in PATHS if it.name.count(".") == 2} <= known


def test_a_type_without_a_frozen_message_is_found(tmp_path: Path) -> None:
    assert len(golden.missing(tmp_path)) == len(published())


@pytest.mark.parametrize("path", PATHS, ids=lambda it: it.stem)
def test_a_frozen_message_says_today_what_it_said_then(path: Path) -> None:
    incoming = told(path)
    message = incoming.parse(golden.message_class(incoming.type))

    assert golden.says(message) == json.loads(path.read_text())["says"]
    assert message.SerializeToString(deterministic=True) == golden.payload(path)


def test_a_field_that_changed_its_number_is_found() -> None:
    (path,) = [it for it in PATHS if it.stem == "identity.customers_merged"]
    other = CustomerUnmerged.FromString(golden.payload(path))  # has the same types of fields, and other names

    assert golden.says(other) != json.loads(path.read_text())["says"]


@pytest.mark.parametrize(
    ("react", "concerns", "services"),
    [
        (credit_policies.react, credit_policies.CONCERNS, ["tracking"]),
        (membership_policies.react, membership_policies.CONCERNS, ["identity", "tracking"]),
    ],
    ids=["identity", "membership"],
)
def test_policies_react_to_frozen_messages(react: Any, concerns: Any, services: list[str]) -> None:
    subscription = Subscription("test", services, react, events=concerns)
    found = [it for it in PATHS if it.stem.partition(".")[0] in services and it.stem.partition(".")[2] in concerns]

    assert len(found) >= len(set(subscription.events)) - 1
    for path in found:
        list(react(told(path)))
