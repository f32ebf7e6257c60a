"""Tags as their callers meet them: over gRPC, on PostgreSQL."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from google.type.date_pb2 import Date

from scrm.tagging.v1 import segment_pb2, tag_pb2
from scrm.tagging.v1 import tag_service_pb2 as tags
from scrm.tagging.v1 import tagging_service_pb2 as pb
from tests.tagging.test_grpc import Caller, P, Serve, known_customers, serve
from tests.tagging.world import START

__all__ = ["serve"]  # a fixture


def test_tags_are_defined_in_a_tree_and_listed(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        tree = (await caller.call("ListCategories")).categories
        paths = {it.path: it for it in tree}
        assert (paths["Physiological > Region"].level, paths["Health"].sensitive) == (2, True)
        beauty = (await caller.call("CreateCategory", display_name="Beauty")).category
        below = (await caller.call("CreateCategory", display_name="Skin", parent_id=beauty.category_id)).category
        cycle = await caller.refused("MoveCategory", category_id=beauty.category_id, parent_id=below.category_id)
        assert (cycle.code, cycle.reason) == ("INVALID_ARGUMENT", "CATEGORY_CYCLE")
        renamed = await caller.call("RenameCategory", category_id=below.category_id, display_name="Skincare")
        assert renamed.category.path == "Beauty > Skincare"
        made = (
            await caller.call(
                "CreateTag",
                tag_key="buys",
                display_name="Buys",
                category_id=below.category_id,
                value_mode=tag_pb2.TAG_VALUE_MODE_MULTI_CHOICE,
                kind=tag_pb2.TAG_KIND_MANUAL,
                values=["Serum > Night"],
                manual_allowed=True,
            )
        ).tag
        assert list(made.values) == ["Serum", "Serum > Night"]
        changed = (await caller.call("UpdateTag", tag_key="buys", ttl_days=7)).tag
        assert (changed.ttl_days, changed.display_name, changed.manual_allowed) == (7, "Buys", True)
        listed = await caller.call("ListTags", category_id=beauty.category_id)
        assert [it.tag_key for it in listed.tags] == ["buys"]
        assert (await caller.call("GetTag", tag_key="buys")).tag == changed
        used = await caller.refused("ArchiveCategory", category_id=below.category_id)
        assert used.reason == "CATEGORY_IN_USE"
        assert (await caller.call("ArchiveTag", tag_key="buys")).tag.status == tag_pb2.TAG_STATUS_ARCHIVED
        assert not (await caller.call("ListTags")).tags
        await caller.call("ArchiveCategory", category_id=below.category_id)
        assert (await caller.refused("GetTag", "globex", tag_key="buys")).reason == "TAG_NOT_FOUND"

    serve(check)


def test_many_are_tagged_in_one_call_and_the_history_tells_of_it(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        known_customers(world)
        tag = pb.TagValue(tag_key="invited")
        ids = [str(P[0]), str(uuid4()), str(P[0])]
        found = (await caller.call("BatchAssignTags", customer_ids=ids, tag=tag)).results
        assigned, unchanged, refused = (
            tags.TagResult.STATUS_ASSIGNED,
            tags.TagResult.STATUS_UNCHANGED,
            tags.TagResult.STATUS_REFUSED,
        )
        assert [(it.index, it.status) for it in found] == [(0, assigned), (1, refused), (2, unchanged)]
        assert found[1].reason == "CUSTOMER_NOT_FOUND"
        static = segment_pb2.SegmentDefinition(static=segment_pb2.StaticList())
        segment = (await caller.call("CreateSegment", display_name="list", definition=static)).segment.segment_id
        add = [pb.MemberChange(action=pb.MemberChange.ACTION_ADD, customer_id=str(it)) for it in P[:5]]
        await caller.call("UpdateStaticMembers", segment_id=segment, changes=add)
        giver = pb.TagGiver(flow_id="f-1", reason="launch")
        batch = (await caller.call("AssignTagsToSegment", segment_id=segment, tags=[tag], giver=giver)).batch
        assert (batch.size, batch.assigned, batch.done) == (5, 5, True)
        assert (await caller.call("GetTagBatch", batch_id=batch.batch_id)).batch == batch
        assert (await caller.refused("GetTagBatch", "globex", batch_id=batch.batch_id)).reason == "TAG_BATCH_NOT_FOUND"
        row = tags.ImportedTag(customer_id=str(P[7]), tag=pb.TagValue(tag_key="source", value="fair"))
        assert [it.status for it in (await caller.call("ImportTags", rows=[row])).results] == [assigned]
        (shown,) = (await caller.call("GetCustomerTags", customer_id=str(P[1]))).tags
        assert (shown.source, shown.cause, shown.reason) == ("FLOW:f-1", tag_pb2.TAG_CAUSE_FLOW, "launch")
        world.clock.set(START + timedelta(days=1))
        await caller.call("RemoveTags", customer_id=str(P[1]), tag_keys=["invited"])
        world.project()
        history = (await caller.call("ListCustomerTagHistory", customer_id=str(P[1]))).periods
        assert [(it.tag_key, it.end_cause) for it in history] == [("invited", tag_pb2.TAG_CAUSE_MANUAL)]
        span: dict[str, Any] = {"from_day": Date(year=2025, month=2, day=1), "to_day": Date(year=2025, month=2, day=2)}
        days = (await caller.call("GetTagTrend", tag_key="invited", **span)).days
        assert [(it.came, it.went, it.total) for it in days] == [(5, 0, 5), (0, 1, 4)]
        staff = (await caller.call("ListStaffTagging", **span)).staff
        assert [(it.assigned, it.removed) for it in staff] == [(1, 1)]
        backwards: dict[str, Any] = {"from_day": span["to_day"], "to_day": span["from_day"]}
        assert (await caller.refused("GetTagTrend", tag_key="invited", **backwards)).reason == "OUT_OF_RANGE"

    serve(check)


def test_rules_and_facts_tag_customers(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        known_customers(world)
        custom = next(it for it in (await caller.call("ListCategories")).categories if it.path == "Custom")
        fields: dict[str, Any] = {
            "tag_key": "lucky",
            "display_name": "Lucky",
            "category_id": custom.category_id,
            "value_mode": tag_pb2.TAG_VALUE_MODE_FLAG,
            "kind": tag_pb2.TAG_KIND_RULE,
        }
        await caller.call("CreateTag", **fields)
        vip = segment_pb2.Condition(tag=segment_pb2.HasTag(tag_key="vip"))
        await caller.call("AssignTags", customer_id=str(P[0]), tags=[pb.TagValue(tag_key="vip")])
        made = (await caller.call("CreateRuleTag", tag_key="lucky", enter=vip)).rule
        assert (made.version, made.status) == (1, tags.RULE_STATUS_DRAFT)
        preview = await caller.call("PreviewRule", tag_key="lucky")
        assert (preview.matching, preview.entering, list(preview.sample_customer_ids)) == (1, 1, [str(P[0])])
        active = (await caller.call("ActivateRule", tag_key="lucky")).rule
        assert (await caller.call("GetRuleTag", tag_key="lucky")).rule == active
        world.fire()
        assert world.tagged("lucky") == {P[0]}
        assert (await caller.call("BackfillRule", tag_key="lucky")).rule == active
        assert (await caller.call("PauseRule", tag_key="lucky")).rule.status == tags.RULE_STATUS_PAUSED
        facts = {it.tag_key: it.enabled for it in (await caller.call("ListFactTags")).fact_tags}
        assert not facts["visit_freq_30d"]
        enabled = (await caller.call("EnableFactTag", tag_key="visit_freq_30d", edges=[1, 5])).rule
        assert [it.value for it in enabled.cases] == ["1–4", "5+"]
        facts = {it.tag_key: it.enabled for it in (await caller.call("ListFactTags")).fact_tags}
        assert facts["visit_freq_30d"]
        overlap = await caller.refused("EnableFactTag", tag_key="order_count", edges=[3, 1])
        assert (overlap.code, overlap.reason) == ("INVALID_ARGUMENT", "BAND_OVERLAP")
        assert (await caller.refused("GetRuleTag", "globex", tag_key="lucky")).reason == "RULE_NOT_FOUND"

    serve(check)
