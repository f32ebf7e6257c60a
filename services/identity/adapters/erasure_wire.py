"""Erasure cases and their certificates in the messages of the contract."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.names import resource_name
from scrm.identity.v1 import erasure_pb2
from scrm.identity.v1 import privacy_service_pb2 as pb
from services.identity.application.certificate import Certificate
from services.identity.domain.erasure import CaseState, ErasureCase, Removal

COLLECTION: Final = "erasures"

_STATES: Final = {it: erasure_pb2.ErasureState.Value(f"ERASURE_STATE_{it}") for it in CaseState}
_FROM_STATE: Final[Mapping[int, CaseState]] = {number: state for state, number in _STATES.items()}


def state(number: int) -> CaseState | None:
    """The state asked for; None for unspecified."""
    return _FROM_STATE.get(number)


def requested(it: ErasureCase) -> pb.RequestErasureResponse:
    return pb.RequestErasureResponse(case=case(it))


def cancelled(it: ErasureCase) -> pb.CancelErasureResponse:
    return pb.CancelErasureResponse(case=case(it))


def case(it: ErasureCase) -> erasure_pb2.ErasureCase:
    found = summary(it, it.id)
    found.services.extend(_removal(removal) for _, removal in sorted(it.removals.items()))
    return found


def summary(it: Any, id: Any) -> erasure_pb2.ErasureCase:
    """A case, or its row of the read model, without what single services removed."""
    return erasure_pb2.ErasureCase(
        name=resource_name(COLLECTION, id),
        case_id=str(id),
        customer_id=str(it.customer),
        state=_STATES[CaseState(it.state)],
        legal_basis=it.legal_basis,
        verified_by=it.verified_by,
        request_time=_at(it.requested_at),
        due_time=_at(it.due_at),
        waits_for=it.postponed_for if it.state == CaseState.VERIFIED else "",
        begin_time=_at(it.began_at),
        end_time=_at(it.ended_at),
        closing_reason=it.closing_reason,
    )


def certificate(it: Certificate) -> erasure_pb2.ErasureCertificate:
    """With the digest over all the rest."""
    found = erasure_pb2.ErasureCertificate(
        case_id=str(it.case.id),
        customer_id=str(it.case.customer),
        node_ids=[str(node) for node in it.case.node_ids],
        legal_basis=it.case.legal_basis,
        verified_by=it.case.verified_by,
        services=[_removal(removal) for _, removal in sorted(it.case.removals.items())],
        identifiers_released=it.case.identifiers,
        keys_destroyed=it.case.keys,
        key_destruction_time=_at(it.case.ended_at),
        steps=[
            erasure_pb2.ErasureStep(event=step.event, position=step.position, record_time=_at(step.recorded_at))
            for step in it.steps
        ],
    )
    fields = json_format.MessageToDict(found, preserving_proto_field_name=True)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found.digest = hashlib.sha256(text.encode()).hexdigest()
    return found


def _removal(it: Removal) -> erasure_pb2.ServiceErasure:
    return erasure_pb2.ServiceErasure(
        service=it.service, position=it.position, removed=it.removed, complete_time=_at(it.completed_at)
    )


def _at(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
