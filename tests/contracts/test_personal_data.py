"""What services tell one another names nobody: no published message has a field that holds personal data."""

import re
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tests.chassis import echo_contract
from tests.contracts import contracts

PERSONAL = {
    "address", "alias", "avatar", "birth", "birthday", "body", "city", "comment", "email", "gender", "ip", "latitude",
    "longitude", "mail", "mobile", "name", "nickname", "note", "openid", "password", "phone", "remark", "surname", "text",
    "title", "unionid", "url", "value",
}  # fmt: skip
"""Words of field names behind which a person may stand."""

HARMLESS = {
    "scrm.tagging.v1.TagAssigned.value",  # one of the values a brand defined for the tag
    "scrm.tagging.v1.TagRemoved.value",
    "scrm.tagging.v1.Tag.display_name",  # what a brand calls its tags and their categories
    "scrm.tagging.v1.TagCategoryChanged.display_name",
    "scrm.membership.v1.Program.points_name",  # what a brand calls its points
    "scrm.tracking.v1.MenuItem.name",  # what a brand has its own accounts and pages say
    "scrm.tracking.v1.MenuItem.url",
    "scrm.tracking.v1.Content.title",
    "scrm.identity.v1.AttributeChange.value",  # absent for attributes that are personal
    "scrm.identity.v1.AttributeChange.old_value",
    "scrm.tracking.v1.InsightDetected.EvidenceEntry.value",  # counts and days
}

FILES = [it for it in contracts.files() if it.endswith("/events.proto")]


def suspicious(message: Any) -> list[str]:
    """The fields of a message, and of those in it, that may hold personal data."""
    return [
        field.full_name
        for field in _fields(message, set())
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
        and PERSONAL & set(re.split("_", field.name))
        and not field.name.endswith("_hmac")  # a keyed hash
        and field.full_name not in HARMLESS
    ]


def _fields(message: Any, seen: set[str]) -> Any:
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field
        if field.message_type is not None and field.message_type.full_name.startswith("scrm."):
            yield from _fields(field.message_type, seen)


EVENTS = [message for file in FILES for message in contracts.messages(file)]


@pytest.mark.parametrize("message", EVENTS, ids=[it.full_name for it in EVENTS])
def test_a_published_message_names_nobody(message: Descriptor) -> None:
    assert suspicious(message) == []


def test_every_service_publishes_something() -> None:
    assert {it.split("/")[1] for it in FILES} == set(contracts.SERVICES)


def test_a_message_with_a_name_in_it_is_found() -> None:
    message = descriptor_pool.Default().FindMessageTypeByName(f"{echo_contract.PACKAGE}.SayRequest")
    assert {"scrm.echo.v1.SayRequest.name", "scrm.echo.v1.Item.text"} <= set(suspicious(message))
