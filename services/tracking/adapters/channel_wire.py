"""Channel codes on their way from and to the wire."""

from typing import Any, Final

from chassis import status
from chassis.context import current
from chassis.errors import BadFormat, DomainError, FieldRequired, FieldTooLong
from chassis.validation import RequestValidator
from scrm.tracking.v1 import channel_pb2
from scrm.tracking.v1 import channel_service_pb2 as pb
from services.tracking.adapters import order_wire
from services.tracking.application.channel_commands import CreateChannelCode
from services.tracking.application.published_channels import code_message
from services.tracking.application.wire_values import money, timestamp
from services.tracking.domain.channel_code import MOST_STAFF, MOST_TAGS, ChannelCode, CodeDesign, CodeKind, CodeTerms
from services.tracking.read_models.code_stats import CodeCounts, TouchFound

LONGEST: Final = {"staff_ids": 64, "auto_tags": 128}


def creation(draft: pb.ChannelCodeDraft) -> CreateChannelCode:
    """The command for a draft whose shape is right. Raises BadFormat."""
    kind = CodeKind(channel_pb2.CodeKind.Name(draft.kind).removeprefix("CODE_KIND_"))
    expires = order_wire.required_instant(draft.expire_time, "expire_time") if draft.HasField("expire_time") else None
    design = CodeDesign(kind, draft.app, draft.channel, draft.campaign, draft.store_id, expires)
    terms = CodeTerms(tuple(draft.staff_ids), tuple(draft.auto_tags), draft.welcome_template)
    return CreateChannelCode(current().tenant, draft.code_key, design, terms)


def each_creation(validator: RequestValidator, draft: pb.ChannelCodeDraft) -> CreateChannelCode | DomainError:
    """The command for one draft of many, or what is wrong with it."""
    try:
        validator.check(draft)
        return creation(draft)
    except DomainError as fault:
        return fault


def changes(code: channel_pb2.ChannelCode, names: frozenset[str]) -> dict[str, Any]:
    """Fields of `CodeTerms` by the names of fields of the message. Raises FieldRequired, FieldTooLong, BadFormat."""
    found: dict[str, Any] = {}
    for name, most in (("staff_ids", MOST_STAFF), ("auto_tags", MOST_TAGS)):
        if name in names:
            found["staff" if name == "staff_ids" else name] = _words(getattr(code, name), f"code.{name}", most)
    if "welcome_template" in names:
        if len(code.welcome_template) > LONGEST["staff_ids"]:
            raise FieldTooLong(field="code.welcome_template")
        found["welcome_template"] = code.welcome_template
    return found


def stored_message(code: ChannelCode) -> channel_pb2.ChannelCode:
    message = code_message(code.code_key, code.design, code.terms, code.created_on)
    message.archived = code.is_archived
    message.update_time.CopyFrom(timestamp(code.modified_on))
    return message


def row_message(row: Any) -> channel_pb2.ChannelCode:
    """From a row of the read model."""
    design = CodeDesign(CodeKind(row.kind), row.app, row.channel, row.campaign, row.store, row.expires_at)
    terms = CodeTerms(tuple(row.staff), tuple(row.auto_tags), row.welcome_template)
    message = code_message(row.code_key, design, terms, row.created_at)
    message.archived = row.archived
    message.update_time.CopyFrom(timestamp(row.changed_at))
    return message


def result(outcome: ChannelCode | DomainError) -> pb.ChannelCodeResult:
    if isinstance(outcome, DomainError):
        return pb.ChannelCodeResult(status=status.to_status(outcome, "tracking"))
    return pb.ChannelCodeResult(code=stored_message(outcome))


def stats(it: CodeCounts) -> channel_pb2.CodeStats:
    return channel_pb2.CodeStats(
        key=it.key,
        scans=it.scans,
        unique_scanners=it.unique,
        new_follows=it.new_follows,
        re_follows=it.re_follows,
        unfollows_in_day=it.left_in_day,
        unfollows_in_week=it.left_in_week,
        net_new=it.new_follows - it.left_in_week,
        acquired=it.acquired,
        registered=it.registered,
        first_orders=it.first_orders,
        revenue=[money(currency, net) for currency, net in sorted((it.revenue or {}).items())],
    )


def touch(found: TouchFound) -> channel_pb2.CodeTouch:
    return channel_pb2.CodeTouch(
        code_key=found.code_key,
        touch_time=timestamp(found.at),
        event_type=found.event_type,
        channel=found.channel,
        campaign=found.campaign,
        store_id=found.store,
        staff_code=found.staff,
    )


def _words(values: Any, field: str, most: int) -> tuple[str, ...]:
    words = tuple(values)
    if len(words) > most:
        raise FieldTooLong(f"at most {most}", field=field)
    if not all(words):
        raise FieldRequired(field=field)
    if len(set(words)) < len(words):
        raise BadFormat("each is given once", field=field)
    if any(len(it) > LONGEST[field.removeprefix("code.")] for it in words):
        raise FieldTooLong(field=field)
    return words
