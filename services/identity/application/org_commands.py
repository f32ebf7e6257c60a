"""Stores and staff: what the brand says of them, one by one or in batches of up to 1,000 rows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.identity.application.owners import require_past
from services.identity.application.vault import Vault
from services.identity.domain.errors import StaffNotFound, StoreNotFound
from services.identity.domain.staff import Duties, Placement, Staff, staff_id
from services.identity.domain.stores import Store, StoreFacts, store_id

NAME: Final = "staff_name"
"""The field under which names of staff are sealed; its node is the member of staff."""


@dataclass(frozen=True, slots=True)
class UpsertStore:
    """All that is true of the store of this code from now on."""

    code: str
    facts: StoreFacts


@dataclass(frozen=True, slots=True)
class UpsertStaff:
    """All that is true of a member of staff from now on; in the store since `effective_at` (None: now).

    Somebody who had left is taken back only with `rehire`.
    """

    code: str
    name: str
    duties: Duties
    store_code: str
    effective_at: datetime | None = None
    rehire: bool = False


@dataclass(frozen=True, slots=True)
class ImportStaff:
    """Rows in the order in which they are to be taken; one that could not be read is its error."""

    rows: tuple[UpsertStaff | DomainError, ...]


@dataclass(frozen=True, slots=True)
class SetStaffLeft:
    """Somebody left, at `left_at` (None: now)."""

    staff: UUID
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SetStaffShift:
    """Somebody begins or ends a shift."""

    staff: UUID
    on_shift: bool


class Effect(StrEnum):
    """What a row did."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"


@dataclass(frozen=True, slots=True)
class Upserted:
    """A member of staff after a row, and what the row did."""

    staff: Staff
    effect: Effect


def upsert_store(command: UpsertStore, work: UnitOfWork) -> Store:
    """Raises StoreScope."""
    tenant = work.context.tenant
    work.context.require_store(store_id(tenant, command.code))
    store = work.find(Store, store_id(tenant, command.code))
    if store is None:
        store = Store(store_id(tenant, command.code), tenant, command.code, command.facts, work.now)
        work.add(store)
    store.change(command.facts, work.now)
    return store


def upsert_staff(command: UpsertStaff, work: UnitOfWork, vault: Vault) -> Upserted:
    """Raises StoreScope, StoreNotFound, and StaffInactive for somebody who left and is not taken back."""
    tenant, now = work.context.tenant, work.now
    work.context.require_store(store_id(tenant, command.store_code))
    store = work.find(Store, store_id(tenant, command.store_code))
    if store is None:
        raise StoreNotFound(field="row.store_code")
    id = staff_id(tenant, command.code)
    placement = Placement(command.effective_at or now, store.id)
    staff = work.find(Staff, id)
    if staff is None:
        name = vault.seal(work, id, NAME, command.name)
        staff = Staff(id, tenant, command.code, name, command.duties, placement, now)
        work.add(staff)
        return Upserted(staff, Effect.CREATED)
    work.context.require_store(staff.store_at(now))
    if not command.rehire:
        staff.require_active("row.code")
    version = staff.version
    is_known = vault.matches(work, (id, NAME), staff.name, command.name)
    staff.change(None if is_known else vault.seal(work, id, NAME, command.name), command.duties, placement, now)
    return Upserted(staff, Effect.UNCHANGED if staff.version == version else Effect.UPDATED)


def import_staff(command: ImportStaff, work: UnitOfWork, vault: Vault) -> Sequence[Upserted | DomainError]:
    """What became of each row; a refused one changes nothing. One query for the staff, one for their keys."""
    tenant = work.context.tenant
    rows = [it for it in command.rows if isinstance(it, UpsertStaff)]
    ids = {staff_id(tenant, it.code) for it in rows}
    work.find_all(Store, {store_id(tenant, it.store_code) for it in rows})
    work.find_all(Staff, ids)
    vault.prepare(work, ids)
    return work.each(command.rows, lambda row: _import_row(row, work, vault))


def set_staff_left(command: SetStaffLeft, work: UnitOfWork) -> Staff:
    """Raises StoreScope, StaffNotFound and FutureTimestamp."""
    staff = visible_staff(work, command.staff, "staff_id")
    staff.leave(require_past(command.left_at, work, "leave_time"))
    return staff


def set_staff_shift(command: SetStaffShift, work: UnitOfWork) -> Staff:
    """Raises StoreScope, StaffNotFound and StaffInactive."""
    staff = visible_staff(work, command.staff, "staff_id")
    staff.set_shift(command.on_shift, work.now)
    return staff


def visible_staff(work: UnitOfWork, id: UUID, field: str) -> Staff:
    """Somebody of a store that the caller may see. Raises StoreScope, and StaffNotFound for `field` of the request."""
    staff = work.find(Staff, id)
    work.context.require_store(staff.store_at(work.now) if staff else None)
    if staff is None:
        raise StaffNotFound(field=field)
    return staff


def org_handlers(vault: Vault) -> Handlers:
    """What is personal goes to `vault`."""
    return [
        handler(UpsertStore, upsert_store),
        handler(UpsertStaff, lambda command, work: upsert_staff(command, work, vault)),
        handler(ImportStaff, lambda command, work: import_staff(command, work, vault)),
        handler(SetStaffLeft, set_staff_left, loads=_staff),
        handler(SetStaffShift, set_staff_shift, loads=_staff),
    ]


def _staff(command: SetStaffLeft | SetStaffShift) -> Collection[UUID]:
    return (command.staff,)


def _import_row(row: UpsertStaff | DomainError, work: UnitOfWork, vault: Vault) -> Upserted:
    if isinstance(row, DomainError):
        raise row
    return upsert_staff(row, work, vault)
