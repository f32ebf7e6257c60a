"""Somebody is to be forgotten: tags, facts and sets let go of them, and nothing that comes late brings them back."""

from datetime import timedelta
from random import Random
from uuid import UUID, uuid5

import pytest
from google.protobuf.message import Message

from scrm.identity.v1 import events_pb2 as identity
from scrm.tagging.v1 import events_pb2 as tagging
from scrm.tracking.v1 import events_pb2 as tracking
from services.tagging.application.fact_messages import essence
from services.tagging.application.published_events import publish
from services.tagging.application.tag_commands import AssignTags
from services.tagging.domain.conditions import HasTag, that
from services.tagging.domain.erasure import Erasure
from services.tagging.domain.errors import CustomerErased
from services.tagging.domain.history import Line
from services.tagging.domain.memberships import MembershipCause, MembershipChange
from services.tagging.domain.segments import Definition
from services.tagging.domain.tags import Cause, CustomerTags
from tests.tagging.conftest import Worlds
from tests.tagging.world import (
    START,
    World,
    became_known,
    behaved,
    clicked,
    consented,
    created,
    entered,
    granted,
    guided,
    in_group,
    joined,
    knows,
    merged,
    owes,
    paid,
    person,
    placed,
    reached,
    refunded,
    sent,
    unmerged,
)

ANN, BOB, CLEO, DORA = person("ann"), person("bob"), person("cleo"), person("dora")


def erasing(*nodes: UUID) -> identity.CustomerErasing:
    case = uuid5(nodes[0], "case")
    return identity.CustomerErasing(case_id=str(case), customer_id=str(nodes[0]), node_ids=[str(it) for it in nodes])


def facts(who: UUID) -> list[Message]:
    return [
        created(who, key=f"shop:{who}"),
        behaved(who, START + timedelta(hours=1)),
        paid(who, f"of {who}", START, 1200),
        refunded(who, f"of {who}", "r1", START, 200),
        placed(who, f"of {who}", START, Line("s1", "serum", "b", 1, 1200, 1200)),
        knows(who, "city", "Shanghai", START),
        consented(who, "MARKETING", "GRANTED", START),
        guided(who, person("guide"), START),
        in_group(who, "g1", START),
        reached(who, "SMS", START),
        joined(who, START),
        granted(who, "lot", 10),
        owes(who, 5),
        entered(who, UUID(int=1), START, f"of {who}"),
        sent(who, UUID(int=2), START, f"to {who}"),
        clicked(who, START, f"to {who}"),
    ]


def traces(world: World, *nodes: UUID) -> dict[str, int]:
    """In how many rows of which table the nodes are, beside the one that says that they are erased."""
    who = ", ".join(f"'{it}'" for it in nodes)
    return {
        table: world.rows(f"SELECT count(*) FROM {table} WHERE {column} IN ({who})")[0][0]
        for table, column in (
            ("visits", "node"),
            ("purchases", "node"),
            ("refunds", "node"),
            ("placed_orders", "node"),
            ("behaviours", "node"),
            ("attribute_values", "node"),
            ("consents", "node"),
            ("guide_words", "node"),
            ("group_members", "node"),
            ("reachability", "node"),
            ("member_words", "node"),
            ("points_lots", "node"),
            ("points_debts", "node"),
            ("flow_instances", "node"),
            ("deliveries", "node"),
            ("clicks", "node"),
            ("static_members", "node"),
            ("tag_holders", "node"),
            ("rule_states", "customer"),
            ("merges", "survivor"),
            ("merges", "loser"),
        )
    }


def test_tags_facts_and_sets_let_go_of_the_customer(world: World) -> None:
    world.tell(*facts(ANN), *facts(BOB), *facts(CLEO), merged(ANN, BOB))
    for who in (ANN, CLEO):
        world.do(AssignTags(who, [("vip_manual", "")]))
    live = world.define("vips", Definition(condition=that(HasTag("vip_manual"))))
    listed = world.listed("list", ANN, CLEO)
    assert world.members(live) == world.members(listed) == {ANN, CLEO}

    world.tell(erasing(ANN, BOB))

    assert world.tagged("vip_manual") == world.members(live) == world.members(listed) == {CLEO}
    assert not any(traces(world, ANN, BOB).values())
    assert world.rows("SELECT DISTINCT assignment_key FROM nodes WHERE erased") == [("",)]
    (removed,) = [it.event for it in world.events(CustomerTags.Removed)]
    assert isinstance(removed, CustomerTags.Removed)
    assert removed.cause is Cause.ERASURE
    left = [it.event for it in world.events(MembershipChange.Happened)][-2:]
    assert {(it.segment, it.cause, it.exited) for it in left if isinstance(it, MembershipChange.Happened)} == {
        (segment, MembershipCause.ERASURE, (ANN,)) for segment in (live, listed)
    }
    (done,) = world.events(Erasure.Completed)
    message = publish(done)
    assert isinstance(message, tagging.CustomerDataErased)
    assert (message.removed["purchases"], message.removed["tags"]) == (2, 1)
    assert world.rebuild() == {}


def test_of_several_who_are_erased_at_once_each_is_told_what_was_removed(worlds: Worlds) -> None:
    """As if they had come one by one; with a merge of one of them with somebody who stays, and the end of it, told between: that
    is a row to be removed only where it was written before.
    """
    told = [erasing(ANN, BOB), merged(DORA, CLEO), unmerged(DORA, CLEO), erasing(CLEO), erasing(ANN, BOB)]
    counts: list[list[dict[str, int]]] = []
    for batch in (1, len(told)):
        world = worlds()
        world.tell(*facts(ANN), *facts(BOB), *facts(CLEO), *facts(DORA), merged(ANN, BOB))
        for who, tags in ((ANN, ["vip_manual", "angry"]), (CLEO, ["vip_manual"]), (DORA, ["vip_manual"])):
            world.do(AssignTags(who, [(tag, "") for tag in tags]))
        world.tell(*told, batch=batch)
        assert not any(traces(world, ANN, BOB, CLEO).values())
        assert world.tagged("vip_manual") == {DORA}
        assert world.rows(f"SELECT count(*) FROM purchases WHERE node = '{DORA}'") == [(1,)]
        assert world.rebuild() == {}
        done = {it.event.originator_id: it.event.removed for it in world.events(Erasure.Completed)}  # type: ignore[attr-defined]
        counts.append([done[uuid5(who, "case")] for who in (ANN, CLEO)])
    one_by_one, at_once = counts
    assert [[it.pop("merges") for it in found] for found in counts] == [[1, 1], [1, 0]]
    assert at_once == one_by_one
    both, one = at_once
    assert [(it["purchases"], it["tags"], it["messages"], it["nodes"]) for it in (both, one)] == [
        (2, 2, 8, 2),
        (1, 1, 4, 1),
    ]
    assert both["bitmaps"] > one["bitmaps"] > 0


def test_nobody_who_is_erased_can_be_tagged(world: World) -> None:
    world.tell(*facts(ANN), erasing(ANN))
    with pytest.raises(CustomerErased):
        world.do(AssignTags(ANN, [("vip_manual", "")]))


def test_an_erasure_is_answered_once_also_for_somebody_never_heard_of(world: World) -> None:
    world.tell(erasing(ANN))
    world.tell(erasing(ANN))
    (done,) = world.events(Erasure.Completed)
    assert isinstance(done.event, Erasure.Completed)
    assert set(done.event.removed.values()) == {0}
    assert world.rebuild() == {}


def test_what_comes_late_brings_nobody_back(world: World) -> None:
    world.tell(*facts(ANN), erasing(ANN, BOB))
    world.tell(*facts(BOB), *facts(ANN), became_known(ANN, "k"), merged(ANN, BOB), unmerged(ANN, BOB))
    assert not any(traces(world, ANN, BOB).values())
    assert world.rebuild() == {}


def test_of_what_was_told_of_the_erased_only_that_there_was_something_is_kept(world: World) -> None:
    """Before the erasure, with it, and after it; of others everything stays."""

    def words() -> set[str]:
        payloads = b"".join(bytes(it) for (it,) in world.rows("SELECT payload FROM inbox"))
        return {it for it in ("serum", "Shanghai", "h5") if it.encode() in payloads}

    world.tell(*facts(ANN))
    assert words() == {"serum", "Shanghai", "h5"}
    world.tell(erasing(ANN))
    assert words() == set()
    world.tell(*facts(BOB), erasing(BOB))
    world.tell(*facts(ANN), *facts(BOB))
    assert words() == set()
    assert world.rebuild() == {}
    world.tell(*facts(CLEO))
    world.tell(erasing(ANN))
    assert words() == {"serum", "Shanghai", "h5"}
    assert world.rebuild() == {}


def test_somebody_who_was_thought_to_be_part_of_the_erased_is_not_lost(world: World) -> None:
    """That their merge was taken back is on its way when the erasure arrives."""
    world.tell(*facts(ANN), *facts(CLEO), merged(ANN, CLEO))
    world.do(AssignTags(CLEO, [("vip_manual", "")]))
    world.tell(erasing(ANN))
    world.tell(unmerged(ANN, CLEO))
    assert world.rows(f"SELECT customer, known FROM nodes WHERE node = '{CLEO}'") == [(CLEO, True)]
    assert world.rows(f"SELECT count(*) FROM purchases WHERE node = '{CLEO}'") == [(1,)]
    assert world.rebuild() == {}


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_arrival_ends_alike(world: World, seed: int) -> None:
    """But for who got which ordinal."""
    random = Random(seed)
    messages = [*facts(ANN), *facts(BOB), *facts(CLEO), merged(ANN, BOB), erasing(ANN, BOB), erasing(ANN, BOB)]
    random.shuffle(messages)
    world.tell(*messages, batch=random.randint(1, 5))
    assert not any(traces(world, ANN, BOB).values())
    assert world.rows(f"SELECT net FROM purchases WHERE node = '{CLEO}'") in ([(1200,)], [(1400,)])
    assert world.rebuild() == {}


def test_what_is_kept_of_a_message_is_what_is_read_of_it(world: World) -> None:
    seen = behaved(ANN, START, offset=480)
    seen.page, seen.app, seen.share_id, seen.delivery_id = "secret", "secret", "secret", "delivery"
    seen.source_key, seen.code_key, seen.staff_code = "secret", "secret", "secret"
    order = paid(ANN, "o", START, 100)
    order.order_no, order.source_key = "secret", "secret"
    for message in (seen, order):
        kept = essence(world.incoming(message))
        assert b"secret" not in kept.payload
        assert world.incoming(message).payload != kept.payload
    behaviour = essence(world.incoming(seen)).parse(tracking.BehaviourTracked)
    assert (behaviour.node_id, behaviour.channel, behaviour.tz_offset_minutes) == (str(ANN), "h5", 480)
    assert behaviour.delivery_id == "delivery"
