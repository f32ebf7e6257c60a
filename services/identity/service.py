"""The identity service: put together, and run in the roles that the command line names."""

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog

from chassis.consumer import Joint, Subscription
from chassis.event_store import PostgresEventStore
from chassis.kit import Kit
from chassis.service import Service
from chassis.settings import InvalidSettingsError
from scrm.identity.v1.engagement_service_pb2_grpc import add_EngagementServiceServicer_to_server
from scrm.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from scrm.identity.v1.org_service_pb2_grpc import add_OrgServiceServicer_to_server
from scrm.identity.v1.privacy_service_pb2_grpc import add_PrivacyServiceServicer_to_server
from scrm.identity.v1.profile_service_pb2_grpc import add_ProfileServiceServicer_to_server
from services.identity.adapters.awaited_orders import SqlAwaitedOrders
from services.identity.adapters.engagement_servicer import EngagementServicer
from services.identity.adapters.grpc_servicer import IdentityServicer
from services.identity.adapters.key_table import SqlKeyTable, rewrap
from services.identity.adapters.matcher import Matcher
from services.identity.adapters.matching_servicer import MatchingParts
from services.identity.adapters.open_business import open_urgent_work_order
from services.identity.adapters.org_servicer import OrgServicer
from services.identity.adapters.privacy_servicer import PrivacyServicer
from services.identity.adapters.profile_servicer import ProfileParts, ProfileServicer
from services.identity.adapters.source_watch import SourceWatch
from services.identity.adapters.store_bounds import StoreBound
from services.identity.adapters.uncredited_orders import SqlUncreditedOrders
from services.identity.adapters.unsealing import Unsealer
from services.identity.application import credit_policies, lead_policies, lead_qualifying, name_indexing, policies
from services.identity.application.attribute_commands import EndMinority
from services.identity.application.attribute_upsert import COMING_OF_AGE
from services.identity.application.erasure_commands import ERASURE_DUE, BeginErasure, ErasureRules
from services.identity.application.expiry_commands import ExpireAnonymous
from services.identity.application.handlers import handlers
from services.identity.application.name_indexing import NameIndexing
from services.identity.application.owners import EXPIRY_TIMER
from services.identity.application.profile_policies import CONSUMER, SERVICE_OF, events_of, keep_what_is_told
from services.identity.application.published_events import PRIVATE, partition_key, publish
from services.identity.application.transfer_commands import TRANSFER_DUE, transfer_due
from services.identity.application.uncredited_orders import Uncredited
from services.identity.application.vault import KeyWrap, Vault
from services.identity.application.work_order_commands import SLA_TIMER, BreachWorkOrderSla
from services.identity.domain.identifiers import IdentifierReader
from services.identity.domain.name_index import NameHashes
from services.identity.read_models.assignment_keys import AssignmentKeysProjection
from services.identity.read_models.attribute_values import AttributeValuesProjection
from services.identity.read_models.contact_history import ContactHistoryProjection
from services.identity.read_models.customer_directory import CustomerDirectoryProjection
from services.identity.read_models.customer_guides import CustomerGuidesProjection
from services.identity.read_models.device_use import DeviceUseProjection
from services.identity.read_models.erasure_cases import ErasureCasesProjection
from services.identity.read_models.guide_boards import GuideBoardsProjection
from services.identity.read_models.identity_statistics import IdentityStatisticsProjection
from services.identity.read_models.issue_board import IssueBoardProjection
from services.identity.read_models.leads import LeadsProjection
from services.identity.read_models.merge_history import MergeHistoryProjection
from services.identity.read_models.names import NamesProjection
from services.identity.read_models.organisation import OrganisationProjection
from services.identity.read_models.profile.essence import essence
from services.identity.read_models.profile.projection import OWN_STREAM, ProfileProjection
from services.identity.read_models.profile.told import MESSAGES
from services.identity.read_models.sent_messages import SentMessagesProjection
from services.identity.read_models.steward_queue import StewardQueueProjection
from services.identity.read_models.work_order_queue import WorkOrderQueueProjection
from services.identity.settings import Settings

_log = structlog.get_logger(__name__)


def service(settings: Settings) -> Service:
    """Identity with `settings`."""
    reader = IdentifierReader(settings.hash_key, region=settings.region, regions=settings.regions)

    wrap = KeyWrap(settings.keys)

    hashes = NameHashes(settings.hash_key)
    vault = Vault(wrap, SqlKeyTable)

    def profiles(kit: Kit) -> ProfileServicer:
        watch = SourceWatch(kit.engine, kit.broker, kit.channel, kit.clock, shards=kit.settings.shard_count)
        parts = ProfileParts(reader, hashes, Unsealer(wrap), watch)
        return ProfileServicer(kit.bus, kit.read_models, kit.clock, parts)

    def matching(kit: Kit) -> MatchingParts:
        return MatchingParts.on(kit.store, kit.read_models, wrap, settings.hash_key)

    def servicer(kit: Kit) -> IdentityServicer:
        return IdentityServicer(kit.bus, kit.read_models, reader, kit.clock, matching(kit))

    def matcher(kit: Kit) -> Matcher:
        poll = kit.settings.poll_seconds
        return Matcher(matching(kit).matching, kit.bus, kit.read_models, kit.engine, poll=poll, pulse=kit.pulse)

    return Service(
        name="identity",
        settings=settings.chassis,
        handlers=handlers(vault, SqlUncreditedOrders, ErasureRules(settings.grace_of, [open_urgent_work_order])),
        servicers=lambda kit: [
            (add_IdentityServiceServicer_to_server, StoreBound(servicer(kit), kit.bus)),
            (
                add_PrivacyServiceServicer_to_server,
                StoreBound(PrivacyServicer(kit.bus, kit.read_models, Unsealer(wrap)), kit.bus),
            ),
            (add_ProfileServiceServicer_to_server, profiles(kit)),
            (
                add_EngagementServiceServicer_to_server,
                StoreBound(EngagementServicer(kit.bus, kit.read_models, Unsealer(wrap)), kit.bus),
            ),
            (add_OrgServiceServicer_to_server, OrgServicer(kit.bus, kit.read_models, kit.clock, Unsealer(wrap))),
        ],
        publish=publish,
        partition_key=partition_key,
        private=PRIVATE,
        projections=[
            CustomerDirectoryProjection(),
            IdentityStatisticsProjection(),
            MergeHistoryProjection(),
            AttributeValuesProjection(),
            AssignmentKeysProjection(),
            NamesProjection(),
            ProfileProjection(),
            ErasureCasesProjection(),
            WorkOrderQueueProjection(),
            ContactHistoryProjection(),
            SentMessagesProjection(),
            LeadsProjection(),
            IssueBoardProjection(),
            StewardQueueProjection(),
            DeviceUseProjection(),
            OrganisationProjection(),
            GuideBoardsProjection(),
            CustomerGuidesProjection(),
        ],
        subscriptions=lambda kit: [
            Joint(
                [
                    Subscription(
                        CONSUMER,
                        [*SERVICE_OF, OWN_STREAM],
                        keep_what_is_told,
                        keep=essence,
                        events=events_of(list(MESSAGES)),
                    ),
                    Subscription(
                        "identity_credits",
                        ["tracking"],
                        lambda batch, work: credit_policies.follow(batch, work, Uncredited(SqlUncreditedOrders)),
                        events=credit_policies.CONCERNS,
                    ),
                    Subscription(
                        "identity",
                        ["tracking", "tagging"],
                        lambda batch, work: lead_qualifying.follow(batch, work, SqlAwaitedOrders(work)),
                        events=(*lead_policies.EVENTS, lead_qualifying.EVENT),
                    ),
                ]
            ),
            Subscription(
                name_indexing.CONSUMER,
                [name_indexing.STREAM],
                NameIndexing(vault, hashes).follow,
                events=name_indexing.EVENTS,
            ),
            Subscription(
                "identity_erasures", policies.STREAMS, policies.record_that_a_service_is_done, events=policies.EVENTS
            ),
        ],
        timers={
            COMING_OF_AGE: lambda timer: EndMinority(UUID(timer.key)),
            SLA_TIMER: lambda timer: BreachWorkOrderSla(UUID(timer.key)),
            TRANSFER_DUE: transfer_due,
            EXPIRY_TIMER: lambda timer: ExpireAnonymous(UUID(timer.key)),
            ERASURE_DUE: lambda timer: BeginErasure(UUID(timer.key)),
        },
        loops={"match": matcher},
        one_shots={"rewrap": partial(rewrap_keys, wrap)},
    )


async def rewrap_keys(wrap: KeyWrap, service: Service, arguments: Sequence[str]) -> None:
    """The role `rewrap`: wrap every data key by the newest key of its tenant, so that older ones are no longer needed."""
    if arguments:
        raise InvalidSettingsError("usage: rewrap")
    store = PostgresEventStore(service.settings.database_url)
    try:
        _log.info("identity.rewrapped", keys=await asyncio.to_thread(rewrap, store.engine, wrap))
    finally:
        store.close()


def main() -> None:
    service(Settings.from_environment()).run(sys.argv[1:])
