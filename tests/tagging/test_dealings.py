"""Membership, points, messages, flows and channels as conditions ask for them, live, by the clock, through merges and a rebuild (TG-4)."""

from datetime import timedelta
from uuid import UUID, uuid5

from scrm.campaigns.v1 import events_pb2 as campaigns
from scrm.membership.v1 import events_pb2 as membership
from scrm.membership.v1 import points_pb2
from services.tagging.application.tag_rule_commands import EnableFactTag
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.fact_tags import FactParameters
from services.tagging.domain.segments import Definition
from tests.tagging.world import (
    START,
    World,
    burned,
    clicked,
    created,
    entered,
    flow_ended,
    granted,
    joined,
    lot,
    merged,
    owes,
    person,
    reached,
    sent,
    unmerged,
)

ANN, BOB, CLEO = person("ann"), person("bob"), person("cleo")
FLOW, CAMPAIGN = UUID(int=31), UUID(int=32)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def segment(world: World, text: str) -> UUID:
    return world.define(text, Definition(condition=read(text)))


def test_points_are_those_of_all_nodes_that_can_be_spent_and_come_and_go_by_the_clock(world: World) -> None:
    rich, owing = segment(world, "points >= 100"), segment(world, "points_debt > 0")
    poor = segment(world, "points < 100 and points_pending = 50")
    later, gone = START + DAY, START + 9 * DAY
    world.tell(created(ANN), created(BOB), granted(ANN, "a", 80), granted(ANN, "b", 50, later, gone))
    assert (world.members(rich), world.members(poor)) == (set(), {ANN})
    world.at(later)
    assert (world.members(rich), world.members(poor)) == ({ANN}, set())
    world.tell(burned(ANN, "a", 40))
    assert world.members(rich) == set()
    back = points_pb2.PointsAllocation(lot_id=str(uuid5(ANN, "a")), points=20)
    world.tell(membership.PointsRestored(customer_id=str(ANN), allocations=[back], new_lots=[lot(ANN, "c", 10)]))
    assert world.members(rich) == {ANN}
    world.tell(owes(BOB, 5))
    assert (world.members(rich), world.members(owing)) == ({ANN}, {BOB})
    part = points_pb2.PointsAllocation(lot_id=str(uuid5(BOB, "d")), points=5)
    world.tell(granted(BOB, "d", 5), membership.PointsDebtOffset(customer_id=str(BOB), allocations=[part]))
    assert world.members(owing) == set()
    assert world.history(ANN).dealings.points(later) == 120
    world.at(gone)
    assert (world.members(rich), world.history(ANN).dealings.points(gone)) == (set(), 70)
    assert world.rebuild() == {}


def test_points_of_accounts_that_were_merged_are_counted_once_whoever_tells_first(world: World) -> None:
    rich = segment(world, "points >= 100")
    world.tell(created(ANN), created(BOB), granted(ANN, "a", 60), granted(BOB, "b", 60))
    world.tell(merged(ANN, BOB))
    assert world.members(rich) == {ANN}
    took = membership.PointsAccountsMerged(customer_id=str(ANN), loser_id=str(BOB), lots=[lot(BOB, "b", 60)])
    world.tell(took, burned(ANN, "b", 30, of=BOB))
    assert (world.members(rich), world.history(ANN).dealings.points(START)) == (set(), 90)
    split = [lot(BOB, "b", 30)]
    world.tell(
        membership.PointsAccountsSplit(customer_id=str(ANN), restored_id=str(BOB), lots=split),
        membership.PointsAccountRestored(customer_id=str(BOB), survivor_id=str(ANN), lots=split),
    )
    assert world.history(ANN).dealings.points(START) == 90
    world.tell(unmerged(ANN, BOB))
    theirs = [world.history(it).dealings.points(START) for it in (ANN, BOB)]
    assert theirs == [60, 30]
    assert world.rebuild() == {}


def test_a_member_is_one_since_joining_until_that_is_revoked_and_a_merged_membership_is_one(world: World) -> None:
    members, old = segment(world, "member = true"), segment(world, "member_days >= 30")
    world.tell(created(ANN), created(BOB), created(CLEO), joined(ANN, START), joined(BOB, START))
    assert world.members(members) == {ANN, BOB}
    world.tell(merged(ANN, BOB))
    one = membership.MembersMerged(customer_id=str(ANN), loser_id=str(BOB), member_no="M1")
    one.join_time.FromDatetime(START)
    world.tell(one)
    assert world.members(members) == {ANN}
    world.at(START + 31 * DAY)
    assert world.members(old) == {ANN}
    world.tell(membership.MemberRevoked(customer_id=str(ANN)))
    assert world.members(members) == world.members(old) == set()
    again = membership.MemberRestored(customer_id=str(BOB), survivor_id=str(ANN), member_no="M2")
    again.join_time.FromDatetime(START)
    world.tell(unmerged(ANN, BOB), again)
    assert world.members(members) == world.members(old) == {BOB}
    assert world.rebuild() == {}


def test_a_channel_reaches_a_customer_if_it_reaches_one_of_the_nodes_and_the_last_word_on_a_node_counts(
    world: World,
) -> None:
    by_sms, private = segment(world, 'reachable("SMS")'), segment(world, "reachable(any)")
    world.tell(created(ANN), created(BOB), reached(ANN, "SMS", START), reached(BOB, "OA", START))
    assert (world.members(by_sms), world.members(private)) == ({ANN}, {ANN, BOB})
    world.tell(reached(ANN, "SMS", START + HOUR, reachable=False), reached(ANN, "SMS", START + HOUR / 2))
    assert (world.members(by_sms), world.members(private)) == (set(), {BOB})
    world.tell(merged(BOB, ANN), reached(ANN, "SMS", START + HOUR))
    assert world.members(by_sms) == {BOB}
    assert world.rebuild() == {}


def test_a_message_leaves_its_window_by_the_clock_and_a_click_counts_for_whom_it_was_sent_to(world: World) -> None:
    fresh = segment(world, "delivery(any, sent) in last 7 days")
    quiet = segment(world, "not delivery(any, sent) in last 7 days")
    opened = segment(world, f'delivery("{CAMPAIGN}", clicked)')
    world.tell(created(ANN), created(BOB), sent(ANN, CAMPAIGN, START, "d1"), sent(BOB, FLOW, START, "d2"))
    assert (world.members(fresh), world.members(quiet)) == ({ANN, BOB}, set())
    world.tell(clicked(ANN, START, "d2"))
    assert world.members(opened) == set()
    world.tell(clicked(BOB, START, "d1"))
    assert world.members(opened) == {ANN}
    assert not [it for it in world.history(ANN).dealings.messages if it.campaign != CAMPAIGN]
    world.at(START + 8 * DAY)
    assert (world.members(fresh), world.members(quiet)) == (set(), {ANN, BOB})
    assert world.rebuild() == {}


def test_what_is_told_of_an_instant_to_come_counts_from_then_on(world: World) -> None:
    told, inside = segment(world, "delivery(any, sent)"), segment(world, "flow(any, in)")
    members = segment(world, "member = true")
    later = START + DAY
    world.tell(created(ANN), sent(ANN, CAMPAIGN, later, "d5"), entered(ANN, FLOW, later, "i5"), joined(ANN, later))
    assert world.members(told) == world.members(inside) == world.members(members) == set()
    world.at(later)
    assert world.members(told) == world.members(inside) == world.members(members) == {ANN}


def test_a_flow_is_gone_through_by_whom_it_is_for_and_its_messages_are_deliveries(world: World) -> None:
    inside, through = segment(world, f'flow("{FLOW}", in)'), segment(world, f'flow("{FLOW}", completed)')
    told = segment(world, f'delivery("{FLOW}", sent)')
    world.tell(created(ANN), created(BOB), entered(ANN, FLOW, START, "i1"), entered(BOB, FLOW, START, "i2"))
    step = campaigns.StepExecuted(instance_id=entered(ANN, FLOW, START, "i1").instance_id, flow_id=str(FLOW))
    step.result, step.delivery_id = "SENT", "d3"
    step.execute_time.FromDatetime(START)
    world.tell(step)
    assert (world.members(inside), world.members(through), world.members(told)) == ({ANN, BOB}, set(), {ANN})
    world.tell(flow_ended(FLOW, START, "i1"), flow_ended(FLOW, START, "i2", "EXIT_CONDITION"))
    assert (world.members(inside), world.members(through)) == (set(), {ANN})
    assert world.rebuild() == {}


def test_an_instance_that_went_on_with_the_survivor_stays_there_when_the_merge_is_taken_back(world: World) -> None:
    inside, told = segment(world, "flow(any, in)"), segment(world, "delivery(any, sent)")
    world.tell(created(ANN), created(BOB), entered(BOB, FLOW, START, "i1"), merged(ANN, BOB))
    assert world.members(inside) == {ANN}
    instance = entered(BOB, FLOW, START, "i1").instance_id
    step = campaigns.StepExecuted(instance_id=instance, flow_id=str(FLOW), result="SENT", delivery_id="d4")
    step.execute_time.FromDatetime(START)
    moved = campaigns.InstanceRekeyed(instance_id=instance, flow_id=str(FLOW), customer_id=str(ANN))
    world.tell(step, moved)
    world.tell(unmerged(ANN, BOB))
    assert (world.members(inside), world.members(told)) == ({ANN}, {BOB})
    assert world.rebuild() == {}


def test_members_followers_and_friends_are_tagged_as_membership_and_identity_tell_it(world: World) -> None:
    for key in ("member", "oa_follower", "wecom_friend"):
        world.do(EnableFactTag(key, FactParameters()))
    world.fire()
    world.tell(
        created(ANN), created(BOB), joined(ANN, START), reached(ANN, "WECHAT_OA", START), reached(BOB, "WECOM", START)
    )
    world.fire()
    assert (world.tags(ANN), world.tags(BOB)) == ({"member", "oa_follower"}, {"wecom_friend"})
    world.tell(membership.MemberRevoked(customer_id=str(ANN)), reached(BOB, "WECOM", START + HOUR, reachable=False))
    world.fire()
    assert (world.tags(ANN), world.tags(BOB)) == ({"oa_follower"}, set())
    assert world.rebuild() == {}


def test_who_is_first_heard_of_by_membership_is_somebody_once_identity_tells(world: World) -> None:
    members = segment(world, "member = true")
    world.tell(joined(ANN, START))
    assert world.members(members) == set()
    world.tell(created(ANN))
    assert world.members(members) == {ANN}
    assert world.rebuild() == {}
