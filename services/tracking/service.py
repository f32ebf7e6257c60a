"""The tracking service: put together, and run in the roles that the command line names."""

import sys

from chassis.consumer import Subscription
from chassis.kit import Kit
from chassis.service import Service
from scrm.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from services.tracking.adapters.behaviour_log import BehaviourLog
from services.tracking.adapters.grpc_servicer import TrackingServicer
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.resolver import Resolver
from services.tracking.application.commands import HANDLERS
from services.tracking.application.policies import IDENTITY_EVENTS, keep_customers
from services.tracking.application.published_events import partition_key, publish
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


def service(settings: Settings) -> Service:
    """Tracking with `settings`."""
    return Service(
        name="tracking",
        settings=settings.chassis,
        handlers=HANDLERS,
        servicers=lambda kit: [(add_TrackingServiceServicer_to_server, servicer(kit))],
        publish=publish,
        partition_key=partition_key,
        projections=[OrdersProjection(), CustomerNodesProjection()],
        subscriptions=lambda kit: [
            Subscription("tracking", ["identity"], keep_customers, keep=True, events=IDENTITY_EVENTS)
        ],
        public_logs=lambda kit: [BehaviourLog(kit.engine)],
        loops={"resolve": resolver},
    )


def main() -> None:
    # Reading a large batch takes milliseconds of Python; the thread that talks to PostgreSQL must not wait for its end.
    sys.setswitchinterval(0.0005)
    service(Settings.from_environment()).run(sys.argv[1:])
