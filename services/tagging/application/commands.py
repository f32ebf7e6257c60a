"""Every command of the tagging service with its handler."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from chassis.commands import Handler, Handlers, UnitOfWork, handler
from services.tagging.application import alert_commands as alerts
from services.tagging.application import audience_commands as audience
from services.tagging.application import clustering_commands as clusterings
from services.tagging.application import condition_commands as conditions
from services.tagging.application import layer_commands as layers
from services.tagging.application import lookalike_commands as lookalikes
from services.tagging.application import model_commands as models
from services.tagging.application import model_schedules as schedules
from services.tagging.application import persona_commands as personas
from services.tagging.application import refresh_commands as refreshing
from services.tagging.application import rule_following as following
from services.tagging.application import segment_commands as segments
from services.tagging.application import settings_commands as settings
from services.tagging.application import tag_batch_commands as batches
from services.tagging.application import tag_commands as tags
from services.tagging.application import tag_rule_commands as rules
from services.tagging.application import taxonomy_commands as taxonomy
from services.tagging.application import value_commands as values
from services.tagging.application.ports import Audiences

C = TypeVar("C")


def handlers(audiences: Audiences) -> Handlers:
    """The handlers, over the tables behind `audiences`."""

    def with_tables(
        command: type[C],
        handle: Callable[[C, UnitOfWork, Audiences], Any],
        loads: Callable[[C], tuple[UUID, ...]] = lambda command: (),
    ) -> Handler:
        return handler(command, lambda it, work: handle(it, work, audiences), loads=loads)

    return (
        with_tables(settings.UpdateTenantSettings, settings.update_tenant_settings),
        handler(conditions.UpdateConditionLimits, conditions.update_condition_limits),
        with_tables(settings.ReviewAll, settings.review_all),
        with_tables(tags.AssignTags, tags.assign_tags),
        with_tables(tags.RemoveTags, tags.remove_tags),
        with_tables(tags.ReviewCustomers, tags.review_customers),
        with_tables(tags.SettleTags, tags.settle_tags),
        with_tables(batches.GiveRows, batches.give_rows),
        with_tables(batches.StartTagBatch, batches.start_tag_batch),
        with_tables(batches.AdvanceTagBatch, batches.advance_tag_batch),
        with_tables(rules.DefineRule, rules.define_rule),
        with_tables(rules.ActivateRule, rules.activate_rule),
        handler(rules.PauseRule, rules.pause_rule),
        with_tables(rules.BackfillRule, rules.backfill_rule),
        with_tables(rules.EnableFactTag, rules.enable_fact_tag),
        with_tables(personas.AdoptPersona, personas.adopt_persona),
        with_tables(following.FollowRule, following.follow_rule),
        handler(taxonomy.CreateCategory, taxonomy.create_category),
        handler(taxonomy.MoveCategory, taxonomy.move_category),
        handler(taxonomy.RenameCategory, taxonomy.rename_category),
        handler(taxonomy.ArchiveCategory, taxonomy.archive_category),
        handler(taxonomy.CreateTag, taxonomy.create_tag),
        handler(taxonomy.UpdateTag, taxonomy.update_tag),
        with_tables(taxonomy.ArchiveTag, taxonomy.archive_tag),
        with_tables(taxonomy.MergeTags, taxonomy.merge_tags),
        with_tables(taxonomy.RepointTags, taxonomy.repoint_tags),
        with_tables(segments.CreateSegment, segments.create_segment),
        with_tables(segments.UpdateSegment, segments.update_segment, lambda it: (it.segment_id,)),
        with_tables(segments.UpdateStaticMembers, segments.update_static_members, lambda it: (it.segment_id,)),
        with_tables(segments.ComputeSetOperation, segments.compute_set_operation),
        with_tables(segments.ArchiveSegment, segments.archive_segment, lambda it: (it.segment_id,)),
        with_tables(segments.SnapshotSegment, segments.snapshot_segment, lambda it: (it.segment_id,)),
        with_tables(audience.FollowDue, audience.follow_due),
        with_tables(audience.RecountSegments, audience.recount_segments),
        with_tables(refreshing.RefreshSets, refreshing.refresh_sets),
        with_tables(refreshing.SkipRefresh, refreshing.skip_refresh),
        handler(models.DefineModel, models.define_model),
        with_tables(models.KeepModelRun, models.keep_model_run),
        handler(schedules.PassOverRun, schedules.pass_over_run),
        handler(values.DefineValueModel, values.define_value_model),
        with_tables(values.KeepValueRun, values.keep_value_run),
        with_tables(layers.DefineLayerModel, layers.define_layer_model),
        with_tables(layers.UpdateModel, models.update_model),
        with_tables(layers.ActivateModel, models.activate_model),
        with_tables(layers.ReviewModel, layers.review_model),
        with_tables(layers.ReviewLayer, layers.review_layer),
        with_tables(layers.KeepLayerRun, layers.keep_layer_run),
        with_tables(layers.SelectLayerCell, layers.select_layer_cell),
        with_tables(alerts.DefineAssetAlert, alerts.define_asset_alert),
        with_tables(alerts.ArchiveAssetAlert, alerts.archive_asset_alert),
        with_tables(alerts.JudgePeriod, alerts.judge_period),
        handler(alerts.PassOver, alerts.pass_over),
        with_tables(lookalikes.KeepLookalike, lookalikes.keep_lookalike),
        with_tables(clusterings.KeepClustering, clusterings.keep_clustering),
        with_tables(clusterings.TagClusters, clusterings.tag_clusters),
        handler(clusterings.LinkClusterSurvey, clusterings.link_cluster_survey),
    )
