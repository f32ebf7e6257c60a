"""The tracking service: put together, and run in the roles that the command line names."""

import sys

from chassis.consumer import Subscription
from chassis.kit import Kit
from chassis.service import Service
from chassis.unit_of_work import UnitOfWork
from scrm.tracking.v1.analysis_service_pb2_grpc import add_AnalysisServiceServicer_to_server
from scrm.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from services.tracking.adapters.analysis_servicer import AnalysisServicer
from services.tracking.adapters.behaviour_log import BehaviourLog
from services.tracking.adapters.behaviour_source import BehaviourSource
from services.tracking.adapters.fact_book import SqlFactBook
from services.tracking.adapters.grpc_servicer import TrackingServicer
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.resolver import Resolver
from services.tracking.application.analysis import Analysis
from services.tracking.application.analysis_handlers import TIMERS, analysis_handlers
from services.tracking.application.commands import HANDLERS
from services.tracking.application.policies import IDENTITY_EVENTS, keep_customers
from services.tracking.application.published_events import PRIVATE, partition_key, publish
from services.tracking.read_models.boards import SOURCE, BoardsProjection
from services.tracking.read_models.customer_nodes import CustomerNodesProjection
from services.tracking.read_models.insights import InsightsProjection, KnownNodesProjection
from services.tracking.read_models.order_paths import OrderPathsProjection
from services.tracking.read_models.orders import OrdersProjection
from services.tracking.read_models.shares import SharesProjection
from services.tracking.settings import Settings


def servicer(kit: Kit) -> TrackingServicer:
    ingest = IngestWriter(kit.engine, kit.pulse.beat)
    ingest.start()
    return TrackingServicer(kit.bus, kit.read_models, kit.clock, ingest, IdentityClient(kit.channel("identity")))


def resolver(kit: Kit) -> Resolver:
    identity = IdentityClient(kit.channel("identity"))
    return Resolver(kit.engine, identity, poll=kit.settings.poll_seconds, pulse=kit.pulse)


def fact_book(work: UnitOfWork) -> SqlFactBook:
    return SqlFactBook(work.rows, work.context.tenant)


def service(settings: Settings) -> Service:
    """Tracking with `settings`."""
    return Service(
        name="tracking",
        settings=settings.chassis,
        handlers=(*HANDLERS, *analysis_handlers(fact_book)),
        servicers=lambda kit: [
            (add_TrackingServiceServicer_to_server, servicer(kit)),
            (add_AnalysisServiceServicer_to_server, AnalysisServicer(kit.bus, kit.read_models, kit.clock)),
        ],
        publish=publish,
        partition_key=partition_key,
        private=PRIVATE,
        projections=[
            OrdersProjection(),
            CustomerNodesProjection(),
            OrderPathsProjection(),
            InsightsProjection(),
            KnownNodesProjection(),
            SharesProjection(),
            BoardsProjection(),
        ],
        sources=lambda engine: {SOURCE: BehaviourSource(engine)},
        subscriptions=lambda kit: [
            Subscription("tracking", ["identity"], keep_customers, keep=True, events=IDENTITY_EVENTS),
            Analysis(fact_book).subscription(),
        ],
        timers=TIMERS,
        public_logs=lambda kit: [BehaviourLog(kit.engine)],
        loops={"resolve": resolver},
    )


def main() -> None:
    # Reading a large batch takes milliseconds of Python; the thread that talks to PostgreSQL must not wait for its end.
    sys.setswitchinterval(0.0005)
    service(Settings.from_environment()).run(sys.argv[1:])
