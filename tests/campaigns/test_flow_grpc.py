"""Flows over gRPC: what is drafted reads back, and what became of everybody is the same live and rebuilt."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from chassis.timers import TimerLoop
from scrm.campaigns.v1 import flow_pb2 as pb
from scrm.campaigns.v1 import flow_service_pb2 as rpc
from services.campaigns.adapters.flow_servicer import FlowServicer
from services.campaigns.application.flow_steps import WAKE_TIMER, WakeInstance
from services.campaigns.domain.flow_definition import Fact, FactKind
from services.campaigns.read_models.flow_progress import FlowProgress
from services.campaigns.read_models.flows import FlowDirectory
from tests.campaigns.flow_world import DAY, HOUR, MINUTE, REMINDER, SMS, UNPAID, Flows, waiting
from tests.campaigns.test_erasure import erasing
from tests.campaigns.test_read_models import Reading, reading  # noqa: F401 (a fixture)
from tests.campaigns.world import START, customer

ID = "7d3d2c55-5a52-4f0e-9d6e-6a5a0f0a2b11"


@pytest.fixture
def told(reading: Reading) -> Reading:  # noqa: F811
    """The read models of flows, and the servicer over them."""
    return reading.of((FlowDirectory(), FlowProgress()), FlowServicer(reading.world.bus, reading.read_models))


def unpaid() -> pb.FlowDefinition:
    """The reminder of unpaid orders, with everything that a definition can say."""
    found = pb.FlowDefinition(reentry=pb.REENTRY_PER_ORDER, time_zone="Asia/Shanghai")
    found.trigger.path_stall.path_node = "PLACE_ORDER"
    found.trigger.path_stall.after.FromTimedelta(30 * MINUTE)
    found.max_event_age.FromTimedelta(2 * HOUR)
    remind = found.steps.add(step_key="remind").send
    remind.text, remind.message_class = REMINDER, pb.MESSAGE_CLASS_SERVICE
    wait = found.steps.add(step_key="patience", next_step="sms").wait_for
    wait.fact.segment_id, wait.happened_step = str(customer("vips")), "exit"
    wait.timeout.FromTimedelta(timedelta(hours=22.5))
    sms = found.steps.add(step_key="sms").send
    sms.text, sms.message_class, sms.channel = SMS, pb.MESSAGE_CLASS_MARKETING, "SMS"
    found.steps.add(step_key="day").wait_until.local_time = "09:30"
    found.steps.add(step_key="week").wait.FromTimedelta(7 * DAY)
    found.goal.order, found.exit_condition.order = pb.ORDER_MOMENT_PAID, pb.ORDER_MOMENT_CANCELLED
    return found


def test_what_is_drafted_reads_back_and_is_published_as_it_is(told: Reading) -> None:
    asked = rpc.CreateFlowRequest(request_id=ID, display_name="Unpaid", definition=unpaid())
    created = told.ask("CreateFlow", asked).flow
    assert (created.state, created.draft, created.version) == (pb.FLOW_STATE_DRAFT, unpaid(), 0)
    published = told.ask("PublishFlow", rpc.PublishFlowRequest(flow_id=created.flow_id, etag=created.etag)).flow
    assert (published.state, published.published, published.version) == (pb.FLOW_STATE_PUBLISHED, unpaid(), 1)
    assert told.ask("GetFlow", rpc.GetFlowRequest(flow_id=created.flow_id)).flow == published
    other = unpaid()
    other.minimum_amount.currency_code, other.minimum_amount.units = "USD", 5
    other.trigger.order, other.reentry = pb.ORDER_MOMENT_FIRST_PAID, pb.REENTRY_AFTER_EXIT
    other.min_gap.FromTimedelta(DAY)
    redrafted = rpc.UpdateFlowRequest(flow_id=created.flow_id, display_name="Other", definition=other)
    drafted = told.ask("UpdateFlow", redrafted).flow
    assert (drafted.draft, drafted.published, drafted.version) == (other, unpaid(), 1)
    with pytest.raises(Exception, match="has changed since the etag"):
        told.ask("EndFlow", rpc.EndFlowRequest(flow_id=created.flow_id, etag=published.etag))
    assert told.ask("EndFlow", rpc.EndFlowRequest(flow_id=created.flow_id)).flow.state == pb.FLOW_STATE_ENDED
    told.catch_up()
    (listed,) = told.ask("ListFlows", rpc.ListFlowsRequest()).flows
    assert (listed.display_name, listed.state, listed.version) == ("Other", pb.FLOW_STATE_ENDED, 1)
    assert not told.ask("ListFlows", rpc.ListFlowsRequest(), tenant="other").flows
    for method in ("GetFlow", "ListInstances", "GetFlowStatistics"):
        with pytest.raises(Exception, match="no such flow"):
            told.ask(method, getattr(rpc, f"{method}Request")(flow_id=created.flow_id), tenant="other")


def test_counts_and_instances_are_the_same_live_and_rebuilt(told: Reading) -> None:
    world, flows = told.world, Flows(told.world)
    id = flows.publish(UNPAID)
    flows.pass_to(START + 30 * MINUTE)
    world.tell(*(world.stalled(it, f"{it} order", START) for it in ("ann", "bob", "carol", "dave", "eve")))
    told.catch_up()
    world.tell(world.seen("eve", START), world.merged("ann", "bob", START))
    flows.pass_to(START + HOUR)
    world.tell(world.paid("ann", "ann order", START + HOUR), world.cancelled("bob", "bob order", START + HOUR))
    world.tell(erasing(world, "dave"))
    told.catch_up()
    stats = told.ask("GetFlowStatistics", rpc.GetFlowStatisticsRequest(flow_id=str(id))).statistics
    assert (stats.entered, stats.running) == (5, 2)
    assert dict(stats.ended) == {"GOAL_MET": 1, "EXIT_CONDITION": 1, "ERASED": 1}
    steps = {it.step_key: (it.standing, dict(it.results)) for it in stats.steps}
    assert steps == {"patience": (2, {}), "remind": (0, {"SENT": 4, "SUPPRESSED:NOT_KNOWN": 1})}
    shown = instances(told, id)
    assert {it.customer_id for it in shown} == {str(customer(it)) for it in ("ann", "carol", "eve")}
    assert len(instances(told, id, "ann")) == 2
    assert {pb.InstanceState.Name(it.state) for it in instances(told, id, "ann")} == {
        "INSTANCE_STATE_GOAL_MET",
        "INSTANCE_STATE_EXIT_CONDITION",
    }
    flows.pass_to(START + 2 * DAY)
    told.catch_up()
    hashes = told.hashes()
    told.rebuild()
    assert told.hashes() == hashes
    stats = told.ask("GetFlowStatistics", rpc.GetFlowStatisticsRequest(flow_id=str(id))).statistics
    assert (stats.running, stats.ended["COMPLETED"]) == (0, 2)


def instances(told: Reading, flow: UUID, who: str = "") -> list[Any]:
    """All pages of the instances of a flow, of one customer or all."""
    found: list[Any] = []
    request = rpc.ListInstancesRequest(flow_id=str(flow), customer_id=str(customer(who)) if who else "", page_size=2)
    while True:
        page = told.ask("ListInstances", request)
        found += page.instances
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


def test_a_thousand_triggers_waits_and_messages_go_in_batches(told: Reading) -> None:
    """By the timer loop and the dispatcher, as they run in the service; every table is written once for each batch."""
    world, flows, people = told.world, Flows(told.world), [f"c{n}" for n in range(1000)]
    flows.publish(UNPAID)
    world.clock.set(START + 30 * MINUTE)
    for part in (people[:500], people[500:]):
        world.tell(*(world.stalled(it, f"{it} order", START) for it in part))
    world.settle()
    assert flows.results() == {("remind", "SENT"): 1000}
    world.clock.set(START + DAY)
    timers = TimerLoop(
        world.bus, {WAKE_TIMER: lambda it: WakeInstance(UUID(it.key), it.due_at)}, told.engine, world.clock
    )
    world.run(until_fired(timers, 1000))
    assert timers.batches <= 3
    world.settle()
    assert flows.results() == {("remind", "SENT"): 1000, ("patience", "ELAPSED"): 1000, ("sms", "SENT"): 1000}
    assert world.timers() == []
    with told.engine.connect() as rows:
        assert rows.scalar(sa.text("SELECT count(*) FROM flow_sends")) == 0


async def until_fired(timers: TimerLoop, count: int) -> None:
    """Let the loop run until it has fired so many."""
    task = asyncio.create_task(timers.run())
    for _ in range(2000):
        if timers.fired >= count:
            break
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_who_paid_before_flows_were_there_is_remembered(told: Reading) -> None:
    """Purchases are noted whether or not a flow asks: history cannot be asked for later."""
    world, flows = told.world, Flows(told.world)
    world.tell(world.paid("ann", "o1", START), world.paid("free", "o2", START, net="0.00"))
    id = flows.publish(waiting(Fact(FactKind.FIRST_ORDER_PAID)))
    world.tell(*(world.paid(it, f"{it} now", START + MINUTE) for it in ("ann", "free", "new", "new")))
    assert [it.customer for it in flows.instances(id)] == [customer("free"), customer("new")]
