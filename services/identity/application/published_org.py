"""What other services are told of stores, staff and the guides of customers. Nobody's name is among it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.log import Recorded
from scrm.identity.v1 import events_pb2 as pb
from scrm.identity.v1 import org_pb2
from services.identity.domain.org_settings import OrgSettings
from services.identity.domain.portfolios import Intake, Portfolio
from services.identity.domain.relationships import AssignmentSource, Relationship
from services.identity.domain.routing import Rota
from services.identity.domain.sales import Sales
from services.identity.domain.staff import Duties, Placement, Role, Staff
from services.identity.domain.stores import Store, StoreFacts, StoreStatus
from services.identity.domain.transfers import Transfer

PRIVATE_OF_ORG: Final = frozenset[type](
    {
        Staff.ShiftChanged,
        OrgSettings.Opened,
        OrgSettings.Changed,
        Relationship.Opened,
        Relationship.Touched,
        Relationship.FollowedUp,
        Portfolio.Opened,
        Portfolio.Added,
        Portfolio.Removed,
        Intake.Opened,
        Intake.Counted,
        Rota.Opened,
        Rota.Turned,
        Transfer.Requested,
        Transfer.Advanced,
        Transfer.Ended,
        Sales.Opened,
        Sales.Credited,
        Sales.NetChanged,
    }
)
"""What concerns identity alone: how guides are found, and what its boards are made of."""

STORE_STATUSES: Final = {it: org_pb2.StoreStatus.Value(f"STORE_STATUS_{it}") for it in StoreStatus}
ROLES: Final = {it: org_pb2.StaffRole.Value(f"STAFF_ROLE_{it}") for it in Role}
SOURCES: Final = {it: org_pb2.AssignmentSource.Value(f"ASSIGNMENT_SOURCE_{it}") for it in AssignmentSource}


def of_org(recorded: Recorded) -> Sequence[Message] | None:
    """The message for an event of a store, a member of staff or the guide of a customer; None for others."""
    match recorded.event:
        case Store.Opened(originator_id=id, code=code, facts=facts, opened_at=at):
            return [_store(id, code, facts, at)]
        case Store.Changed(originator_id=id, code=code, facts=facts, changed_at=at):
            return [_store(id, code, facts, at)]
        case Staff.Registered(code=code, duties=duties, placement=placement, registered_at=at) as event:
            return [_staff(event.originator_id, code, duties, placement, at)]
        case Staff.Changed(code=code, duties=duties, placement=placement, changed_at=at) as event:
            return [_staff(event.originator_id, code, duties, placement, at)]
        case Staff.Left(originator_id=id, code=code, left_at=at):
            return [pb.StaffLeft(staff_id=str(id), code=code, leave_time=_timestamp(at))]
    return _of_relationship(recorded)


def org_key(recorded: Recorded) -> UUID | None:
    """The node whose guide changed, so that it stays in order with the rest of the customer; None for other events."""
    match recorded.event:
        case (
            Relationship.Assigned(node=node) | Relationship.Transferred(node=node) | Relationship.Unassigned(node=node)
        ):
            return node
    return None


def _of_relationship(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case Relationship.Assigned() as event:
            return [
                pb.CustomerAssigned(
                    node_id=str(event.node),
                    staff_id=str(event.staff),
                    store_id=_optional(event.store),
                    source=SOURCES[event.source],
                    beside_node_ids=sorted(map(str, event.beside)),
                    assign_time=_timestamp(event.assigned_at),
                )
            ]
        case Relationship.Transferred() as event:
            return [
                pb.CustomerTransferred(
                    node_id=str(event.node),
                    from_staff_id=str(event.from_staff),
                    staff_id=str(event.staff),
                    store_id=_optional(event.store),
                    reason=event.reason,
                    transfer_time=_timestamp(event.transferred_at),
                )
            ]
        case Relationship.Unassigned() as event:
            return [
                pb.CustomerUnassigned(
                    node_id=str(event.node),
                    staff_id=str(event.staff),
                    beside_node_ids=sorted(map(str, event.beside)),
                    reason=event.reason,
                    unassign_time=_timestamp(event.unassigned_at),
                )
            ]
    return None


def _store(id: UUID, code: str, facts: StoreFacts, at: datetime) -> Message:
    return pb.StoreUpserted(
        store_id=str(id),
        code=code,
        region_path=facts.region_path,
        status=STORE_STATUSES[facts.status],
        upsert_time=_timestamp(at),
    )


def _staff(id: UUID, code: str, duties: Duties, placement: Placement | None, at: datetime) -> Message:
    return pb.StaffUpserted(
        staff_id=str(id),
        code=code,
        store_id=str(placement.store) if placement else "",
        role=ROLES[duties.role],
        capacity=duties.capacity,
        effective_time=_timestamp(placement.effective_at) if placement else None,
        upsert_time=_timestamp(at),
    )


def _optional(id: UUID | None) -> str:
    return str(id) if id else ""


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
