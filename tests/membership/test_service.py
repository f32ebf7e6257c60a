"""Membership as others meet it: facts come in on the bus, time passes, callers ask over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.consumer import Consumer, Subscription
from chassis.credentials import KeySet, Verifier
from chassis.envelope import Outgoing, event_name
from chassis.event_store import PostgresEventStore
from chassis.grpc_server import Gate, GrpcServer
from chassis.projection import Projector
from chassis.read_models import ReadModels
from chassis.relay import Relay
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from chassis.timers import TimerLoop
from deploy.local.broker import NatsServer
from deploy.local.credentials import Credentials
from scrm.identity.v1 import events_pb2 as identity
from scrm.membership.v1 import member_pb2, points_pb2, program_pb2
from scrm.membership.v1 import membership_service_pb2 as pb
from scrm.membership.v1.membership_service_pb2_grpc import (
    MembershipServiceStub,
    add_MembershipServiceServicer_to_server,
)
from scrm.tracking.v1 import events_pb2 as tracking
from services.membership.adapters.grpc_servicer import MembershipServicer
from services.membership.application.customers import POINTS_DUE
from services.membership.application.handlers import HANDLERS
from services.membership.application.policies import CONCERNS, react
from services.membership.read_models.members import MembersProjection
from services.membership.read_models.points import PointsProjection
from services.membership.service import settle_account
from tests.chassis.streams import ListLog, connected, running, settled, until
from tests.conftest import Migrated
from tests.membership.scenario import local

SCOPES = ("membership.read", "membership.write")
JANUARY_12 = local(1997, 1, 12, 12)
PROGRAM = program_pb2.Program(
    code="club",
    currency_code="USD",
    time_zone="America/New_York",
    points_name="Stars",
    points_per_unit="1",
    points_expiry=program_pb2.POINTS_EXPIRY_ROLLING_12_MONTH_END,
)
POLICY = program_pb2.JoinPolicy(
    spend=program_pb2.SpendThreshold(amount=Money(currency_code="USD", units=100), window_days=365)
)


class World:
    """A running membership, other services that report to it, and a caller."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials, clock: ReplayClock) -> None:
        self.clock = clock
        self.identity, self.tracking = ListLog("identity"), ListLog("tracking")
        self.loops: list[Any] = []
        self._credentials = credentials
        self._stub = MembershipServiceStub(channel)
        self._position = ""

    async def call(self, request: Any, tenant: str = "acme") -> Any:
        """Call the RPC whose request this is, in sight of what was written before."""
        name = type(request).__name__.removesuffix("Request")
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = str(uuid4())
        token = self._credentials.mint(tenant, SCOPES)
        metadata = [("authorization", f"Bearer {token}")]
        metadata += [("scrm-position", self._position)] if self._position else []
        calling = getattr(self._stub, name)(request, metadata=metadata, timeout=20)
        answer = await calling
        self._position = dict(await calling.trailing_metadata()).get("scrm-position", self._position)
        return answer

    async def refused(self, request: Any, tenant: str = "acme") -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(request, tenant)
        return refusal(caught.value)

    def report(self, log: ListLog, key: UUID, message: Message) -> None:
        name, type_name = message.DESCRIPTOR.name, message.DESCRIPTOR.full_name
        position = len(log.entries) + 1
        content = message.SerializeToString()
        log.entries.append([Outgoing(position, "acme", event_name(name), key, content, JANUARY_12, type_name)])

    def known(self) -> UUID:
        customer, at = uuid4(), stamp(local(1996, 12, 1))
        self.report(self.identity, customer, identity.CustomerCreated(customer_id=str(customer)))
        became = identity.CustomerBecameKnown(customer_id=str(customer), become_known_time=at)
        self.report(self.identity, customer, became)
        return customer

    def paid(self, node: UUID, dollars: int, at: datetime) -> UUID:
        order = uuid4()
        net = Money(currency_code="USD", units=dollars)
        paid = tracking.OrderPaid(order_id=str(order), node_id=str(node), net=net, pay_time=stamp(at))
        self.report(self.tracking, node, paid)
        return order

    async def settled(self, at: datetime | None = None) -> None:
        if at is not None:
            self.clock.set(at)
        await until(lambda: settled(*self.loops), "everything is taken in")

    async def define(self) -> None:
        await self.call(pb.DefineProgramRequest(program=PROGRAM))
        await self.call(pb.SetJoinPolicyRequest(join_policy=POLICY))

    async def enrolled(self) -> str:
        await self.define()
        customer = str(self.known())
        await self.settled()
        await self.call(pb.EnrollMemberRequest(customer_id=customer))
        return customer


def stamp(at: datetime) -> Timestamp:
    return Timestamp(seconds=int(at.timestamp()))


Serve = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def serve(
    migrated: Migrated, nats_server: NatsServer, credentials: Credentials, loop: asyncio.AbstractEventLoop
) -> Serve:
    """`serve(check)` awaits `check(world)` with the whole service running."""
    made = migrated("membership", None)

    @asynccontextmanager
    async def serving() -> AsyncIterator[World]:
        clock = ReplayClock(local(1997, 1, 1))
        store, read_models = PostgresEventStore(made.writer_dsn, pool_size=16), ReadModels(made.reader_dsn)
        bus = CommandBus(store, clock, HANDLERS)
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        server = GrpcServer(
            Gate("membership", verifier, Metrics(), Tracing(), wait_for=read_models.wait_for),
            [(add_MembershipServiceServicer_to_server, MembershipServicer(bus, read_models, clock))],
        )
        bus.start()
        port = await server.start("127.0.0.1:0")
        async with (
            connected(nats_server) as broker,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            world = World(channel, credentials, clock)
            subscription = Subscription("membership", ["identity", "tracking"], react, events=CONCERNS)
            world.loops = [
                Relay(world.identity, store.engine, broker),
                Relay(world.tracking, store.engine, broker),
                Consumer(subscription, store.engine, broker, bus),
                Projector([MembersProjection(), PointsProjection()], store.engine, store),
                TimerLoop(bus, {POINTS_DUE: settle_account}, store.engine, clock),
            ]
            async with running(*world.loops):
                yield world
        await server.stop(0)
        bus.stop()
        read_models.close()
        store.close()

    def run(check: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with serving() as world:
                await check(world)

        loop.run_until_complete(served())

    return run


def test_orders_on_the_bus_make_a_member_whose_points_expire_in_time(serve: Serve) -> None:
    async def check(world: World) -> None:
        await world.define()
        customer = world.known()
        world.paid(customer, 89, JANUARY_12)
        order = world.paid(customer, 20, JANUARY_12 + timedelta(days=31))
        world.paid(customer, 5, JANUARY_12 + timedelta(days=60))
        world.paid(uuid4(), 500, JANUARY_12)  # anonymous
        await world.settled(local(1997, 6, 1))

        asked = pb.GetMemberRequest(customer_id=str(customer))
        member = (await world.call(asked)).member
        assert (member.state, member.via) == (member_pb2.MEMBER_STATE_ACTIVE, member_pb2.JOINED_VIA_SPEND)
        assert member.join_time.ToDatetime(UTC) == JANUARY_12 + timedelta(days=31)
        assert (member.progress.units, member.target.units) == (114, 100)
        listed = await world.call(pb.ListMembersRequest())
        assert [it.member_no for it in listed.members] == [member.member_no]
        statistics = await world.call(pb.GetMembershipStatisticsRequest())
        assert (statistics.members, statistics.lots, statistics.earned_points) == (1, 2, 25)

        await world.settled(local(1998, 3, 1))  # 20 points of February go, 5 of March stay
        balance = (await world.call(pb.GetBalanceRequest(customer_id=str(customer)))).balance
        assert (balance.balance, balance.next_expiring) == (5, 5)
        assert balance.next_expire_time.ToDatetime(UTC) == local(1998, 4, 1)
        statement = await world.call(pb.ListLedgerRequest(customer_id=str(customer)))
        kinds = [(it.kind, it.points, it.balance_change, it.ref) for it in statement.entries]
        assert kinds[0] == (points_pb2.LEDGER_ENTRY_KIND_EXPIRED, 20, -20, "")
        assert kinds[-1] == (points_pb2.LEDGER_ENTRY_KIND_GRANTED, 20, 20, str(order))
        statistics = await world.call(pb.GetMembershipStatisticsRequest())
        assert (statistics.expired_points, statistics.active_points) == (20, 5)
        assert (statistics.accounts, statistics.accounts_with_positive_balance) == (1, 1)
        assert statistics.accounts_with_broken_ledger == 0

    serve(check)


def test_a_merge_on_the_bus_makes_one_member_of_two_devices(serve: Serve) -> None:
    async def check(world: World) -> None:
        await world.define()
        customer, device = world.known(), uuid4()
        world.paid(customer, 60, JANUARY_12)
        world.paid(device, 50, JANUARY_12 + timedelta(days=1))
        await world.settled(local(1997, 2, 1))
        merged = identity.CustomersMerged(merge_id=str(uuid4()), survivor_id=str(customer), loser_id=str(device))
        world.report(world.identity, customer, merged)
        await world.settled()
        for id in (customer, device):
            member = (await world.call(pb.GetMemberRequest(customer_id=str(id)))).member
            assert (member.customer_id, member.state) == (str(customer), member_pb2.MEMBER_STATE_ACTIVE)
            balance = (await world.call(pb.GetBalanceRequest(customer_id=str(id)))).balance
            assert (balance.customer_id, balance.available) == (str(customer), 50)

    serve(check)


def test_a_merge_taken_back_on_the_bus_makes_two_of_one_in_whatever_order_it_is_told(serve: Serve) -> None:
    async def check(world: World) -> None:
        await world.define()
        customer, device, other = world.known(), world.known(), uuid4()
        world.paid(customer, 160, JANUARY_12)
        world.paid(device, 150, JANUARY_12 + timedelta(days=1))
        await world.settled(local(1997, 2, 1))
        pair: dict[str, Any] = {"survivor_id": str(customer), "merge_id": str(uuid4())}
        again: dict[str, Any] = {"survivor_id": str(other), "merge_id": str(uuid4())}
        merged = identity.CustomersMerged(loser_id=str(device), **pair)
        world.report(world.identity, customer, merged)
        await world.settled()
        spend = pb.BurnPointsRequest(customer_id=str(customer), ref="mug", points=200)
        assert (await world.call(spend)).balance.available == 110
        world.report(world.identity, other, identity.CustomersMerged(loser_id=str(device), **again))
        await world.settled()
        world.report(world.identity, customer, identity.CustomerUnmerged(restored_id=str(device), **pair))
        await world.settled()
        assert await balances(world, customer, device) == [(str(customer), 0), (str(other), 110)]
        world.report(world.identity, other, identity.CustomerUnmerged(restored_id=str(device), **again))
        await world.settled()
        assert await balances(world, customer, device) == [(str(customer), 0), (str(device), 110)]
        statement = await world.call(pb.ListLedgerRequest(customer_id=str(device)))
        assert sum(it.balance_change for it in statement.entries) == 110
        assert statement.entries[0].kind == points_pb2.LEDGER_ENTRY_KIND_TRANSFERRED_IN
        statistics = await world.call(pb.GetMembershipStatisticsRequest())
        assert (statistics.members, statistics.accounts, statistics.accounts_with_broken_ledger) == (2, 3, 0)

    serve(check)


async def balances(world: World, *customers: UUID) -> list[tuple[str, int]]:
    asked = [await world.call(pb.GetBalanceRequest(customer_id=str(it))) for it in customers]
    return [(it.balance.customer_id, it.balance.balance) for it in asked]


def test_points_are_granted_spent_given_back_and_taken_back(serve: Serve) -> None:
    async def check(world: World) -> None:
        customer = await world.enrolled()
        present: dict[str, Any] = {"customer_id": customer, "source": points_pb2.POINTS_SOURCE_GIFT, "ref": "welcome"}
        granted = await world.call(pb.GrantPointsRequest(points=100, **present))
        assert granted.lot.state == points_pb2.POINTS_LOT_STATE_ACTIVE
        assert granted.lot.expire_time.ToDatetime(UTC) == local(1998, 2, 1)

        spent = await world.call(pb.BurnPointsRequest(customer_id=customer, ref="mug", points=80, purpose="mug"))
        assert [(it.lot_id, it.points) for it in spent.burn.allocations] == [(granted.lot.lot_id, 80)]
        assert spent.balance.available == 20
        refused = await world.refused(pb.BurnPointsRequest(customer_id=customer, ref="cup", points=21))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
        assert refused.metadata["available"] == "20"

        taken = await world.call(pb.ReverseGrantRequest(points=50, **present))
        assert (taken.lot.reversed, taken.balance.balance, taken.balance.debt) == (50, -30, 30)
        back = await world.call(pb.CancelBurnRequest(customer_id=customer, ref="mug"))
        assert (back.burn.cancelled, back.balance.available, back.balance.debt) == (True, 50, 0)

        await world.settled()
        first = await world.call(pb.ListLedgerRequest(customer_id=customer, page_size=4))
        asked = pb.ListLedgerRequest(customer_id=customer, page_size=4, page_token=first.next_page_token)
        second = await world.call(asked)
        entries = [*first.entries, *second.entries]
        assert sum(it.balance_change for it in entries) == 50
        assert (len(entries), second.next_page_token) == (6, "")
        statistics = await world.call(pb.GetMembershipStatisticsRequest())
        assert (statistics.granted_points, statistics.burned_points, statistics.reversed_points) == (100, 0, 50)
        assert statistics.accounts_with_broken_ledger == 0

    serve(check)


def test_a_repeated_call_has_one_effect_and_so_has_a_repeated_ref(serve: Serve) -> None:
    async def check(world: World) -> None:
        customer = await world.enrolled()
        grant: dict[str, Any] = {"customer_id": customer, "source": points_pb2.POINTS_SOURCE_TASK, "ref": "t"}
        await world.call(pb.GrantPointsRequest(points=100, **grant))
        assert (await world.refused(pb.GrantPointsRequest(points=99, **grant))).reason == "GRANT_REF_USED"
        burn = pb.BurnPointsRequest(request_id=str(uuid4()), customer_id=customer, ref="b", points=60)
        first = await world.call(burn)
        assert await world.call(burn) == first
        again = await world.call(pb.BurnPointsRequest(customer_id=customer, ref="b", points=60))
        assert again.balance.available == 40

    serve(check)


def test_the_program_is_shown_and_defined_once(serve: Serve) -> None:
    async def check(world: World) -> None:
        assert (await world.refused(pb.GetProgramRequest())).reason == "PROGRAM_NOT_FOUND"
        unready = await world.refused(pb.SetJoinPolicyRequest(join_policy=POLICY))
        assert unready.reason == "PROGRAM_NOT_DEFINED"
        await world.define()
        await world.define()
        program = (await world.call(pb.GetProgramRequest())).program
        assert (program.code, program.join_policy.version) == ("club", 1)
        assert program.join_policy.revoke_on_refund_days == 30
        other = program_pb2.Program()
        other.CopyFrom(PROGRAM)
        other.points_per_unit = "2"
        assert (await world.refused(pb.DefineProgramRequest(program=other))).reason == "PROGRAM_EXISTS"
        assert (await world.refused(pb.GetProgramRequest(), tenant="other")).reason == "PROGRAM_NOT_FOUND"

    serve(check)


def changed(**fields: Any) -> program_pb2.Program:
    program = program_pb2.Program()
    program.CopyFrom(PROGRAM)
    for name, value in fields.items():
        setattr(program, name, value)
    return program


def policy_of(**money: Any) -> program_pb2.JoinPolicy:
    return program_pb2.JoinPolicy(spend=program_pb2.SpendThreshold(amount=Money(**money), window_days=365))


def test_bad_calls_are_refused_by_name(serve: Serve) -> None:
    stranger = str(uuid4())
    gift = points_pb2.POINTS_SOURCE_GIFT
    cases: list[tuple[Any, str]] = [
        (pb.DefineProgramRequest(program=changed(time_zone="Nowhere/Land")), "ZONE_UNKNOWN"),
        (pb.DefineProgramRequest(program=changed(time_zone="../etc/passwd")), "ZONE_UNKNOWN"),
        (pb.DefineProgramRequest(program=changed(currency_code="XXX")), "CURRENCY_UNKNOWN"),
        (pb.DefineProgramRequest(program=changed(points_per_unit="-1")), "BAD_FORMAT"),
        (pb.SetJoinPolicyRequest(join_policy=policy_of(currency_code="CNY", units=1)), "CURRENCY_UNSUPPORTED"),
        (pb.SetJoinPolicyRequest(join_policy=policy_of(currency_code="USD", units=-1)), "OUT_OF_RANGE"),
        (pb.SetJoinPolicyRequest(join_policy=policy_of(currency_code="USD", nanos=1)), "OUT_OF_RANGE"),
        (pb.SetJoinPolicyRequest(join_policy=policy_of(currency_code="XXX", units=1)), "CURRENCY_UNKNOWN"),
        (pb.GetMemberRequest(customer_id=stranger), "MEMBER_NOT_FOUND"),
        (pb.GetBalanceRequest(customer_id=stranger), "MEMBER_NOT_FOUND"),
        (pb.ListLedgerRequest(customer_id=stranger), "MEMBER_NOT_FOUND"),
        (pb.ListMembersRequest(page_token="x"), "BAD_FORMAT"),
        (pb.EnrollMemberRequest(customer_id=stranger), "MEMBER_NOT_FOUND"),
        (pb.GrantPointsRequest(customer_id=stranger, source=gift, ref="x", points=1), "MEMBER_NOT_FOUND"),
        (pb.BurnPointsRequest(customer_id=stranger, ref="x", points=0), "OUT_OF_RANGE"),
        (pb.CancelBurnRequest(customer_id=stranger, ref="x"), "MEMBER_NOT_FOUND"),
    ]

    async def check(world: World) -> None:
        customer = await world.enrolled()
        for request, reason in cases:
            assert (await world.refused(request)).reason == reason, request
        theirs = await world.refused(pb.GetMemberRequest(customer_id=customer), tenant="other")
        assert theirs.reason == "MEMBER_NOT_FOUND"
        nothing = await world.refused(pb.CancelBurnRequest(customer_id=customer, ref="x"))
        assert nothing.reason == "BURN_NOT_FOUND"
        backwards = pb.GrantPointsRequest(customer_id=customer, source=gift, ref="x", points=1)
        backwards.expire_time.CopyFrom(stamp(local(1996, 1, 1)))
        assert (await world.refused(backwards)).reason == "OUT_OF_RANGE"

    serve(check)
