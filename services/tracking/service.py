"""The tracking service: put together, and run in the roles that the command line names."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from chassis.commands import UnitOfWork
from chassis.consumer import Subscription
from chassis.grpc_server import Registration
from chassis.http_edge import HttpEdge
from chassis.key_file import KeyFile
from chassis.kit import Kit
from chassis.pulse import News
from chassis.service import Service
from scrm.tracking.v1.analysis_service_pb2_grpc import add_AnalysisServiceServicer_to_server
from scrm.tracking.v1.channel_service_pb2_grpc import add_ChannelServiceServicer_to_server
from scrm.tracking.v1.content_service_pb2_grpc import add_ContentServiceServicer_to_server
from scrm.tracking.v1.group_service_pb2_grpc import add_GroupServiceServicer_to_server
from scrm.tracking.v1.import_service_pb2_grpc import add_ImportServiceServicer_to_server
from scrm.tracking.v1.link_service_pb2_grpc import add_LinkServiceServicer_to_server
from scrm.tracking.v1.menu_service_pb2_grpc import add_MenuServiceServicer_to_server
from scrm.tracking.v1.plan_service_pb2_grpc import add_PlanServiceServicer_to_server
from scrm.tracking.v1.source_service_pb2_grpc import add_SourceServiceServicer_to_server
from scrm.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from services.tracking.adapters.account_seal import AccountSeal
from services.tracking.adapters.analysis_servicer import AnalysisServicer
from services.tracking.adapters.behaviour_log import BehaviourLog
from services.tracking.adapters.behaviour_source import BehaviourSource
from services.tracking.adapters.channel_servicer import ChannelServicer
from services.tracking.adapters.click_recorder import ClickRecorder
from services.tracking.adapters.content_servicer import ContentServicer
from services.tracking.adapters.eraser import Eraser
from services.tracking.adapters.erasures import SqlErasures
from services.tracking.adapters.fact_book import SqlFactBook
from services.tracking.adapters.fact_recorder import FactRecorder
from services.tracking.adapters.form_desk import FormDesk
from services.tracking.adapters.group_servicer import GroupServicer
from services.tracking.adapters.grpc_servicer import TrackingServicer
from services.tracking.adapters.hit_log import HitLog
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.import_command import import_rows
from services.tracking.adapters.import_servicer import ImportServicer
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.link_book import LinkBook
from services.tracking.adapters.link_door import LinkDoor
from services.tracking.adapters.link_servicer import LinkServicer
from services.tracking.adapters.link_signer import LinkSigner
from services.tracking.adapters.menu_servicer import MenuServicer
from services.tracking.adapters.order_reporter import OrderReporter
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.plan_servicer import PlanServicer
from services.tracking.adapters.qr_door import QrDoor
from services.tracking.adapters.quarantine import SqlQuarantine
from services.tracking.adapters.resolver import Resolver
from services.tracking.adapters.retention import Retention, Terms
from services.tracking.adapters.script_door import ScriptDoor
from services.tracking.adapters.segment_door import SegmentDoor
from services.tracking.adapters.source_book import SourceBook
from services.tracking.adapters.source_servicer import SourceServicer
from services.tracking.adapters.wechat_door import WechatDoor
from services.tracking.application.analysis import Analysis
from services.tracking.application.analysis_handlers import TIMERS, analysis_handlers
from services.tracking.application.definition_handlers import definition_handlers
from services.tracking.application.handlers import handlers
from services.tracking.application.policies import IDENTITY_EVENTS, keep_customers
from services.tracking.application.published_events import PRIVATE, partition_key, publish
from services.tracking.read_models.boards import SOURCE, BoardsProjection
from services.tracking.read_models.channel_codes import ChannelCodesProjection
from services.tracking.read_models.contents import ContentsProjection
from services.tracking.read_models.customer_nodes import CustomerNodesProjection
from services.tracking.read_models.groups import GroupsProjection
from services.tracking.read_models.insights import InsightsProjection, KnownNodesProjection
from services.tracking.read_models.menus import MenusProjection
from services.tracking.read_models.order_paths import OrderPathsProjection
from services.tracking.read_models.orders import OrdersProjection
from services.tracking.read_models.shares import SharesProjection
from services.tracking.read_models.sources import SourcesProjection
from services.tracking.settings import Settings

DEFINITIONS: Final = (ChannelCodesProjection(), MenusProjection(), ContentsProjection(), GroupsProjection())


def ingest(kit: Kit) -> Ingest:
    writer = IngestWriter(kit.engine, partial(kit.pulse.beat, News.BESIDE))
    writer.start()
    return Ingest(writer, SourceBook(kit.store), kit.clock, PlanBook(kit.store))


def servicers(kit: Kit, door: Ingest, keys: KeyFile) -> Sequence[Registration]:
    identity = IdentityClient(kit.channel("identity"))
    tracking = TrackingServicer(kit.bus, kit.read_models, door, identity)
    sources = SourceServicer(kit.bus, kit.read_models, door.sources, kit.settings.receipt_key, AccountSeal(keys))
    desk = FormDesk(door.writer, identity, door.plans, kit.clock)
    return [
        (add_TrackingServiceServicer_to_server, tracking),
        (add_SourceServiceServicer_to_server, sources),
        (add_AnalysisServiceServicer_to_server, AnalysisServicer(kit.bus, kit.read_models, kit.clock)),
        (add_ImportServiceServicer_to_server, ImportServicer(kit.bus, door, identity, kit.clock)),
        (add_PlanServiceServicer_to_server, PlanServicer(kit.bus, door.plans)),
        (add_ChannelServiceServicer_to_server, ChannelServicer(kit.bus, kit.read_models)),
        (add_MenuServiceServicer_to_server, MenuServicer(kit.bus, kit.read_models)),
        (add_ContentServiceServicer_to_server, ContentServicer(kit.bus, kit.read_models)),
        (add_GroupServiceServicer_to_server, GroupServicer(kit.bus, kit.read_models)),
        (add_LinkServiceServicer_to_server, LinkServicer(kit.bus, kit.read_models, desk, LinkSigner(keys))),
    ]


def edge(kit: Kit, door: Ingest, keys: KeyFile) -> HttpEdge:
    found = SegmentDoor(door, kit.clock, kit.metrics).edge
    found.add(WechatDoor(door, kit.clock, AccountSeal(keys), found.body).routes)
    book, signer, log = LinkBook(kit.store), LinkSigner(keys), HitLog(kit.engine)
    log.start()
    found.at_end(log.stop)
    found.add(LinkDoor(book, signer, log, kit.clock, found.body).routes)
    found.add(ScriptDoor().routes)
    found.add(QrDoor(book, signer, kit.store).routes)
    return found


def resolver(kit: Kit) -> Resolver:
    identity = IdentityClient(kit.channel("identity"))
    return Resolver(kit.engine, identity, plans=PlanBook(kit.store), poll=kit.settings.poll_seconds, pulse=kit.pulse)


def fact_recorder(kit: Kit) -> FactRecorder:
    return FactRecorder(kit.bus, kit.engine, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def click_recorder(kit: Kit) -> ClickRecorder:
    return ClickRecorder(kit.engine, PlanBook(kit.store), kit.clock, partial(kit.pulse.beat, News.BESIDE))


def quarantine(work: UnitOfWork) -> SqlQuarantine:
    return SqlQuarantine(work.rows, work.context.tenant)


def order_reporter(kit: Kit) -> OrderReporter:
    return OrderReporter(kit.bus, kit.engine, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def eraser(kit: Kit) -> Eraser:
    return Eraser(kit.engine, kit.bus, kit.broker, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def erasures(work: UnitOfWork) -> SqlErasures:
    return SqlErasures(work.rows, work.context.tenant)


def fact_book(work: UnitOfWork) -> SqlFactBook:
    return SqlFactBook(work.reading, work.context.tenant)


def service(settings: Settings) -> Service:
    """Tracking with `settings`."""
    opened: list[Ingest] = []
    terms = Terms(settings.accepted_days, settings.aside_days, settings.behaviour_days)

    def retention(kit: Kit) -> Retention:
        return Retention(kit.engine, terms, kit.clock)

    def door(kit: Kit) -> Ingest:
        """One way in for all doors of the process: its batches commit together."""
        if not opened:
            opened.append(ingest(kit))
        return opened[0]

    return Service(
        name="tracking",
        settings=settings.chassis,
        handlers=[*handlers(erasures), *analysis_handlers(fact_book), *definition_handlers(quarantine)],
        servicers=lambda kit: servicers(kit, door(kit), settings.keys),
        edge=lambda kit: edge(kit, door(kit), settings.keys),
        publish=publish,
        partition_key=partition_key,
        private=PRIVATE,
        projections=[
            OrdersProjection(),
            CustomerNodesProjection(),
            SourcesProjection(),
            OrderPathsProjection(),
            InsightsProjection(),
            KnownNodesProjection(),
            SharesProjection(),
            BoardsProjection(),
            *DEFINITIONS,
        ],
        sources=lambda engine: {SOURCE: BehaviourSource(engine)},
        subscriptions=lambda kit: [
            Subscription(
                "tracking",
                ["identity"],
                lambda batch, work: keep_customers(batch, work, erasures),
                keep=True,
                events=IDENTITY_EVENTS,
            ),
            Analysis(fact_book).subscription(),
        ],
        timers=TIMERS,
        public_logs=lambda kit: [BehaviourLog(kit.engine)],
        loops={
            "resolve": resolver,
            "orders": order_reporter,
            "facts": fact_recorder,
            "clicks": click_recorder,
            "erase": eraser,
            "retention": retention,
        },
        one_shots={"import": import_rows},
    )


def main() -> None:
    # Reading a large batch takes milliseconds of Python; the thread that talks to PostgreSQL must not wait for its end.
    sys.setswitchinterval(0.0005)
    service(Settings.from_environment()).run(sys.argv[1:])
