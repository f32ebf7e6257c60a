"""Why a customer is in a segment or has a tag, or is not: with the facts, for any instant, in words, over gRPC (TG-4, TG-5)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from scrm.tagging.v1 import condition_pb2, segment_pb2
from scrm.tagging.v1 import tagging_service_pb2 as tagging_pb
from services.tagging.application.segment_commands import ArchiveSegment, UpdateSegment
from services.tagging.application.tag_commands import AssignTags
from services.tagging.application.tag_rule_commands import ActivateRule, DefineRule, PauseRule
from services.tagging.application.taxonomy_commands import CreateTag
from services.tagging.domain.conditions import InSegment, SetOperation, SetOperator, that
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.segments import Definition
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.taxonomy import preset_id
from tests.tagging.calling import Caller, Serve
from tests.tagging.world import (
    START,
    TENANT,
    ZONE,
    World,
    behaved,
    created,
    created_at,
    in_group,
    knows,
    merged,
    paid,
    person,
    refunded,
)

A, B = person("A"), person("B")
DAY = timedelta(days=1)
ZH = condition_pb2.EXPLANATION_LANGUAGE_ZH


def local(month: int, day: int, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(2025, month, day, hour, minute, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def stamp(at: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(at)
    return message


def defined(world: World, name: str, text: str) -> UUID:
    return world.define(name, Definition(condition=read(text)))


async def explained(caller: Caller, who: UUID, subject: UUID | str, at: datetime | None = None, **fields: Any) -> Any:
    """Of a segment by its id or a tag by its key."""
    caller.world.project()
    if isinstance(subject, UUID):
        fields["segment_id"] = str(subject)
    else:
        fields["tag"] = segment_pb2.HasTag(tag_key=subject)
    if at is not None:
        fields["as_of"] = stamp(at)
    return await caller.call("ExplainMembership", customer_id=str(who), **fields)


def rule_tag(world: World, key: str, enter: str, leave: str | None = None, hold: int = 0) -> None:
    world.do(CreateTag(TagDefinition(key, key, preset_id(TENANT, "Custom"), ValueMode.FLAG, TagKind.RULE)))
    new_rule(world, key, enter, leave, hold)


def new_rule(world: World, key: str, enter: str, leave: str | None = None, hold: int = 0) -> None:
    world.do(DefineRule(key, [("", read(enter))], read(leave) if leave else None, hold))
    world.do(ActivateRule(key))
    world.fire()


def test_a_membership_is_explained_by_its_facts_and_a_fact_that_changes_changes_the_explanation(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.at(local(6, 3))
        big = defined(world, "big", 'order(where net >= 50) count >= 2 in last 30 days and city = "Shanghai"')
        world.tell(created_at(A, local(6, 1)), knows(A, "city", "Shanghai", local(6, 1)))
        world.tell(paid(A, 1, local(6, 1, 10), 9_000), paid(A, 2, local(6, 2, 11), 6_050), paid(A, 3, local(6, 2), 100))
        found = await explained(caller, A, big)
        assert (found.member, found.cause, found.since_time.ToDatetime(UTC)) == (True, "EVENT", local(6, 3))
        (ground,) = found.grounds
        assert (ground.role, ground.version) == (condition_pb2.MembershipGround.ROLE_DEFINITION, 1)
        orders, city = ground.explanation.parts
        cited = [(it.time.ToDatetime(UTC), it.what, it.detail) for it in orders.facts]
        assert cited == [(local(6, 1, 10), "order", "90"), (local(6, 2, 11), "order", "60.5")]
        assert (city.value.text, [(it.what, it.detail) for it in city.facts]) == ("Shanghai", [("city", "Shanghai")])
        assert found.change_time.ToDatetime(UTC) == local(7, 1, 0)  # the first leaves
        two = "2025-06-01 10:00 order 90, 2025-06-02 11:00 order 60.5"
        assert found.text.splitlines() == [
            "On 2025-06-03 12:00 the customer was in segment “big”, since 2025-06-03 12:00, because something happened.",
            f"By version 1 of its definition, {ground.text}:",
            "  ✓ all of these",
            f"    ✓ {orders.text}: 2 ({two}); time alone changes this on 2025-07-01 00:00",
            '    ✓ city = "Shanghai": Shanghai (2025-06-01 12:00 city Shanghai)',
            '  What decides: order(where net >= 50) count >= 2 in last 30 days | city = "Shanghai".',
            "If nothing else happens, this may next change on 2025-07-01 00:00.",
        ]
        assert not found.differs

        # The negative control: a fact that changes.
        world.tell(refunded(A, 2, "r", local(6, 3), 2_000))
        changed = await explained(caller, A, big, language=ZH)
        assert not changed.member
        assert changed.grounds[0].explanation.parts[0].fact_count == 1
        assert changed.text.splitlines()[0] == (
            "2025-06-03 12:00，该客户不在分群“big”中，自 2025-06-03 12:00 起，原因：发生了新的事实。"
        )
        assert "：1（2025-06-01 10:00 order 90）；还差 1" in changed.text
        assert "决定性条件：order(where net >= 50) count >= 2 in last 30 days。" in changed.text

    serve(check)


def test_an_instant_of_the_past_is_explained_by_the_definition_of_then(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.at(local(6, 1))
        world.tell(created_at(A, local(5, 1)), *(behaved(A, local(6, 1, hour)) for hour in (9, 10)))
        keen = defined(world, "keen", 'event("content_viewed") count >= 2')
        world.at(local(6, 5))
        world.do(UpdateSegment(keen, Definition(condition=read('event("content_viewed") count >= 3')), None))
        now = await explained(caller, A, keen)
        assert (now.member, now.cause, now.grounds[0].version) == (False, "EDIT", 2)
        assert now.grounds[0].explanation.short_by == 1
        then = await explained(caller, A, keen, local(6, 2))
        assert (then.member, then.cause, then.grounds[0].version) == (True, "BACKFILL", 1)
        assert (then.differs, then.since_time.ToDatetime(UTC)) == (False, local(6, 1))

        world.tell(behaved(A, local(6, 2)))  # became known three days late
        late = await explained(caller, A, keen, local(6, 5) - DAY)
        assert (late.member, late.grounds[0].explanation.fact_count) == (True, 3)

        world.do(ArchiveSegment(keen, None))
        gone = await explained(caller, A, keen)
        assert (gone.member, list(gone.grounds)) == (False, [])
        assert "archived" in gone.text

    serve(check)


def test_what_is_only_known_as_it_is_now_is_said_to_be_so_and_late_facts_make_a_difference(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.at(local(6, 1))
        world.tell(created_at(A, local(5, 1)), knows(A, "city", "Shanghai", local(6, 1)), in_group(A, "g", local(6, 1)))
        here = defined(world, "here", 'city = "Shanghai" and group("g")')
        world.at(local(6, 10))
        world.tell(knows(A, "city", "Beijing", local(6, 10)))
        then = await explained(caller, A, here, local(6, 5))
        city, group = then.grounds[0].explanation.parts
        assert (then.member, then.differs) == (True, True)
        assert (city.known_now, city.value.text, group.known_now) == (True, "Beijing", False)
        assert "as it is known today" in then.text
        assert "customer that was merged" in then.text
        now = await explained(caller, A, here)
        assert (now.member, now.differs, now.grounds[0].explanation.parts[0].known_now) == (False, False, False)

    serve(check)


def test_lists_combinations_and_unknown_customers_are_explained_too(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.tell(created(A), created(B, known=False))
        listed = world.listed("listed", A)
        vip = defined(world, "vip", 'tag("vip")')
        either = world.define(
            "either",
            Definition(operation=SetOperation(SetOperator.DIFFERENCE, (that(InSegment(listed)), that(InSegment(vip))))),
        )
        found = await explained(caller, A, listed)
        assert (found.member, found.cause, list(found.grounds)) == (True, "EDIT", [])
        assert "listed by hand" in found.text
        combined = await explained(caller, A, either)
        first, second = combined.grounds[0].explanation.parts
        assert (combined.member, first.holds, second.holds) == (True, True, True)
        assert [(it.what, it.detail) for it in first.facts] == [("segment", "EDIT")]
        world.at(START + DAY)
        world.do(AssignTags(A, [("vip", "")]))
        left = await explained(caller, A, either)
        assert (left.member, left.grounds[0].explanation.parts[1].parts[0].decisive) == (False, True)
        before = await explained(caller, A, either, START)
        assert (before.member, before.differs) == (True, False)
        tagged = await explained(caller, A, vip)
        assert [(it.what, it.detail) for it in tagged.grounds[0].explanation.facts] == [("tag", "STAFF:system/test")]

        world.tell(behaved(B, START))
        nobody = defined(world, "readers", 'event("content_viewed") count >= 1')
        found = await explained(caller, B, nobody)
        assert (found.member, found.outside_universe, found.differs) == (False, True, False)
        assert found.grounds[0].explanation.holds

    serve(check)


def test_a_tag_of_a_rule_is_explained_with_what_it_comes_and_goes_by_now_and_then(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.at(local(6, 1))
        rule_tag(world, "reader", "active_days_30 >= 2", "active_days_30 < 1")
        world.tell(created_at(A, local(5, 1)), behaved(A, local(5, 31)), behaved(A, local(6, 1)))
        world.fire()
        found = await explained(caller, A, "reader")
        assert (found.member, found.source) == (True, "RULE:reader")
        enter, leave = found.grounds
        assert (enter.explanation.holds, leave.explanation.holds, leave.text) == (True, False, "active_days_30 < 1")
        world.at(local(6, 30, 0))  # one of them has left: the tag stays
        kept = await explained(caller, A, "reader")
        assert (kept.member, kept.grounds[0].explanation.holds, kept.differs) == (True, False, False)
        assert kept.change_time.ToDatetime(UTC) == local(7, 1, 0)
        world.at(local(7, 1, 0))
        gone = await explained(caller, A, "reader")
        assert (gone.member, gone.cause, gone.since_time.ToDatetime(UTC)) == (False, "TIME", local(7, 1, 0))
        new_rule(world, "reader", "active_days_90 >= 2")
        again = await explained(caller, A, "reader")
        assert (again.member, [it.version for it in again.grounds]) == (True, [2])
        then = await explained(caller, A, "reader", local(6, 15))
        assert (then.member, [it.version for it in then.grounds], then.differs) == (True, [1, 1], False)
        world.do(PauseRule("reader"))
        assert not (await explained(caller, A, "reader")).grounds

    serve(check)


def test_tags_by_hand_and_the_night_owl_are_explained_and_a_merged_id_stands_for_the_survivor(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        nights = [local(2, day, hour) for day in (2, 3, 4) for hour in (1, 3)]
        world.at(local(2, 10))
        world.tell(created(A), created(B), *(behaved(A, it) for it in nights))
        world.tell(merged(A, B))
        owl = await explained(caller, B, "night_owl")
        assert (owl.customer_id, owl.member, owl.source) == (str(A), True, "RULE:night_owl")
        sessions, counted, share = owl.grounds[0].explanation.parts
        assert (sessions.value.number, counted.value.number, share.value.number) == (6, 3, 100)
        assert [it.time.ToDatetime(UTC) for it in sessions.facts] == nights
        assert not owl.grounds[1].explanation.holds
        (stays,) = owl.grounds[1].explanation.parts
        assert [it.text.split(" >= ")[1] for it in stays.parts] == ["3", "40"]  # of nights no number is asked for
        before = await explained(caller, A, "night_owl", nights[2])
        assert (before.member, before.grounds[0].explanation.parts[0].short_by) == (False, 2)

        await caller.call("AssignTags", customer_id=str(A), tags=[tagging_pb.TagValue(tag_key="vip")])
        by_hand = await explained(caller, A, "vip", language=ZH)
        assert (by_hand.member, by_hand.cause, list(by_hand.grounds)) == (True, "MANUAL", [])
        assert "原因：人工操作" in by_hand.text
        assert not (await explained(caller, A, "unheard_of")).member

    serve(check)


def test_whom_and_what_there_is_not_and_what_is_not_yet_is_refused(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        caller.world.tell(created(A))
        one = caller.world.define("one")
        vip = segment_pb2.HasTag(tag_key="vip")
        for reason, fields in (
            ("CUSTOMER_NOT_FOUND", {"customer_id": str(uuid4()), "tag": vip}),
            ("SEGMENT_NOT_FOUND", {"customer_id": str(A), "segment_id": str(uuid4())}),
            ("OUT_OF_RANGE", {"customer_id": str(A), "tag": vip, "as_of": stamp(START + DAY)}),
            ("OUT_OF_RANGE", {"customer_id": str(A), "segment_id": str(one), "as_of": stamp(START - DAY)}),
            ("SEGMENT_NOT_FOUND", {"customer_id": str(A), "segment_id": str(one), "tenant": "globex"}),
        ):
            assert (await caller.refused("ExplainMembership", **fields)).reason == reason

    serve(check)
