"""Two customers become one and two again, and every service follows: the real stack, from call to call."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from chassis.broker import Broker, publish_clock
from demo import brand
from demo.backend import TENANT, Backend, connected
from demo.barrier import Barrier
from demo.wire import money, timestamp
from deploy.local.contracts import scopes
from deploy.local.stack import LocalStack
from scrm.campaigns.v1 import flow_pb2
from scrm.campaigns.v1 import flow_service_pb2 as flows
from scrm.identity.v1 import customer_pb2, profile_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.identity.v1 import profile_service_pb2 as profiles
from scrm.membership.v1 import member_pb2, points_pb2
from scrm.membership.v1 import membership_service_pb2 as membership
from scrm.ops.v1 import operations_service_pb2 as ops
from scrm.tagging.v1 import tagging_service_pb2 as tagging
from scrm.tracking.v1 import behaviour_pb2, order_pb2
from scrm.tracking.v1 import tracking_service_pb2 as tracking

DAY = timedelta(days=1)
START = datetime(2025, 6, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Shape:
    """What all services together know of a customer, without ids of the customer's own."""

    state: int
    identifiers: list[str]
    orders: list[str]
    trail: list[str]
    tags: list[str]
    member: str
    balance: int


@dataclass(slots=True)
class World:
    """The stack with a brand on it."""

    backend: Backend
    broker: Broker
    barrier: Barrier = field(init=False)
    now: datetime = START

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.backend.operations)

    async def clock(self) -> datetime:
        """Where it stands on this stack, on which others may have been before."""
        progress = await self.backend.operations["identity"].GetProgress(ops.GetProgressRequest())
        return cast("datetime", progress.clock_time.ToDatetime(UTC))

    async def settled(self) -> None:
        await self.barrier.settled(self.now)

    async def pass_days(self, days: int) -> None:
        self.now += days * DAY
        await publish_clock(self.broker, self.now)
        await self.settled()

    async def person(self, name: str, orders: int, amount: int = 10_00) -> str:
        """Somebody known by an email, who looked around and ordered; the customer's id."""
        email = customer_pb2.Identifier(namespace="email", value=f"{name}@example.com")
        asked = identity.ResolveIdentityRequest(request_id=_id(), identifiers=[email])
        id = str((await self.backend.identity.ResolveIdentity(asked)).customer_id)
        await self.look(name)
        for number in range(orders):
            await self.order(name, number, amount)
        return id

    async def order(self, name: str, number: int, amount: int) -> None:
        asked = tracking.ImportOrdersRequest(request_id=_id(), rows=self._order(name, number, amount))
        answer = await self.backend.tracking.ImportOrders(asked)
        assert not [it for it in answer.results if it.status.code]

    async def look(self, name: str) -> None:
        event = behaviour_pb2.TrackedEvent(
            message_id=f"look:{name}:{uuid4()}",
            source_key="h5",
            event_type="content_viewed",
            identifiers=[behaviour_pb2.Identifier(namespace="email", value=f"{name}@example.com")],
            original_time=timestamp(self.now),
            context=behaviour_pb2.EventContext(channel="h5", content_id="H5-1", page_view_id=str(uuid4())),
        )
        await self.backend.tracking.TrackBatch(tracking.TrackBatchRequest(events=[event]))

    async def tag(self, customer: str, key: str) -> None:
        tags = [tagging.TagValue(tag_key=key)]
        await self.backend.tagging.AssignTags(
            tagging.AssignTagsRequest(request_id=_id(), customer_id=customer, tags=tags)
        )

    async def enroll(self, customer: str) -> None:
        await self.backend.membership.EnrollMember(
            membership.EnrollMemberRequest(request_id=_id(), customer_id=customer)
        )

    async def grant(self, customer: str, points: int, days: int) -> None:
        await self.backend.membership.GrantPoints(
            membership.GrantPointsRequest(
                request_id=_id(),
                customer_id=customer,
                source=points_pb2.POINTS_SOURCE_GIFT,
                ref=_id(),
                points=points,
                expire_time=timestamp(self.now + days * DAY),
            )
        )

    async def merge(self, survivor: str, loser: str) -> str:
        answer = await self.backend.identity.MergeCustomers(
            identity.MergeCustomersRequest(request_id=_id(), survivor_id=survivor, loser_id=loser, reason="SAME_PERSON")
        )
        await self.settled()
        return str(answer.merge_id)

    async def unmerge(self, merge_id: str) -> None:
        await self.backend.identity.UnmergeCustomer(
            identity.UnmergeCustomerRequest(request_id=_id(), merge_id=merge_id, reason="TWO_PERSONS")
        )
        await self.settled()

    async def flow(self, trigger: int) -> str:
        """Publish a flow that customers enter with something about an order, and wait in for a year."""
        definition = flow_pb2.FlowDefinition(reentry=flow_pb2.REENTRY_NEVER)
        definition.trigger.order = trigger  # type: ignore[assignment]
        definition.steps.add(step_key="wait").wait.FromTimedelta(365 * DAY)
        asked = flows.CreateFlowRequest(request_id=_id(), display_name="a flow", definition=definition)
        id = str((await self.backend.flows.CreateFlow(asked)).flow.flow_id)
        await self.backend.flows.PublishFlow(flows.PublishFlowRequest(request_id=_id(), flow_id=id))
        return id

    async def instances(self, flow: str) -> dict[str, list[str]]:
        """The states of the instances of a flow, by customer."""
        found = await self.backend.flows.ListInstances(flows.ListInstancesRequest(flow_id=flow))
        states: dict[str, list[str]] = defaultdict(list)
        for it in found.instances:
            states[it.customer_id].append(flow_pb2.InstanceState.Name(it.state).removeprefix("INSTANCE_STATE_"))
        return states

    async def balance(self, customer: str) -> int:
        asked = membership.GetBalanceRequest(customer_id=customer)
        return int((await self.backend.membership.GetBalance(asked)).balance.balance)

    async def shape(self, customer: str) -> Shape:
        backend = self.backend
        found = (await backend.identity.GetCustomer(identity.GetCustomerRequest(customer_id=customer))).customer
        orders = await backend.tracking.ListOrders(tracking.ListOrdersRequest(customer_id=customer))
        trail = await backend.tracking.GetTrail(tracking.GetTrailRequest(customer_id=customer))
        tags = await backend.tagging.GetCustomerTags(tagging.GetCustomerTagsRequest(customer_id=customer))
        member = await backend.membership.GetMember(membership.GetMemberRequest(customer_id=customer))
        shape = Shape(
            found.state,
            sorted(it.node_id for it in found.identifiers),
            sorted(it.order_no for it in orders.orders),
            sorted(it.message_id for it in trail.entries),
            sorted(it.tag_key for it in tags.tags),
            f"{member.member.state} since {member.member.join_time.seconds}",
            await self.balance(customer),
        )
        await self.check_profile(customer, shape, member.member)
        return shape

    async def check_profile(self, customer: str, shape: Shape, member: member_pb2.Member) -> None:
        """The profile, which is made of what was told, says the same as those who told it."""
        found = await self.backend.profiles.GetProfile360(profiles.GetProfile360Request(customer_id=customer))
        assert {it.status for it in found.sections} == {profile_pb2.SECTION_STATUS_AVAILABLE}
        said = {it.WhichOneof("content"): it for it in found.sections}
        assert sorted(it.order_no for it in said["orders"].orders.latest) == shape.orders
        assert said["behaviour"].behaviour.behaviours == len(shape.trail)
        assert [it.tag_key for it in said["tags"].tags.tags] == shape.tags
        points = said["membership"].membership
        is_member = member.state == member_pb2.MEMBER_STATE_ACTIVE
        assert (points.state, points.balance) == ("ACTIVE" if is_member else "NONE", shape.balance)
        assert points.join_time == member.join_time

    def _order(self, name: str, number: int, amount: int) -> Iterator[tracking.OrderRow]:
        buyer = order_pb2.OrderCustomer(
            identifiers=[behaviour_pb2.Identifier(namespace="email", value=f"{name}@example.com")]
        )
        common: dict[str, Any] = {"source_key": "shop", "order_no": f"{name}-{number}", "customer": buyer}
        line = order_pb2.OrderLine(sku="tea", quantity=1, list=money(amount), paid=money(amount))
        yield tracking.OrderRow(
            placed=order_pb2.OrderPlacement(
                **common, place_time=timestamp(self.now), lines=[line], amount=money(amount)
            )
        )
        yield tracking.OrderRow(paid=order_pb2.OrderPayment(**common, pay_time=timestamp(self.now), paid=money(amount)))


@asynccontextmanager
async def world_on(stack: LocalStack, now: datetime = START) -> AsyncIterator[World]:
    broker = Broker(stack.nats.url, monitor_url=stack.nats.monitor_url, name="e2e")
    await broker.connect()
    addresses = {name: stack.address(name) for name in stack.services}
    async with connected(addresses, stack.credentials.mint(TENANT, scopes(), subject="e2e")) as backend:
        world = World(backend, broker)
        world.now = max(now, await world.clock())
        await world.pass_days(0)
        yield world
    await broker.close()


@pytest.fixture
def stack(replay_stack: LocalStack) -> LocalStack:
    return replay_stack


@pytest.mark.timeout(300)
def test_ac_6_all_services_follow_a_merge_and_its_undoing(stack: LocalStack) -> None:
    async def scenario() -> None:
        async with world_on(stack) as world:
            await brand.configure(world.backend)
            a, b = await world.person("ann", 3), await world.person("bob", 2)
            c, d = await world.person("cleo", 3, 60_00), await world.person("dan", 2, 80_00)
            await world.settled()
            await world.pass_days(1)
            for it in (a, b):
                await world.enroll(it)
            await world.grant(a, 200, days=214)
            await world.grant(b, 100, days=30)
            await world.tag(a, "vip_manual")
            await world.tag(d, "tea_lover")
            await world.pass_days(1)
            before = {it: await world.shape(it) for it in (a, b, c, d)}
            assert before[c].balance > 0, "who spends enough is a member and earns"

            merges = [await world.merge(a, b), await world.merge(c, d)]
            one = await world.shape(b)
            assert one == await world.shape(a)
            assert one.orders == [f"ann-{it}" for it in range(3)] + [f"bob-{it}" for it in range(2)]
            assert one.trail == sorted(before[a].trail + before[b].trail)
            assert (one.tags, one.balance) == (["vip_manual"], 300)
            both = await world.shape(d)
            assert both.tags == ["tea_lover"]
            assert both.balance >= before[c].balance + before[d].balance
            await world.backend.membership.BurnPoints(
                membership.BurnPointsRequest(request_id=_id(), customer_id=a, ref="cup", points=250)
            )
            await world.pass_days(1)

            for it in merges:
                await world.unmerge(it)

            after = {it: await world.shape(it) for it in (a, b, c, d)}
            assert (after[a].balance, after[b].balance) == (50, 0), (
                "the first to expire were spent first; none are created"
            )
            assert (after[a].orders, after[b].orders) == (before[a].orders, before[b].orders)
            assert (after[a].member, after[b].member) == (before[a].member, before[b].member)
            assert (after[c], after[d]) == (before[c], before[d])

    asyncio.run(scenario())


@pytest.mark.timeout(120)
def test_ac_8_a_merge_leaves_one_instance_of_a_flow_and_brings_no_first_purchase(stack: LocalStack) -> None:
    async def scenario() -> None:
        async with world_on(stack, START + 30 * DAY) as world:
            await brand.configure(world.backend)
            in_both = await world.flow(flow_pb2.ORDER_MOMENT_PLACED)
            a, b = await world.person("fay", 1), await world.person("gus", 1)
            await world.settled()
            assert await world.instances(in_both) == {a: ["RUNNING"], b: ["RUNNING"]}
            first_purchase = await world.flow(flow_pb2.ORDER_MOMENT_FIRST_PAID)

            merge = await world.merge(a, b)

            assert await world.instances(in_both) == {a: ["RUNNING"], b: ["MERGED"]}
            await world.person("gus", 2)
            await world.settled()
            assert await world.instances(first_purchase) == {}
            newcomer = await world.person("hal", 1)
            await world.unmerge(merge)
            assert await world.instances(in_both) == {a: ["RUNNING"], b: ["MERGED"], newcomer: ["RUNNING"]}
            assert await world.instances(first_purchase) == {newcomer: ["RUNNING"]}

    asyncio.run(scenario())


def _id() -> str:
    return str(uuid4())
