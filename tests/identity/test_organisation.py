"""Stores and staff: one per code, where they worked at any time, who left, and imports of a whole brand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.errors import BadFormat, StoreScope
from services.identity.application.org_commands import (
    NAME,
    Effect,
    ImportStaff,
    SetStaffLeft,
    SetStaffShift,
    Upserted,
    UpsertStore,
)
from services.identity.application.relationship_commands import SetOrgSettings
from services.identity.application.transfer_commands import TransferCustomers
from services.identity.domain.errors import FutureTimestamp, StaffInactive, StaffNotFound, StoreNotFound
from services.identity.domain.org_settings import AssignmentRule
from services.identity.domain.staff import Duties, Role, Staff
from services.identity.domain.stores import Store, StoreFacts, StoreStatus
from tests.identity.brand import NOON, Brand, refused
from tests.identity.staffing import Staffing, row

MAY_28 = datetime(2026, 5, 28, tzinfo=UTC)


@pytest.fixture
def staffing(brand: Brand) -> Staffing:
    return Staffing(brand)


def test_a_code_names_one_store_for_ever(staffing: Staffing) -> None:
    first = staffing.open_store("S1", "East", "Shanghai")
    again = staffing.open_store("S1", "East", "Hangzhou", status=StoreStatus.CLOSED)
    other = staffing.open_store("S2", "East", "Shanghai")

    assert first == again != other
    assert [it.code for it in staffing.brand.events(Store.Opened)] == ["S1", "S2"]
    (changed,) = staffing.brand.events(Store.Changed)
    assert (changed.facts.region_path, changed.facts.status) == (("East", "Hangzhou"), StoreStatus.CLOSED)


def test_a_store_of_another_tenant_with_the_same_code_is_another_store(brand: Brand) -> None:
    other = Staffing(Brand(brand.bus.store, "globex"))
    assert Staffing(brand).open_store("S1") != other.open_store("S1")
    refused(brand, StoreNotFound, lambda: brand.do(row("G1", "S2")))


def test_what_is_known_already_is_not_recorded_again(staffing: Staffing) -> None:
    staffing.open_store("S1", "East")
    staffing.hire("G1")
    head = staffing.brand.bus.store.head()

    staffing.open_store("S1")  # as hire does, which forgets the region
    changed = staffing.brand.bus.store.head()
    done: Upserted = staffing.brand.do(row("G1"))

    assert done.effect is Effect.UNCHANGED
    assert staffing.brand.bus.store.head() == changed == head


def test_a_name_is_kept_sealed_under_a_key_of_the_member_of_staff(staffing: Staffing) -> None:
    id = staffing.hire("G1", name="Li Wei")
    assert b"Li Wei" not in staffing.staff("G1").name
    assert staffing.brand.opened(id, NAME, staffing.staff("G1").name) == "Li Wei"

    done: Upserted = staffing.brand.do(row("G1", name="Li Weiwei"))

    assert done.effect is Effect.UPDATED
    assert staffing.brand.opened(id, NAME, staffing.staff("G1").name) == "Li Weiwei"
    assert "Li Wei" not in repr(staffing.brand.recorded())


def test_where_somebody_worked_is_known_for_any_time_whatever_is_heard_first(staffing: Staffing) -> None:
    staffing.hire("G1", "S1")
    for code in ("S2", "S3"):
        staffing.open_store(code)
    staffing.brand.do(row("G1", "S3", effective_at=MAY_28 + timedelta(days=30)))
    staffing.brand.do(row("G1", "S2", effective_at=MAY_28))

    staff = staffing.staff("G1")
    where = [staff.store_at(it) for it in (MAY_28 - timedelta(microseconds=1), MAY_28, MAY_28 + timedelta(days=30))]

    assert where == [staffing.store(it) for it in ("S1", "S2", "S3")]
    assert staff.store_at(datetime(2019, 1, 1, tzinfo=UTC)) is None


def test_a_placement_for_the_very_time_of_another_takes_its_place(staffing: Staffing) -> None:
    staffing.hire("G1", "S1")
    staffing.open_store("S2")
    staffing.hire("G1", "S2")
    assert [it.store for it in staffing.staff("G1").placements] == [staffing.store("S2")]


def test_who_left_is_taken_back_only_when_that_is_said(staffing: Staffing) -> None:
    id = staffing.hire("G1")
    left: Staff = staffing.brand.do(SetStaffLeft(id, NOON - timedelta(days=1)))
    staffing.brand.do(SetStaffLeft(id))

    assert left.left_at == NOON - timedelta(days=1)
    assert len(staffing.brand.events(Staff.Left)) == 1
    refused(staffing.brand, StaffInactive, lambda: staffing.brand.do(row("G1", name="Another Name")))
    refused(staffing.brand, StaffInactive, lambda: staffing.brand.do(SetStaffShift(id, False)))

    staffing.brand.do(row("G1", rehire=True))
    assert staffing.staff("G1").is_active


def test_nobody_leaves_tomorrow_and_nobody_who_is_unknown(staffing: Staffing) -> None:
    id = staffing.hire("G1")
    refused(staffing.brand, FutureTimestamp, lambda: staffing.brand.do(SetStaffLeft(id, NOON + timedelta(minutes=6))))
    refused(staffing.brand, StaffNotFound, lambda: staffing.brand.do(SetStaffLeft(staffing.store("S1"))))
    globex = Brand(staffing.brand.bus.store, "globex")
    refused(globex, StaffNotFound, lambda: globex.do(SetStaffLeft(id)))


def test_a_shift_begins_and_ends_once(staffing: Staffing) -> None:
    id = staffing.hire("G1")
    for on_shift in (True, False, False, True):
        staffing.brand.do(SetStaffShift(id, on_shift))
    assert [it.on_shift for it in staffing.brand.events(Staff.ShiftChanged)] == [False, True]


def test_6000_members_of_staff_are_imported_in_calls_of_1000_with_a_report_per_row(staffing: Staffing) -> None:
    for number in range(60):
        staffing.open_store(f"S{number}")
    rows: list[Any] = [row(f"G{it:04}", f"S{it % 60}", capacity=it % 7) for it in range(6005)]
    rows[17] = row("G0017", "NOWHERE")
    rows[2500] = BadFormat(field="code")

    def imported() -> list[list[Any]]:
        batches = [tuple(rows[start : start + 1000]) for start in range(0, len(rows), 1000)]
        return [list(staffing.brand.do(ImportStaff(it))) for it in batches]

    reports = imported()

    assert [len(it) for it in reports] == [1000] * 6 + [5]
    report = [it for batch in reports for it in batch]
    assert isinstance(report[17], StoreNotFound)
    assert isinstance(report[2500], BadFormat)
    assert [it.effect for it in report if isinstance(it, Upserted)] == [Effect.CREATED] * 6003
    assert len(staffing.brand.events(Staff.Registered)) == 6003
    assert staffing.staff("G6004").duties == Duties(Role.GUIDE, 6004 % 7)

    head = staffing.brand.bus.store.head()
    again = [it for batch in imported() for it in batch]
    assert [it.effect for it in again if isinstance(it, Upserted)] == [Effect.UNCHANGED] * 6003
    assert staffing.brand.bus.store.head() == head


def test_a_code_that_comes_twice_in_an_import_is_taken_twice(staffing: Staffing) -> None:
    staffing.open_store("S1")
    first, second = staffing.brand.do(ImportStaff((row("G1", capacity=1), row("G1", capacity=2))))
    assert (first.effect, second.effect) == (Effect.CREATED, Effect.UPDATED)
    assert staffing.staff("G1").duties.capacity == 2


def test_others_are_told_of_stores_and_staff_without_names(staffing: Staffing) -> None:
    store, id = staffing.open_store("S1", "East"), staffing.hire("G1", name="Li Wei")
    staffing.brand.do(row("G1", capacity=3, name="Li Wei"))
    staffing.brand.do(SetStaffLeft(id))

    stores = [(it.store_id, it.code, list(it.region_path)) for it in staffing.told("StoreUpserted")]
    assert stores == [(str(store), "S1", ["East"]), (str(store), "S1", [])]
    hired, changed = staffing.told("StaffUpserted")
    assert (hired.staff_id, hired.code, hired.store_id, hired.capacity) == (str(id), "G1", str(store), 10)
    assert (changed.store_id, changed.HasField("effective_time"), changed.capacity) == ("", False, 3)
    assert [it.code for it in staffing.told("StaffLeft")] == ["G1"]


def test_who_is_bound_to_a_store_changes_nothing_elsewhere(staffing: Staffing) -> None:
    here, there = staffing.hire("G1", "S1"), staffing.hire("G2", "S2")
    bound = staffing.bound_to("S1")

    def do(command: Any) -> Any:
        return staffing.brand.bus.execute_now(command, bound)

    store = UpsertStore("S2", StoreFacts("Ours now", (), StoreStatus.CLOSED))
    elsewhere = [store, row("G3", "S2"), row("G2", "S1"), SetStaffLeft(there), SetStaffShift(there, False)]
    elsewhere += [SetStaffLeft(staffing.store("S9")), TransferCustomers(here, there, None, "LEFT")]
    elsewhere += [SetOrgSettings(AssignmentRule.ASSIGN_LAST, "UTC")]
    for command in elsewhere:
        refused(staffing.brand, StoreScope, lambda command=command: do(command))  # type: ignore[misc]
    assert [it.reason for it in do(ImportStaff((row("G3", "S2"),)))] == ["STORE_SCOPE"]
    assert do(row("G3", "S1")).effect is Effect.CREATED
