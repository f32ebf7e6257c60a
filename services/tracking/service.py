"""The tracking service: put together, and run in the roles that the command line names."""

import sys

from chassis.commands import UnitOfWork
from chassis.consumer import Subscription
from chassis.kit import Kit
from chassis.service import Service
from scrm.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from services.tracking.adapters.behaviour_log import BehaviourLog
from services.tracking.adapters.eraser import Eraser
from services.tracking.adapters.erasures import SqlErasures
from services.tracking.adapters.grpc_servicer import TrackingServicer
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.resolver import Resolver
from services.tracking.application.commands import handlers
from services.tracking.application.policies import IDENTITY_EVENTS, keep_customers
from services.tracking.application.published_events import PRIVATE, partition_key, publish
from services.tracking.read_models.customer_nodes import CustomerNodesProjection
from services.tracking.read_models.orders import OrdersProjection
from services.tracking.settings import Settings


def servicer(kit: Kit) -> TrackingServicer:
    ingest = IngestWriter(kit.engine, kit.pulse.beat)
    ingest.start()
    return TrackingServicer(kit.bus, kit.read_models, kit.clock, ingest, IdentityClient(kit.channel("identity")))


def resolver(kit: Kit) -> Resolver:
    identity = IdentityClient(kit.channel("identity"))
    return Resolver(kit.engine, identity, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def eraser(kit: Kit) -> Eraser:
    return Eraser(kit.engine, kit.bus, kit.broker, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def erasures(work: UnitOfWork) -> SqlErasures:
    return SqlErasures(work.rows, work.context.tenant)


def service(settings: Settings) -> Service:
    """Tracking with `settings`."""
    return Service(
        name="tracking",
        settings=settings.chassis,
        handlers=handlers(erasures),
        servicers=lambda kit: [(add_TrackingServiceServicer_to_server, servicer(kit))],
        publish=publish,
        partition_key=partition_key,
        private=PRIVATE,
        projections=[OrdersProjection(), CustomerNodesProjection()],
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
        loops={"resolve": resolver, "erase": eraser},
    )


def main() -> None:
    # Reading a large batch takes milliseconds of Python; the thread that talks to PostgreSQL must not wait for its end.
    sys.setswitchinterval(0.0005)
    service(Settings.from_environment()).run(sys.argv[1:])
