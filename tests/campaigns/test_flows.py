"""Flows: what starts them, how customers go through them, and what a merge, an erasure or a crash makes of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.campaigns.application.flow_commands import EndFlow, PublishFlow, UpdateFlow
from services.campaigns.application.flow_sending import ReserveSends
from services.campaigns.application.gates import NOT_KNOWN
from services.campaigns.domain.delivery_batch import DeliveryBatch
from services.campaigns.domain.design import Design
from services.campaigns.domain.errors import FlowInvalid, FlowOver, NothingToPublish
from services.campaigns.domain.flow import Flow
from services.campaigns.domain.flow_definition import EXIT, Definition, Fact, FactKind, Reentry, Step, StepKind
from services.campaigns.domain.flow_instance import FlowInstance
from tests.campaigns.flow_world import DAY, HOUR, MINUTE, REMINDER, SMS, UNPAID, Flows, waiting
from tests.campaigns.test_erasure import erasing
from tests.campaigns.world import START, ListedAudience, World, customer

SEGMENT = Fact(FactKind.SEGMENT_ENTERED, str(customer("vips")))
FIRST_PURCHASE = waiting(Fact(FactKind.FIRST_ORDER_PAID))
GREETING = Definition(SEGMENT, (Step("greet", StepKind.SEND, text="Welcome {{name|friend}}"),))


@pytest.fixture
def flows(world: World) -> Flows:
    return Flows(world)


def at_half_past(flows: Flows, *orders: str) -> None:
    """At half past one nobody has paid the orders, each named by its customer, that were placed at one."""
    flows.pass_to(START + 30 * MINUTE)
    flows.world.tell(*(flows.world.stalled(it.split()[0], it, START) for it in orders))
    flows.pass_to(START + 31 * MINUTE)


def test_ac_8_of_two_instances_of_one_flow_the_survivor_s_goes_on(flows: Flows) -> None:
    world = flows.world
    both = flows.publish(waiting(Fact(FactKind.ORDER_PLACED)), versions=3)
    world.tell(world.placed("a", "a 1", START), world.placed("b", "b 1", START), world.paid("b", "b 1", START))
    assert [it.number for it in flows.running(both)] == [3, 3]
    first_purchase = flows.publish(FIRST_PURCHASE)
    world.tell(world.merged("a", "b", START))
    (left,) = flows.running(both)
    assert (left.customer, left.node) == (customer("a"), customer("a"))
    assert flows.ends() == {"MERGED": 1}
    assert flows.instances(first_purchase) == [], "a purchase that a merge brings is not one that happens"
    world.tell(world.paid("a", "a 1", START))
    assert flows.instances(first_purchase) == [], "the customer has bought before, as somebody else"
    world.tell(world.paid("c", "c 1", START))
    assert [it.customer for it in flows.instances(first_purchase)] == [customer("c")]


def test_who_is_merged_goes_on_as_the_survivor_and_stays_there(flows: Flows) -> None:
    world = flows.world
    flow = flows.publish(waiting(SEGMENT, goal=Fact(FactKind.ORDER_PAID)))
    world.tell(world.entered_segment("b", "vips", START))
    world.tell(world.merged("a", "b", START))
    (instance,) = flows.running(flow)
    assert (instance.customer, instance.node) == (customer("a"), customer("b"))
    world.tell(world.entered_segment("a", "vips", START))
    assert len(flows.instances(flow)) == 1
    world.tell(world.unmerged("a", "b", START))
    world.tell(world.paid("b", "b 1", START + HOUR))
    assert [it.customer for it in flows.running(flow)] == [customer("a")]
    world.tell(world.entered_segment("b", "vips", START))
    assert len(flows.instances(flow)) == 1, "b was in it"
    world.tell(world.paid("a", "a 1", START + HOUR))
    assert flows.ends() == {"GOAL_MET": 1}


def test_of_two_losers_in_one_flow_one_instance_goes_on(flows: Flows) -> None:
    world = flows.world
    flow = flows.publish(waiting(SEGMENT))
    world.tell(world.entered_segment("b", "vips", START), world.entered_segment("c", "vips", START))
    world.tell(world.merged("a", "b", START), world.merged("a", "c", START))
    assert [it.customer for it in flows.running(flow)] == [customer("a")]


def test_ac_77_each_unpaid_order_has_an_instance_of_its_own(flows: Flows) -> None:
    world = flows.world
    flows.publish(UNPAID)
    at_half_past(flows, "ann o1", "ann o2")
    assert len(flows.running()) == 2
    flows.pass_to(START + 50 * MINUTE)
    world.tell(world.paid("ann", "ann o1", START + 50 * MINUTE))
    flows.pass_to(START + 2 * DAY)
    assert flows.ends() == {"GOAL_MET": 1, "COMPLETED": 1}
    assert sorted(flows.texts("ann")) == sorted([REMINDER, REMINDER, SMS])


@pytest.mark.parametrize("remembers", [True, False])
def test_ac_77_a_crash_between_sending_and_noting_it_sends_nothing_twice(flows: Flows, remembers: bool) -> None:
    world = flows.world
    flows.publish(UNPAID)
    world.clock.set(START + 30 * MINUTE)
    world.tell(world.stalled("ann", "ann o1", START))
    reserved = world.execute(ReserveSends(world.lease_clock.now() + timedelta(seconds=5)))
    world.run(world.provider.send("", reserved.messages))  # and then the process is killed
    world.provider.remembers = remembers
    world.settle()
    assert flows.results() == {}, "somebody else may still be at it"
    world.lease_clock.set(world.lease_clock.now() + timedelta(seconds=6))
    world.settle()
    assert flows.results() == {("remind", "SENT" if remembers else "UNKNOWN"): 1}
    assert flows.texts("ann") == [REMINDER]


def test_ac_78_who_left_may_enter_again_after_the_gap(flows: Flows) -> None:
    world = flows.world
    short = (Step("wait", StepKind.WAIT, seconds=86_400),)
    flow = flows.publish(Definition(SEGMENT, short, reentry=Reentry.AFTER_EXIT, gap_seconds=30 * 86_400))
    for at, instances in (
        (datetime(2025, 5, 1, tzinfo=UTC), 1),
        (datetime(2025, 5, 10, tzinfo=UTC), 1),
        (datetime(2025, 6, 5, tzinfo=UTC), 2),
    ):
        flows.pass_to(at)
        world.tell(world.entered_segment("ann", "vips", at))
        assert len(flows.instances(flow)) == instances, at


def test_ac_96_a_payment_or_the_end_of_the_order_spares_the_text_message(flows: Flows) -> None:
    world = flows.world
    flows.publish(UNPAID)
    at_half_past(flows, "paid o1", "closed o2", "late o3", "unpaid o4")
    world.tell(world.paid("paid", "paid o1", START + 45 * MINUTE), world.cancelled("closed", "closed o2", START + HOUR))
    flows.pass_to(START + 70 * MINUTE)
    world.tell(world.paid("late", "late o3", START + 29 * MINUTE, recorded=START + 70 * MINUTE))
    flows.pass_to(START + 22 * HOUR)
    assert flows.results() == {("remind", "SENT"): 4}
    flows.pass_to(START + 24 * HOUR)
    assert flows.ends() == {"GOAL_MET": 2, "EXIT_CONDITION": 1, "COMPLETED": 1}
    assert [flows.texts(it) for it in ("paid", "closed", "late")] == [[REMINDER]] * 3
    assert flows.texts("unpaid") == [REMINDER, SMS]


def test_ac_99_who_is_not_known_is_not_written_to(flows: Flows) -> None:
    """Neither by a broadcast to an audience of all nor by a flow, until they have told who they are."""
    world = flows.world
    flows.publish(GREETING)
    world.audience = ListedAudience([(customer(it), it) for it in ("ann", "visitor", "was visitor", "part of bob")])
    visitors = [world.seen(it, START) for it in ("visitor", "was visitor", "part of bob")]
    world.tell(*visitors, world.became_known("was visitor", START), world.merged("bob", "part of bob", START))
    world.dispatched(Design.plain("Hello"), experiment=None)
    (reserved,) = world.events(DeliveryBatch.Reserved)
    assert reserved.suppressed == {NOT_KNOWN: (customer("visitor"),)}
    assert len(world.provider.calls) == 3
    world.tell(*(world.entered_segment(it, "vips", START) for it in ("ann", "visitor", "was visitor")))
    world.settle()
    assert flows.results() == {("greet", "SENT"): 2, ("greet", "SUPPRESSED"): 1}
    assert [it.reason for it in world.events(FlowInstance.StepExecuted) if it.reason] == [NOT_KNOWN]
    assert flows.ends() == {"COMPLETED": 3}
    assert flows.texts("ann") == ["Hello", "Welcome friend"]
    assert flows.texts("visitor") == []


def test_the_unpaid_orders_of_the_main_job_are_reminded_at_half_past_nine_and_paid(flows: Flows) -> None:
    """A dozen orders placed at 09:00 and paid at noon, among others that are paid within five minutes."""
    world, nine = flows.world, datetime(1998, 1, 6, 14, tzinfo=UTC)
    flows.publish(UNPAID)
    for day in range(3):
        opens, people = nine + day * DAY, [f"c{day}{n}" for n in range(4)]
        flows.pass_to(opens + 30 * MINUTE)
        world.tell(*(world.stalled(it, f"{it} order", opens) for it in people))
        flows.pass_to(opens + 3 * HOUR)
        others = [world.paid(f"other {it}", f"other {it}", opens + 3 * HOUR) for it in people]
        world.tell(*others, *(world.paid(it, f"{it} order", opens + 3 * HOUR) for it in people))
    flows.pass_to(nine + 30 * DAY)
    sent = world.events(FlowInstance.StepExecuted)
    assert {(it.step, it.executed_at - nine) for it in sent} == {("remind", 30 * MINUTE + n * DAY) for n in range(3)}
    assert flows.results() == {("remind", "SENT"): 12}
    assert flows.ends() == {"GOAL_MET": 12}


def test_a_trigger_that_is_stale_or_of_too_little_worth_starts_nothing(flows: Flows) -> None:
    world = flows.world
    placed = Fact(FactKind.ORDER_PLACED)
    flow = flows.publish(waiting(placed, reentry=Reentry.PER_ORDER, minimum=Decimal("0.01"), currency="USD"))
    flows.pass_to(START + 2 * HOUR)
    world.tell(world.placed("ann", "stale", START + 59 * MINUTE), world.placed("ann", "free", START + HOUR, "0.00"))
    assert flows.instances(flow) == []
    world.tell(world.placed("ann", "fresh", START + HOUR), world.placed("ann", "fresh", START + HOUR))
    assert [it.order for it in flows.instances(flow)] == [customer("fresh")]


def test_who_came_into_a_segment_by_a_merge_or_an_edit_starts_nothing(flows: Flows) -> None:
    flow = flows.publish(waiting(SEGMENT))
    for cause in (3, 4, 5, 6):
        flows.world.tell(flows.world.entered_segment("ann", "vips", START, cause))
    flows.world.tell(flows.world.entered_segment("ann", "others", START))
    assert flows.instances(flow) == []


def test_who_waits_for_something_takes_another_way_when_it_happens(flows: Flows) -> None:
    world = flows.world
    steps = (
        Step("wait", StepKind.WAIT_FOR, seconds=3600, fact=Fact(FactKind.ORDER_PAID), happened="thanks"),
        Step("ask", StepKind.SEND, text="Still there?", next=EXIT),
        Step("thanks", StepKind.SEND, text="Thank you"),
    )
    flows.publish(Definition(SEGMENT, steps))
    world.tell(*(world.entered_segment(it, "vips", START) for it in ("buyer", "idler", "past")))
    world.tell(world.paid("buyer", "o1", START + MINUTE), world.paid("past", "o2", START - MINUTE))
    flows.pass_to(START + DAY)
    assert [flows.texts(it) for it in ("buyer", "idler", "past")] == [["Thank you"], ["Still there?"], ["Still there?"]]
    assert flows.results()["wait", "HAPPENED"] == 1
    assert flows.ends() == {"COMPLETED": 3}


def test_who_is_in_a_version_stays_in_it_and_an_ended_flow_lets_nobody_in(flows: Flows) -> None:
    world = flows.world
    id = flows.publish(Definition(SEGMENT, (Step("wait", StepKind.WAIT, seconds=60), *GREETING.steps)))
    world.tell(world.entered_segment("ann", "vips", START))
    with pytest.raises(NothingToPublish):
        world.execute(PublishFlow(id))
    world.execute(UpdateFlow(id, "a flow", Definition(SEGMENT, (Step("greet", StepKind.SEND, text="Hi"),))))
    world.execute(PublishFlow(id))
    world.tell(world.entered_segment("bob", "vips", START))
    world.settle()
    world.execute(EndFlow(id))
    world.tell(world.entered_segment("carol", "vips", START))
    flows.pass_to(START + HOUR)
    assert [flows.texts(it) for it in ("ann", "bob", "carol")] == [["Welcome friend"], ["Hi"], []]
    assert world.stored(Flow, id).number == 2
    with pytest.raises(FlowOver):
        world.execute(EndFlow(id))


def test_a_text_that_lacks_a_value_fails_and_the_customer_goes_on(flows: Flows) -> None:
    flows.publish(Definition(SEGMENT, (Step("greet", StepKind.SEND, text="Hi {{name}}"),)))
    flows.world.tell(flows.world.entered_segment("ann", "vips", START))
    flows.world.settle()
    (failed,) = flows.world.events(FlowInstance.StepExecuted)
    assert (failed.result, failed.reason) == ("FAILED", "RENDER:name")
    assert flows.texts("ann") == []
    assert flows.ends() == {"COMPLETED": 1}


def test_a_message_that_is_under_way_when_the_goal_is_met_is_still_told(flows: Flows) -> None:
    world = flows.world
    flows.publish(UNPAID)
    world.clock.set(START + 30 * MINUTE)
    world.tell(world.stalled("ann", "ann o1", START), world.stalled("bob", "bob o2", START))
    world.tell(world.paid("bob", "bob o2", START + 30 * MINUTE))  # before anything was reserved
    until = world.lease_clock.now() + timedelta(seconds=5)
    assert [it.customer for it in world.execute(ReserveSends(until)).messages] == [customer("ann")]
    world.tell(world.paid("ann", "ann o1", START + 30 * MINUTE))
    world.lease_clock.set(until)
    world.settle()
    assert flows.results() == {("remind", "UNKNOWN"): 1}
    assert flows.ends() == {"GOAL_MET": 2}


def test_an_erasure_ends_what_runs_and_leaves_nothing_to_be_sent(flows: Flows) -> None:
    world = flows.world
    flows.publish(UNPAID)
    flows.publish(FIRST_PURCHASE)
    at_half_past(flows, "ann o1", "bob o2")
    world.tell(world.paid("ann", "ann o9", START + 31 * MINUTE))
    world.tell(world.stalled("ann", "ann o3", START))
    world.tell(erasing(world, "ann"))
    flows.pass_to(START + 2 * DAY)
    assert flows.ends() == {"ERASED": 3, "COMPLETED": 1}
    assert flows.texts("ann") == [REMINDER]
    world.tell(world.paid("ann", "ann o4", START + 2 * DAY), world.stalled("ann", "ann o5", START + 2 * DAY - HOUR))
    assert len(flows.instances()) == 4


def test_a_definition_is_refused_with_everything_that_is_wrong(flows: Flows) -> None:
    steps = (
        Step("a", StepKind.SEND, text="{{", next="c"),
        Step("b", StepKind.WAIT, seconds=0),
        Step("c", StepKind.WAIT_FOR, seconds=1, fact=SEGMENT, happened="a"),
        Step("d", StepKind.WAIT, seconds=1, next="nowhere"),
    )
    with pytest.raises(FlowInvalid) as refused:
        flows.publish(Definition(SEGMENT, steps, reentry=Reentry.PER_ORDER, time_zone="Mars/Olympus"))
    assert refused.value.metadata["problems"].split("; ") == [
        "FLOW_CYCLE:c",
        "TEMPLATE_MALFORMED:a",
        "TRIGGER_HAS_NO_ORDER",
        "UNKNOWN_STEP:nowhere",
        "UNKNOWN_TIME_ZONE",
        "UNREACHABLE_STEP:b",
        "WAIT_OUT_OF_RANGE:b",
    ]


@pytest.mark.parametrize(
    ("zone", "time", "now", "then"),
    [
        (
            "America/New_York",
            "02:30",
            "2025-03-09T05:00+00:00",
            "2025-03-09T07:30+00:00",
        ),  # there is no 02:30: 03:30 EDT
        ("America/New_York", "01:30", "2025-11-02T04:00+00:00", "2025-11-02T05:30+00:00"),  # the first of two
        ("America/New_York", "01:30", "2025-11-02T05:30+00:00", "2025-11-03T06:30+00:00"),  # and not the second
        ("Asia/Shanghai", "10:00", "2025-06-01T03:00+00:00", "2025-06-02T02:00+00:00"),
    ],
)
def test_ac_79_waits_until_a_local_time_are_over_once_a_day(zone: str, time: str, now: str, then: str) -> None:
    step = Step("wait", StepKind.WAIT_UNTIL, local_time=time)
    wakes = Definition(SEGMENT, (step,), time_zone=zone).wakes(step, datetime.fromisoformat(now))
    assert wakes == datetime.fromisoformat(then)
