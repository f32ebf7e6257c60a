"""What other services are told of erasure cases: what they have to remove, and that it is done."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.log import Recorded
from scrm.identity.v1 import events_pb2 as pb
from services.identity.domain.customer import Customer
from services.identity.domain.erasure import ErasureCase

PRIVATE: Final = frozenset[type](
    {
        Customer.ErasureOpened,
        Customer.ErasureClosed,
        ErasureCase.Verified,
        ErasureCase.Postponed,
        ErasureCase.Begun,
        ErasureCase.Completed,
    }
)
"""The other side of the same change is told, or it concerns identity alone."""


def of_erasure(recorded: Recorded) -> Sequence[Message] | None:
    """The messages for an event; None for one of another topic."""
    match recorded.event:
        case Customer.ErasureBegun(originator_id=id) as begun:
            nodes = [str(it) for it in begun.node_ids]
            return [
                pb.CustomerErasing(
                    case_id=str(begun.case_id), customer_id=str(id), node_ids=nodes, erase_time=_at(begun.began_at)
                )
            ]
        case Customer.Erased(originator_id=id) as erased:
            nodes = [str(it) for it in erased.node_ids]
            return [
                pb.CustomerErased(
                    case_id=str(erased.case_id), customer_id=str(id), node_ids=nodes, erase_time=_at(erased.erased_at)
                )
            ]
        case ErasureCase.Requested() | ErasureCase.ServiceCompleted() | ErasureCase.Closed() as event:
            return [_of_case(event)]
    return None


def _of_case(event: ErasureCase.Requested | ErasureCase.ServiceCompleted | ErasureCase.Closed) -> Message:
    ids = {"case_id": str(event.originator_id), "customer_id": str(event.customer)}
    match event:
        case ErasureCase.Requested(legal_basis=basis, requested_at=at):
            return pb.ErasureRequested(**ids, legal_basis=basis, request_time=_at(at))
        case ErasureCase.ServiceCompleted(removal=it):
            return pb.ServiceErasureCompleted(
                **ids, service=it.service, position=it.position, complete_time=_at(it.completed_at)
            )
        case ErasureCase.Closed(reason=reason, closed_at=at):
            return pb.ErasureCancelled(**ids, reason=reason, cancel_time=_at(at))


def _at(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
