"""What other services are told of stores and staff. Nobody's name is among it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.log import Recorded
from scrm.identity.v1 import events_pb2 as pb
from scrm.identity.v1 import org_pb2
from services.identity.domain.staff import Duties, Placement, Role, Staff
from services.identity.domain.stores import Store, StoreFacts, StoreStatus

PRIVATE_OF_ORG: Final = frozenset[type]({Staff.ShiftChanged})

STORE_STATUSES: Final = {it: org_pb2.StoreStatus.Value(f"STORE_STATUS_{it}") for it in StoreStatus}
ROLES: Final = {it: org_pb2.StaffRole.Value(f"STAFF_ROLE_{it}") for it in Role}


def of_org(recorded: Recorded) -> Sequence[Message] | None:
    """The message for an event of a store or a member of staff; None for others."""
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


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
