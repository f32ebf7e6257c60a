"""Tracking as its callers meet it: over gRPC, on PostgreSQL, with identity beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import ErrorInfo
from google.type.money_pb2 import Money

from chassis.clock import ReplayClock
from chassis.commands import CommandBus, Handlers
from chassis.credentials import KeySet, MintedTokens, Verifier
from chassis.event_store import PostgresEventStore
from chassis.grpc_client import Channels
from chassis.grpc_server import Gate, GrpcServer, Registration
from chassis.key_file import KeyFile
from chassis.projection import Projector
from chassis.read_models import ReadModels
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from scrm.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from scrm.tracking.v1 import order_pb2, source_pb2
from scrm.tracking.v1 import source_service_pb2 as source_pb
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import Identifier
from scrm.tracking.v1.source_service_pb2_grpc import SourceServiceStub, add_SourceServiceServicer_to_server
from scrm.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub, add_TrackingServiceServicer_to_server
from services.identity.adapters.grpc_servicer import IdentityServicer
from services.identity.adapters.key_table import SqlKeyTable
from services.identity.adapters.matching_servicer import MatchingParts
from services.identity.adapters.uncredited_orders import SqlUncreditedOrders
from services.identity.application.handlers import handlers as identity_handlers
from services.identity.application.vault import KeyWrap, Vault
from services.identity.domain.identifiers import IdentifierReader
from services.tracking.adapters.account_seal import AccountSeal
from services.tracking.adapters.grpc_servicer import TrackingServicer
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.resolver import Resolver
from services.tracking.adapters.source_book import SourceBook
from services.tracking.adapters.source_servicer import SourceServicer
from services.tracking.application.handlers import handlers
from services.tracking.application.wire_values import timestamp
from services.tracking.read_models.customer_nodes import CustomerNodesProjection
from services.tracking.read_models.orders import OrdersProjection
from services.tracking.read_models.sources import SourcesProjection
from services.tracking.service import erasures
from tests.chassis.streams import until
from tests.conftest import Migrated
from tests.tracking.touches import NOON, event, outcome, view

SCOPES = ("tracking.read", "tracking.write", "tracking.configure")
SECRET = b"a secret of 32 bytes for tests.."
ROOT_KEY = KeyFile("1", {"1": SECRET})
IDENTITY_MIGRATIONS = Path(__file__).parents[2] / "services" / "identity" / "migrations"


class World:
    """A caller of tracking, and the resolver behind it."""

    def __init__(
        self, channel: grpc.aio.Channel, credentials: Credentials, clock: ReplayClock, resolver: Resolver
    ) -> None:
        self._stubs: tuple[Any, ...] = (TrackingServiceStub(channel), SourceServiceStub(channel))
        self._credentials = credentials
        self.clock = clock
        self.resolver = resolver

    async def call(self, name: str, request: Any, tenant: str = "acme", *scopes: str) -> Any:
        token = self._credentials.mint(tenant, scopes or SCOPES)
        [method] = [getattr(it, name) for it in self._stubs if hasattr(it, name)]
        return await method(request, metadata=(("authorization", f"Bearer {token}"),), timeout=20)

    async def refused(self, name: str, request: Any, tenant: str = "acme", *scopes: str) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, request, tenant, *scopes)
        return refusal(caught.value)

    async def track(self, *events: Any, **more: Any) -> list[str]:
        answer = await self.call("TrackBatch", pb.TrackBatchRequest(events=events, **more))
        return [outcome(it) for it in answer.results]

    async def node_of(self, message_id: str) -> str:
        """The node of a behaviour, from the database."""
        while await self.resolver.step():
            pass
        with self.resolver._engine.connect() as rows:
            [node] = rows.exec_driver_sql("SELECT node FROM behaviours WHERE message_id = %s", (message_id,)).one()
        return str(node)


@asynccontextmanager
async def serving(
    service: str,
    credentials: Credentials,
    bus: CommandBus,
    servicers: list[Registration],
    read_models: ReadModels | None,
) -> AsyncIterator[int]:
    verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
    wait_for = read_models.wait_for if read_models else None
    server = GrpcServer(Gate(service, verifier, Metrics(), Tracing(), wait_for=wait_for), servicers)
    bus.start()
    try:
        yield await server.start("127.0.0.1:0")
    finally:
        await server.stop(0)
        bus.stop()


def opened(database: Database, handlers: Handlers, clock: ReplayClock) -> tuple[PostgresEventStore, CommandBus]:
    store = PostgresEventStore(database.writer_dsn)
    return store, CommandBus(store, clock, handlers)


Serve = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def serve(tables: Database, migrated: Migrated, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """`serve(check)` awaits `check(world)` with both services running."""
    identity_tables = migrated("identity", IDENTITY_MIGRATIONS)

    @asynccontextmanager
    async def world() -> AsyncIterator[World]:
        clock = ReplayClock(NOON)
        async with AsyncExitStack() as closing:
            identity_store, identity_bus = opened(
                identity_tables, identity_handlers(Vault(KeyWrap(ROOT_KEY), SqlKeyTable), SqlUncreditedOrders), clock
            )
            closing.callback(identity_store.close)
            identity_models = ReadModels(identity_tables.reader_dsn)
            closing.callback(identity_models.close)
            parts = MatchingParts.on(identity_store, identity_models, KeyWrap(ROOT_KEY), SECRET)
            identity = IdentityServicer(identity_bus, identity_models, IdentifierReader(SECRET), clock, parts)
            identity_port = await closing.enter_async_context(
                serving(
                    "identity", credentials, identity_bus, [(add_IdentityServiceServicer_to_server, identity)], None
                )
            )
            store, bus = opened(tables, handlers(erasures), clock)
            closing.callback(store.close)
            read_models = ReadModels(tables.reader_dsn)
            closing.callback(read_models.close)
            tokens = MintedTokens(credentials.private_key, "tracking", "scrm-local", "scrm")
            channels = Channels(lambda _: f"127.0.0.1:{identity_port}", tokens)
            closing.push_async_callback(channels.close)
            client = IdentityClient(channels.to("identity"))
            writer = IngestWriter(store.engine)
            writer.start()
            closing.callback(writer.stop)
            book = SourceBook(store)
            servicers: list[Registration] = [
                (
                    add_TrackingServiceServicer_to_server,
                    TrackingServicer(bus, read_models, Ingest(writer, book, clock, PlanBook(store)), client),
                ),
                (
                    add_SourceServiceServicer_to_server,
                    SourceServicer(bus, read_models, book, SECRET, AccountSeal(ROOT_KEY)),
                ),
            ]
            port = await closing.enter_async_context(serving("tracking", credentials, bus, servicers, read_models))
            projections = (OrdersProjection(), CustomerNodesProjection(), SourcesProjection())
            projector = Projector(projections, store.engine, store)
            projecting = asyncio.create_task(projector.run())
            closing.push_async_callback(asyncio.wait, [projecting])
            closing.callback(projecting.cancel)

            async def is_ready() -> bool:
                return all(it.version for it in await projector.progress())

            await until(is_ready, "the read models are there")
            channel = await closing.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            yield World(channel, credentials, clock, Resolver(store.engine, client))

    def run(check: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with world() as it:
                await check(it)

        loop.run_until_complete(served())

    return run


def usd(cents: int) -> Money:
    return Money(currency_code="USD", units=cents // 100, nanos=cents % 100 * 10_000_000)


def customer(name: str) -> order_pb2.OrderCustomer:
    return order_pb2.OrderCustomer(identifiers=[Identifier(namespace="external_id", scope="shop", value=name)])


def placed(order_no: str, cents: int, name: str = "jane") -> order_pb2.OrderPlacement:
    return order_pb2.OrderPlacement(
        source_key="shop",
        order_no=order_no,
        customer=customer(name),
        place_time=timestamp(NOON - timedelta(hours=1)),
        lines=[order_pb2.OrderLine(sku="CD", quantity=1, list=usd(cents), paid=usd(cents))],
        amount=usd(cents),
    )


def paid(order_no: str, cents: int, name: str = "jane") -> order_pb2.OrderPayment:
    return order_pb2.OrderPayment(
        source_key="shop", order_no=order_no, customer=customer(name), pay_time=timestamp(NOON), paid=usd(cents)
    )


def new_id() -> str:
    return str(uuid4())


def test_a_trail_from_the_device_to_the_answer(serve: Serve) -> None:
    async def check(world: World) -> None:
        events = [view(f"v{n}", f"pv{n}", NOON - timedelta(days=3 - n)) for n in range(3)]
        events.append(
            event(
                "e0",
                "content_engaged",
                NOON - timedelta(days=3),
                properties=b'{"page_view_id":"pv0","active_buckets":31}',
            )
        )
        assert await world.track(*events, events[0]) == ["ACCEPTED"] * 4 + ["DUPLICATE"]
        node = await world.node_of("v0")

        trail = await world.call("GetTrail", pb.GetTrailRequest(customer_id=node))
        assert [(it.message_id, it.nth_open, it.dwell_seconds) for it in trail.entries] == [
            ("e0", 0, 0),
            ("v0", 1, 305),
            ("v1", 2, 0),
            ("v2", 3, 0),
        ]
        engagement = await world.call("GetContentEngagement", pb.GetContentEngagementRequest(customer_id=node))
        assert [(it.content_id, it.opens, it.dwell_seconds) for it in engagement.contents] == [("H5-1", 3, 305)]
        found = await world.call("GetIngestStatistics", pb.GetIngestStatisticsRequest())
        assert (found.submitted, found.accepted, found.duplicates, found.late) == (5, 4, 1, 3)

        page = pb.GetTrailRequest(customer_id=node, page_size=3, start_time=timestamp(NOON - timedelta(days=3)))
        first = await world.call("GetTrail", page)
        page.page_token = first.next_page_token
        second = await world.call("GetTrail", page)
        assert [it.sequence for it in [*first.entries, *second.entries]] == [1, 2, 3, 4]
        assert not second.next_page_token
        assert (
            await world.refused("GetTrail", pb.GetTrailRequest(customer_id=node), "globex")
        ).reason == "CUSTOMER_NOT_FOUND"

    serve(check)


def test_one_bad_event_never_costs_the_others_of_its_batch(serve: Serve) -> None:
    async def check(world: World) -> None:
        events = [event(f"m{n}") for n in range(1000)]
        events[500].event_type = ""
        events[501].context.page = "\0"
        found = await world.track(*events)
        assert found[500] == "REJECTED FIELD_REQUIRED"
        assert found[501] == "REJECTED BAD_FORMAT"
        assert found.count("ACCEPTED") == 998
        assert (await world.refused("TrackBatch", pb.TrackBatchRequest())).fields == ("events",)
        too_many = pb.TrackBatchRequest(events=[event()] * 1001)
        assert (await world.refused("TrackBatch", too_many)).reason == "FIELD_TOO_LONG"
        assert (await world.refused("TrackBatch", pb.TrackBatchRequest(request_id="x"))).fields[0] == "request_id"

    serve(check)


def test_a_batch_repeated_under_its_request_id_is_answered_as_before(serve: Serve) -> None:
    async def check(world: World) -> None:
        id = new_id()
        assert await world.track(event("m1"), request_id=id) == ["ACCEPTED"]
        assert await world.track(event("m1"), request_id=id) == ["ACCEPTED"]
        assert await world.track(event("m1"), request_id=new_id()) == ["DUPLICATE"]
        other = pb.TrackBatchRequest(events=[event("m2")], request_id=id)
        assert (await world.refused("TrackBatch", other)).reason == "REQUEST_ID_REUSED"

    serve(check)


def test_an_order_from_the_shop_to_the_sums(serve: Serve) -> None:
    async def check(world: World) -> None:
        await world.call(
            "RecordOrderPlaced", pb.RecordOrderPlacedRequest(request_id=new_id(), placement=placed("1", 1200))
        )
        request = pb.RecordOrderPaidRequest(request_id=new_id(), payment=paid("1", 1200))
        answer = await world.call("RecordOrderPaid", request)
        assert await world.call("RecordOrderPaid", request) == answer
        assert answer.order.status == order_pb2.ORDER_STATUS_PAID
        refund = order_pb2.OrderRefund(
            source_key="shop", order_no="1", refund_no="r", amount=usd(200), refund_time=timestamp(NOON)
        )
        refunded = await world.call(
            "RecordOrderRefunded", pb.RecordOrderRefundedRequest(request_id=new_id(), refund=refund)
        )
        assert refunded.order.net == usd(1000)
        key = pb.OrderKey(source_key="shop", order_no="1")
        shipped = pb.RecordOrderShippedRequest(request_id=new_id(), order=key, ship_time=timestamp(NOON))
        assert (await world.call("RecordOrderShipped", shipped)).order.status == order_pb2.ORDER_STATUS_SHIPPED
        received = pb.RecordOrderReceivedRequest(request_id=new_id(), order=key, receive_time=timestamp(NOON))
        order = (await world.call("RecordOrderReceived", received)).order
        cancelled = pb.RecordOrderCancelledRequest(request_id=new_id(), order=key, cancel_time=timestamp(NOON))
        assert (await world.refused("RecordOrderCancelled", cancelled)).reason == "ORDER_ALREADY_PAID"

        assert (await world.call("GetOrder", pb.GetOrderRequest(key=key))).order == order
        assert (await world.call("GetOrder", pb.GetOrderRequest(order_id=order.order_id))).order == order
        foreign = await world.refused("GetOrder", pb.GetOrderRequest(order_id=order.order_id), "globex")
        assert (foreign.code, foreign.reason) == ("NOT_FOUND", "ORDER_NOT_FOUND")

        async def listed() -> bool:
            sums = await world.call("GetOrderStatistics", pb.GetOrderStatisticsRequest(time_zone="America/New_York"))
            return bool(sums.net == [usd(1000)] and sums.occasions == 1)

        await until(listed, "the order is among the sums")
        mine = await world.call("ListOrders", pb.ListOrdersRequest(customer_id=order.node_id))
        assert [(it.order_no, it.net) for it in mine.orders] == [("1", usd(1000))]
        nobody = await world.refused("ListOrders", pb.ListOrdersRequest(customer_id=new_id()))
        assert nobody.reason == "CUSTOMER_NOT_FOUND"
        elsewhere = pb.GetOrderStatisticsRequest(time_zone="Mars/Olympus")
        assert (await world.refused("GetOrderStatistics", elsewhere)).reason == "UNKNOWN_TIME_ZONE"

    serve(check)


def test_an_import_has_a_status_for_every_row(serve: Serve) -> None:
    async def check(world: World) -> None:
        bad_quantity = placed("3", 100)
        bad_quantity.lines[0].quantity = 0
        negative = paid("4", 100)
        negative.paid.units = -1
        nameless = paid("5", 100)
        nameless.customer.identifiers[0].namespace = "shoe_size"
        rows = [
            pb.OrderRow(placed=placed("1", 1200)),
            pb.OrderRow(paid=paid("1", 1200)),
            pb.OrderRow(paid=paid("2", 500, "john")),
            pb.OrderRow(placed=bad_quantity),
            pb.OrderRow(paid=negative),
            pb.OrderRow(paid=nameless),
            pb.OrderRow(),
        ]
        request = pb.ImportOrdersRequest(request_id=new_id(), rows=rows)
        answer = await world.call("ImportOrders", request)
        assert [reason(it) for it in answer.results] == [
            "",
            "",
            "",
            "OUT_OF_RANGE",
            "NEGATIVE_AMOUNT",
            "CUSTOMER_UNRESOLVED",
            "FIELD_REQUIRED",
        ]
        assert answer.results[0].order_id == answer.results[1].order_id
        assert await world.call("ImportOrders", request) == answer
        both = [await world.call("GetOrder", pb.GetOrderRequest(order_id=answer.results[n].order_id)) for n in (0, 2)]
        assert both[0].order.node_id != both[1].order.node_id

    serve(check)


def reason(result: pb.OrderRowResult) -> str:
    info = ErrorInfo()
    return next((info.reason for it in result.status.details if it.Unpack(info)), "")


def test_a_caller_needs_the_scope(serve: Serve) -> None:
    async def check(world: World) -> None:
        request = pb.TrackBatchRequest(events=[event()])
        assert (await world.refused("TrackBatch", request, "acme", "tracking.read")).reason == "MISSING_SCOPE"

    serve(check)


def test_ac2_the_trail_of_a_customer_who_turns_out_to_be_known(serve: Serve) -> None:
    """The views of an anonymous visitor are on the trail of the node they came to, before and after the login."""

    async def check(world: World) -> None:
        await world.track(*(view(f"v{n}", f"pv{n}", person="a:jane") for n in range(3)))
        node = await world.node_of("v0")
        known = [
            Identifier(namespace="anonymous_id", value="a:jane"),
            Identifier(namespace="external_id", scope="shop", value="jane"),
        ]
        await world.track(event("login", "login", identifiers=known, authenticated=True))
        assert await world.node_of("login") == node
        await world.call("RecordOrderPaid", pb.RecordOrderPaidRequest(request_id=new_id(), payment=paid("1", 1200)))
        order = await world.call("GetOrder", pb.GetOrderRequest(key=pb.OrderKey(source_key="shop", order_no="1")))
        assert order.order.node_id == node

    serve(check)


def test_a_source_is_registered_listed_changed_and_given_another_key(serve: Serve) -> None:
    async def check(world: World) -> None:
        register = source_pb.RegisterSourceRequest(
            request_id=new_id(), key="site", kind=source_pb2.SOURCE_KIND_SDK, rate_limit=50
        )
        made = await world.call("RegisterSource", register)
        assert made.write_key.startswith("acme.site.")
        assert (made.source.enabled, made.source.user_namespace, made.source.user_scope) == (
            True,
            "external_id",
            "site",
        )
        assert await world.call("RegisterSource", register) == made, "a repeated request gets the same key"
        register.request_id = new_id()
        assert (await world.refused("RegisterSource", register)).reason == "SOURCE_EXISTS"
        assert (await world.call("RegisterSource", register, "globex")).write_key.startswith("globex.site.")

        change = source_pb.UpdateSourceRequest(
            request_id=new_id(),
            source=source_pb2.Source(key="site", enabled=False),
            update_mask=FieldMask(paths=["enabled"]),
        )
        changed = (await world.call("UpdateSource", change)).source
        assert (changed.enabled, changed.rate_limit) == (False, 50)
        assert (await world.call("GetSource", source_pb.GetSourceRequest(key="site"))).source == changed
        replace = source_pb.ReplaceWriteKeyRequest(request_id=new_id(), key="site")
        assert (await world.call("ReplaceWriteKey", replace)).write_key != made.write_key
        change.request_id, change.source.key = new_id(), "nowhere"
        assert (await world.refused("UpdateSource", change)).reason == "SOURCE_NOT_FOUND"

        async def is_listed() -> bool:
            found = await world.call("ListSources", source_pb.ListSourcesRequest())
            return [(it.key, it.enabled) for it in found.sources] == [("site", False)]

        await until(is_listed, "the list shows the source as changed")

    serve(check)


def test_an_account_of_wechat_is_set_and_shown_without_its_secrets(serve: Serve) -> None:
    async def check(world: World) -> None:
        for key, kind in (("oa", source_pb2.SOURCE_KIND_WEBHOOK), ("shop", source_pb2.SOURCE_KIND_SERVER)):
            await world.call("RegisterSource", source_pb.RegisterSourceRequest(request_id=new_id(), key=key, kind=kind))
        asked: dict[str, Any] = {
            "key": "oa",
            "platform": source_pb2.WECHAT_PLATFORM_WECOM,
            "account_id": "ww4asffe99e54c0f4c",
            "token": "AtokenOfTheAccount",
            "encoding_aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
        }

        def request(**changed: Any) -> Any:
            return source_pb.SetWechatAccountRequest(**{"request_id": new_id(), **asked, **changed})

        first = request()
        answer = await world.call("SetWechatAccount", first)
        account = source_pb2.WechatAccount(
            platform=source_pb2.WECHAT_PLATFORM_WECOM,
            account_id="ww4asffe99e54c0f4c",
            encrypted=True,
            callback_path="/wechat/wecom/acme.oa",
        )
        assert answer.source.wechat == account
        assert await world.call("SetWechatAccount", first) == answer, "a repeated request has one effect"
        assert (await world.call("GetSource", source_pb.GetSourceRequest(key="oa"))).source == answer.source
        assert (await world.refused("SetWechatAccount", request(key="shop"))).reason == "SOURCE_IS_NO_WEBHOOK"
        assert (await world.refused("SetWechatAccount", request(key="none"))).reason == "SOURCE_NOT_FOUND"
        assert (await world.refused("SetWechatAccount", request(encoding_aes_key=""))).reason == "ENCODING_KEY_REQUIRED"
        refused = await world.refused("SetWechatAccount", request(token="no token!"))
        assert refused.code == "INVALID_ARGUMENT"
        assert "no token" not in str(refused)
        assert (await world.refused("SetWechatAccount", request(), "globex")).reason == "SOURCE_NOT_FOUND"

        async def is_listed() -> bool:
            found = await world.call("ListSources", source_pb.ListSourcesRequest())
            return [(it.key, it.wechat) for it in found.sources] == [
                ("oa", account),
                ("shop", source_pb2.WechatAccount()),
            ]

        await until(is_listed, "the list shows the account")
        with world.resolver._engine.connect() as rows:
            kept = str(rows.exec_driver_sql("SELECT * FROM stored_events").all())
            kept += str([bytes(it.answer or b"") for it in rows.exec_driver_sql("SELECT * FROM receipts")])
        assert "ww4asffe99e54c0f4c" in kept
        assert "AtokenOfTheAccount" not in kept
        assert asked["encoding_aes_key"] not in kept

    serve(check)


def test_a_source_that_is_switched_off_or_sends_too_much_is_held_back(serve: Serve) -> None:
    async def check(world: World) -> None:
        assert await world.track(event("m0")) == ["ACCEPTED"], "a source that nobody registered is open"
        register = source_pb.RegisterSourceRequest(
            request_id=new_id(), key="oa", kind=source_pb2.SOURCE_KIND_SERVER, rate_limit=1
        )
        await world.call("RegisterSource", register)
        assert await world.track(*(event(f"m{n}", source_key="oa") for n in range(1000))) == ["ACCEPTED"] * 1000
        refused = await world.refused("TrackBatch", pb.TrackBatchRequest(events=[event("late", source_key="oa")]))
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "SOURCE_RATE_EXCEEDED")

        off = source_pb2.Source(key="oa", rate_limit=0, enabled=False)
        change = source_pb.UpdateSourceRequest(request_id=new_id(), source=off, update_mask=FieldMask(paths=["*"]))
        await world.call("UpdateSource", change)
        found = await world.track(event("m1001", source_key="oa"), event("m1001"))
        assert found == ["REJECTED SOURCE_DISABLED", "ACCEPTED"]

    serve(check)
