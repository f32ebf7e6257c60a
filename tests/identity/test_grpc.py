"""Identity as its callers meet it: over gRPC, on PostgreSQL, with tokens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.credentials import KeySet, Verifier
from chassis.event_store import PostgresEventStore
from chassis.grpc_server import Gate, GrpcServer
from chassis.projection import Projector
from chassis.read_models import ReadModels
from chassis.schema import create
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceStub,
    add_IdentityServiceServicer_to_server,
)
from services.identity.adapters.grpc_servicer import IdentityServicer
from services.identity.application.commands import HANDLERS
from services.identity.domain.identifiers import IdentifierReader
from services.identity.read_models.customer_directory import CustomerDirectoryProjection
from services.identity.read_models.identity_statistics import IdentityStatisticsProjection
from tests.conftest import DatabaseFactory
from tests.identity.brand import NOON, SECRET

SCOPES = ("identity.read", "identity.write")


class Caller:
    """Calls identity for a tenant."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._credentials = credentials
        self._stub = IdentityServiceStub(channel)
        self.position = ""

    async def call(self, name: str, request: Any, tenant: str = "acme", **metadata: str) -> Any:
        headers = {"authorization": f"Bearer {self._credentials.mint(tenant, SCOPES)}"}
        headers |= {key.replace("_", "-"): value for key, value in metadata.items()}
        calling = getattr(self._stub, name)(request, metadata=tuple(headers.items()), timeout=20)
        answer = await calling
        self.position = dict(await calling.trailing_metadata()).get("scrm-position", self.position)
        return answer

    async def refused(self, name: str, request: Any, tenant: str = "acme") -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, request, tenant)
        return refusal(caught.value)


Serve = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def serve(database: DatabaseFactory, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """`serve(check)` awaits `check(caller)` with a server and its projections running."""
    made = database("identity")
    create(made.owner_dsn)

    @asynccontextmanager
    async def serving() -> AsyncIterator[Caller]:
        store = PostgresEventStore(made.writer_dsn)
        bus = CommandBus(store, ReplayClock(NOON), HANDLERS)
        read_models = ReadModels(made.reader_dsn)
        projections = (CustomerDirectoryProjection(), IdentityStatisticsProjection())
        projecting = asyncio.create_task(Projector(projections, store.engine, store).run())
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        servicer = IdentityServicer(bus, read_models, IdentifierReader(SECRET))
        server = GrpcServer(
            Gate("identity", verifier, Metrics(), Tracing(), wait_for=read_models.wait_for),
            [(add_IdentityServiceServicer_to_server, servicer)],
        )
        bus.start()
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Caller(channel, credentials)
        await server.stop(0)
        projecting.cancel()
        await asyncio.wait([projecting])
        bus.stop()
        read_models.close()
        store.close()

    def run(check: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with serving() as caller:
                await check(caller)

        loop.run_until_complete(served())

    return run


def identifier(namespace: str, value: str, **details: Any) -> customer_pb2.Identifier:
    return customer_pb2.Identifier(namespace=namespace, value=value, **details)


def phone(number: int) -> customer_pb2.Identifier:
    return identifier("phone", f"+86138{number:08}")


def resolve(*identifiers: customer_pb2.Identifier, **details: Any) -> pb.ResolveIdentityRequest:
    return pb.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=identifiers, **details)


def test_a_resolved_customer_is_found_by_identifier_and_id(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        scoped = identifier("external_id", "42", scope="cdnow", verified=True)
        made = await caller.call("ResolveIdentity", resolve(phone(1), scoped, assignment_key="cdnow:42"))
        assert (made.outcome, made.state) == (pb.OUTCOME_CREATED, customer_pb2.CUSTOMER_STATE_KNOWN)

        found = await caller.call("LookupCustomer", pb.LookupCustomerRequest(identifier=phone(1)))
        assert (found.customer.customer_id, found.node_id) == (made.customer_id, made.node_id)

        got = await caller.call("GetCustomer", pb.GetCustomerRequest(customer_id=made.customer_id))
        assert got.customer == found.customer
        assert got.customer.name == f"customers/{made.customer_id}"
        assert got.customer.assignment_key == "cdnow:42"
        assert [(it.namespace, it.scope, it.verified) for it in got.customer.identifiers] == [
            ("phone", "", False),
            ("external_id", "cdnow", True),
        ]

    serve(check)


def test_a_merged_customers_id_leads_to_the_survivor(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        visitor = await caller.call("ResolveIdentity", resolve(identifier("anonymous_id", "a")))
        known = await caller.call("ResolveIdentity", resolve(phone(1)))
        await caller.call("ResolveIdentity", resolve(phone(1), identifier("anonymous_id", "a")))

        got = await caller.call("GetCustomer", pb.GetCustomerRequest(customer_id=visitor.customer_id))
        assert got.customer.customer_id == known.customer_id
        assert list(got.customer.node_ids) == [known.customer_id, visitor.customer_id]
        found = await caller.call(
            "LookupCustomer", pb.LookupCustomerRequest(identifier=identifier("anonymous_id", "a"))
        )
        assert (found.customer.customer_id, found.node_id) == (known.customer_id, visitor.customer_id)

    serve(check)


def test_a_repeated_request_gets_the_same_answer_and_another_one_under_its_id_is_refused(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        request = resolve(phone(1))
        first = await caller.call("ResolveIdentity", request)
        assert await caller.call("ResolveIdentity", request) == first

        other = resolve(phone(2))
        other.request_id = request.request_id
        assert (await caller.refused("ResolveIdentity", other)).reason == "REQUEST_ID_REUSED"

    serve(check)


def test_a_batch_answers_each_item(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        items = [
            pb.ResolveItem(identifiers=[phone(1)]),
            pb.ResolveItem(identifiers=[identifier("phone", "12")]),
            pb.ResolveItem(identifiers=[identifier("anonymous_id", "null")]),
            pb.ResolveItem(identifiers=[phone(1), identifier("device_id", "undefined")]),
            pb.ResolveItem(identifiers=[phone(2)], create_if_missing=False),
            pb.ResolveItem(identifiers=[phone(3)] * 21),
            pb.ResolveItem(identifiers=[identifier("shoe_size", "42")]),
            pb.ResolveItem(identifiers=[phone(4)], occur_time=Timestamp(seconds=10**15)),
            pb.ResolveItem(identifiers=[phone(4)], occur_time=Timestamp(seconds=-1)),
        ]

        answer = await caller.call("BatchResolve", pb.BatchResolveRequest(request_id=str(uuid4()), items=items))

        assert [_reason(it.status) for it in answer.results] == [
            "", "BAD_IDENTIFIER", "NO_USABLE_IDENTIFIER", "", "CUSTOMER_NOT_FOUND", "TOO_MANY_IDENTIFIERS",
            "UNKNOWN_NAMESPACE", "OUT_OF_RANGE", "OUT_OF_RANGE",
        ]  # fmt: skip
        created, matched = answer.results[0], answer.results[3]
        assert (created.outcome, matched.outcome) == (pb.OUTCOME_CREATED, pb.OUTCOME_MATCHED)
        assert created.customer_id == matched.customer_id == matched.node_id
        (dropped,) = matched.dropped
        assert (dropped.index, dropped.namespace, dropped.reason) == (1, "device_id", pb.DROP_REASON_BLOCKED)

    serve(check)


def test_the_lists_show_a_write_whose_position_the_reader_names(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        ids = [(await caller.call("ResolveIdentity", resolve(phone(it)))).customer_id for it in range(5)]
        visitor = await caller.call("ResolveIdentity", resolve(identifier("anonymous_id", "a")))
        seen: list[str] = []
        token = ""
        while True:
            request = pb.ListCustomersRequest(page_size=2, page_token=token)
            page = await caller.call("ListCustomers", request, scrm_position=caller.position)
            seen += [it.customer_id for it in page.customers]
            token = page.next_page_token
            if not token:
                break
        assert seen == sorted([*ids, visitor.customer_id])

        anonymous = pb.ListCustomersRequest(state=customer_pb2.CUSTOMER_STATE_ANONYMOUS)
        (shown,) = (await caller.call("ListCustomers", anonymous)).customers
        assert (shown.customer_id, dict(shown.identifier_counts)) == (visitor.customer_id, {"anonymous_id": 1})

        counts = await caller.call("GetIdentityStatistics", pb.GetIdentityStatisticsRequest())
        assert (counts.known_created, counts.anonymous_created, counts.known_customers) == (5, 1, 5)

    serve(check)


def test_another_tenants_customer_is_not_found(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        made = await caller.call("ResolveIdentity", resolve(phone(1)))
        theirs = pb.GetCustomerRequest(customer_id=made.customer_id)

        for found in (
            await caller.refused("GetCustomer", theirs, "other"),
            await caller.refused("GetCustomer", pb.GetCustomerRequest(customer_id=str(uuid4()))),
            await caller.refused("LookupCustomer", pb.LookupCustomerRequest(identifier=phone(1)), "other"),
            await caller.refused("ResolveIdentity", resolve(phone(1), customer_id=made.customer_id), "other"),
        ):
            assert (found.code, found.reason) == ("NOT_FOUND", "CUSTOMER_NOT_FOUND")
        listed = await caller.call("ListCustomers", pb.ListCustomersRequest(), "other")
        assert not listed.customers

    serve(check)


def test_refusals_name_the_field_and_never_the_value(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        found = await caller.refused("ResolveIdentity", resolve(phone(1), identifier("email", "jane(at)x.com")))

        assert (found.code, found.reason, found.domain) == ("INVALID_ARGUMENT", "BAD_IDENTIFIER", "identity.scrm")
        assert (found.fields, found.metadata) == (("identifiers[1].value",), {"ns": "email"})
        assert "jane" not in found.message
        for value in ("null", "1" * 2000):
            await caller.refused("LookupCustomer", pb.LookupCustomerRequest(identifier=identifier("phone", value)))

    serve(check)


def _reason(status: Any) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(info)
    return info.reason
