"""The tagging service: its parts put together."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from chassis.due_times import Timer, Together
from chassis.event_store import PostgresEventStore
from chassis.kit import Kit
from chassis.projection import Projection
from chassis.service import Service
from scrm.tagging.v1.analysis_service_pb2_grpc import add_AnalysisServiceServicer_to_server
from scrm.tagging.v1.condition_service_pb2_grpc import add_ConditionServiceServicer_to_server
from scrm.tagging.v1.tag_service_pb2_grpc import add_TagServiceServicer_to_server
from scrm.tagging.v1.tagging_service_pb2_grpc import add_TaggingServiceServicer_to_server
from services.tagging.adapters.alert_watch import alert_watch
from services.tagging.adapters.analysis_servicer import AnalysisServicer
from services.tagging.adapters.condition_servicer import ConditionServicer
from services.tagging.adapters.dealings_intake import DealingsIntake
from services.tagging.adapters.due_watch import DueWatch
from services.tagging.adapters.fact_intake import FactIntake
from services.tagging.adapters.grpc_servicer import TaggingServicer
from services.tagging.adapters.refresh_watch import Drift, refresh_watch
from services.tagging.adapters.tag_servicer import TagServicer
from services.tagging.adapters.trainer import Trainer
from services.tagging.adapters.value_watch import value_watch
from services.tagging.application import published_events
from services.tagging.application.audience_commands import RECOUNT, FollowDue, RecountSegments
from services.tagging.application.clustering_commands import TAG_CLUSTERS, TagClusters
from services.tagging.application.commands import handlers
from services.tagging.application.layer_commands import REVIEW_MODEL, ReviewLayer, ReviewModel
from services.tagging.application.layer_review import REVIEW_LAYER
from services.tagging.application.rule_following import FollowRule
from services.tagging.application.rule_review import REVIEW_CUSTOMER
from services.tagging.application.settings_commands import REVIEW_ALL, ReviewAll
from services.tagging.application.standing import FOLLOW_RULE, SETTLE_TAGS, Tally
from services.tagging.application.tag_batch_commands import ADVANCE_BATCH, AdvanceTagBatch
from services.tagging.application.tag_commands import ReviewCustomers, SettleTags
from services.tagging.application.taxonomy_commands import REPOINT_TAGS, RepointTags
from services.tagging.domain.claims import Cause
from services.tagging.read_models.audiences import PostgresAudiences
from services.tagging.read_models.dues import FOLLOW_DUE
from services.tagging.read_models.rebuild import rebuild
from services.tagging.read_models.tag_history import TagHistoryProjection
from services.tagging.settings import Settings

TIMERS: Mapping[str, Callable[[Timer], Any] | Together] = {
    REVIEW_CUSTOMER: Together(lambda timers: ReviewCustomers([UUID(it.payload["customer"]) for it in timers])),
    REVIEW_LAYER: lambda timer: ReviewLayer(timer.payload["model"], UUID(timer.payload["customer"])),
    REVIEW_MODEL: lambda timer: ReviewModel(timer.payload["model"], timer.payload["after"]),
    REVIEW_ALL: lambda timer: ReviewAll(timer.payload["after"]),
    SETTLE_TAGS: lambda timer: SettleTags(UUID(timer.payload["customer"])),
    REPOINT_TAGS: lambda timer: RepointTags(timer.payload["key"], timer.payload["into"], UUID(timer.payload["after"])),
    FOLLOW_RULE: lambda timer: FollowRule(
        timer.payload["tag"], Cause(timer.payload["cause"]), timer.payload["after"], Tally.read(timer.payload)
    ),
    ADVANCE_BATCH: lambda timer: AdvanceTagBatch(UUID(timer.payload["batch"]), timer.payload["reason"]),
    FOLLOW_DUE: Together(lambda timers: FollowDue()),
    "follow_page": lambda timer: RecountSegments(),  # no longer set: whoever was left to be looked at is found anew
    RECOUNT: lambda timer: RecountSegments(),
    TAG_CLUSTERS: lambda timer: TagClusters(
        timer.payload["clustering"], timer.payload["version"], timer.payload["after"]
    ),
}
PROJECTIONS: Sequence[Projection] = (TagHistoryProjection(),)


def service(settings: Settings) -> Service:
    """Tagging with `settings`."""
    audiences = PostgresAudiences()
    return Service(
        name="tagging",
        settings=settings.chassis,
        handlers=handlers(audiences),
        servicers=lambda kit: [
            (add_TaggingServiceServicer_to_server, TaggingServicer(kit.bus, kit.read_models, kit.clock)),
            (add_ConditionServiceServicer_to_server, ConditionServicer(kit.bus, kit.read_models, kit.clock)),
            (add_TagServiceServicer_to_server, TagServicer(kit.bus, kit.read_models)),
            (add_AnalysisServiceServicer_to_server, AnalysisServicer(kit.bus, kit.read_models, kit.clock, Trainer())),
        ],
        publish=published_events.publish,
        partition_key=published_events.partition_key,
        private=published_events.PRIVATE,
        projections=PROJECTIONS,
        subscriptions=lambda kit: [
            FactIntake(audiences).subscription(),
            DealingsIntake(audiences).subscription(),
        ],
        timers=TIMERS,
        loops={"alerts": alerts, "valuations": valuations, "refreshes": refreshes},
    )


def alerts(kit: Kit) -> DueWatch:
    poll = kit.settings.poll_seconds
    return alert_watch(kit.bus, kit.read_models, kit.engine, kit.clock, poll=poll, pulse=kit.pulse)


def valuations(kit: Kit) -> DueWatch:
    poll = kit.settings.poll_seconds
    return value_watch(kit.bus, kit.read_models, kit.engine, kit.clock, poll=poll, pulse=kit.pulse)


def refreshes(kit: Kit) -> DueWatch:
    drift = Drift(kit.metrics.registry)
    poll = kit.settings.poll_seconds
    return refresh_watch(kit.bus, kit.read_models, kit.engine, kit.clock, drift, poll=poll, pulse=kit.pulse)


def rebuild_now(settings: Settings) -> None:
    """Make the derived tables again and print what was wrong with the live ones."""
    store = PostgresEventStore(settings.chassis.database_url)
    try:
        for table, drift in rebuild(store.engine, store).items():
            print(f"{table}: {drift.removed} rows removed, {drift.added} added")
    finally:
        store.close()


def main() -> None:
    settings = Settings.from_environment()
    if sys.argv[1:] == ["rebuild"]:
        rebuild_now(settings)
    else:
        service(settings).run(sys.argv[1:])
