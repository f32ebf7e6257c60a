"""The only door out: what other services are told of the events of tagging."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from google.protobuf.message import Message

from chassis.event_store import Recorded
from scrm.tagging.v1 import events_pb2 as pb
from scrm.tagging.v1 import segment_pb2
from services.tagging.application import analysis_messages, layer_messages, model_messages, wire
from services.tagging.domain.asset_alerts import AssetAlert
from services.tagging.domain.clusterings import Clustering
from services.tagging.domain.erasure import Erasure
from services.tagging.domain.evaluations import Recomputation, RuleEvaluation
from services.tagging.domain.layer_models import CustomerLayers, LayerModel, LayerRun
from services.tagging.domain.lookalikes import Lookalike
from services.tagging.domain.memberships import MembershipChange
from services.tagging.domain.models import ModelRun, RfmModel, RunMoves
from services.tagging.domain.segments import Segment, SegmentName, Snapshot
from services.tagging.domain.tag_batches import TagBatch
from services.tagging.domain.tag_rules import TagRules
from services.tagging.domain.tags import CustomerTags, tag_id
from services.tagging.domain.taxonomy import Taxonomy
from services.tagging.domain.tenant_settings import TenantSettings
from services.tagging.domain.value_models import ValueModel, ValueRun

PRIVATE: Final = frozenset[type](
    {
        AssetAlert.Read,
        Clustering.Opened,
        Clustering.SurveyLinked,
        CustomerLayers.Opened,
        CustomerTags.Excluded,
        CustomerTags.Forgotten,
        CustomerTags.Offered,
        CustomerTags.Opened,
        CustomerTags.Repointed,
        CustomerTags.Withdrawn,
        Lookalike.Opened,
        RfmModel.Scheduled,
        Segment.MembersAdded,
        Segment.MembersRemoved,
        SegmentName.Claimed,
        TagRules.Opened,
        TagBatch.Advanced,
        TagBatch.Started,
        Taxonomy.Opened,
        TenantSettings.Opened,
        TenantSettings.Updated,
        TenantSettings.ConditionLimitsSet,
        ValueModel.Scheduled,
    }
)
"""Domain events that nobody else is ever told of."""


def publish(recorded: Recorded) -> Message | Sequence[Message] | None:
    """The message for an event, or several; None for a private one."""
    tenant, id = recorded.tenant, recorded.event.originator_id
    match recorded.event:
        case CustomerTags.Assigned() as event:
            return _assigned(tenant, event)
        case CustomerTags.Removed() as event:
            return _removed(tenant, event)
        case (
            RfmModel.Defined()
            | RfmModel.Updated()
            | RfmModel.Activated()
            | ModelRun.Completed()
            | RunMoves.Happened()
            | ValueModel.Defined()
            | ValueModel.Updated()
            | ValueRun.Completed()
        ):
            return model_messages.of_model(id, recorded.event)
        case LayerModel.Defined() | LayerModel.Updated() | LayerModel.Activated() | LayerRun.Completed():
            return layer_messages.of_model(id, recorded.event)
        case (
            AssetAlert.Defined()
            | AssetAlert.Changed()
            | AssetAlert.Archived()
            | AssetAlert.Raised()
            | Lookalike.Built()
            | Clustering.Built()
        ):
            return analysis_messages.of_analysis(recorded.event)
        case CustomerLayers.LayerChanged() | CustomerLayers.ScoreChanged() | CustomerLayers.LeadQualified():
            return layer_messages.of_customer(recorded.event)
        case Erasure.Completed(customer=customer, removed=removed, completed_at=at):
            return pb.CustomerDataErased(
                case_id=str(id),
                customer_id=str(customer),
                removed=removed,
                position=recorded.position,
                erase_time=wire.timestamp(at),
            )
    return _taxonomy_changed(tenant, recorded.event) or _of_segment(id, recorded.event)


def partition_key(recorded: Recorded) -> UUID:
    """The customer a tag belongs to; what is about no customer goes by its own id."""
    match recorded.event:
        case (
            CustomerTags.Opened(customer=customer)
            | CustomerTags.Withdrawn(customer=customer)
            | CustomerTags.Assigned(customer=customer)
            | CustomerTags.Removed(customer=customer)
            | CustomerTags.Offered(customer=customer)
            | CustomerTags.Excluded(customer=customer)
            | CustomerTags.Repointed(customer=customer)
            | CustomerTags.Forgotten(customer=customer)
        ):
            return customer
        case (
            CustomerLayers.LayerChanged(customer=customer)
            | CustomerLayers.ScoreChanged(customer=customer)
            | CustomerLayers.LeadQualified(customer=customer)
        ):
            return customer
        case Erasure.Completed(customer=customer):
            return customer
        case MembershipChange.Happened(segment=segment) | Recomputation.Completed(segment=segment):
            return segment
        case RunMoves.Happened(moves=(first, *_)):
            return first.customer
        case event:
            return event.originator_id


def _assigned(tenant: str, event: CustomerTags.Assigned) -> pb.TagAssigned:
    it = event.assignment
    return pb.TagAssigned(
        customer_id=str(event.customer),
        node_id=str(it.node),
        tag_id=str(tag_id(tenant, it.tag)),
        tag_key=it.tag,
        value=it.value,
        source=it.source,
        cause=wire.cause(event.cause),
        time=wire.timestamp(event.since or it.at),
        evidence=wire.evidence(it.evidence),
        expire_time=wire.timestamp(it.expires_at) if it.expires_at else None,
        several=it.is_one_of_several,
    )


def _taxonomy_changed(tenant: str, event: object) -> Message | None:
    match event:
        case (
            Taxonomy.CategoryCreated()
            | Taxonomy.CategoryMoved()
            | Taxonomy.CategoryRenamed()
            | Taxonomy.CategoryArchived()
        ):
            return _category_changed(event)
        case Taxonomy.TagDefined(definition=definition):
            return pb.TagDefined(tag=wire.tag(tenant, definition))
        case Taxonomy.TagUpdated(definition=definition):
            return pb.TagUpdated(tag=wire.tag(tenant, definition))
        case Taxonomy.TagArchived(key=key):
            return pb.TagArchived(tag_key=key, tag_id=str(tag_id(tenant, key)))
        case TagRules.Defined(rule=it):
            return pb.RuleTagDefined(
                tag_key=it.tag,
                tag_id=str(tag_id(tenant, it.tag)),
                version=it.version,
                segment_ids=[str(id) for id, _, _ in it.segments()],
                **wire.times(it),
            )
        case RuleEvaluation.Completed(tag=tag):
            return pb.RuleEvaluated(
                tag_key=tag,
                tag_id=str(tag_id(tenant, tag)),
                version=event.version,
                entered=event.entered,
                exited=event.exited,
                drift=event.drift,
                took_ms=event.took_ms,
                evaluate_time=wire.timestamp(event.at),
            )
        case TagRules.Activated(tag=tag, version=version):
            return pb.RuleActivated(tag_key=tag, tag_id=str(tag_id(tenant, tag)), version=version)
        case TagRules.Paused(tag=tag, version=version):
            return pb.RulePaused(tag_key=tag, tag_id=str(tag_id(tenant, tag)), version=version)
        case Taxonomy.TagsMerged(key=key, into=into):
            return pb.TagsMerged(tag_key=key, into_tag_key=into)
    return None


def _category_changed(
    event: Taxonomy.CategoryCreated | Taxonomy.CategoryMoved | Taxonomy.CategoryRenamed | Taxonomy.CategoryArchived,
) -> pb.TagCategoryChanged:
    change = pb.TagCategoryChanged
    match event:
        case Taxonomy.CategoryCreated(category=it):
            return change(
                category_id=str(it.id),
                change=change.CHANGE_CREATED,
                parent_id=str(it.parent or ""),
                display_name=it.name,
                sensitive=it.sensitive,
            )
        case Taxonomy.CategoryMoved(category=id, parent=parent):
            return change(category_id=str(id), change=change.CHANGE_MOVED, parent_id=str(parent or ""))
        case Taxonomy.CategoryRenamed(category=id, name=name):
            return change(category_id=str(id), change=change.CHANGE_RENAMED, display_name=name)
    return change(category_id=str(event.category), change=change.CHANGE_ARCHIVED)


def _removed(tenant: str, event: CustomerTags.Removed) -> pb.TagRemoved:
    return pb.TagRemoved(
        customer_id=str(event.customer),
        node_id=str(event.node),
        tag_id=str(tag_id(tenant, event.tag)),
        tag_key=event.tag,
        value=event.value,
        source=event.source,
        cause=wire.cause(event.cause),
        time=wire.timestamp(event.at),
    )


def _of_segment(id: UUID, event: object) -> Message | Sequence[Message] | None:
    match event:
        case Segment.Defined(definition=definition, refresh=refresh):
            pace = wire.refresh(refresh)
            return pb.SegmentDefined(segment_id=str(id), version=1, kind=definition.kind, refresh=pace)
        case Segment.Updated(definition=definition, revision=revision, refresh=refresh):
            pace = wire.refresh(refresh)
            return pb.SegmentUpdated(segment_id=str(id), version=revision, kind=definition.kind, refresh=pace)
        case Segment.Archived(revision=revision):
            return pb.SegmentArchived(segment_id=str(id), version=revision)
        case MembershipChange.Happened() as happened:
            return _moved(happened)
        case Recomputation.Completed() as it:
            return pb.SegmentRecomputed(
                segment_id=str(it.segment),
                version=it.revision,
                size=it.size,
                recompute_time=wire.timestamp(it.at),
                took_ms=it.took_ms,
            )
        case Snapshot.Taken(segment=segment, size=size, at=at):
            taken = wire.timestamp(at)
            return pb.SegmentSnapshotTaken(snapshot_id=str(id), segment_id=str(segment), size=size, take_time=taken)
    return None


def _moved(it: MembershipChange.Happened) -> list[Message]:
    """One message for everybody who came or went, and one on the whole if everybody was looked at."""
    segment, version, at = str(it.segment), it.revision, wire.timestamp(it.at)
    cause = segment_pb2.MembershipCause.Value(f"MEMBERSHIP_CAUSE_{it.cause}")
    came = (
        pb.SegmentEntered(segment_id=segment, version=version, customer_id=str(who), cause=cause, enter_time=at)
        for who in it.entered
    )
    went = (
        pb.SegmentExited(segment_id=segment, version=version, customer_id=str(who), cause=cause, exit_time=at)
        for who in it.exited
    )
    if it.size is None:
        return [*came, *went]
    whole = pb.SegmentRecomputed(segment_id=segment, version=version, size=it.size, recompute_time=at)
    return [*came, *went, whole]
