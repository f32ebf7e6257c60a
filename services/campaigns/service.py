"""The campaigns service: its parts put together."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from chassis.clock import SystemClock
from chassis.commands import UnitOfWork
from chassis.consumer import Incoming, Subscription
from chassis.kit import Kit
from chassis.service import Service
from scrm.campaigns.v1.campaigns_service_pb2_grpc import add_CampaignsServiceServicer_to_server
from scrm.campaigns.v1.flow_service_pb2_grpc import add_FlowServiceServicer_to_server
from services.campaigns.adapters.capture_channel import CaptureChannel
from services.campaigns.adapters.flow_book import SqlFlowBook
from services.campaigns.adapters.flow_servicer import FlowServicer
from services.campaigns.adapters.grpc_servicer import CampaignsServicer
from services.campaigns.adapters.order_book import SqlIntake, SqlOrderBook
from services.campaigns.adapters.permission_book import SqlPermissionBook
from services.campaigns.adapters.roster import SqlRoster
from services.campaigns.adapters.tagging_audience import TaggingAudience
from services.campaigns.adapters.work_list import SqlWorkList
from services.campaigns.application import (
    erasure,
    flow_customers,
    flow_entries,
    flow_facts,
    permission_facts,
    policies,
    published_events,
)
from services.campaigns.application.commands import OPEN_TIMER, Tables
from services.campaigns.application.dispatcher import Dispatcher
from services.campaigns.application.dispatching import OpenBroadcast
from services.campaigns.application.flow_steps import WAKE_TIMER, WakeInstance
from services.campaigns.application.handlers import handlers
from services.campaigns.read_models.broadcasts import BroadcastDirectory
from services.campaigns.read_models.conversions import ConversionTable
from services.campaigns.read_models.deliveries import DeliveryStatus
from services.campaigns.read_models.flow_progress import FlowProgress
from services.campaigns.read_models.flows import FlowDirectory
from services.campaigns.settings import Settings

TABLES = Tables(
    roster=lambda work: SqlRoster(work.rows, work.context.tenant),
    orders=lambda work: SqlOrderBook(work.rows, work.context.tenant),
    flows=SqlFlowBook,
    permissions=lambda work: SqlPermissionBook(work.rows, work.context.tenant),
)


def service(settings: Settings) -> Service:
    """Campaigns with `settings`."""

    def dispatcher(kit: Kit) -> Dispatcher:
        audience, channel = TaggingAudience(kit.channel("tagging")), CaptureChannel(kit.engine, kit.clock)
        pace = replace(settings.pace, poll_seconds=kit.settings.poll_seconds)
        return Dispatcher(kit.bus, SqlWorkList(kit.engine), audience, channel, SystemClock(), pace, kit.pulse)

    return Service(
        name="campaigns",
        settings=settings.chassis,
        handlers=handlers(TABLES),
        servicers=lambda kit: [
            (add_CampaignsServiceServicer_to_server, CampaignsServicer(kit.bus, kit.read_models, kit.clock)),
            (add_FlowServiceServicer_to_server, FlowServicer(kit.bus, kit.read_models)),
        ],
        publish=published_events.publish,
        partition_key=published_events.partition_key,
        private=published_events.PRIVATE,
        projections=[BroadcastDirectory(), DeliveryStatus(), ConversionTable(), FlowDirectory(), FlowProgress()],
        subscriptions=lambda kit: [
            Subscription(
                "campaigns",
                ["identity", "tracking", "tagging"],
                absorb,
                events=(*policies.EVENTS, *flow_customers.EVENTS, *flow_facts.EVENTS, *erasure.EVENTS),
            ),
            # By itself: it hears all that was ever said, also before campaigns listened, and waits for nothing else.
            Subscription("campaigns_permissions", ["identity"], absorb_permissions, events=permission_facts.EVENTS),
        ],
        timers={
            OPEN_TIMER: lambda timer: OpenBroadcast(UUID(timer.key)),
            WAKE_TIMER: lambda timer: WakeInstance(UUID(timer.key), timer.due_at),
        },
        loops={"dispatch": dispatcher},
    )


def absorb(batch: Sequence[Incoming], work: UnitOfWork) -> None:
    """Take note of what other services report."""
    policies.absorb(batch, SqlIntake(work.rows))
    flow_customers.follow_customers(batch, work, TABLES)
    flow_entries.follow_facts(batch, work, TABLES)
    erasure.erase(batch, work, lambda work: SqlIntake(work.rows), TABLES)


def absorb_permissions(batch: Sequence[Incoming], work: UnitOfWork) -> None:
    """Take note of what people allow, and where they can be reached."""
    permission_facts.follow_permissions(batch, work, TABLES)


def main() -> None:
    service(Settings.from_environment()).run(sys.argv[1:])
