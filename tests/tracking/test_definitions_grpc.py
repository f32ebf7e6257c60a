"""What a brand defines, as callers meet it: over gRPC, on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import grpc
import pytest

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.credentials import KeySet, Verifier
from chassis.event_store import PostgresEventStore
from chassis.grpc_server import Gate, GrpcServer, Registration
from chassis.projection import Projector
from chassis.read_models import ReadModels
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from scrm.tracking.v1 import channel_pb2, content_pb2, group_pb2, link_pb2, menu_pb2, plan_pb2
from scrm.tracking.v1 import channel_service_pb2 as channel_pb
from scrm.tracking.v1 import content_service_pb2 as content_pb
from scrm.tracking.v1 import group_service_pb2 as group_pb
from scrm.tracking.v1 import link_service_pb2 as link_pb
from scrm.tracking.v1 import menu_service_pb2 as menu_pb
from scrm.tracking.v1 import plan_service_pb2 as plan_pb
from scrm.tracking.v1.behaviour_pb2 import Identifier
from scrm.tracking.v1.channel_service_pb2_grpc import ChannelServiceStub, add_ChannelServiceServicer_to_server
from scrm.tracking.v1.content_service_pb2_grpc import ContentServiceStub, add_ContentServiceServicer_to_server
from scrm.tracking.v1.group_service_pb2_grpc import GroupServiceStub, add_GroupServiceServicer_to_server
from scrm.tracking.v1.link_service_pb2_grpc import LinkServiceStub, add_LinkServiceServicer_to_server
from scrm.tracking.v1.menu_service_pb2_grpc import MenuServiceStub, add_MenuServiceServicer_to_server
from scrm.tracking.v1.plan_service_pb2_grpc import PlanServiceStub, add_PlanServiceServicer_to_server
from services.tracking.adapters.channel_servicer import ChannelServicer
from services.tracking.adapters.content_servicer import ContentServicer
from services.tracking.adapters.form_desk import FormDesk
from services.tracking.adapters.group_servicer import GroupServicer
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.link_servicer import LinkServicer
from services.tracking.adapters.link_signer import LinkSigner
from services.tracking.adapters.menu_servicer import MenuServicer
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.plan_servicer import PlanServicer
from services.tracking.application.definition_handlers import definition_handlers
from services.tracking.application.wire_values import timestamp
from services.tracking.service import quarantine
from tests.chassis.streams import until
from tests.tracking.audience import PROJECTIONS
from tests.tracking.edge import KEY_FILE
from tests.tracking.test_links import FakePeople
from tests.tracking.touches import NOON, Tracking, event

SCOPES = ("tracking.read", "tracking.write", "tracking.configure")


STUBS = (PlanServiceStub, ChannelServiceStub, MenuServiceStub, ContentServiceStub, LinkServiceStub, GroupServiceStub)


class Caller:
    """Somebody of a brand who defines what is tracked."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stubs: tuple[Any, ...] = tuple(it(channel) for it in STUBS)
        self._credentials = credentials

    async def call(self, name: str, request: Any, tenant: str = "acme", *scopes: str) -> Any:
        token = self._credentials.mint(tenant, scopes or SCOPES)
        [method] = [getattr(it, name) for it in self._stubs if hasattr(it, name)]
        return await method(request, metadata=(("authorization", f"Bearer {token}"),), timeout=20)

    async def refused(self, name: str, request: Any, tenant: str = "acme", *scopes: str) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, request, tenant, *scopes)
        return refusal(caught.value)


Serve = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def serve(
    tables: Database, postgres_store: PostgresEventStore, credentials: Credentials, loop: asyncio.AbstractEventLoop
) -> Serve:
    """`serve(check)` awaits `check(caller)` with the services running."""

    @asynccontextmanager
    async def serving() -> AsyncIterator[Caller]:
        store, clock = postgres_store, ReplayClock(NOON)
        async with AsyncExitStack() as closing:
            bus = CommandBus(store, clock, definition_handlers(quarantine))
            bus.start()
            closing.callback(bus.stop)
            read_models = ReadModels(tables.reader_dsn)
            closing.callback(read_models.close)
            writer = IngestWriter(store.engine)
            writer.start()
            closing.callback(writer.stop)
            desk = FormDesk(writer, FakePeople(), PlanBook(store), clock)
            servicers: list[Registration] = [
                (add_PlanServiceServicer_to_server, PlanServicer(bus, PlanBook(store))),
                (add_ChannelServiceServicer_to_server, ChannelServicer(bus, read_models)),
                (add_MenuServiceServicer_to_server, MenuServicer(bus, read_models)),
                (add_ContentServiceServicer_to_server, ContentServicer(bus, read_models)),
                (add_GroupServiceServicer_to_server, GroupServicer(bus, read_models)),
                (add_LinkServiceServicer_to_server, LinkServicer(bus, read_models, desk, LinkSigner(KEY_FILE))),
            ]
            verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
            gate = Gate("tracking", verifier, Metrics(), Tracing(), wait_for=read_models.wait_for)
            server = GrpcServer(gate, servicers)
            port = await server.start("127.0.0.1:0")
            closing.push_async_callback(server.stop, 0)
            projector = Projector(PROJECTIONS, store.engine, store)
            projecting = asyncio.create_task(projector.run())
            closing.push_async_callback(asyncio.wait, [projecting])
            closing.callback(projecting.cancel)

            async def is_ready() -> bool:
                return all(it.version for it in await projector.progress())

            await until(is_ready, "the read models are there")
            channel = await closing.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            yield Caller(channel, credentials)

    def run(check: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with serving() as caller:
                await check(caller)

        loop.run_until_complete(served())

    return run


def new_id() -> str:
    return str(uuid4())


def test_event_types_are_registered_listed_added_to_and_given_up(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        wine = plan_pb2.EventProperty(key="wine", type=plan_pb2.PROPERTY_TYPE_TEXT, required=True)
        register = plan_pb.RegisterEventTypeRequest(
            request_id=new_id(), event_type="tasted", category=plan_pb2.EVENT_CATEGORY_I, properties=[wine]
        )
        made = await caller.call("RegisterEventType", register)
        assert (made.event_type.event_type, made.event_type.version) == ("tasted", 1)
        assert await caller.call("RegisterEventType", register) == made

        update = plan_pb.UpdateEventTypeRequest(
            request_id=new_id(), event_type="tasted", category=plan_pb2.EVENT_CATEGORY_I
        )
        assert (await caller.refused("UpdateEventType", update)).reason == "INCOMPATIBLE_SCHEMA"
        glass = plan_pb2.EventProperty(key="glass", type=plan_pb2.PROPERTY_TYPE_TEXT, enum_values=["big", "small"])
        update.properties.extend([wine, glass])
        update.request_id = new_id()
        assert (await caller.call("UpdateEventType", update)).event_type.version == 2
        deprecate = plan_pb.DeprecateEventTypeRequest(request_id=new_id(), event_type="tasted")
        assert (await caller.call("DeprecateEventType", deprecate)).event_type.deprecated

        own = await caller.call("ListEventTypes", plan_pb.ListEventTypesRequest())
        assert [(it.event_type, it.version, len(it.properties)) for it in own.event_types] == [("tasted", 3, 2)]
        page = plan_pb.ListEventTypesRequest(with_presets=True, page_size=40)
        first = await caller.call("ListEventTypes", page)
        page.page_token = first.next_page_token
        second = await caller.call("ListEventTypes", page)
        names = [it.event_type for it in [*first.event_types, *second.event_types]]
        assert names == sorted(names)
        assert {"tasted", "content_engaged"} <= set(names)
        assert not (await caller.call("ListEventTypes", plan_pb.ListEventTypesRequest(), "globex")).event_types
        foreign = plan_pb.DeprecateEventTypeRequest(request_id=new_id(), event_type="tasted")
        assert (await caller.refused("DeprecateEventType", foreign, "globex")).reason == "EVENT_TYPE_NOT_FOUND"
        assert (await caller.refused("DeprecateEventType", foreign, "acme", "tracking.write")).reason == "MISSING_SCOPE"

    serve(check)


def test_what_becomes_of_other_types_is_decided_and_what_was_put_aside_is_replayed(
    serve: Serve, tracking: Tracking
) -> None:
    async def check(caller: Caller) -> None:
        asked = plan_pb.GetUnplannedPolicyRequest()
        quarantined = plan_pb2.UNPLANNED_POLICY_QUARANTINE
        assert (await caller.call("GetUnplannedPolicy", asked)).policy == quarantined
        tracking.track(event("m1", "unheard_of"), event("m2", identifiers=[]))
        policy = plan_pb2.UNPLANNED_POLICY_ACCEPT_UNPLANNED
        decided = plan_pb.UpdateUnplannedPolicyRequest(request_id=new_id(), policy=policy)
        assert (await caller.call("UpdateUnplannedPolicy", decided)).policy == policy
        assert (await caller.call("GetUnplannedPolicy", asked)).policy == policy
        replay = plan_pb.ReplayQuarantinedRequest(request_id=new_id())
        done = await caller.call("ReplayQuarantined", replay)
        assert (done.accepted, [it.count for it in done.refused], done.last_number, done.more) == (1, [1], 2, False)
        assert await caller.call("ReplayQuarantined", replay) == done
        assert tracking.count("accepted") == 1

    serve(check)


def draft(key: str, **more: Any) -> channel_pb.ChannelCodeDraft:
    fields: dict[str, Any] = {"code_key": key, "kind": channel_pb2.CODE_KIND_H5, "channel": "store_poster"}
    return channel_pb.ChannelCodeDraft(**{**fields, **more})


def test_codes_are_made_listed_changed_archived_and_counted(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        create = channel_pb.CreateChannelCodeRequest(request_id=new_id(), code=draft("a", store_id="SH"))
        made = await caller.call("CreateChannelCode", create)
        assert await caller.call("CreateChannelCode", create) == made
        drafts = [draft("b"), draft("a"), draft("渠道"), channel_pb.ChannelCodeDraft(code_key="c")]
        batch = channel_pb.BatchCreateChannelCodesRequest(request_id=new_id(), codes=drafts)
        results = (await caller.call("BatchCreateChannelCodes", batch)).results
        assert [bool(it.status.code) for it in results] == [False, True, True, True]

        code = channel_pb2.ChannelCode(code_key="a", staff_ids=["G1", "G1"])
        update = channel_pb.UpdateChannelCodeRequest(request_id=new_id(), code=code)
        assert (await caller.refused("UpdateChannelCode", update)).reason == "BAD_FORMAT"
        del update.code.staff_ids[1:]
        update.request_id = new_id()
        assert list((await caller.call("UpdateChannelCode", update)).code.staff_ids) == ["G1"]
        archive = channel_pb.ArchiveChannelCodeRequest(request_id=new_id(), code_key="b")
        assert (await caller.call("ArchiveChannelCode", archive)).code.archived
        get = channel_pb.GetChannelCodeRequest(code_key="a")
        assert (await caller.call("GetChannelCode", get)).code.store_id == "SH"
        assert (await caller.refused("GetChannelCode", get, "globex")).reason == "CHANNEL_CODE_NOT_FOUND"

        async def listed() -> bool:
            wanted = channel_pb.ListChannelCodesRequest(with_archived=True, channel="store_poster", page_size=1)
            first = await caller.call("ListChannelCodes", wanted)
            wanted.page_token = first.next_page_token
            rest = await caller.call("ListChannelCodes", wanted) if first.next_page_token else first
            return [(it.code_key, it.archived) for it in [*first.codes, *rest.codes]] == [("a", False), ("b", True)]

        await until(listed, "both codes are in the list, page by page")
        span = channel_pb.GetCodeStatsRequest(
            start_time=timestamp(NOON), end_time=timestamp(NOON + timedelta(days=401))
        )
        assert (await caller.refused("GetCodeStats", span)).reason == "OUT_OF_RANGE"
        span.end_time.CopyFrom(timestamp(NOON + timedelta(days=1)))
        assert not (await caller.call("GetCodeStats", span)).stats
        nobody = channel_pb.GetAcquisitionRequest(customer_id=new_id())
        assert (await caller.refused("GetAcquisition", nobody)).reason == "CUSTOMER_NOT_FOUND"

    serve(check)


def test_menus_and_contents_are_defined_and_counted(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        click = menu_pb2.MENU_ITEM_TYPE_CLICK
        items = [menu_pb2.MenuItem(key=it, name=it, type=click) for it in ("a", "b")]
        publish = menu_pb.PublishMenuRequest(request_id=new_id(), appid="wx1", items=items)
        made = await caller.call("PublishMenu", publish)
        assert (made.menu.version, made.menu.active_time) == (1, timestamp(NOON))
        assert await caller.call("PublishMenu", publish) == made
        twice = menu_pb.PublishMenuRequest(request_id=new_id(), appid="wx1", items=[*items, items[0]])
        assert (await caller.refused("PublishMenu", twice)).reason == "DUPLICATE_MENU_KEY"
        get = menu_pb.GetMenuRequest(appid="wx1")
        assert (await caller.call("GetMenu", get)).menu == made.menu
        assert (await caller.refused("GetMenu", get, "globex")).reason == "MENU_NOT_FOUND"
        span: dict[str, Any] = {"start_time": timestamp(NOON), "end_time": timestamp(NOON + timedelta(days=1))}

        async def counted() -> bool:
            found = await caller.call("GetMenuStats", menu_pb.GetMenuStatsRequest(appid="wx1", **span))
            return [(it.key, it.clicks) for it in found.items] == [("a", 0), ("b", 0)]

        await until(counted, "the menu is known where clicks are counted")

        buttons = [content_pb2.ContentButton(button_id="B", label="Buy", intent=True)]
        content = content_pb2.Content(
            content_id="H5-1", kind=content_pb2.CONTENT_KIND_H5, title="Spring", topics=["skin"], buttons=buttons
        )
        register = content_pb.RegisterContentRequest(request_id=new_id(), content=content)
        assert (await caller.call("RegisterContent", register)).content == content
        read = content_pb.GetContentRequest(content_id="H5-1")
        assert (await caller.call("GetContent", read)).content == content
        assert (await caller.refused("GetContent", read, "globex")).reason == "CONTENT_NOT_FOUND"
        register.content.buttons.append(buttons[0])
        register.request_id = new_id()
        assert (await caller.refused("RegisterContent", register)).reason == "DUPLICATE_BUTTON"
        asked = content_pb.GetContentStatsRequest(content_ids=["H5-1"], **span)
        assert not (await caller.call("GetContentStats", asked)).stats
        others = content_pb.ListUnregisteredContentsRequest()
        assert not (await caller.call("ListUnregisteredContents", others)).contents
        viewers = content_pb.ListContentViewersRequest(content_id="H5-1", **span)
        assert not (await caller.call("ListContentViewers", viewers)).customer_ids

    serve(check)


def test_links_and_forms_are_made_and_forms_are_filled_in(serve: Serve, tracking: Tracking) -> None:
    async def check(caller: Caller) -> None:
        create = link_pb.CreateTrackedLinkRequest(
            request_id=new_id(), target="https://shop.example.com/", kind=link_pb2.LINK_KIND_EXTERNAL
        )
        assert (await caller.refused("CreateTrackedLink", create)).reason == "TARGET_NOT_ALLOWED"
        hosts = link_pb.UpdateLinkHostsRequest(request_id=new_id(), hosts=["shop.example.com"])
        assert list((await caller.call("UpdateLinkHosts", hosts)).hosts) == ["shop.example.com"]
        listed = await caller.call("GetLinkHosts", link_pb.GetLinkHostsRequest())
        assert list(listed.hosts) == ["shop.example.com"]
        create.request_id = new_id()
        made = await caller.call("CreateTrackedLink", create)
        assert await caller.call("CreateTrackedLink", create) == made
        get = link_pb.GetTrackedLinkRequest(short_code=made.link.short_code)
        assert (await caller.call("GetTrackedLink", get)).link == made.link
        assert (await caller.refused("GetTrackedLink", get, "globex")).reason == "LINK_NOT_FOUND"

        code = made.link.short_code
        contexts = [link_pb2.LinkContext(delivery_id="D-7"), link_pb2.LinkContext()]
        sign = link_pb.SignTrackedLinkRequest(short_code=code, contexts=contexts)
        signed, plain = (await caller.call("SignTrackedLink", sign)).paths
        assert plain == f"/l/acme.{code}"
        said = dict(parse_qsl(signed.partition("?")[2]))
        assert LinkSigner(KEY_FILE).context("acme", code, said).delivery_id == "D-7"
        assert (await caller.refused("SignTrackedLink", sign, "globex")).reason == "LINK_NOT_FOUND"

        fields = [link_pb2.FormField(key="phone", type=link_pb2.FORM_FIELD_TYPE_PHONE, required=True)]
        define = link_pb.DefineFormRequest(request_id=new_id(), form_id="F1", fields=fields)
        assert (await caller.call("DefineForm", define)).form.version == 1
        assert list((await caller.call("GetForm", link_pb.GetFormRequest(form_id="F1"))).form.fields) == fields
        submit = link_pb.SubmitFormRequest(
            request_id=new_id(),
            message_id="m1",
            source_key="h5",
            form_id="F1",
            answers=[link_pb2.FormAnswer(key="phone", value="12")],
            identifiers=[Identifier(namespace="anonymous_id", value="ann")],
            submit_time=timestamp(NOON),
        )
        refusal = await caller.refused("SubmitForm", submit)
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "BAD_FORMAT")
        assert tracking.count("accepted") == 0
        submit.answers[0].value = "13800000001"
        assert not (await caller.call("SubmitForm", submit)).duplicate
        assert not (await caller.call("SubmitForm", submit)).duplicate, "the same request has the same answer"
        submit.request_id = new_id()
        assert (await caller.call("SubmitForm", submit)).duplicate
        assert tracking.count("accepted") == 1
        assert (await caller.refused("SubmitForm", submit, "globex")).reason == "FORM_NOT_FOUND"
        span: dict[str, Any] = {"start_time": timestamp(NOON), "end_time": timestamp(NOON + timedelta(days=1))}
        await asyncio.to_thread(tracking.resolve)
        found = await caller.call("GetFormStats", link_pb.GetFormStatsRequest(form_ids=["F1"], **span))
        assert [(it.form_id, it.submissions, it.unique_submitters) for it in found.stats] == [("F1", 1, 1)]
        hits = link_pb.GetLinkStatsRequest(short_codes=[made.link.short_code], **span)
        assert not (await caller.call("GetLinkStats", hits)).stats

    serve(check)


def test_groups_are_registered_and_who_is_in_them_is_recorded(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        group = group_pb2.CommunityGroup(group_id="G", owner_staff_id="G1", store_id="SH")
        upsert = group_pb.UpsertGroupRequest(request_id=new_id(), group=group)
        assert (await caller.call("UpsertGroup", upsert)).group == group
        get = group_pb.GetGroupRequest(group_id="G")
        assert (await caller.call("GetGroup", get)).group == group
        assert (await caller.refused("GetGroup", get, "globex")).reason == "GROUP_NOT_FOUND"
        record = group_pb.RecordGroupMembershipRequest(
            request_id=new_id(),
            group_id="G",
            customer_id=new_id(),
            change=group_pb2.GROUP_CHANGE_JOINED,
            change_time=timestamp(NOON),
        )
        assert (await caller.refused("RecordGroupMembership", record)).reason == "CUSTOMER_NOT_FOUND"
        span: dict[str, Any] = {"start_time": timestamp(NOON), "end_time": timestamp(NOON + timedelta(days=1))}
        asked = group_pb.GetGroupStatsRequest(group_ids=["G"], **span)
        assert not (await caller.call("GetGroupStats", asked)).stats

    serve(check)
