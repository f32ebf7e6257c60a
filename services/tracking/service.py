"""The tracking service: put together, and run in the roles that the command line names."""

import sys
from collections.abc import Sequence

from chassis.commands import UnitOfWork
from chassis.consumer import Subscription
from chassis.grpc_server import Registration
from chassis.http_edge import HttpEdge
from chassis.kit import Kit
from chassis.service import Service
from scrm.tracking.v1.source_service_pb2_grpc import add_SourceServiceServicer_to_server
from scrm.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from services.tracking.adapters.behaviour_log import BehaviourLog
from services.tracking.adapters.eraser import Eraser
from services.tracking.adapters.erasures import SqlErasures
from services.tracking.adapters.grpc_servicer import TrackingServicer
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.order_reporter import OrderReporter
from services.tracking.adapters.resolver import Resolver
from services.tracking.adapters.segment_door import SegmentDoor
from services.tracking.adapters.source_book import SourceBook
from services.tracking.adapters.source_servicer import SourceServicer
from services.tracking.application.handlers import handlers
from services.tracking.application.policies import IDENTITY_EVENTS, keep_customers
from services.tracking.application.published_events import PRIVATE, partition_key, publish
from services.tracking.read_models.customer_nodes import CustomerNodesProjection
from services.tracking.read_models.orders import OrdersProjection
from services.tracking.read_models.sources import SourcesProjection
from services.tracking.settings import Settings


def ingest(kit: Kit) -> Ingest:
    writer = IngestWriter(kit.engine, kit.pulse.beat)
    writer.start()
    return Ingest(writer, SourceBook(kit.store), kit.clock)


def servicers(kit: Kit, door: Ingest) -> Sequence[Registration]:
    identity = IdentityClient(kit.channel("identity"))
    tracking = TrackingServicer(kit.bus, kit.read_models, door, identity)
    sources = SourceServicer(kit.bus, kit.read_models, door.sources, kit.settings.receipt_key)
    return [
        (add_TrackingServiceServicer_to_server, tracking),
        (add_SourceServiceServicer_to_server, sources),
    ]


def edge(kit: Kit, door: Ingest) -> HttpEdge:
    return SegmentDoor(door, kit.clock, kit.metrics).edge


def resolver(kit: Kit) -> Resolver:
    identity = IdentityClient(kit.channel("identity"))
    return Resolver(kit.engine, identity, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def order_reporter(kit: Kit) -> OrderReporter:
    return OrderReporter(kit.bus, kit.engine, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def eraser(kit: Kit) -> Eraser:
    return Eraser(kit.engine, kit.bus, kit.broker, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def erasures(work: UnitOfWork) -> SqlErasures:
    return SqlErasures(work.rows, work.context.tenant)


def service(settings: Settings) -> Service:
    """Tracking with `settings`."""
    opened: list[Ingest] = []

    def door(kit: Kit) -> Ingest:
        """One way in for all doors of the process: its batches commit together."""
        if not opened:
            opened.append(ingest(kit))
        return opened[0]

    return Service(
        name="tracking",
        settings=settings.chassis,
        handlers=handlers(erasures),
        servicers=lambda kit: servicers(kit, door(kit)),
        edge=lambda kit: edge(kit, door(kit)),
        publish=publish,
        partition_key=partition_key,
        private=PRIVATE,
        projections=[OrdersProjection(), CustomerNodesProjection(), SourcesProjection()],
        subscriptions=lambda kit: [
            Subscription(
                "tracking",
                ["identity"],
                lambda batch, work: keep_customers(batch, work, erasures),
                keep=True,
                events=IDENTITY_EVENTS,
            )
        ],
        public_logs=lambda kit: [BehaviourLog(kit.engine)],
        loops={"resolve": resolver, "orders": order_reporter, "erase": eraser},
    )


def main() -> None:
    # Reading a large batch takes milliseconds of Python; the thread that talks to PostgreSQL must not wait for its end.
    sys.setswitchinterval(0.0005)
    service(Settings.from_environment()).run(sys.argv[1:])
