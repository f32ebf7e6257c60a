"""One customer in words: why it is in a segment now, and why it had a tag on a day long ago; as tagging says it."""

from datetime import UTC, date, datetime, time
from typing import Any, Final

from demo.backend import Backend, request_id
from demo.brand import LOSING, LOSING_NAME, LOSING_WHOM, NIGHT_OWL
from demo.calendar import instant
from demo.people import SHOP
from demo.report import Section
from demo.wire import timestamp
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.tagging.v1 import condition_service_pb2 as conditions
from scrm.tagging.v1 import segment_pb2
from scrm.tagging.v1 import tagging_service_pb2 as tagging

_READING: Final = instant(date(1997, 2, 7), time(9))
"""When the customer was about to order for the first time, after nights of reading."""


async def explanations(backend: Backend) -> Section:
    """Whether the customer is in the segment, and whether it had the tag: by which facts, since when, and what would change it."""
    found = await backend.identity.LookupCustomer(
        identity.LookupCustomerRequest(
            identifier=customer_pb2.Identifier(namespace="external_id", scope=SHOP, value=LOSING_WHOM)
        )
    )
    customer = found.customer.customer_id
    segment = await _segment(backend)
    why = await _explained(backend, customer_id=customer, segment_id=segment)
    await backend.tagging.ArchiveSegment(
        tagging.ArchiveSegmentRequest(request_id=request_id("losing no more"), segment_id=segment)
    )
    tag = segment_pb2.HasTag(tag_key=NIGHT_OWL)
    then = await _explained(backend, customer_id=customer, tag=tag, as_of=timestamp(_READING))
    return {
        "customer": LOSING_WHOM,
        "segment": {"name": LOSING_NAME, "condition": LOSING, **why},
        "tag": {"name": NIGHT_OWL, **then},
    }


async def _segment(backend: Backend) -> str:
    """The segment of those of whom the brand thinks that it is losing them; its id."""
    read = await backend.conditions.FormatCondition(conditions.FormatConditionRequest(text=LOSING))
    created = await backend.tagging.CreateSegment(
        tagging.CreateSegmentRequest(
            request_id=request_id("losing"),
            display_name=LOSING_NAME,
            definition=segment_pb2.SegmentDefinition(dynamic=read.condition),
            universe=segment_pb2.UNIVERSE_KNOWN,
        )
    )
    return str(created.segment.segment_id)


async def _explained(backend: Backend, **asked: Any) -> Section:
    answer = await backend.conditions.ExplainMembership(conditions.ExplainMembershipRequest(**asked))
    return {
        "as_of": _time(answer.as_of),
        "member": answer.member,
        "since": _time(answer.since_time) if answer.HasField("since_time") else None,
        "cause": answer.cause,
        "source": answer.source,
        "differs": answer.differs,
        "leaves": [leaf for ground in answer.grounds for leaf in _leaves(ground.explanation)],
        "may_change": _time(answer.change_time) if answer.HasField("change_time") else None,
        "words": answer.text.splitlines(),
    }


def _leaves(node: Any) -> list[Section]:
    """What the conditions are made of, in their order: whether each holds, and by how many facts."""
    if node.parts:
        return [leaf for it in node.parts for leaf in _leaves(it)]
    return [{"text": node.text, "holds": node.holds, "facts": node.fact_count}]


def _time(at: Any) -> str:
    found: datetime = at.ToDatetime(UTC)
    return found.isoformat()
