"""Where forms are submitted: the answers go to identity, and that somebody answered becomes a behaviour here.

Nothing is kept of an answer here. Every step may be repeated: all of them go under numbers made of the message id.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

import orjson

from chassis.aggregate import natural_id
from chassis.clock import Clock
from chassis.context import Context
from chassis.errors import BadFormat, DomainError, FieldTooLong, RequestIdReused, ValueOutOfRange
from scrm.identity.v1 import attribute_pb2
from scrm.tracking.v1 import behaviour_pb2, tracking_service_pb2
from scrm.tracking.v1 import link_service_pb2 as pb
from services.tracking.adapters.identity_client import Asked
from services.tracking.adapters.ingest_rows import microseconds
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.order_wire import required_instant
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.submission import Reader, Submission
from services.tracking.domain.errors import CustomerUnresolved, FutureTimestamp, SubmissionConflict
from services.tracking.domain.form import FieldType, Form, FormField
from services.tracking.domain.intake import Outcome, Reason

REFUSALS: Final[Mapping[Reason, type[DomainError]]] = {
    Reason.FUTURE_TIMESTAMP: FutureTimestamp,
    Reason.TOO_LATE: ValueOutOfRange,
    Reason.FIELD_TOO_LONG: FieldTooLong,
}
DECLARED: Final = attribute_pb2.ATTRIBUTE_SOURCE_CUSTOMER_DECLARED


class People(Protocol):
    """Who knows people, and what they declare of themselves."""

    async def nodes(self, asked: Sequence[Asked], context: Context, request: UUID) -> list[UUID | str]: ...

    async def declare(
        self, node: UUID, values: Sequence[attribute_pb2.AttributeObservation], context: Context, request: UUID
    ) -> None: ...


class FormDesk:
    """Takes in submissions."""

    def __init__(self, writer: IngestWriter, people: People, plans: PlanBook, clock: Clock) -> None:
        self._writer = writer
        self._people = people
        self._plans = plans
        self._clock = clock

    async def submit(self, form: Form, request: pb.SubmitFormRequest, context: Context) -> bool:
        """Whether it was submitted before.

        Raises FieldRequired, BadFormat, FieldTooLong, FutureTimestamp, CustomerUnresolved, SubmissionConflict, Unavailable.
        """
        answers = form.answered({it.key: it.value for it in request.answers})
        if len(answers) < sum(bool(it.value.strip()) for it in request.answers):
            raise BadFormat("a field is answered twice", field="answers")
        behaviour = await self._behaviour(form, request, list(answers), context)
        number = natural_id(context.tenant, "form submission", request.source_key, request.message_id)
        try:
            await self._declare(request, answers, context, number)
        except RequestIdReused:
            raise SubmissionConflict(field="message_id") from None
        answer = tracking_service_pb2.TrackBatchResponse.FromString(await self._writer.submit(behaviour))
        [result] = answer.results
        if result.reason == behaviour_pb2.TRACK_REASON_CONTENT_CONFLICT:
            raise SubmissionConflict(field="message_id")
        return result.outcome == behaviour_pb2.TRACK_OUTCOME_DUPLICATE

    async def _behaviour(
        self, form: Form, request: pb.SubmitFormRequest, answered: Sequence[FormField], context: Context
    ) -> Submission:
        """That somebody answered these fields, if the intake takes it."""
        said = {"form_id": form.form_id, "form_version": form.form_version, "fields": [it.key for it in answered]}
        tracked = behaviour_pb2.TrackedEvent(
            message_id=request.message_id,
            source_key=request.source_key,
            event_type="form_submitted",
            identifiers=request.identifiers,
            authenticated=request.authenticated,
            original_time=request.submit_time,
            context=request.context,
            properties_json=orjson.dumps(said),
        )
        plan = await self._plans.of(context.tenant)
        reader = Reader(context, microseconds(self._clock.now()), plan=plan)
        submission = reader.read(tracking_service_pb2.TrackBatchRequest(events=[tracked]))
        [verdict] = submission.verdicts
        if verdict is None or verdict.outcome is Outcome.ACCEPTED:
            return submission
        if verdict.reason is Reason.NO_IDENTITY:
            raise CustomerUnresolved(field="identifiers")
        raise REFUSALS.get(verdict.reason, BadFormat)(f"not taken in: {verdict.reason}", field=verdict.field)

    async def _declare(
        self, request: pb.SubmitFormRequest, answers: Mapping[FormField, str], context: Context, number: UUID
    ) -> None:
        """Tell identity what the person said of themselves."""
        identifiers = tuple((it.namespace, it.scope, it.value, it.verified) for it in request.identifiers)
        at = required_instant(request.submit_time, "submit_time")
        [node] = await self._people.nodes([Asked((identifiers, request.authenticated), at)], context, number)
        if not isinstance(node, UUID):
            raise CustomerUnresolved(field="identifiers")
        values = [
            attribute_pb2.AttributeObservation(
                key=it.maps_to, value=_value(it, answer), source=DECLARED, observe_time=request.submit_time
            )
            for it, answer in answers.items()
            if it.maps_to
        ]
        if values:
            await self._people.declare(node, values, context, number)


def _value(field: FormField, answer: str) -> attribute_pb2.AttributeValue:
    match field.type:
        case FieldType.NUMBER:
            return attribute_pb2.AttributeValue(number=float(answer))
        case FieldType.BOOL:
            return attribute_pb2.AttributeValue(flag=answer == "true")
    return attribute_pb2.AttributeValue(text=answer)
