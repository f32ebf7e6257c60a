"""Values of the domain in the messages of the contract."""

from datetime import date, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money

from scrm.tagging.v1 import segment_pb2, tag_pb2
from services.tagging.domain.money import major_units
from services.tagging.domain.refresh import Refresh
from services.tagging.domain.rules import Evidence
from services.tagging.domain.tag_definitions import TagDefinition, ValueMode
from services.tagging.domain.tag_rules import TagRule
from services.tagging.domain.tags import Assignment, Cause, tag_id


def timestamp(at: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(at)
    return message


def day(of: date) -> Date:
    return Date(year=of.year, month=of.month, day=of.day)


def money(minor: int, currency: str) -> Money:
    units, nanos = major_units(currency, minor)
    return Money(currency_code=currency, units=units, nanos=nanos)


def cause(of: Cause) -> tag_pb2.TagCause.ValueType:
    return tag_pb2.TagCause.Value(f"TAG_CAUSE_{of}")


def evidence(of: Evidence | None) -> tag_pb2.SessionEvidence | None:
    if of is None:
        return None
    return tag_pb2.SessionEvidence(sessions=of.sessions, matching_sessions=of.matching, distinct_days=of.days)


def refresh(of: Refresh) -> segment_pb2.Refresh.ValueType:
    return segment_pb2.Refresh.Value(f"REFRESH_{of.pace}")


def times(rule: TagRule) -> dict[str, Any]:
    """When a rule is looked at and when it means anybody, as fields of a message; a daily one at midnight is DAILY, not AT."""
    schedule, start, end = rule.schedule, rule.effect.start, rule.effect.end
    kind = tag_pb2.RULE_SCHEDULE_AT
    if not schedule.minute:
        kind = tag_pb2.RULE_SCHEDULE_EVENT if schedule.realtime else tag_pb2.RULE_SCHEDULE_DAILY
    return {
        "schedule": kind,
        "schedule_time": f"{schedule.minute // 60:02}:{schedule.minute % 60:02}" if schedule.minute else "",
        "effective_from": start and timestamp(start),
        "effective_to": end and timestamp(end),
    }


def mode(of: ValueMode) -> tag_pb2.TagValueMode.ValueType:
    """UNSPECIFIED for a tag that nobody defined."""
    if of is ValueMode.UNDECLARED:
        return tag_pb2.TAG_VALUE_MODE_UNSPECIFIED
    return tag_pb2.TagValueMode.Value(f"TAG_VALUE_MODE_{of}")


def tag(tenant: str, it: TagDefinition) -> tag_pb2.Tag:
    """All but whether it is sensitive, which the tree of categories says."""
    return tag_pb2.Tag(
        tag_key=it.key,
        tag_id=str(tag_id(tenant, it.key)),
        display_name=it.name,
        category_id=str(it.category),
        value_mode=mode(it.mode),
        kind=tag_pb2.TagKind.Value(f"TAG_KIND_{it.kind}"),
        values=it.values,
        ttl_days=it.ttl_days,
        exclusive_group=it.group,
        manual_allowed=it.manual_allowed,
        status=tag_pb2.TagStatus.Value(f"TAG_STATUS_{it.status}"),
        merged_into=it.merged_into,
    )


def tag_assignment(tenant: str, it: Assignment) -> tag_pb2.TagAssignment:
    return tag_pb2.TagAssignment(
        tag_key=it.tag,
        tag_id=str(tag_id(tenant, it.tag)),
        value=it.value,
        source=it.source,
        cause=cause(it.cause),
        assign_time=timestamp(it.at),
        node_id=str(it.node),
        evidence=evidence(it.evidence),
        expire_time=timestamp(it.expires_at) if it.expires_at else None,
        reason=it.reason,
    )
