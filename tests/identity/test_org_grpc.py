"""The organisation as its callers meet it: over gRPC, on PostgreSQL, with tokens that may be bound to stores."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money

from chassis.clock import ReplayClock
from chassis.commands import CommandBus, Effect, Unit
from chassis.context import Context, entered
from chassis.credentials import KeySet, Verifier
from chassis.event_store import PostgresEventStore
from chassis.grpc_server import Gate, GrpcServer
from chassis.loops import Loop
from chassis.projection import Projector
from chassis.read_models import ReadModels
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from chassis.timers import TimerLoop
from deploy.local.credentials import Credentials
from scrm.identity.v1 import customer_pb2, org_pb2
from scrm.identity.v1 import identity_service_pb2 as identity_pb
from scrm.identity.v1 import org_service_pb2 as pb
from scrm.identity.v1 import privacy_service_pb2 as privacy_pb
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub, add_IdentityServiceServicer_to_server
from scrm.identity.v1.org_service_pb2_grpc import OrgServiceStub, add_OrgServiceServicer_to_server
from scrm.identity.v1.privacy_service_pb2_grpc import PrivacyServiceStub, add_PrivacyServiceServicer_to_server
from services.identity.adapters.grpc_servicer import IdentityServicer
from services.identity.adapters.key_table import SqlKeyTable
from services.identity.adapters.matching_servicer import MatchingParts
from services.identity.adapters.org_servicer import OrgServicer
from services.identity.adapters.privacy_servicer import PrivacyServicer
from services.identity.adapters.uncredited_orders import SqlUncreditedOrders
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.credit_commands import CreditOrder, take_account
from services.identity.application.handlers import handlers
from services.identity.application.resolving import ResolveIdentity
from services.identity.application.transfer_commands import TRANSFER_DUE, transfer_due
from services.identity.application.uncredited_orders import Uncredited
from services.identity.application.vault import KeyWrap, Vault
from services.identity.domain.identifiers import GivenIdentifier, IdentifierReader
from services.identity.domain.staff import staff_id
from services.identity.domain.stores import store_id
from services.identity.read_models.attribute_values import AttributeValuesProjection
from services.identity.read_models.customer_directory import CustomerDirectoryProjection
from services.identity.read_models.customer_guides import CustomerGuidesProjection
from services.identity.read_models.guide_boards import GuideBoardsProjection
from services.identity.read_models.merge_history import MergeHistoryProjection
from services.identity.read_models.organisation import OrganisationProjection
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, NOON, ROOT_KEY, SECRET

ALL = ("identity.read", "identity.write", "identity.configure", "identity.pii")
GUIDE = ("identity.read", "identity.write")
S1, S2 = (store_id("acme", it) for it in ("S1", "S2"))
G1, G2 = (staff_id("acme", it) for it in ("G1", "G2"))


PROJECTIONS = (
    CustomerDirectoryProjection(),
    OrganisationProjection(),
    GuideBoardsProjection(),
    CustomerGuidesProjection(),
    MergeHistoryProjection(),
    AttributeValuesProjection(),
)


class Caller:
    """Calls the organisation of acme; `stores` are those that the token is bound to."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials, bus: CommandBus) -> None:
        self._credentials = credentials
        self._stubs = OrgServiceStub(channel), IdentityServiceStub(channel), PrivacyServiceStub(channel)
        self.bus = bus
        self._position = "0"

    async def call(
        self, name: str, request: Any, scopes: Iterable[str] = ALL, stores: Iterable[UUID] | None = None
    ) -> Any:
        """Reads wait for what was written before."""
        token = self._credentials.mint("acme", scopes, stores=stores)
        headers = (("authorization", f"Bearer {token}"), ("scrm-position", self._position))
        stub = next(it for it in self._stubs if hasattr(it, name))
        calling = getattr(stub, name)(request, metadata=headers, timeout=20)
        answer = await calling
        self._position = dict(await calling.trailing_metadata()).get("scrm-position", self._position)
        return answer

    async def refused(self, name: str, request: Any, **details: Any) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, request, **details)
        return refusal(caught.value)

    async def furnish(self) -> None:
        """Two stores with a guide each."""
        for code in ("S1", "S2"):
            await self.call("UpsertStore", store(code))
        for code, where in (("G1", "S1"), ("G2", "S2")):
            await self.call("UpsertStaff", pb.UpsertStaffRequest(request_id=str(uuid4()), row=row(code, where)))

    async def customer(self, number: int) -> str:
        reading = IdentifierReader(SECRET).read("acme", [GivenIdentifier("phone", f"+86138{number:08}")])
        with entered(Context("acme", "test")):
            made = await self.bus.execute(ResolveIdentity(reading))
        return str(made.customer_id)


Serve = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def serve(migrated: Migrated, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """`serve(check)` awaits `check(caller)` with a server, its projections and its timers running."""
    made = migrated("identity", MIGRATIONS)

    @asynccontextmanager
    async def serving() -> AsyncIterator[Caller]:
        store, clock, wrap = PostgresEventStore(made.writer_dsn), ReplayClock(NOON), KeyWrap(ROOT_KEY)
        bus, read_models = (
            CommandBus(store, clock, handlers(Vault(wrap, SqlKeyTable), SqlUncreditedOrders)),
            ReadModels(made.reader_dsn),
        )
        projector = Projector(PROJECTIONS, store.engine, store)
        timers = TimerLoop(bus, {TRANSFER_DUE: transfer_due}, store.engine, clock)
        loops: list[Loop] = [projector, timers]
        running = [asyncio.create_task(it.run()) for it in loops]
        while not all(it.version for it in await projector.progress()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        gate = Gate("identity", verifier, Metrics(), Tracing(), wait_for=read_models.wait_for)
        unsealer = Unsealer(wrap)
        identity = IdentityServicer(
            bus, read_models, IdentifierReader(SECRET), clock, MatchingParts.on(store, read_models, wrap, SECRET)
        )
        server = GrpcServer(
            gate,
            [
                (add_OrgServiceServicer_to_server, OrgServicer(bus, read_models, clock, unsealer)),
                (add_IdentityServiceServicer_to_server, identity),
                (add_PrivacyServiceServicer_to_server, PrivacyServicer(bus, read_models, unsealer)),
            ],
        )
        bus.start()
        port = await server.start("127.0.0.1:0")
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Caller(channel, credentials, bus)
        finally:
            await server.stop(0)
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            bus.stop()
            read_models.close()
            store.close()

    def run(check: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with serving() as caller:
                await check(caller)

        loop.run_until_complete(served())

    return run


def store(code: str, *regions: str) -> pb.UpsertStoreRequest:
    row = org_pb2.StoreRow(code=code, title=f"Store {code}", region_path=regions)
    return pb.UpsertStoreRequest(request_id=str(uuid4()), row=row)


def row(code: str, where: str = "S1", **details: Any) -> org_pb2.StaffRow:
    return org_pb2.StaffRow(
        code=code, full_name=f"Name of {code}", role=org_pb2.STAFF_ROLE_GUIDE, store_code=where, capacity=5, **details
    )


def test_stores_and_staff_are_read_and_listed_as_they_were_written(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.furnish()
        written = await caller.call("UpsertStore", store("S3", "East", "Shanghai"))
        got = await caller.call("GetStore", pb.GetStoreRequest(store_id=written.store.store_id))
        assert got.store == written.store
        assert list(got.store.region_path) == ["East", "Shanghai"]

        first = await caller.call("ListStores", pb.ListStoresRequest(page_size=2))
        rest = await caller.call("ListStores", pb.ListStoresRequest(page_size=2, page_token=first.next_page_token))
        assert [it.code for it in (*first.stores, *rest.stores)] == ["S1", "S2", "S3"]
        assert rest.stores[0].region_path == got.store.region_path

        staff = (await caller.call("GetStaff", pb.GetStaffRequest(staff_id=str(G1)))).staff
        assert (staff.code, staff.full_name, staff.store_id) == ("G1", "Name of G1", str(S1))
        assert [it.store_id for it in staff.placements] == [str(S1)]
        listed = (await caller.call("ListStaff", pb.ListStaffRequest(store_id=str(S1)))).staff
        assert [(it.code, it.full_name, it.store_id) for it in listed] == [("G1", "Name of G1", str(S1))]

        await caller.call("SetStaffLeft", pb.SetStaffLeftRequest(request_id=str(uuid4()), staff_id=str(G1)))
        active = await caller.call("ListStaff", pb.ListStaffRequest(status=org_pb2.STAFF_STATUS_ACTIVE))
        left = await caller.call("ListStaff", pb.ListStaffRequest(status=org_pb2.STAFF_STATUS_LEFT))
        assert [[it.code for it in page.staff] for page in (active, left)] == [["G2"], ["G1"]]

    serve(check)


def test_names_are_for_those_who_may_see_them(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.furnish()
        one = await caller.call("GetStaff", pb.GetStaffRequest(staff_id=str(G1)), scopes=GUIDE)
        page = await caller.call("ListStaff", pb.ListStaffRequest(), scopes=GUIDE)
        assert {it.full_name for it in (one.staff, *page.staff)} == {"N**"}

    serve(check)


def test_an_import_reports_row_by_row(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.furnish()
        rows = [row("G1"), row("G3"), row("", "S1"), row("G4", "S9"), row("G2", "S1")]
        rows.append(org_pb2.StaffRow(code="G5", full_name="X", store_code="S1"))
        answer = await caller.call("ImportStaff", pb.ImportStaffRequest(request_id=str(uuid4()), rows=rows))
        told = [
            (it.status.code, org_pb2.RowEffect.Name(it.effect).removeprefix("ROW_EFFECT_")) for it in answer.results
        ]
        bad, missing = grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.NOT_FOUND.value[0]
        assert [it for it, _ in told] == [0, 0, bad, missing, 0, bad]
        assert [it for _, it in told if it != "UNSPECIFIED"] == ["UNCHANGED", "CREATED", "UPDATED"]

    serve(check)


def test_who_is_bound_to_a_store_sees_that_store_only(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.furnish()
        bound: Any = {"scopes": GUIDE, "stores": [S1]}
        for name, field in (("ListStores", "stores"), ("ListStaff", "staff")):
            page = await caller.call(name, getattr(pb, f"{name}Request")(), **bound)
            assert [it.code for it in getattr(page, field)] == [{"stores": "S1", "staff": "G1"}[field]]
        await caller.call("GetStore", pb.GetStoreRequest(store_id=str(S1)), **bound)
        await caller.call("GetStaff", pb.GetStaffRequest(staff_id=str(G1)), **bound)

        theirs, free = await caller.customer(1), await caller.customer(2)
        await caller.call("AssignCustomer", assignment(theirs, G2))
        unknown = str(uuid4())
        elsewhere = [
            *(("GetStore", pb.GetStoreRequest(store_id=it)) for it in (str(S2), unknown)),
            *(("GetStaff", pb.GetStaffRequest(staff_id=it)) for it in (str(G2), unknown)),
            *(("ListStaff", pb.ListStaffRequest(store_id=it)) for it in (str(S2), unknown)),
            *(("GetGuide", pb.GetGuideRequest(customer_id=it)) for it in (theirs, free, unknown)),
            ("GetTransfer", pb.GetTransferRequest(transfer_id=unknown)),
        ]
        refusals = [await caller.refused(name, request, **bound) for name, request in elsewhere]
        assert {(it.code, it.reason, it.message) for it in refusals} == {
            ("PERMISSION_DENIED", "STORE_SCOPE", "It is not within the stores of the caller")
        }

        await caller.call("AssignCustomer", assignment(free, G1), **bound)
        found = await caller.call("GetGuide", pb.GetGuideRequest(customer_id=free), **bound)
        assert (found.guidance.staff_id, found.guidance.store_id) == (str(G1), str(S1))

    serve(check)


def test_who_is_bound_to_a_store_sees_the_customers_of_its_guides_only(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.furnish()
        bound: Any = {"scopes": GUIDE, "stores": [S1]}
        mine, theirs, free = [await caller.customer(it) for it in range(3)]
        await caller.call("AssignCustomer", assignment(mine, G1))
        await caller.call("AssignCustomer", assignment(theirs, G2))

        everybody = await caller.call("ListCustomers", identity_pb.ListCustomersRequest())
        listed = await caller.call("ListCustomers", identity_pb.ListCustomersRequest(), **bound)
        assert {it.customer_id for it in everybody.customers} == {mine, theirs, free}
        assert [it.customer_id for it in listed.customers] == [mine]
        for name in ("GetCustomer", "GetMergeHistory", "GetAttributes", "GetPermissions"):
            request = getattr(privacy_pb if name == "GetPermissions" else identity_pb, f"{name}Request")
            await caller.call(name, request(customer_id=mine), **bound)
            for it in (theirs, free, str(uuid4())):
                assert (await caller.refused(name, request(customer_id=it), **bound)).reason == "STORE_SCOPE"

        found = [identity_pb.LookupCustomerRequest(identifier=phone(it)) for it in (0, 1, 2, 9)]
        assert (await caller.call("LookupCustomer", found[0], **bound)).customer.customer_id == mine
        for lookup in found[1:]:
            assert (await caller.refused("LookupCustomer", lookup, **bound)).reason == "STORE_SCOPE"
        assert (await caller.refused("LookupCustomer", found[3])).reason == "CUSTOMER_NOT_FOUND"
        one, other = identity_pb.Trace(customer_id=mine), identity_pb.Trace(customer_id=theirs)
        explaining = identity_pb.ExplainIdentityRequest(one=one, other=other)
        previewing = identity_pb.PreviewMergeRequest(survivor_id=mine, loser_id=theirs)
        for name, request in (("ExplainIdentity", explaining), ("PreviewMerge", previewing)):
            assert (await caller.refused(name, request, **bound)).reason == "STORE_SCOPE"

    serve(check)


def phone(number: int) -> customer_pb2.Identifier:
    return customer_pb2.Identifier(namespace="phone", value=f"+86138{number:08}")


def test_unknown_things_are_not_found_by_who_is_bound_to_no_store(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        unknown = str(uuid4())
        for name, request, reason in (
            ("GetStore", pb.GetStoreRequest(store_id=unknown), "STORE_NOT_FOUND"),
            ("GetStaff", pb.GetStaffRequest(staff_id=unknown), "STAFF_NOT_FOUND"),
            ("GetGuide", pb.GetGuideRequest(customer_id=unknown), "CUSTOMER_NOT_FOUND"),
            ("GetTransfer", pb.GetTransferRequest(transfer_id=unknown), "TRANSFER_NOT_FOUND"),
        ):
            assert (await caller.refused(name, request)).reason == reason

    serve(check)


def test_a_brand_decides_for_its_organisation(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        before = (await caller.call("GetOrgSettings", pb.GetOrgSettingsRequest())).settings
        assert (before.assignment, before.time_zone) == (org_pb2.ASSIGNMENT_RULE_ASSIGN_FIRST, "UTC")
        wanted = org_pb2.OrgSettings(assignment=org_pb2.ASSIGNMENT_RULE_ASSIGN_LAST, time_zone="Asia/Shanghai")
        await caller.call("UpdateOrgSettings", pb.UpdateOrgSettingsRequest(request_id=str(uuid4()), settings=wanted))
        assert (await caller.call("GetOrgSettings", pb.GetOrgSettingsRequest())).settings == wanted

        wanted.time_zone = "Mars/Olympus"
        nowhere = pb.UpdateOrgSettingsRequest(request_id=str(uuid4()), settings=wanted)
        assert (await caller.refused("UpdateOrgSettings", nowhere)).reason == "UNKNOWN_TIME_ZONE"

    serve(check)


def test_a_transfer_is_carried_out_by_its_timers(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.furnish()
        customers = [await caller.customer(it) for it in range(3)]
        for it in customers:
            await caller.call("AssignCustomer", assignment(it, G1))
        request = pb.TransferCustomersRequest(
            request_id=str(uuid4()), from_staff_id=str(G1), to_staff_id=str(G2), all=True, reason="LEFT"
        )
        made = (await caller.call("TransferCustomers", request)).transfer
        assert made.state == org_pb2.TRANSFER_STATE_RUNNING

        done = await transferred(caller, made.transfer_id)
        assert (done.state, done.moved) == (org_pb2.TRANSFER_STATE_FINISHED, 3)
        guide = await caller.call("GetGuide", pb.GetGuideRequest(customer_id=customers[0]))
        assert (guide.guidance.staff_id, guide.guidance.source) == (str(G2), org_pb2.ASSIGNMENT_SOURCE_TRANSFER)

        gone = pb.UnassignCustomerRequest(request_id=str(uuid4()), customer_id=customers[0], reason="ASKED")
        assert (await caller.call("UnassignCustomer", gone)).changed
        assert not (await caller.call("GetGuide", pb.GetGuideRequest(customer_id=customers[0]))).HasField("guidance")

    serve(check)


def test_boards_are_shown_day_by_day_for_at_most_92_days(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.furnish()
        customer = await caller.customer(1)
        scan = pb.RecordGuideTouchRequest(
            request_id=str(uuid4()), customer_id=customer, staff_id=str(G1), kind=org_pb2.TOUCH_KIND_SCAN
        )
        scanned = await caller.call("RecordGuideTouch", scan)
        assert (scanned.changed, scanned.guidance.staff_id) == (True, str(G1))
        found = await caller.call("GetGuide", pb.GetGuideRequest(customer_id=customer))
        assert (found.guidance, list(found.connected_staff_ids)) == (scanned.guidance, [str(G1)])
        paid = CreditOrder(UUID(customer), uuid4(), "", "", 99_50, "CNY", NOON)
        change = Effect(lambda work: take_account(paid, work, Uncredited(SqlUncreditedOrders)))
        await caller.bus.run(Unit([(Context("acme", "test"), change)]))

        may = {"first_day": Date(year=2026, month=5, day=1), "last_day": Date(year=2026, month=7, day=31)}
        of_guide = pb.GetGuideBoardRequest(staff_id=str(G1), **may)
        of_store = pb.GetStoreBoardRequest(store_id=str(S1), **may)
        for name, request in (("GetGuideBoard", of_guide), ("GetStoreBoard", of_store)):
            (day,) = await board(caller, name, request)
            assert (day.day, day.new_customers, day.scans, day.clicks) == (may["first_day"], 1, 1, 0)
            money = Money(currency_code="CNY", units=99, nanos=500_000_000)
            assert [(it.orders, it.net) for it in day.revenues] == [(1, money)]
            assert (await caller.refused(name, request, scopes=GUIDE, stores=[S2])).reason == "STORE_SCOPE"
            request.last_day.CopyFrom(Date(year=2026, month=8, day=1))
            assert (await caller.refused(name, request)).reason == "OUT_OF_RANGE"
            request.last_day.CopyFrom(Date(year=2026, month=2, day=30))
            assert (await caller.refused(name, request)).reason == "BAD_FORMAT"

    serve(check)


def test_a_code_of_several_staff_leads_to_one_of_them(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.furnish()
        customers = [await caller.customer(it) for it in range(2)]
        routed = [await caller.call("RouteCustomer", route(it)) for it in customers]
        assert {it.staff_id for it in routed} == {str(G1), str(G2)}
        assert {(it.outcome, it.assigned) for it in routed} == {(org_pb2.ROUTE_OUTCOME_TURN, True)}
        again = await caller.call("RouteCustomer", route(customers[0]))
        assert (again.staff_id, again.outcome) == (routed[0].staff_id, org_pb2.ROUTE_OUTCOME_KEPT)

        for it in (G1, G2):
            off = pb.SetStaffShiftRequest(request_id=str(uuid4()), staff_id=str(it), on_shift=False)
            assert not (await caller.call("SetStaffShift", off)).staff.on_shift
        third = await caller.customer(3)
        assert (await caller.refused("RouteCustomer", route(third))).reason == "NO_STAFF_AVAILABLE"

    serve(check)


async def board(caller: Caller, name: str, request: Any) -> list[org_pb2.BoardDay]:
    """The board once it shows revenue, which was not written over gRPC."""
    deadline = monotonic() + 20
    while True:
        days: list[org_pb2.BoardDay] = list((await caller.call(name, request)).days)
        if any(it.revenues for it in days):
            return days
        assert monotonic() < deadline, "the board does not show the order"
        await asyncio.sleep(0.01)


async def transferred(caller: Caller, transfer: str) -> org_pb2.Transfer:
    """The transfer once it has ended."""
    deadline = monotonic() + 20
    while True:
        found = (await caller.call("GetTransfer", pb.GetTransferRequest(transfer_id=transfer))).transfer
        if found.state != org_pb2.TRANSFER_STATE_RUNNING:
            return found  # type: ignore[no-any-return]
        assert monotonic() < deadline, "the timers of the transfer do not go off"
        await asyncio.sleep(0.01)


def route(customer: str) -> pb.RouteCustomerRequest:
    return pb.RouteCustomerRequest(
        request_id=str(uuid4()), customer_id=customer, code_key="c", staff_ids=[str(G1), str(G2)]
    )


def assignment(customer: str, staff: UUID) -> pb.AssignCustomerRequest:
    return pb.AssignCustomerRequest(
        request_id=str(uuid4()),
        customer_id=customer,
        staff_id=str(staff),
        source=org_pb2.ASSIGNMENT_SOURCE_MANUAL,
    )
