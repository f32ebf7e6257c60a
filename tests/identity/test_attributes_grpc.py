"""Attributes as callers meet them: over gRPC, on PostgreSQL, masked or with the scope to see them (ID-6)."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp

from scrm.identity.v1 import attribute_pb2 as wire
from scrm.identity.v1 import identity_service_pb2 as pb
from services.identity.domain.attributes import PRESET
from tests.identity.test_grpc import SCOPES, Caller, Serve, phone, resolve, serve

__all__ = ["serve"]

READER = (*SCOPES, "identity.pii")
DECLARED, WECHAT, IMPORT = (
    wire.ATTRIBUTE_SOURCE_CUSTOMER_DECLARED,
    wire.ATTRIBUTE_SOURCE_WECHAT_AUTH,
    wire.ATTRIBUTE_SOURCE_IMPORT,
)
HOME = wire.PostalAddress(country="CN", region="Shanghai", city="Shanghai", district="Xuhui", street="1 Huaihai Rd")
SAID = {
    "name": wire.AttributeValue(text="李伟"),
    "birthdate": wire.AttributeValue(text="1990-05-01"),
    "gender": wire.AttributeValue(text="MALE"),
    "city": wire.AttributeValue(text="Shanghai"),
    "family.has_child": wire.AttributeValue(flag=True),
    "family.household_size": wire.AttributeValue(number=3),
    "hobbies": wire.AttributeValue(list=wire.TextList(items=["tea", "go"])),
    "address": wire.AttributeValue(addresses=wire.PostalAddressList(items=[HOME])),
    "acquisition.first_touch_at": wire.AttributeValue(instant=Timestamp(seconds=1_700_000_000)),
    "satisfaction_points": wire.AttributeValue(list=wire.TextList(items=["cap"])),
}


def observation(key: str, value: Any = None, source: Any = DECLARED, **details: Any) -> wire.AttributeObservation:
    return wire.AttributeObservation(key=key, value=SAID[key] if value is None else value, source=source, **details)


def upsert(customer: str, *values: wire.AttributeObservation) -> pb.UpsertAttributesRequest:
    return pb.UpsertAttributesRequest(request_id=str(uuid4()), customer_id=customer, values=values)


async def person(caller: Caller, number: int = 1) -> str:
    made = await caller.call("ResolveIdentity", resolve(phone(number)))
    return str(made.customer_id)


async def ask(caller: Caller, customer: str, purpose: str = "", scopes: Any = SCOPES) -> pb.GetAttributesResponse:
    request = pb.GetAttributesRequest(customer_id=customer, purpose=purpose)
    answer: pb.GetAttributesResponse = await caller.call("GetAttributes", request, scopes=scopes)
    return answer


def test_whoever_may_sees_every_value_as_it_was_said(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        id = await person(caller)
        answer = await caller.call("UpsertAttributes", upsert(id, *(observation(it) for it in SAID)))
        assert answer.customer_id == id

        got = await ask(caller, id, "SERVICE_CALL", READER)
        assert {it.key: it.value for it in got.attributes} == SAID
        assert not any(it.masked for it in got.attributes)
        (where,) = got.attributes[0].provenance
        assert (where.source, where.node_id) == (DECLARED, id)

    serve(check)


def test_others_see_personal_values_masked(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        id = await person(caller)
        await caller.call("UpsertAttributes", upsert(id, *(observation(it) for it in SAID)))

        for purpose, scopes in (("SERVICE_CALL", SCOPES), ("", READER)):
            got = {it.key: it for it in (await ask(caller, id, purpose, scopes)).attributes}
            assert {key for key, it in got.items() if it.masked} == {key for key in SAID if PRESET[key].pii}
            assert got["name"].value.text == "李***"
            assert got["birthdate"].value.text == "****-**-**"
            assert got["address"].value.addresses.items[0] == wire.PostalAddress(
                country="CN", region="Shanghai", city="Shanghai", district="***", street="***"
            )
            assert list(got["satisfaction_points"].value.list.items) == ["c***"]
            assert got["city"].value.text == "Shanghai"

    serve(check)


def test_seeing_personal_values_is_recorded_and_seeing_others_is_not(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        id, other = await person(caller), await person(caller, 2)
        await caller.call("UpsertAttributes", upsert(id, observation("name"), observation("city")))
        await caller.call("UpsertAttributes", upsert(other, observation("city")))

        before = caller.position
        await ask(caller, id)
        await ask(caller, other, "SERVICE_CALL", READER)
        assert caller.position == before, "nothing was written"

        await ask(caller, id, "SERVICE_CALL", READER)
        assert int(caller.position) == int(before) + 1

    serve(check)


def test_a_customer_of_another_tenant_is_not_found(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        id = await person(caller)
        for name, request in (
            ("GetAttributes", pb.GetAttributesRequest(customer_id=id)),
            ("UpsertAttributes", upsert(id, observation("city"))),
        ):
            found = await caller.refused(name, request, tenant="globex")
            assert (found.code, found.reason) == ("NOT_FOUND", "CUSTOMER_NOT_FOUND")

    serve(check)


def test_what_is_wrong_with_a_value_is_named(serve: Serve) -> None:
    text = wire.AttributeValue(text="x")

    async def check(caller: Caller) -> None:
        id = await person(caller)
        for wrong, reason, field in (
            (observation("name", wire.AttributeValue(number=1)), "TYPE_MISMATCH", "values[1].value"),
            (observation("name", wire.AttributeValue()), "FIELD_REQUIRED", "values[1].value"),
            (observation("shoe_size", text), "UNKNOWN_ATTRIBUTE", "values[1].key"),
            (observation("name", text, source=99), "UNKNOWN_ENUM", "values[1].source"),
            (observation("name", text, source=0), "UNKNOWN_ENUM", "values[1].source"),
            (observation("birthdate", wire.AttributeValue(text="2023-02-29")), "BAD_FORMAT", "values[1].value"),
            (observation("birthdate", wire.AttributeValue(text="1899-01-01")), "OUT_OF_RANGE", "values[1].value"),
        ):
            found = await caller.refused("UpsertAttributes", upsert(id, observation("city"), wrong))
            assert (found.code, found.reason, set(found.fields)) == ("INVALID_ARGUMENT", reason, {field})
        assert not (await ask(caller, id)).attributes

    serve(check)


def test_a_batch_answers_for_each_item(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        id = await person(caller)
        items = [
            pb.UpsertAttributesItem(customer_id=id, values=[observation("name")]),
            pb.UpsertAttributesItem(customer_id=str(uuid4()), values=[observation("name")]),
            pb.UpsertAttributesItem(customer_id=id, values=[observation("city", wire.AttributeValue())]),
            pb.UpsertAttributesItem(customer_id=id, values=[observation("city", source=IMPORT)]),
        ]
        request = pb.BatchUpsertAttributesRequest(request_id=str(uuid4()), items=items)
        answer = await caller.call("BatchUpsertAttributes", request)
        assert [it.status.code for it in answer.results] == [0, 5, 3, 0]
        assert [it.customer_id for it in answer.results] == [id, "", "", id]
        assert await caller.call("BatchUpsertAttributes", request) == answer
        assert [it.key for it in (await ask(caller, id)).attributes] == ["city", "name"]

    serve(check)


def test_definitions_are_listed_in_pages(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        own = wire.AttributeDefinition(
            key="skin.kind", type=wire.ATTRIBUTE_TYPE_ENUM, pii=True, enum_values=["DRY", "OILY"], sensitive=True
        )
        request = pb.DefineAttributeRequest(request_id=str(uuid4()), definition=own)
        answer = await caller.call("DefineAttribute", request)
        assert answer.definition.merge_policy == wire.MERGE_POLICY_BEST_SOURCE

        listed: list[Any] = []
        token = ""
        while token or not listed:
            page = pb.ListAttributeDefinitionsRequest(page_size=10, page_token=token)
            found = await caller.call("ListAttributeDefinitions", page)
            listed += found.definitions
            token = found.next_page_token
        assert [it.key for it in listed] == sorted([*PRESET, "skin.kind"])
        assert next(it for it in listed if it.key == "skin.kind") == answer.definition

        found = await caller.call("ListAttributeDefinitions", pb.ListAttributeDefinitionsRequest(), tenant="globex")
        assert "skin.kind" not in [it.key for it in found.definitions]

    serve(check)


def test_a_child_is_shown_as_one(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        id = await person(caller)
        assert not (await ask(caller, id)).minor
        await caller.call(
            "UpsertAttributes", upsert(id, observation("birthdate", wire.AttributeValue(text="2015-01-01")))
        )
        assert (await ask(caller, id)).minor

    serve(check)


def test_a_value_can_be_taken_back(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        id = await person(caller)
        await caller.call("UpsertAttributes", upsert(id, observation("city")))
        gone = wire.AttributeObservation(
            key="city", source=DECLARED, observe_time=_stamp(datetime(2026, 5, 1, 12, 1, tzinfo=UTC))
        )
        await caller.call("UpsertAttributes", upsert(id, gone))
        assert not (await ask(caller, id)).attributes

    serve(check)


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
