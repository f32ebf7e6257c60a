"""The language of conditions as callers meet it: over gRPC, on PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import protovalidate

from scrm.identity.v1 import attribute_pb2
from scrm.identity.v1 import events_pb2 as identity
from scrm.tagging.v1 import condition_pb2, segment_pb2
from scrm.tagging.v1 import tagging_service_pb2 as tagging_pb
from services.tagging.adapters.condition_wire import condition, condition_message
from services.tagging.application.taxonomy_commands import ArchiveTag, CreateTag
from services.tagging.domain.conditions import all_of, that
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.tag_definitions import ValueMode, undeclared
from services.tagging.domain.taxonomy import preset_id
from tests.tagging import random_conditions
from tests.tagging.calling import Caller, Serve
from tests.tagging.world import START, TENANT, behaved, created, merged, person

TEXT = 'event("product_viewed", where sku = "A") count >= 3 in last 30 days and not tag("vip")'


def test_a_condition_is_text_and_tree_and_is_held_to_the_words_and_limits_of_the_tenant(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        found = await caller.call("FormatCondition", text=TEXT)
        assert condition(found.condition) == read(TEXT)
        assert found.text == TEXT
        assert await caller.call("FormatCondition", condition=found.condition) == found

        wrong = await caller.refused("FormatCondition", text='event("a") often')
        assert (wrong.reason, wrong.metadata["position"]) == ("CONDITION_SYNTAX", "11")
        assert (await caller.refused("FormatCondition", text="rooms > 3")).reason == "UNKNOWN_DIMENSION"
        rooms = attribute_pb2.AttributeDefinition(key="rooms", type=attribute_pb2.ATTRIBUTE_TYPE_NUMBER)
        caller.world.tell(identity.AttributeDefined(definition=rooms))
        assert (await caller.call("FormatCondition", text="rooms > 3")).text == "rooms > 3"
        assert (await caller.refused("FormatCondition", text='rooms > "3"')).reason == "WRONG_VALUE_TYPE"

        nine = " or ".join(f"rooms > {n}" for n in range(9))
        refused = await caller.refused("FormatCondition", text=nine)
        assert (refused.reason, refused.metadata["limit"]) == ("CONDITION_TOO_COMPLEX", "8")
        limits = (await caller.call("UpdateConditionLimits", leaves=32, depth=8)).limits
        assert (limits.leaves, limits.depth) == (32, 8)
        assert (await caller.call("GetConditionLimits")).limits == limits
        await caller.call("FormatCondition", text=nine)
        assert (await caller.call("GetConditionLimits", tenant="globex")).limits.leaves == 8

    serve(check)


def test_a_condition_is_explained_with_the_facts_of_all_nodes_of_the_customer(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world, (who, other) = caller.world, (person("a"), person("b"))
        views = [START + timedelta(days=n, hours=4) for n in range(3)]
        world.tell(created(who), created(other), *(behaved(who, it) for it in views[:2]), behaved(other, views[2]))
        world.tell(merged(who, other))
        world.clock.set(views[2] + timedelta(hours=1))
        await caller.call("AssignTags", customer_id=str(who), tags=[tagging_pb.TagValue(tag_key="vip")])
        text = 'event("content_viewed") count >= 3 in last 30 days and not tag("vip")'
        found = await caller.call("ExplainCondition", customer_id=str(other), text=text)
        counted, tagged = found.explanation.parts[0], found.explanation.parts[1].parts[0]
        assert found.customer_id == str(who)
        assert not found.explanation.holds
        assert (counted.holds, counted.value.number, counted.fact_count) == (True, 3, 3)
        assert [it.ToDatetime(UTC) for it in counted.fact_times] == views
        assert (tagged.holds, tagged.decisive, counted.decisive) == (True, True, False)
        leaves = datetime(2025, 3, 2, 16, tzinfo=UTC)  # midnight in Shanghai, 30 days after the first
        assert counted.change_time.ToDatetime(UTC) == leaves
        assert not found.HasField("change_time")
        untagged = await caller.call("ExplainCondition", customer_id=str(who), text=text.split(" and ")[0])
        assert untagged.change_time.ToDatetime(UTC) == leaves
        assert (await caller.refused("ExplainCondition", customer_id=str(uuid4()), text=text)).reason == (
            "CUSTOMER_NOT_FOUND"
        )

    serve(check)


def test_what_conditions_may_ask_for_is_listed_in_pages(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        skin = attribute_pb2.AttributeDefinition(key="skin", type=attribute_pb2.ATTRIBUTE_TYPE_LIST)
        caller.world.tell(identity.AttributeDefined(definition=skin))
        found: dict[str, condition_pb2.Dimension] = {}
        token, pages = "", 0
        while token or not pages:
            page = await caller.call("ListDimensions", page_size=20, page_token=token)
            found |= {it.key: it for it in page.dimensions}
            token, pages = page.next_page_token, pages + 1
        assert len(found) >= 31
        assert list(found) == sorted(found)
        assert pages == -(-len(found) // 20)
        assert found["skin"].type == condition_pb2.Dimension.TYPE_LIST
        assert condition_pb2.OPERATOR_CONTAINS in found["skin"].operators
        assert found["total_spend"].source == condition_pb2.Dimension.SOURCE_ORDER
        assert "MALE" in found["gender"].choices

    serve(check)


def test_a_segment_of_wrong_words_is_refused_with_the_path_of_the_leaf(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        def dynamic(text: str) -> segment_pb2.SegmentDefinition:
            return segment_pb2.SegmentDefinition(dynamic=condition_message(read(text)))

        wrong = dynamic('tag("a") and not (tag("b") or city > "X")')
        for name, fields in (("CreateSegment", {"display_name": "x"}), ("PreviewSegment", {})):
            refused = await caller.refused(name, definition=wrong, **fields)
            assert refused.reason == "WRONG_OPERATOR"
            assert refused.fields == ("definition.all[1].not.any[1].attribute",)
        for key in ("decision", "old"):
            chosen = replace(undeclared(key), mode=ValueMode.SINGLE_CHOICE, values=("kol",))
            caller.world.do(CreateTag(replace(chosen, category=preset_id(TENANT, "Custom"))))
        caller.world.do(ArchiveTag("old"))
        for text, reason in (
            ('tag("old")', "ARCHIVED_TAG"),
            ('tag("decision", "friend")', "UNKNOWN_ENUM"),
        ):
            assert (await caller.refused("CreateSegment", display_name="y", definition=dynamic(text))).reason == reason
            assert (await caller.refused("FormatCondition", text=text)).reason == reason
        await caller.call("FormatCondition", text='tag("decision", "kol")')
        made = (await caller.call("CreateSegment", display_name="a", definition=dynamic('tag("a")'))).segment
        itself = dynamic(f'tag("a") or segment("{made.segment_id}")')
        refused = await caller.refused("UpdateSegment", segment_id=made.segment_id, definition=itself)
        assert (refused.reason, refused.fields) == ("SEGMENT_CYCLE", ("definition.any[1].segment",))

    serve(check)


def test_any_condition_is_the_same_after_a_journey_over_the_wire() -> None:
    random = Random(11)
    validator = protovalidate.Validator()
    for _ in range(300):
        it = random_conditions.condition(random)
        message = condition_message(all_of(it, *map(that, random_conditions.KEPT)))
        validator.validate(message)
        again = segment_pb2.Condition.FromString(message.SerializeToString())
        assert condition(again) == all_of(it, *map(that, random_conditions.KEPT))
