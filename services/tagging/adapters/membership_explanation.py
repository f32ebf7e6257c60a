"""ExplainMembership on the wire: why a customer is in a segment or has a tag, now or then."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from sqlalchemy import Connection

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound, ValueOutOfRange
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from scrm.tagging.v1 import condition_pb2
from scrm.tagging.v1 import condition_service_pb2 as pb
from scrm.tagging.v1.condition_service_pb2_grpc import ConditionServiceServicer
from services.tagging.adapters import condition_wire as wire
from services.tagging.application.ports import Customer
from services.tagging.application.wire import timestamp
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.claims import Assignment
from services.tagging.domain.conditions.explanation_words import Language
from services.tagging.domain.errors import CustomerErased, CustomerNotFound, SegmentNotFound
from services.tagging.domain.membership_words import Ground, Membership, sentences
from services.tagging.domain.segments import Segment
from services.tagging.domain.tag_rules import TagRule, TagRules, tag_rules_id
from services.tagging.domain.tags import CustomerTags, tags_id
from services.tagging.read_models import directory, erasure, settings
from services.tagging.read_models.histories import histories
from services.tagging.read_models.membership_reasons import WhichSegment, WhichTag, of_segment, of_tag
from services.tagging.read_models.reasons import Telling

_LANGUAGES = {condition_pb2.EXPLANATION_LANGUAGE_ZH: Language.ZH}


class MembershipExplanation(ConditionServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    _bus: CommandBus
    _read_models: ReadModels
    _clock: Clock

    async def ExplainMembership(
        self, request: pb.ExplainMembershipRequest, context: ServicerContext
    ) -> pb.ExplainMembershipResponse:
        now, tenant, node = self._clock.now(), contexts.current().tenant, UUID(request.customer_id)
        at = request.as_of.ToDatetime(UTC) if request.HasField("as_of") else now
        if at > now:
            raise ValueOutOfRange("must not be in the future", field="as_of")
        explained = await self._subject(request, at)
        customer = await self._customer(node)
        held = await self._held(tenant, customer.id) if at == now else None

        def read(rows: Connection) -> pb.ExplainMembershipResponse:
            zone, _ = settings.get(rows, tenant)
            history, calendar = histories(rows, tenant, (customer.id,))[customer.id], Calendar.of(zone)
            found = explained(Telling(rows, tenant, customer, history, calendar, at, held))
            text = sentences(found, _LANGUAGES.get(request.language, Language.EN), calendar.zone)
            return _message(customer.id, found, text)

        return await self._read_models.query(read)

    async def _customer(self, node: UUID) -> Customer:
        """Whom a node belongs to. Raises CustomerErased, CustomerNotFound."""
        tenant = contexts.current().tenant

        def read(rows: Connection) -> Customer:
            found = directory.canonical(rows, tenant, (node,)).get(node)
            if found is None:
                erased = erasure.erased_among(rows, tenant, (node,))
                raise CustomerErased(field="customer_id") if erased else CustomerNotFound(field="customer_id")
            return found

        return await self._read_models.query(read)

    async def _subject(self, request: pb.ExplainMembershipRequest, at: datetime) -> Callable[[Telling], Membership]:
        """What explains the subject of a request. Raises SegmentNotFound, ValueOutOfRange."""
        if request.HasField("tag"):
            tag = wire.tag(request.tag)
            return partial(of_tag, which=WhichTag(tag.tag, tag.value, await self._in_force(tag.tag, at)))
        id = UUID(request.segment_id)
        try:
            segment = await self._bus.load(Segment, id)
        except AggregateNotFound:
            raise SegmentNotFound(field="segment_id") from None
        edition = segment.edition(at)
        if edition is None:
            raise ValueOutOfRange("before the segment was there", field="as_of")
        return partial(of_segment, which=WhichSegment(id, segment.name, segment.universe, edition))

    async def _in_force(self, tag: str, at: datetime) -> TagRule | None:
        try:
            rules = await self._bus.load(TagRules, tag_rules_id(contexts.current().tenant))
        except AggregateNotFound:
            return None
        return rules.in_force(tag, at)

    async def _held(self, tenant: str, customer: UUID) -> list[Assignment]:
        try:
            tags = await self._bus.load(CustomerTags, tags_id(tenant, customer))
        except AggregateNotFound:
            return []
        return [it for _, it in sorted(tags.assignments.items())]


def _message(customer: UUID, it: Membership, text: str) -> pb.ExplainMembershipResponse:
    return pb.ExplainMembershipResponse(
        customer_id=str(customer),
        member=it.member,
        as_of=timestamp(it.at),
        since_time=timestamp(it.told.since) if it.told.since else None,
        cause=it.told.cause,
        source=it.told.source,
        grounds=map(_ground, it.grounds),
        change_time=timestamp(it.next_change) if it.next_change else None,
        differs=it.differs,
        outside_universe=it.outside,
        text=text,
    )


def _ground(it: Ground) -> condition_pb2.MembershipGround:
    return condition_pb2.MembershipGround(
        role=condition_pb2.MembershipGround.Role.Value(f"ROLE_{it.role}"),
        version=it.version,
        text=it.text,
        value=it.value,
        explanation=wire.explanation(it.explanation),
        change_time=timestamp(it.next_change) if it.next_change else None,
    )
