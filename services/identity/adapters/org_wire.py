"""Stores and staff between the wire and the domain."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from chassis.errors import DomainError
from chassis.names import resource_name
from chassis.status import to_status
from chassis.validation import RequestValidator
from scrm.identity.v1 import org_pb2
from scrm.identity.v1 import org_service_pb2 as pb
from services.identity.adapters.wire import given_instant
from services.identity.application.org_commands import Effect, ImportStaff, Upserted, UpsertStaff, UpsertStore
from services.identity.application.published_org import ROLES, STORE_STATUSES
from services.identity.domain.staff import Duties, Staff
from services.identity.domain.stores import Store, StoreFacts, StoreStatus
from services.identity.read_models.organisation import StaffRow, StoreRow

_FROM_ROLE: Final = {number: role for role, number in ROLES.items()}
_FROM_STORE_STATUS: Final[Mapping[int, StoreStatus]] = {number: it for it, number in STORE_STATUSES.items()}
_ACTIVE: Final[Mapping[int, bool]] = {org_pb2.STAFF_STATUS_ACTIVE: True, org_pb2.STAFF_STATUS_LEFT: False}
_EFFECTS: Final = {it: org_pb2.RowEffect.Value(f"ROW_EFFECT_{it}") for it in Effect}


def store_command(row: org_pb2.StoreRow) -> UpsertStore:
    status = _FROM_STORE_STATUS.get(row.status, StoreStatus.OPEN)
    return UpsertStore(row.code, StoreFacts(row.title, tuple(row.region_path), status))


def staff_command(row: org_pb2.StaffRow) -> UpsertStaff:
    """Raises ValueOutOfRange for an impossible instant."""
    return UpsertStaff(
        code=row.code,
        name=row.full_name,
        duties=Duties(_FROM_ROLE[row.role], row.capacity),
        store_code=row.store_code,
        effective_at=given_instant(row, "effective_time"),
        rehire=row.rehire,
    )


def import_command(rows: Sequence[org_pb2.StaffRow], validator: RequestValidator) -> ImportStaff:
    """A row that breaks the rules of the contract stands among the others as the error it is."""

    def read(row: org_pb2.StaffRow) -> UpsertStaff | DomainError:
        try:
            validator.check(row)
            return staff_command(row)
        except DomainError as refusal:
            return refusal

    return ImportStaff(tuple(read(it) for it in rows))


def store_upserted(it: Store) -> pb.UpsertStoreResponse:
    return pb.UpsertStoreResponse(store=store(it))


def imported(results: Sequence[Upserted | DomainError]) -> pb.ImportStaffResponse:
    return pb.ImportStaffResponse(results=[_row_result(it) for it in results])


def store(it: Store) -> org_pb2.Store:
    row = StoreRow(it.id, it.code, it.facts.title, it.facts.region_path, it.facts.status)
    message = store_row(row)
    message.etag = str(it.version)
    return message


def store_row(it: StoreRow) -> org_pb2.Store:
    return org_pb2.Store(
        name=resource_name("stores", it.store),
        store_id=str(it.store),
        code=it.code,
        title=it.title,
        region_path=it.region_path,
        status=STORE_STATUSES[it.status],
    )


def staff(it: Staff, at: datetime, name: str = "") -> org_pb2.Staff:
    """A member of staff as of `at`."""
    duties, store_now = it.duties, it.store_at(at)
    row = StaffRow(it.id, it.code, b"", duties.role, duties.capacity, it.on_shift, it.left_at, store_now)
    message = staff_row(row, name)
    message.etag = str(it.version)
    for placed in it.placements:
        message.placements.add(store_id=str(placed.store), effective_time=timestamp(placed.effective_at))
    return message


def staff_row(it: StaffRow, name: str) -> org_pb2.Staff:
    return org_pb2.Staff(
        name=resource_name("staff", it.staff),
        staff_id=str(it.staff),
        code=it.code,
        full_name=name,
        role=ROLES[it.role],
        store_id=str(it.store) if it.store else "",
        capacity=it.capacity,
        on_shift=it.on_shift,
        status=org_pb2.STAFF_STATUS_LEFT if it.left_at else org_pb2.STAFF_STATUS_ACTIVE,
        leave_time=timestamp(it.left_at) if it.left_at else None,
    )


def store_status(number: int) -> StoreStatus | None:
    """The status asked for; None for unspecified."""
    return _FROM_STORE_STATUS.get(number)


def is_active(number: int) -> bool | None:
    """Whether active or left staff is asked for; None for both."""
    return _ACTIVE.get(number)


def masked(name: str) -> str:
    """All but the first letter hidden."""
    return f"{name[:1]}**" if name else ""


def timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _row_result(result: Upserted | DomainError) -> org_pb2.StaffRowResult:
    if isinstance(result, DomainError):
        return org_pb2.StaffRowResult(status=to_status(result, "identity"))
    return org_pb2.StaffRowResult(
        status=status_pb2.Status(), staff_id=str(result.staff.id), effect=_EFFECTS[result.effect]
    )
