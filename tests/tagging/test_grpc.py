"""Tagging as its callers meet it: over gRPC, on PostgreSQL."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money

from chassis.credentials import KeySet, Verifier
from chassis.grpc_server import Gate, GrpcServer
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from scrm.tagging.v1 import layer_pb2, model_pb2, segment_pb2, tag_pb2, tag_service_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.tag_service_pb2_grpc import TagServiceStub, add_TagServiceServicer_to_server
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub, add_TaggingServiceServicer_to_server
from services.tagging.adapters.grpc_servicer import TaggingServicer
from services.tagging.adapters.tag_servicer import TagServicer
from tests.tagging.world import TENANT, World, behaved, created, merged, paid, person

SCOPES = ("tagging.read", "tagging.write")
P = [person(n) for n in range(12)]
NOON = datetime(2025, 2, 3, 4, tzinfo=UTC)  # in Shanghai
MARCH = Date(year=2025, month=3, day=1)


class Caller:
    """Somebody with a token for the service of a world."""

    def __init__(self, world: World, stubs: Sequence[Any], credentials: Credentials) -> None:
        self.world = world
        self._stubs = stubs
        self._credentials = credentials

    async def call(self, name: str, tenant: str = TENANT, **fields: Any) -> Any:
        kind = getattr(pb, f"{name}Request", None) or getattr(tag_service_pb2, f"{name}Request")
        if "request_id" in kind.DESCRIPTOR.fields_by_name:
            fields.setdefault("request_id", str(uuid4()))
        token = self._credentials.mint(tenant, SCOPES)
        metadata = (("authorization", f"Bearer {token}"),)
        stub = next(it for it in self._stubs if hasattr(it, name))
        return await getattr(stub, name)(kind(**fields), metadata=metadata, timeout=30)

    async def refused(self, name: str, tenant: str = TENANT, **fields: Any) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, tenant, **fields)
        return refusal(caught.value)


Serve = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def serve(world: World, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """`serve(check)` runs `check(caller)` against a server."""

    async def served(check: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        gate = Gate("tagging", verifier, Metrics(), Tracing(), wait_for=world.read_models.wait_for)
        servicer = TaggingServicer(world.bus, world.read_models, world.clock)
        tags = TagServicer(world.bus, world.read_models)
        registrations: list[Any] = [
            (add_TaggingServiceServicer_to_server, servicer),
            (add_TagServiceServicer_to_server, tags),
        ]
        server = GrpcServer(gate, registrations)
        world.bus.start()
        try:
            port = await server.start("127.0.0.1:0")
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stubs = TaggingServiceStub(channel), TagServiceStub(channel)
                await check(Caller(world, stubs, credentials))
        finally:
            await server.stop(0)
            world.bus.stop()

    return lambda check: loop.run_until_complete(served(check))


def known_customers(world: World) -> None:
    world.tell(*(created(it, key=f"cdnow:{n}") for n, it in enumerate(P)))


def layer(name: str) -> segment_pb2.InLayer:
    return segment_pb2.InLayer(model_id="rfm", layer=name, as_of=MARCH)


def definition(**kind: Any) -> segment_pb2.SegmentDefinition:
    return segment_pb2.SegmentDefinition(**kind)


def test_a_behaviour_becomes_a_tag_a_caller_can_read(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        known_customers(world)
        world.clock.set(NOON + timedelta(days=10))
        nights = [NOON + timedelta(days=n, hours=11, minutes=30) for n in range(5)]  # 23:30
        world.tell(*(behaved(P[1], it) for it in nights), merged(P[0], P[1]))
        await caller.call("AssignTags", customer_id=str(P[0]), tags=[pb.TagValue(tag_key="vip", value="gold")])
        for id in (P[0], P[1]):
            found = await caller.call("GetCustomerTags", customer_id=str(id))
            assert found.customer_id == str(P[0])
            assert [(it.tag_key, it.value) for it in found.tags] == [("night_owl", ""), ("vip", "gold")]
        assert found.tags[0].source == "RULE:night_owl"
        assert found.tags[0].cause == tag_pb2.TAG_CAUSE_MERGE
        assert found.tags[0].evidence == tag_pb2.SessionEvidence(sessions=5, matching_sessions=5, distinct_days=5)
        assert found.tags[0].assign_time.ToDatetime(UTC) == nights[4]
        statistics = await caller.call("GetTagStatistics", tag_key="night_owl")
        assert (statistics.current, statistics.ever) == (1, 1)
        removed = await caller.call("RemoveTags", customer_id=str(P[1]), tag_keys=["vip"])
        assert [it.tag_key for it in removed.tags] == ["night_owl"]
        statistics = await caller.call("GetTagStatistics", tag_key="vip")
        assert (statistics.current, statistics.ever) == (0, 1)
        assert (await caller.refused("GetCustomerTags", "globex", customer_id=str(P[0]))).reason == "CUSTOMER_NOT_FOUND"

    serve(check)


def test_a_run_of_the_model_from_orders_to_rows(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        known_customers(world)
        world.tell(*(paid(P[n], f"{n}/{k}", NOON + timedelta(days=n + k), 1050) for n in range(11) for k in range(n)))
        world.clock.set(NOON + timedelta(days=60))
        await caller.call("DefineModel", model_id="rfm")
        await caller.call("DefineModel", model_id="rfm")
        assert (await caller.refused("DefineModel", model_id="rfm", window_days=7)).reason == "MODEL_EXISTS"
        request = str(uuid4())
        run = (await caller.call("RunModel", model_id="rfm", as_of=MARCH, request_id=request)).run
        assert (await caller.call("RunModel", model_id="rfm", as_of=MARCH, request_id=request)).run == run
        assert run.population == 10
        assert run.net == Money(currency_code="USD", units=577, nanos=500_000_000)
        assert list(run.cuts.frequency) == [2, 4, 6, 8]
        later = (await caller.call("RunModel", model_id="rfm", as_of=MARCH)).run
        assert (later.params_hash, later.input_position) == (run.params_hash, run.input_position)
        assert (await caller.call("GetModelRun", run_id=run.run_id)).run == run
        first = await caller.call("ListModelRuns", model_id="rfm", page_size=1)
        token = first.next_page_token
        second = await caller.call("ListModelRuns", model_id="rfm", page_size=1, page_token=token)
        assert [it.run_id for it in [*first.runs, *second.runs]] == [later.run_id, run.run_id]
        assert not second.next_page_token

        table = await caller.call("GetRfmTable", run_id=run.run_id)
        assert [len(table.segments), len(table.types)] == [10, 8]
        assert sum(it.customers for it in table.segments) == sum(it.customers for it in table.types) == 10
        assert sum(it.total_frequency for it in table.segments) == 55
        rows: list[model_pb2.RfmRow] = []
        token = ""
        while not rows or token:
            page = await caller.call("ListRfmRows", run_id=run.run_id, page_size=4, page_token=token)
            rows, token = [*rows, *page.rows], page.next_page_token
        assert [it.customer_id for it in rows] == [str(it) for it in P[1:11]]
        best = (await caller.call("GetRfmCustomer", run_id=run.run_id, customer_id=str(P[10]))).row
        assert best == rows[-1]
        assert (best.assignment_key, best.recency_days, best.frequency) == ("cdnow:10", 7, 10)
        assert (best.recency_score, best.frequency_score, best.monetary_score) == (5, 5, 5)
        assert (best.type, best.segment) == (model_pb2.RFM_TYPE_HHH, model_pb2.RFM_SEGMENT_CHAMPIONS)

        refusals = [
            await caller.refused("RunModel", model_id="none", as_of=MARCH),
            await caller.refused("RunModel", model_id="rfm", as_of=Date(year=2026, month=1, day=1)),
            await caller.refused("RunModel", model_id="rfm", as_of=Date(year=2025, month=2, day=30)),
            await caller.refused("GetRfmTable", run_id=str(uuid4())),
            await caller.refused("GetRfmTable", "globex", run_id=run.run_id),
            await caller.refused("GetRfmCustomer", run_id=run.run_id, customer_id=str(uuid4())),
            await caller.refused("GetRfmCustomer", run_id=run.run_id, customer_id=str(P[0])),
        ]
        assert [it.reason for it in refusals] == [
            "MODEL_NOT_FOUND",
            "AS_OF_IN_FUTURE",
            "BAD_FORMAT",
            "RUN_NOT_FOUND",
            "RUN_NOT_FOUND",
            "CUSTOMER_NOT_FOUND",
            "CUSTOMER_NOT_SCORED",
        ]

    serve(check)


def test_an_audience_from_layers_to_pages_of_a_snapshot(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        known_customers(world)
        world.tell(*(paid(P[n], f"{n}/{k}", NOON + timedelta(days=n + k), 1050) for n in range(11) for k in range(n)))
        world.clock.set(NOON + timedelta(days=60))
        await caller.call("DefineModel", model_id="rfm")
        run = (await caller.call("RunModel", model_id="rfm", as_of=MARCH)).run
        names = [it.removeprefix("RFM_SEGMENT_") for it in model_pb2.RfmSegment.keys()[1:8]]
        operation = segment_pb2.SetOperation(
            operator=segment_pb2.SET_OPERATOR_UNION,
            operands=[segment_pb2.Operand(layer=layer(it)) for it in names],
        )
        computed = await caller.call("ComputeSetOperation", operation=operation, save_as="audience")
        segment = computed.segment
        table = await caller.call("GetRfmTable", run_id=run.run_id)
        assert computed.count == segment.size == sum(it.customers for it in table.segments if it.segment < 8)
        snapshot = (await caller.call("SnapshotSegment", segment_id=segment.segment_id)).snapshot
        assert snapshot.size == computed.count
        found = await caller.call("GetSegmentSnapshot", snapshot_id=snapshot.snapshot_id)
        assert found.snapshot == snapshot
        members: list[segment_pb2.SnapshotMember] = []
        token = ""
        while not members or token:
            page = await caller.call(
                "ListSnapshotMembers", snapshot_id=snapshot.snapshot_id, page_size=3, page_token=token
            )
            members, token = [*members, *page.members], page.next_page_token
        keys = {str(it): f"cdnow:{n}" for n, it in enumerate(P)}
        assert len(members) == computed.count
        assert all(keys[it.customer_id] == it.assignment_key for it in members)
        assert (
            await caller.refused("ListSnapshotMembers", "globex", snapshot_id=snapshot.snapshot_id)
        ).code == "NOT_FOUND"
        member = members[0].customer_id
        checked = await caller.call("CheckMembership", customer_id=member, segment_ids=[segment.segment_id])
        assert list(checked.segment_ids) == [segment.segment_id]

    serve(check)


def test_segments_are_defined_changed_and_listed(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        known_customers(caller.world)
        vip = segment_pb2.Condition(tag=segment_pb2.HasTag(tag_key="vip"))
        others = definition(dynamic=segment_pb2.Condition(negated=vip))
        created_segment = (await caller.call("CreateSegment", display_name="others", definition=others)).segment
        assert created_segment.definition == others
        assert created_segment.size == 12
        static = definition(static=segment_pb2.StaticList())
        listed = (await caller.call("CreateSegment", display_name="list", definition=static)).segment
        add = pb.MemberChange(action=pb.MemberChange.ACTION_ADD, customer_id=str(P[1]))
        unknown = pb.MemberChange(action=pb.MemberChange.ACTION_ADD, customer_id=str(uuid4()))
        result = await caller.call("UpdateStaticMembers", segment_id=listed.segment_id, changes=[add, unknown, add])
        status = pb.MemberChangeResult
        assert [it.status for it in result.results] == [
            status.STATUS_CHANGED,
            status.STATUS_NOT_FOUND,
            status.STATUS_UNCHANGED,
        ]
        both = segment_pb2.Conditions(
            conditions=[
                segment_pb2.Condition(segment=segment_pb2.InSegment(segment_id=it.segment_id))
                for it in (created_segment, listed)
            ]
        )
        either = definition(dynamic=segment_pb2.Condition(any=both))
        preview = await caller.call("PreviewSegment", definition=either)
        assert (preview.count, len(preview.sample_customer_ids)) == (12, 12)
        assert [(it.path, it.count) for it in preview.breakdown] == [("any[0].segment", 12), ("any[1].segment", 1)]
        assert preview.breakdown[1].text == f'segment("{listed.segment_id}")'
        updated = await caller.call(
            "UpdateSegment",
            segment_id=created_segment.segment_id,
            definition=definition(dynamic=vip),
            etag=created_segment.etag,
        )
        assert (updated.segment.size, updated.segment.etag) == (0, "2")
        stale = await caller.refused(
            "UpdateSegment", segment_id=created_segment.segment_id, definition=others, etag=created_segment.etag
        )
        assert (stale.code, stale.reason) == ("ABORTED", "VERSION_CONFLICT")
        assert (await caller.call("PreviewSegment", definition=either)).count == 1
        shown = await caller.call("ListSegments", page_size=1)
        assert [(it.display_name, it.size) for it in shown.segments] == [("list", 1)]
        rest = await caller.call("ListSegments", page_size=1, page_token=shown.next_page_token)
        assert [it.display_name for it in rest.segments] == ["others"]
        assert (await caller.call("GetSegment", segment_id=listed.segment_id)).segment.size == 1
        foreign = await caller.refused("GetSegment", "globex", segment_id=listed.segment_id)
        assert (foreign.code, foreign.reason) == ("NOT_FOUND", "SEGMENT_NOT_FOUND")
        nine = segment_pb2.Conditions(conditions=[vip] * 9)
        complex_one = definition(dynamic=segment_pb2.Condition(any=nine))
        assert (await caller.refused("PreviewSegment", definition=complex_one)).reason == "CONDITION_TOO_COMPLEX"
        taken = await caller.refused("CreateSegment", display_name="list", definition=static)
        assert (taken.code, taken.reason) == ("ALREADY_EXISTS", "NAME_TAKEN")
        assert (await caller.refused("CreateSegment", display_name="x")).reason == "FIELD_REQUIRED"

    serve(check)


def test_settings_are_the_tenants_own(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        assert (await caller.call("GetTenantSettings", "globex")).settings.time_zone == "UTC"
        new_york = {"time_zone": "America/New_York", "currency": "USD"}
        assert (await caller.call("UpdateTenantSettings", "globex", **new_york)).settings.currency == "USD"
        assert (await caller.call("GetTenantSettings", "globex")).settings.time_zone == "America/New_York"
        assert (await caller.call("GetTenantSettings")).settings.time_zone == "Asia/Shanghai"
        nowhere = await caller.refused("UpdateTenantSettings", time_zone="Mars/Olympus", currency="USD")
        assert nowhere.reason == "UNKNOWN_TIME_ZONE"

    serve(check)


def test_who_is_in_a_segment_since_when_and_why(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        caller.world.tell(created(P[0]), created(P[1]))
        created_segment = await caller.call(
            "CreateSegment",
            display_name="vips",
            definition=segment_pb2.SegmentDefinition(
                dynamic=segment_pb2.Condition(tag=segment_pb2.HasTag(tag_key="vip"))
            ),
        )
        segment = created_segment.segment.segment_id
        for who in P[:2]:
            await caller.call("AssignTags", customer_id=str(who), tags=[pb.TagValue(tag_key="vip")])
        members = await caller.call("ListSegmentMembers", segment_id=segment, page_size=1)
        rest = await caller.call(
            "ListSegmentMembers", segment_id=segment, page_size=1, page_token=members.next_page_token
        )
        assert [it.customer_id for it in (*members.members, *rest.members)] == [str(it) for it in P[:2]]
        assert not rest.next_page_token
        before = caller.world.clock.now() - timedelta(seconds=1)
        asked = {"segment_id": segment, "customer_id": str(P[0])}
        assert not (await caller.call("GetMembership", **asked, as_of=before)).member
        found = await caller.call("GetMembership", **asked)
        assert (found.member, found.change.cause) == (True, segment_pb2.MEMBERSHIP_CAUSE_EVENT)
        archived = await caller.call("ArchiveSegment", segment_id=segment)
        assert (archived.segment.archived, archived.segment.size) == (True, 0)
        changes = await caller.call("ListMembershipChanges", segment_id=segment, page_size=3)
        more = await caller.call("ListMembershipChanges", segment_id=segment, page_token=changes.next_page_token)
        assert [(it.customer_id, it.entered) for it in (*changes.changes, *more.changes)] == [
            (str(P[0]), True),
            (str(P[1]), True),
            *((str(it), False) for it in sorted(P[:2])),
        ]
        own = await caller.call("ListMembershipChanges", segment_id=segment, customer_id=str(P[1]))
        assert [it.entered for it in own.changes] == [True, False]
        assert (await caller.refused("GetMembership", "other", **asked)).reason == "SEGMENT_NOT_FOUND"
        assert (
            await caller.refused("ListMembershipChanges", "other", segment_id=segment)
        ).reason == "SEGMENT_NOT_FOUND"

    serve(check)


def test_a_model_of_layers_from_its_parameters_to_the_audience_of_a_cell(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        known_customers(world)
        world.tell(*(paid(P[n], f"{n}/{k}", NOON + timedelta(days=20 * k), 1050) for n in range(5) for k in range(n)))
        world.clock.set(NOON + timedelta(days=500))
        pyramid: dict[str, Any] = {"model_id": "pyramid", "kind": layer_pb2.MODEL_KIND_PYRAMID}
        found = (await caller.call("DefineModel", **pyramid)).layer_model
        assert (found.version, found.active, found.params["lapsed_days"]) == (1, False, 365)
        assert list(found.layers) == ["L1", "L2", "L3", "L4", "L5", "L6", "LAPSED", "OUT"]
        assert (await caller.refused("DefineModel", model_id="pyramid")).reason == "MODEL_EXISTS"
        bad = await caller.refused("UpdateModel", model_id="pyramid", params={"lapsed_days": 0})
        assert (bad.code, bad.reason, bad.metadata["path"]) == ("INVALID_ARGUMENT", "MODEL_PARAMS", "lapsed_days")

        dates: dict[str, Any] = {"from": MARCH, "to": Date(year=2025, month=4, day=1)}
        report = await caller.call("GetLayerReport", model_id="pyramid", **dates)
        assert counts(getattr(report, "from")) == {"L3": 1, "L4": 3}
        rows = {it.layer: it for it in report.rows}
        assert {it.layer: it.customers for it in rows["L4"].moves} == {"L4": 1, "L5": 2}
        assert (rows["L4"].upward_rate, rows["L4"].action) == (2 / 3, "replenishment reminder")
        assert [(it.layer, it.customers) for it in report.reach if it.layer in ("L3", "L5")] == [("L3", 4), ("L5", 2)]

        cell: dict[str, Any] = {
            "model_id": "pyramid",
            "from_layer": "L4",
            "to_layer": "L5",
            "display_name": "more loyal",
            **dates,
        }
        segment = (await caller.call("SelectLayerCell", **cell)).segment
        assert segment.size == 2
        runs = (await caller.call("ListModelRuns", model_id="pyramid")).runs
        assert [(it.as_of, it.model_version, it.population) for it in runs] == [(dates["to"], 1, 4), (MARCH, 1, 4)]
        again = await caller.call("GetLayerReport", model_id="pyramid", segment_id=segment.segment_id, **dates)
        assert getattr(again, "from").run_id == runs[1].run_id
        assert {it.layer: it.customers for it in again.rows if it.customers} == {"L4": 2}
        assert (await caller.call("RunModel", model_id="pyramid", as_of=MARCH)).run.counts == runs[1].counts

        assert (await caller.call("ActivateModel", model_id="pyramid")).model.active
        world.fire()
        assert [it.active for it in (await caller.call("ListModels")).models] == [True]
        assert (await caller.call("GetModel", model_id="pyramid")).model.kind == layer_pb2.MODEL_KIND_PYRAMID
        now = await caller.call("GetLayer", model_id="pyramid", customer_id=str(P[4]))
        assert (now.layer, now.HasField("next_change_time")) == ("LAPSED", False)
        at = Timestamp(seconds=int((NOON + timedelta(days=50)).timestamp()))
        then = await caller.call("GetLayer", model_id="pyramid", customer_id=str(P[4]), at=at)
        assert (then.layer, then.HasField("next_change_time")) == ("L5", True)
        assert not then.scores
        assert not then.HasField("active_cycle")
        await caller.call("DefineModel", model_id="activity", kind=layer_pb2.MODEL_KIND_ACTIVITY)
        active = await caller.call("GetLayer", model_id="activity", customer_id=str(P[4]), at=at)
        assert [it.category for it in active.scores] == [""]
        assert len(active.active_cycle.hours) == 7 * 24
        await caller.call("DefineModel", model_id="intent", kind=layer_pb2.MODEL_KIND_INTENT)
        assert not (await caller.call("GetLayer", model_id="intent", customer_id=str(P[4]))).scores

        backwards: dict[str, Any] = {"from": dates["to"], "to": MARCH}
        future: dict[str, Any] = {"from": MARCH, "to": Date(year=2030, month=1, day=1)}
        refusals = [
            await caller.refused("GetLayerReport", model_id="pyramid", **backwards),
            await caller.refused("GetLayerReport", model_id="pyramid", **future),
            await caller.refused("GetLayerReport", model_id="rfm", **dates),
            await caller.refused("GetLayer", model_id="pyramid", customer_id=str(uuid4())),
            await caller.refused("GetLayer", "globex", model_id="pyramid", customer_id=str(P[4])),
            await caller.refused("SelectLayerCell", **{**cell, "to_layer": "L9", "display_name": "x"}),
        ]
        assert [it.reason for it in refusals] == [
            "OUT_OF_RANGE",
            "OUT_OF_RANGE",
            "MODEL_NOT_FOUND",
            "CUSTOMER_NOT_FOUND",
            "MODEL_NOT_FOUND",
            "LAYER_NOT_FOUND",
        ]

    serve(check)


def test_ac_117_without_a_source_of_reports_the_lost_are_absent_from_a_report(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        known_customers(world)
        for n in (0, 1):
            world.tell(behaved(P[n], NOON, kind="referral_registered"))
        world.tell(behaved(P[0], NOON + timedelta(1), kind="competitor_purchase_reported"))
        world.clock.set(NOON + timedelta(days=20))
        dates: dict[str, Any] = {"from": Date(year=2025, month=2, day=10), "to": Date(year=2025, month=2, day=20)}
        reports = {}
        for name, params in (("unknown", {}), ("told", {"competitor_source": True})):
            kind = layer_pb2.MODEL_KIND_CONSIDERATION
            await caller.call("DefineModel", model_id=name, kind=kind, params=params)
            reports[name] = await caller.call("GetLayerReport", model_id=name, **dates)
        unknown, told = reports["unknown"], reports["told"]
        assert (unknown.consideration.HasField("transfer_out"), unknown.consideration.pending) == (False, 2)
        assert not unknown.consideration.HasField("loss_rate")
        assert "TRANSFER_OUT" not in {it.layer for it in unknown.rows} | {it.layer for it in unknown.to.counts}
        assert (told.consideration.transfer_out, told.consideration.pending) == (1, 1)
        assert told.consideration.loss_rate == 1

    serve(check)


def counts(of: layer_pb2.LayerDate) -> dict[str, int]:
    return {it.layer: it.customers for it in of.counts if it.customers}
