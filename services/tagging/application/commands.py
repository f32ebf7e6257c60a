"""Every command of the tagging service with its handler."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from chassis.commands import Handler, Handlers, UnitOfWork, handler
from services.tagging.application import condition_commands as conditions
from services.tagging.application import model_commands as models
from services.tagging.application import segment_commands as segments
from services.tagging.application import settings_commands as settings
from services.tagging.application import tag_batch_commands as batches
from services.tagging.application import tag_commands as tags
from services.tagging.application import taxonomy_commands as taxonomy
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
        handler(settings.UpdateTenantSettings, settings.update_tenant_settings),
        handler(conditions.UpdateConditionLimits, conditions.update_condition_limits),
        with_tables(settings.ReviewAll, settings.review_all),
        with_tables(tags.AssignTags, tags.assign_tags),
        with_tables(tags.RemoveTags, tags.remove_tags),
        with_tables(tags.ReviewCustomer, tags.review_customer),
        with_tables(tags.SettleTags, tags.settle_tags),
        with_tables(batches.GiveRows, batches.give_rows),
        with_tables(batches.StartTagBatch, batches.start_tag_batch),
        with_tables(batches.AdvanceTagBatch, batches.advance_tag_batch),
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
        with_tables(segments.SnapshotSegment, segments.snapshot_segment, lambda it: (it.segment_id,)),
        handler(models.DefineModel, models.define_model),
        with_tables(models.KeepModelRun, models.keep_model_run),
    )
