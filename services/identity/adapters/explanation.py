"""An explanation as a response: each recorded event as a step."""

from collections.abc import Sequence
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.log import Recorded
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as pb
from services.identity.application.explaining import Explanation
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer
from services.identity.domain.identifiers import LinkedIdentifier


def explained(it: Explanation) -> pb.ExplainIdentityResponse:
    return pb.ExplainIdentityResponse(
        customer_id=str(it.customer_id),
        other_customer_id=str(it.other_customer_id),
        steps=[_step(one) for one in it.steps],
    )


def linked_identifier(it: LinkedIdentifier) -> customer_pb2.LinkedIdentifier:
    link_time = Timestamp()
    link_time.FromDatetime(it.linked_at)
    return customer_pb2.LinkedIdentifier(
        namespace=it.namespace, scope=it.scope, node_id=str(it.node), verified=it.verified, link_time=link_time
    )


def _step(recorded: Recorded) -> pb.ExplanationStep:
    step = _of_customer(recorded) or _of_two(recorded) or _of_identifier(recorded)
    step.record_time.FromDatetime(recorded.recorded_at)
    step.position = recorded.position
    step.call_id = recorded.context.call_id or ""
    step.actor = recorded.context.actor
    return step


def _of_customer(recorded: Recorded) -> pb.ExplanationStep | None:
    """What one customer was, got or lost."""
    match recorded.event:
        case Customer.Registered(originator_id=id, identifiers=shown):
            return _about(pb.ExplanationStep.KIND_CREATED, id, shown)
        case Customer.IdentifiersLinked(originator_id=id, identifiers=shown):
            return _about(pb.ExplanationStep.KIND_LINKED, id, shown)
        case Customer.IdentifiersUnlinked(originator_id=id, identifiers=shown, reason=reason):
            return _about(pb.ExplanationStep.KIND_UNLINKED, id, shown, reason=reason)
        case Customer.BecameKnown(originator_id=id, via_namespace=via):
            return _about(pb.ExplanationStep.KIND_BECAME_KNOWN, id, reason=via)
        case Customer.Expired(originator_id=id):
            return _about(pb.ExplanationStep.KIND_EXPIRED, id)
    return None


def _of_two(recorded: Recorded) -> pb.ExplanationStep | None:
    """What was decided between two customers."""
    match recorded.event:
        case Customer.Merged(originator_id=id, loser_id=other, met_by=shown) as it:
            return _about(pb.ExplanationStep.KIND_MERGED, id, shown, other, reason=it.reason, merge_id=str(it.merge_id))
        case Customer.Restored(originator_id=id, survivor_id=other) as it:
            return _about(pb.ExplanationStep.KIND_UNMERGED, id, (), other, reason=it.reason, merge_id=str(it.merge_id))
        case Customer.ConflictDetected(originator_id=id, owner=owner) as it:
            step = _about(pb.ExplanationStep.KIND_CONFLICT, id, (), owner, reason=it.rule, resolution=it.resolution)
            step.identifiers.add(namespace=it.namespace, scope=it.scope)
            return step
        case Customer.KeptApart(originator_id=id, separation=separation):
            return _about(pb.ExplanationStep.KIND_KEPT_APART, id, (), separation.other)
        case Customer.ReunionAllowed(originator_id=id, separations=separations):
            return _about(pb.ExplanationStep.KIND_REUNION_ALLOWED, id, (), separations[0].other)
    return None


def _of_identifier(recorded: Recorded) -> pb.ExplanationStep:
    """What became of one of the identifiers asked about."""
    match recorded.event:
        case IdentifierClaim.Reassigned(customer=id, from_customer=other) as it:
            return _about(pb.ExplanationStep.KIND_REASSIGNED, id, (), other, reason=it.reason)
        case IdentifierClaim.Reclaimed(node=node):
            return _about(pb.ExplanationStep.KIND_RECLAIMED, node)
        case IdentifierClaim.MarkedShared():
            return pb.ExplanationStep(kind=pb.ExplanationStep.KIND_SHARED)
        case IdentifierClaim.Blocked():
            return pb.ExplanationStep(kind=pb.ExplanationStep.KIND_BLOCKED)
        case IdentifierClaim.Released():
            return pb.ExplanationStep(kind=pb.ExplanationStep.KIND_RELEASED)
    raise ValueError(f"{type(recorded.event).__qualname__} explains nothing")


def _about(
    kind: pb.ExplanationStep.Kind.ValueType,
    customer: UUID,
    identifiers: Sequence[LinkedIdentifier] = (),
    other: UUID | None = None,
    **details: str,
) -> pb.ExplanationStep:
    return pb.ExplanationStep(
        kind=kind,
        customer_id=str(customer),
        other_customer_id=str(other) if other else "",
        identifiers=[linked_identifier(it) for it in identifiers],
        **details,  # type: ignore[arg-type]
    )
