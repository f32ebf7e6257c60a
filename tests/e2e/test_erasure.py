"""Somebody is erased on the real stack: planted strings are looked for in every table, stream and log of every service."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from chassis.broker import Broker, publish_clock
from chassis.grpc_client import channel
from chassis.status import refusal
from demo import brand
from demo.backend import TENANT, Backend, connected
from demo.barrier import Barrier
from demo.wire import money, timestamp
from deploy.local.canaries import Found, Words, search
from deploy.local.contracts import scopes
from deploy.local.erasure_check import verify
from deploy.local.stack import LocalStack
from scrm.identity.v1 import customer_pb2, erasure_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.identity.v1 import privacy_service_pb2 as privacy
from scrm.identity.v1.privacy_service_pb2_grpc import PrivacyServiceStub
from scrm.membership.v1 import membership_service_pb2 as membership
from scrm.membership.v1 import points_pb2
from scrm.tagging.v1 import tagging_service_pb2 as tagging
from scrm.tracking.v1 import behaviour_pb2, order_pb2
from scrm.tracking.v1 import tracking_service_pb2 as tracking
from tests.places import place

START = datetime(2025, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

# What is planted. `PERSONAL` must be nowhere afterwards; `BUSINESS` are numbers of the shop, which order events keep.
PHONE, EMAIL, VISITOR = "+8613800138777", "canary-mail@example.com", "canary-visitor-1"
PROPERTY, PAGE, ASIDE, CONFLICT = "canary-property", "canary-page", "canary-aside", "canary-conflict"
ORDER, SKU = "canary-order-9", "canary-sku-9"
PERSONAL = (PHONE.removeprefix("+86"), "canary-mail", VISITOR, PROPERTY, PAGE, ASIDE, CONFLICT)
BUSINESS = (ORDER, SKU)
KEEPS_ORDERS = {"tracking.stored_events", "tracking.receipts", "stream tracking", "files of NATS", "identity.inbox"}
PROFILES = {"identity.inbox", "identity.timeline", "identity.told_orders"}
FACTS = {"tagging.inbox", "tagging.behaviours", "tagging.placed_orders"}

ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class World:
    """The stack with a brand on it."""

    stack: LocalStack
    backend: Backend
    privacy: Any
    broker: Broker
    barrier: Barrier = field(init=False)
    now: datetime = START

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.backend.operations)

    async def settled(self) -> None:
        await self.barrier.settled(self.now)

    async def pass_days(self, days: int) -> None:
        self.now += days * DAY
        await publish_clock(self.broker, self.now)
        await self.settled()

    async def resolve(self, *identifiers: tuple[str, str]) -> str:
        given = [customer_pb2.Identifier(namespace=namespace, value=value) for namespace, value in identifiers]
        asked = identity.ResolveIdentityRequest(request_id=_id(), identifiers=given, authenticated=True)
        return str((await self.backend.identity.ResolveIdentity(asked)).customer_id)

    async def track(self, message_id: str, value: str, event_type: str = "content_viewed", page: str = "") -> None:
        event = behaviour_pb2.TrackedEvent(
            message_id=message_id,
            source_key="h5",
            event_type=event_type,
            identifiers=[behaviour_pb2.Identifier(namespace="email", value=EMAIL)],
            original_time=timestamp(self.now),
            properties_json=f'{{"about": "{value}"}}'.encode(),
            context=behaviour_pb2.EventContext(channel="h5", content_id="H5-1", page_view_id="p-1", page=page),
        )
        await self.backend.tracking.TrackBatch(tracking.TrackBatchRequest(events=[event]))

    async def buy(self, email: str, order_no: str, sku: str) -> None:
        buyer = order_pb2.OrderCustomer(identifiers=[behaviour_pb2.Identifier(namespace="email", value=email)])
        common: dict[str, Any] = {"source_key": "shop", "order_no": order_no, "customer": buyer}
        line = order_pb2.OrderLine(sku=sku, quantity=1, list=money(100_00), paid=money(100_00))
        at = timestamp(self.now)
        rows = [
            tracking.OrderRow(
                placed=order_pb2.OrderPlacement(**common, place_time=at, lines=[line], amount=money(100_00))
            ),
            tracking.OrderRow(paid=order_pb2.OrderPayment(**common, pay_time=at, paid=money(100_00))),
        ]
        answer = await self.backend.tracking.ImportOrders(tracking.ImportOrdersRequest(request_id=_id(), rows=rows))
        assert not [it for it in answer.results if it.status.code]

    async def plant(self) -> tuple[str, str]:
        """A customer of two nodes with something of everything; the nodes."""
        first = await self.resolve(("phone", PHONE), ("anonymous_id", VISITOR))
        second = await self.resolve(("email", EMAIL))
        await self.track("seen-1", PROPERTY, page=PAGE)
        await self.track("seen-1", CONFLICT)  # the same message with another content
        await self.track("aside-1", ASIDE, event_type="unheard_of")
        for number in range(3):
            await self.buy(EMAIL, f"{ORDER}-{number}", SKU)
        await self.settled()
        await self.backend.identity.MergeCustomers(
            identity.MergeCustomersRequest(request_id=_id(), survivor_id=first, loser_id=second, reason="SAME_PERSON")
        )
        await self.settled()
        await self.backend.membership.EnrollMember(membership.EnrollMemberRequest(request_id=_id(), customer_id=first))
        await self.backend.membership.GrantPoints(
            membership.GrantPointsRequest(
                request_id=_id(),
                customer_id=first,
                source=points_pb2.POINTS_SOURCE_GIFT,
                ref=_id(),
                points=120,
            )
        )
        tags = [tagging.TagValue(tag_key="vip_manual")]
        await self.backend.tagging.AssignTags(tagging.AssignTagsRequest(request_id=_id(), customer_id=first, tags=tags))
        await self.settled()
        return first, second

    async def revenue(self) -> Sequence[Any]:
        """The report over all customers."""
        found = await self.backend.tracking.GetOrderStatistics(tracking.GetOrderStatisticsRequest())
        return found.rows, found.net_rows, found.customers, [(it.currency_code, it.units, it.nanos) for it in found.net]

    async def canaries(self) -> Found:
        """Where each of the planted strings is."""
        words = Words((*PERSONAL, *BUSINESS))
        dsn_of = partial(self.stack.postgres.dsn, user="postgres")
        found = await asyncio.to_thread(search, words, tuple(self.stack.services), dsn_of, self.stack.state_dir)
        for stream, content in [it async for it in self._streams()]:
            found |= {f"stream {stream}": it for it in (words.within(content),) if it}
        return found

    async def _streams(self) -> AsyncIterator[tuple[str, bytes]]:
        names = (await self.broker.request("STREAM.NAMES"))["streams"]
        for name in names:
            sequence, content = 1, b""
            while (message := await self.broker.message(name, seq=sequence, next_by_subj=">")) is not None:
                content += repr(message.headers).encode() + message.subject.encode() + message.payload
                sequence = message.sequence + 1
            yield name, content

    def rebuild(self) -> None:
        """Make every read model of every service anew."""
        for name in self.stack.services:
            environment = {**os.environ, **self.stack.environment_of(name)}
            command = [sys.executable, "-m", f"services.{name}", "rebuild"]
            subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with place("e2e") as folder:
        at_once = {"SCRM_IDENTITY_ERASURE_GRACES": f"{TENANT}=60"}
        with LocalStack(folder / "state", clock="replay", environment=at_once) as started:
            yield started


@asynccontextmanager
async def world_on(stack: LocalStack) -> AsyncIterator[World]:
    broker = Broker(stack.nats.url, monitor_url=stack.nats.monitor_url, name="e2e")
    await broker.connect()
    addresses = {name: stack.address(name) for name in stack.services}
    token = stack.credentials.mint(TENANT, scopes(), subject="e2e")
    async with connected(addresses, token) as backend:
        own = channel(addresses["identity"], lambda _: token)
        world = World(stack, backend, PrivacyServiceStub(own), broker)
        await world.pass_days(0)
        await brand.configure(backend)
        yield world
        await own.close()
    await broker.close()


async def refused(call: Any, request: Any) -> str:
    """The reason of a refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request)
    return str(refusal(caught.value).reason)


def only_numbers_of_orders(found: Found) -> bool:
    """Whether nothing is left but what the shop calls its orders, where orders are kept."""
    return found.keys() <= KEEPS_ORDERS and set[str]().union(*found.values()) <= set(BUSINESS)


@pytest.mark.timeout(300)
def test_ac_15_and_ac_102_nothing_is_left_of_somebody_who_is_erased(stack: LocalStack) -> None:
    async def scenario() -> None:
        async with world_on(stack) as world:
            backend = world.backend
            await world.buy("bystander@example.com", "other-1", "tea")
            first, second = await world.plant()
            revenue = await world.revenue()

            before = await world.canaries()
            assert {PROPERTY, PAGE, "canary-mail"} <= before["tracking.accepted"], "the control: planted is found"
            assert before["tracking.behaviours"] == {PROPERTY, PAGE}
            assert before["tracking.quarantine"] == {ASIDE, "canary-mail"}
            assert before["tracking.conflicts"] == {CONFLICT, "canary-mail"}
            assert before["stream tracking_behaviours"] == {PROPERTY, PAGE}
            assert {*BUSINESS} <= before["tracking.stored_events"]
            assert before["tracking.orders"] == {ORDER}
            assert all(before[it] == {ORDER} for it in PROFILES), "profiles have nothing but the numbers of orders"
            assert set[str]().union(*(before[it] for it in FACTS)) == {PROPERTY, SKU}, "what conditions may ask about"
            elsewhere = [it for it in before if it.startswith(("identity.", "tagging.", "log "))]
            assert set(elsewhere) == PROFILES | FACTS, "everything else is sealed, or never kept"

            premature = erasure_pb2.ErasureCertificate(node_ids=[first, second], digest="x")
            verdict = verify([premature], partial(stack.postgres.dsn, user="postgres"))
            assert verdict.altered
            assert verdict.keys == 2
            assert {"tracking.behaviours", "tracking.orders", "tagging.purchases"} <= verdict.left.keys(), "the control"

            asked = {"customer_id": second, "legal_basis": "PIPL_47", "verified_by": "staff/7"}
            case = (await world.privacy.RequestErasure(privacy.RequestErasureRequest(request_id=_id(), **asked))).case
            cancel = privacy.CancelErasureRequest(request_id=_id(), case_id=case.case_id)
            await world.privacy.CancelErasure(cancel)
            await world.pass_days(1)
            assert await world.resolve(("phone", PHONE)) == first, "normal use"

            case = (await world.privacy.RequestErasure(privacy.RequestErasureRequest(request_id=_id(), **asked))).case
            await world.pass_days(1)
            again = privacy.CancelErasureRequest(request_id=_id(), case_id=case.case_id)
            assert await refused(world.privacy.CancelErasure, again) == "ERASURE_STARTED"
            case = (await world.privacy.GetErasureCase(privacy.GetErasureCaseRequest(case_id=case.case_id))).case
            assert case.state == erasure_pb2.ERASURE_STATE_ERASED

            wanted = privacy.GetErasureCertificateRequest(case_id=case.case_id)
            certificate = (await world.privacy.GetErasureCertificate(wanted)).certificate
            assert set(certificate.node_ids) == {first, second}
            removed = {it.service: dict(it.removed) for it in certificate.services}
            assert removed["tracking"]["behaviours"] == removed["tracking"]["stream messages"] == 1
            assert (removed["tracking"]["quarantine"], removed["tracking"]["conflicts"]) == (1, 1)
            assert removed["tagging"]["tags"] == 1
            assert removed["membership"]["members"] == 1
            assert certificate.keys_destroyed == 2
            verdict = verify([certificate], partial(stack.postgres.dsn, user="postgres"))
            assert verdict.holds, verdict

            assert only_numbers_of_orders(await world.canaries())
            assert await world.revenue() == revenue, "the report is as it was"
            await asyncio.to_thread(world.rebuild)
            assert only_numbers_of_orders(await world.canaries()), "also after everything was built anew"

            get = identity.GetCustomerRequest(customer_id=first)
            assert await refused(backend.identity.GetCustomer, get) == "CUSTOMER_ERASED"
            phone = customer_pb2.Identifier(namespace="phone", value=PHONE)
            look = identity.LookupCustomerRequest(identifier=phone)
            assert await refused(backend.identity.LookupCustomer, look) == "CUSTOMER_NOT_FOUND"
            orders = tracking.ListOrdersRequest(customer_id=second)
            assert await refused(backend.tracking.ListOrders, orders) == "CUSTOMER_ERASED"
            member = membership.GetMemberRequest(customer_id=first)
            assert await refused(backend.membership.GetMember, member) == "CUSTOMER_ERASED"

            await world.pass_days(1)
            back = await world.resolve(("phone", PHONE), ("email", EMAIL))
            assert back not in (first, second), "whoever returns is a new customer"
            await world.settled()
            tags = await backend.tagging.GetCustomerTags(tagging.GetCustomerTagsRequest(customer_id=back))
            assert not tags.tags
            balance = await backend.membership.GetBalance(membership.GetBalanceRequest(customer_id=back))
            assert balance.balance.balance == 0
            assert UUID(back).version == 7

    asyncio.run(scenario())


def _id() -> str:
    return str(uuid4())
