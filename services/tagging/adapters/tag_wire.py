"""Categories, tags and batches in the messages of the contract."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from google.type.date_pb2 import Date

from chassis.errors import BadFormat, ValueOutOfRange
from scrm.tagging.v1 import tag_pb2
from scrm.tagging.v1 import tag_service_pb2 as pb
from scrm.tagging.v1 import tagging_service_pb2 as tagging
from services.tagging.application import wire
from services.tagging.application.tag_batch_commands import RowOutcome
from services.tagging.application.tag_commands import Giver
from services.tagging.domain.claims import Cause
from services.tagging.domain.tag_batches import TagBatch
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.taxonomy import Taxonomy

LONGEST = timedelta(days=366)


def category(taxonomy: Taxonomy, id: UUID) -> tag_pb2.TagCategory:
    it = taxonomy.categories[id]
    return tag_pb2.TagCategory(
        category_id=str(id),
        display_name=it.name,
        parent_id=str(it.parent or ""),
        path=taxonomy.path(id),
        level=taxonomy.level(id),
        sensitive=taxonomy.sensitive(id),
    )


def tag(taxonomy: Taxonomy, it: TagDefinition) -> tag_pb2.Tag:
    message = wire.tag(taxonomy.tenant, it)
    message.sensitive = taxonomy.bars(it.key)
    return message


def definition(request: pb.CreateTagRequest) -> TagDefinition:
    mode = tag_pb2.TagValueMode.Name(request.value_mode).removeprefix("TAG_VALUE_MODE_")
    return TagDefinition(
        key=request.tag_key,
        name=request.display_name,
        category=UUID(request.category_id),
        mode=ValueMode(mode),
        kind=TagKind(tag_pb2.TagKind.Name(request.kind).removeprefix("TAG_KIND_")),
        values=tuple(request.values),
        ttl_days=request.ttl_days,
        group=request.exclusive_group,
        manual_allowed=request.manual_allowed,
    )


def giver(of: tagging.TagGiver) -> Giver:
    return Giver(flow=of.flow_id, model=of.model_id, reason=of.reason)


def results(outcomes: Sequence[RowOutcome]) -> list[pb.TagResult]:
    return [_result(index, it) for index, it in enumerate(outcomes)]


def _result(index: int, it: RowOutcome) -> pb.TagResult:
    status = pb.TagResult.STATUS_ASSIGNED if it.changed else pb.TagResult.STATUS_UNCHANGED
    if it.error is not None:
        status = pb.TagResult.STATUS_REFUSED
    reason = it.error.reason if it.error is not None else ""
    return pb.TagResult(index=index, status=status, reason=reason, customer_id=str(it.customer or ""))


def batch(id: UUID, it: TagBatch) -> pb.TagBatch:
    return pb.TagBatch(
        batch_id=str(id),
        snapshot_id=str(it.snapshot),
        size=it.size,
        assigned=it.assigned,
        unchanged=it.unchanged,
        skipped=it.skipped,
        done=it.done,
        start_time=wire.timestamp(it.started_at),
    )


def period(row: Sequence[Any]) -> pb.TagPeriod:
    key, value, source, cause, since, until, end_cause, _ = row
    return pb.TagPeriod(
        tag_key=key,
        value=value,
        source=source,
        cause=wire.cause(Cause(cause)),
        start_time=wire.timestamp(since),
        end_time=wire.timestamp(until) if until else None,
        end_cause=wire.cause(Cause(end_cause)) if end_cause else tag_pb2.TAG_CAUSE_UNSPECIFIED,
    )


def trend_day(day: date, came: int, went: int, total: int) -> pb.TagDay:
    return pb.TagDay(day=wire.day(day), came=came, went=went, total=total)


def span(first: Date, last: Date) -> tuple[date, date]:
    """The days from the first to the last. Raises BadFormat, OutOfRange."""
    start, end = _day(first, "from_day"), _day(last, "to_day")
    if not timedelta() <= end - start <= LONGEST:
        raise ValueOutOfRange("from 1 to 367 days", field="to_day")
    return start, end


def _day(it: Date, field: str) -> date:
    try:
        return date(it.year, it.month, it.day)
    except ValueError:
        raise BadFormat("there is no such day", field=field) from None
