"""Work orders, follow-ups, contacts and leads as callers meet them: the whole service, with orders on the bus and its timers."""

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
from google.type.date_pb2 import Date

from chassis.broker import Broker
from chassis.envelope import Outgoing, event_name
from chassis.event_store import PostgresEventStore
from chassis.relay import Relay
from chassis.service import run_roles
from chassis.settings import ChassisSettings
from chassis.status import Refusal, refusal
from deploy.local.broker import NatsServer
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import engagement_pb2 as eng
from scrm.identity.v1 import engagement_service_pb2 as pb
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.identity.v1.engagement_service_pb2_grpc import EngagementServiceStub
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from scrm.tracking.v1 import events_pb2 as tracking
from scrm.tracking.v1 import order_pb2
from services.identity.domain.pii_view import PiiView
from services.identity.service import service
from services.identity.settings import Settings
from tests.chassis.streams import ListLog, connected, running, until
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, ROOT_KEY, SECRET

SCOPES = ("identity.read", "identity.write", "identity.configure")
STAFF = str(UUID(int=1))
P1, P2 = eng.WORK_ORDER_PRIORITY_P1, eng.WORK_ORDER_PRIORITY_P2


class Caller:
    """Calls identity for a tenant, in sight of what was written before, and reports orders to it."""

    def __init__(
        self, channel: grpc.aio.Channel, credentials: Credentials, broker: Broker, store: PostgresEventStore
    ) -> None:
        self.broker = broker
        self._store = store
        self._credentials = credentials
        self._stubs = EngagementServiceStub(channel), IdentityServiceStub(channel)
        self._position = ""

    async def call(self, request: Any, *more: str, tenant: str = "acme", scopes: tuple[str, ...] = SCOPES) -> Any:
        """Call the RPC whose request this is, with `more` scopes."""
        name = type(request).__name__.removesuffix("Request")
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = str(uuid4())
        metadata = [("authorization", f"Bearer {self._credentials.mint(tenant, (*scopes, *more))}")]
        metadata += [("scrm-position", self._position)] if self._position else []
        stub = next(it for it in self._stubs if hasattr(it, name))
        calling = getattr(stub, name)(request, metadata=metadata, timeout=20)
        answer = await calling
        self._position = dict(await calling.trailing_metadata()).get("scrm-position", self._position)
        return answer

    async def refused(self, request: Any, **details: Any) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(request, **details)
        return refusal(caught.value)

    def views(self) -> list[tuple[str, tuple[str, ...], str]]:
        """Who was about to be shown what, and what for."""
        events = [it.event for it in self._store.read_log(0, 1000)]
        return [(str(it.customer_id), it.fields, it.purpose) for it in events if isinstance(it, PiiView.Viewed)]

    async def customer(self, number: int = 1) -> str:
        phone = customer_pb2.Identifier(namespace="phone", value=f"+86138{number:08}")
        return str((await self.call(identity.ResolveIdentityRequest(identifiers=[phone]))).customer_id)

    async def create(self, customer: str, **details: Any) -> eng.WorkOrder:
        given: dict[str, Any] = {"kind": "COMPLAINT", "priority": P2} | details
        return (await self.call(pb.CreateWorkOrderRequest(customer_id=customer, **given))).work_order  # type: ignore[no-any-return]

    async def move(self, id: str, *states: str) -> eng.WorkOrder:
        for it in states:
            to = eng.WorkOrderState.Value(f"WORK_ORDER_STATE_{it}")
            request = pb.TransitionWorkOrderRequest(work_order_id=id, to=to, assignee_id=STAFF, note="Mrs Li knows")
            answer = await self.call(request)
        return answer.work_order  # type: ignore[no-any-return]


Serve = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def made(migrated: Migrated) -> Database:
    return migrated("identity", MIGRATIONS)


@pytest.fixture
def serve(made: Database, nats_server: NatsServer, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """`serve(check)` awaits `check(caller)` with identity running as it is put together, on a bus without any stream."""
    chassis = ChassisSettings(
        service="identity",
        database_url=made.writer_dsn,
        reader_database_url=made.reader_dsn,
        owner_database_url=made.owner_dsn,
        nats_url=nats_server.url,
        nats_monitor_url=nats_server.monitor_url,
        jwks=str(credentials.jwks),
        stop_grace_seconds=0.1,
        receipt_key=b"r" * 32,
    )
    settings = Settings(chassis=chassis, hash_key=SECRET, keys=ROOT_KEY, region="CN", regions={})

    @asynccontextmanager
    async def serving() -> AsyncIterator[Caller]:
        stop, ports = asyncio.Event(), asyncio.Queue[int]()
        whole = service(settings)
        async with connected(nats_server) as broker:
            work = asyncio.create_task(run_roles(whole, whole.roles, stop=stop, started=ports.put_nowait))
            port = asyncio.create_task(ports.get())
            await asyncio.wait({work, port}, return_when=asyncio.FIRST_COMPLETED)
            store = PostgresEventStore(made.writer_dsn)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port.result()}") as channel:
                yield Caller(channel, credentials, broker, store)
            store.close()
            stop.set()
            await work

    def run(check: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with serving() as caller:
                await check(caller)

        loop.run_until_complete(served())

    return run


def stamp(at: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(at)
    return found


def test_a_work_order_from_the_first_word_to_the_last(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        customer = await caller.customer()
        made = await caller.create(customer, topics=["Leaking cap"], product="cup", content="Call +8613800000001")
        assert (made.node_id, list(made.topics), made.content) == (customer, ["leaking cap"], "")
        early = await caller.refused(pb.RateWorkOrderRequest(work_order_id=made.work_order_id, rating=5))
        assert (early.code, early.reason) == ("FAILED_PRECONDITION", "NOT_RESOLVED")
        skipped = await caller.refused(
            pb.TransitionWorkOrderRequest(work_order_id=made.work_order_id, to=eng.WORK_ORDER_STATE_CLOSED)
        )
        assert (skipped.reason, skipped.metadata) == ("ILLEGAL_TRANSITION", {"from": "NEW", "to": "CLOSED"})
        await caller.move(made.work_order_id, "ASSIGNED", "IN_PROGRESS", "RESOLVED")
        await caller.call(pb.RateWorkOrderRequest(work_order_id=made.work_order_id, rating=4))

        asked = pb.GetWorkOrderRequest(work_order_id=made.work_order_id)
        masked = (await caller.call(asked)).work_order
        assert (masked.rating, masked.assignee_id, len(masked.steps)) == (4, STAFF, 3)
        assert not masked.HasField("content")
        assert not any(it.HasField("note") for it in masked.steps)
        assert not (await caller.call(asked, "identity.pii")).work_order.HasField("content"), "nobody said what for"
        asked.purpose = "SERVICE_CALL"
        assert not (await caller.call(asked)).work_order.HasField("content"), "not everybody may"
        assert caller.views() == []
        shown = (await caller.call(asked, "identity.pii")).work_order
        assert caller.views() == [(customer, ("work_order.content", "work_order.note"), "SERVICE_CALL")]
        assert shown.content == "Call +8613800000001"
        assert [it.note for it in shown.steps] == ["Mrs Li knows"] * 3
        assert (await caller.refused(asked, tenant="globex")).reason == "WORK_ORDER_NOT_FOUND"

        (count,) = (await caller.call(pb.GetWorkOrderStatisticsRequest())).counts
        assert (count.state, count.priority, count.work_orders) == (eng.WORK_ORDER_STATE_RESOLVED, P2, 1)
        assert (count.breached, count.rated, count.average_rating) == (0, 1, 4.0)

        board = await caller.call(pb.GetIssueBoardRequest(month=f"{datetime.now(UTC) + timedelta(hours=8):%Y-%m}"))
        (issue,) = board.issues
        assert (issue.topic, issue.mentions, issue.share, issue.product) == ("leaking cap", 1, 1.0, "cup")
        assert (issue.average_rating, issue.HasField("trend"), board.mentions) == (4.0, False, 1)

    serve(check)


def test_lists_in_pages_and_words_for_those_who_may_see_them(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        customer, other = await caller.customer(), await caller.customer(2)
        await caller.call(
            identity.MergeCustomersRequest(survivor_id=customer, loser_id=other, reason="R"), "identity.merge"
        )
        orders = [await caller.create(it, priority=P1) for it in (customer, other, customer)]
        soon = stamp(datetime.now(UTC) + timedelta(days=1))
        follow_up = pb.RecordFollowUpRequest(
            customer_id=other, type=eng.FOLLOW_UP_TYPE_VISIT, content="Her sister", next_follow_time=soon
        )
        await caller.call(follow_up)
        contact = pb.RecordContactRequest(
            customer_id=customer, channel="PHONE", direction=eng.CONTACT_DIRECTION_INBOUND, result="REACHED"
        )
        await caller.call(contact)

        queue = pb.ListWorkOrdersRequest(priority=P1, page_size=2)
        first = await caller.call(queue)
        queue.page_token = first.next_page_token
        second = await caller.call(queue)
        assert [len(first.work_orders), len(second.work_orders), second.next_page_token] == [2, 1, ""]
        listed = [it.work_order_id for it in (*first.work_orders, *second.work_orders)]
        assert sorted(listed) == sorted(it.work_order_id for it in orders)
        queue.priority = P2
        assert (await caller.refused(queue)).reason == "BAD_FORMAT"

        history = pb.ListContactHistoryRequest(customer_id=other, page_size=2)
        newest = await caller.call(history)
        assert [it.kind for it in newest.entries] == [eng.CONTACT_ENTRY_KIND_CONTACT, eng.CONTACT_ENTRY_KIND_FOLLOW_UP]
        assert not newest.entries[1].HasField("content")
        history.purpose = "SERVICE_CALL"
        shown = await caller.call(history, "identity.pii")
        assert [it.content for it in shown.entries] == ["", "Her sister"]
        assert caller.views() == [(customer, ("follow_up.content",), "SERVICE_CALL")]
        history.purpose = ""
        history.page_token = newest.next_page_token
        assert len((await caller.call(history)).entries) == 2
        nobody = pb.ListContactHistoryRequest(customer_id=str(uuid4()))
        assert (await caller.refused(nobody)).reason == "CUSTOMER_NOT_FOUND"

        follow_up.request_id = ""
        follow_up.next_follow_time.CopyFrom(stamp(datetime.now(UTC) - timedelta(minutes=1)))
        late = await caller.refused(follow_up)
        assert (late.code, late.reason, late.fields) == ("INVALID_ARGUMENT", "OUT_OF_RANGE", ("next_follow_time",))

    serve(check)


def test_an_order_on_the_bus_wins_a_lead_though_its_stream_came_later(serve: Serve, made: Database) -> None:
    async def check(caller: Caller) -> None:
        customer, other = await caller.customer(), await caller.customer(2)
        opening = pb.OpenLeadRequest(customer_id=customer, category="tea", score=80, owner_id=STAFF)
        lead = (await caller.call(opening)).lead
        other_opening = pb.OpenLeadRequest(customer_id=other, category="coffee")
        other_lead = (await caller.call(other_opening)).lead
        again = await caller.refused(pb.OpenLeadRequest(customer_id=customer, category="tea"))
        assert (again.code, again.reason, again.metadata) == ("ALREADY_EXISTS", "LEAD_OPEN", {"lead": lead.lead_id})

        order, log = str(uuid4()), ListLog("tracking")
        line = order_pb2.OrderLine(sku="s", category="tea", quantity=1)
        report(log, customer, tracking.OrderPaid(order_id=order, node_id=customer, pay_time=stamp(datetime.now(UTC))))
        report(log, customer, tracking.OrderPlaced(order_id=order, node_id=customer, lines=[line]))
        store = PostgresEventStore(made.writer_dsn)

        async def is_won() -> bool:
            found = (await caller.call(pb.GetLeadRequest(lead_id=lead.lead_id))).lead
            return (found.state, found.order_id) == (eng.LEAD_STATE_WON, order)

        async with running(Relay(log, store.engine, caller.broker)):
            await until(is_won, "the lead is won")
        store.close()
        await caller.call(pb.UpdateLeadRequest(lead_id=other_lead.lead_id, state=eng.LEAD_STATE_FOLLOWING, score=0))
        listed = await caller.call(pb.ListLeadsRequest())
        assert [(it.state, it.score) for it in listed.leads] == [
            (eng.LEAD_STATE_FOLLOWING, 0),
            (eng.LEAD_STATE_WON, 80),
        ]
        of_one = await caller.call(pb.ListLeadsRequest(customer_id=customer, owner_id=STAFF, state=eng.LEAD_STATE_WON))
        assert [it.lead_id for it in of_one.leads] == [lead.lead_id]

    serve(check)


def report(log: ListLog, node: str, message: Message) -> None:
    position, name = len(log.entries) + 1, message.DESCRIPTOR.name
    content, kind = message.SerializeToString(), message.DESCRIPTOR.full_name
    log.entries.append([Outgoing(position, "acme", event_name(name), node, content, datetime.now(UTC), kind)])


def test_a_mirror_that_is_overdue_is_noticed_by_the_clock(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        row = eng.ExternalWorkOrder(
            customer_id=await caller.customer(),
            kind="REPAIR",
            priority=P1,
            state=eng.WORK_ORDER_STATE_IN_PROGRESS,
            create_time=stamp(datetime.now(UTC) - timedelta(days=30)),
        )
        request = pb.UpsertExternalWorkOrderRequest(source="helpdesk", external_no="T-1", source_version=2, row=row)
        answer = await caller.call(request)
        asked = pb.GetWorkOrderRequest(work_order_id=answer.work_order.work_order_id)

        async def is_breached() -> bool:
            return bool((await caller.call(asked)).work_order.breached)

        assert answer.applied
        await until(is_breached, "the work order is known to be overdue")
        request.request_id, request.source_version = "", 1
        assert not (await caller.call(request)).applied
        moved = await caller.refused(
            pb.TransitionWorkOrderRequest(work_order_id=asked.work_order_id, to=eng.WORK_ORDER_STATE_RESOLVED)
        )
        assert moved.reason == "WORK_ORDER_MIRRORED"

    serve(check)


def test_hours_are_set_by_those_who_configure(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        hours = eng.ServiceHours(
            time_zone="America/New_York",
            weekdays=[6, 7],
            open_minute=600,
            close_minute=1200,
            holidays=[Date(year=2026, month=12, day=26)],
        )
        asked = pb.GetServiceHoursRequest()
        before = (await caller.call(asked)).service_hours
        assert (before.time_zone, before.open_minute, before.close_minute) == ("Asia/Shanghai", 540, 1080)
        request = pb.SetServiceHoursRequest(service_hours=hours)
        assert (await caller.refused(request, scopes=("identity.write",))).code == "PERMISSION_DENIED"
        await caller.call(request)
        assert (await caller.call(asked)).service_hours == hours
        assert (await caller.call(asked, tenant="globex")).service_hours == before
        for field, value in (("time_zone", "Mars/Olympus"), ("close_minute", 600)):
            setattr(request.service_hours, field, value)
            request.request_id = ""
            assert (await caller.refused(request)).fields == (f"service_hours.{field}",)
            request.service_hours.CopyFrom(hours)
        request.service_hours.holidays[0].day = 32
        request.request_id = ""
        assert (await caller.refused(request)).reason == "BAD_FORMAT"

    serve(check)
