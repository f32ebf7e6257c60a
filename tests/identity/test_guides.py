"""Whose customer somebody is: assigned, transferred, taken away, and through merges and their undoing."""

from datetime import timedelta
from uuid import UUID

import pytest

from chassis.errors import StoreScope
from services.identity.application.contact_commands import RecordFollowUp
from services.identity.application.org_commands import SetStaffLeft
from services.identity.application.relationship_commands import AssignCustomer, RecordGuideTouch
from services.identity.domain import transfers
from services.identity.domain.errors import CustomerNotFound, SameStaff, StaffInactive, StaffNotFound
from services.identity.domain.follow_up import FollowUpType
from services.identity.domain.org_settings import AssignmentRule
from services.identity.domain.relationships import AssignmentSource, Relationship, TouchKind, connected
from services.identity.domain.transfers import TransferState
from tests.identity.brand import NOON, Brand, phone, refused
from tests.identity.staffing import Staffing

DAY = timedelta(days=1)


@pytest.fixture
def staffing(brand: Brand) -> Staffing:
    return Staffing(brand)


def test_the_first_scan_gives_a_guide_and_later_ones_do_not_change_it(staffing: Staffing) -> None:
    one, other = staffing.hire("G1"), staffing.hire("G2")
    node = staffing.brand.resolve(phone(1)).node_id

    assert staffing.scan(node, one).changed
    assert not staffing.scan(node, other).changed
    assert not staffing.assign(node, other, AssignmentSource.ORDER).changed
    assert staffing.guide(node) == one


def test_a_customer_is_connected_to_everybody_whose_code_was_scanned(staffing: Staffing) -> None:
    one, other, clicked = (staffing.hire(it) for it in ("G1", "G2", "G3"))
    node, merged = (staffing.brand.resolve(phone(it)).node_id for it in (1, 2))
    staffing.scan(node, one)
    staffing.brand.do(RecordGuideTouch(node, clicked, TouchKind.CLICK))
    staffing.brand.clock.set(NOON + DAY)
    staffing.scan(merged, other)
    staffing.scan(merged, one, NOON + DAY / 2)
    staffing.brand.merge(node, merged)

    assert connected(staffing.relationships(node)) == [other, one]


def test_where_the_last_scan_counts_it_changes_the_guide(staffing: Staffing) -> None:
    staffing.decide(AssignmentRule.ASSIGN_LAST)
    one, other = staffing.hire("G1"), staffing.hire("G2")
    node = staffing.brand.resolve(phone(1)).node_id
    for staff in (one, other, other):
        staffing.scan(node, staff)

    assert staffing.guide(node) == other
    assert len(staffing.brand.events(Relationship.Assigned)) == 2


def test_a_person_decides_against_any_scan(staffing: Staffing) -> None:
    one, other = staffing.hire("G1"), staffing.hire("G2", "S2")
    node = staffing.brand.resolve(phone(1)).node_id
    staffing.scan(node, one)
    staffing.assign(node, other)

    assert staffing.guide(node) == other
    told = [(it.node_id, it.staff_id, it.store_id) for it in staffing.told("CustomerAssigned")]
    expected = [(one, staffing.store("S1")), (other, staffing.store("S2"))]
    assert told == [(str(node), str(staff), str(store)) for staff, store in expected]


def test_nobody_is_assigned_to_who_left_is_unknown_or_of_another_brand(staffing: Staffing) -> None:
    brand, one = staffing.brand, staffing.hire("G1")
    node = brand.resolve(phone(1)).node_id
    globex = Brand(brand.bus.store, "globex")
    refused(brand, CustomerNotFound, lambda: staffing.assign(one, one))
    refused(brand, StaffNotFound, lambda: staffing.assign(node, node))
    refused(globex, StaffNotFound, lambda: Staffing(globex).assign(node, one))

    brand.do(SetStaffLeft(one))
    for attempt in (staffing.assign, staffing.scan):
        refused(brand, StaffInactive, lambda attempt=attempt: attempt(node, one))  # type: ignore[misc]


def test_customers_of_who_left_stay_theirs_until_they_are_transferred(staffing: Staffing) -> None:
    one, other = staffing.hire("G1"), staffing.hire("G2")
    node = staffing.brand.resolve(phone(1)).node_id
    staffing.scan(node, one)
    staffing.brand.do(SetStaffLeft(one))
    assert staffing.guide(node) == one

    staffing.carry_out(staffing.transfer(one, other))

    assert staffing.guide(node) == other
    assert staffing.guide(node, NOON - DAY) is None


def test_who_has_no_guide_any_more_can_get_one_by_a_scan(staffing: Staffing) -> None:
    one, other = staffing.hire("G1"), staffing.hire("G2")
    node = staffing.brand.resolve(phone(1)).node_id
    staffing.scan(node, one)
    assert staffing.unassign(node).changed
    assert not staffing.unassign(node).changed
    assert staffing.guide(node) is None

    staffing.brand.clock.set(NOON + DAY)
    staffing.scan(node, other)
    assert staffing.guide(node) == other
    assert staffing.guide(node, NOON) is None


def two_persons(staffing: Staffing, *, guides: tuple[str | None, str | None]) -> list[UUID]:
    """The nodes of two customers, the second assigned a day after the first."""
    nodes = [staffing.brand.resolve(phone(it)).node_id for it in (1, 2)]
    for day, (node, code) in enumerate(zip(nodes, guides, strict=True)):
        staffing.brand.clock.set(NOON + day * DAY)
        if code:
            staffing.scan(node, staffing.hire(code))
    staffing.brand.clock.set(NOON + 2 * DAY)
    return nodes


@pytest.mark.parametrize(
    ("guides", "expected"),
    [
        (("G1", None), "G1"),  # the survivor's
        ((None, "G2"), "G2"),  # the survivor has none: the loser's
        (("G1", "G1"), "G1"),
        (("G1", "G2"), "G2"),  # the one assigned last
        ((None, None), None),
    ],
)
def test_a_merge_decides_whose_the_customer_is_and_its_undoing_restores_both(
    staffing: Staffing, guides: tuple[str | None, str | None], expected: str | None
) -> None:
    survivor, loser = two_persons(staffing, guides=guides)
    before = [staffing.guide(it) for it in (survivor, loser)]
    events = len(staffing.brand.events(Relationship.Assigned))

    merge = staffing.brand.merge(survivor, loser)
    wanted = staffing.staff(expected).id if expected else None
    assert [staffing.guide(it) for it in (survivor, loser)] == [wanted, wanted]

    staffing.brand.unmerge(merge)
    assert [staffing.guide(it) for it in (survivor, loser)] == before
    assert len(staffing.brand.events(Relationship.Assigned)) == events


@pytest.mark.parametrize("merged_first", [True, False])
def test_of_two_guides_who_followed_up_last_counts_and_who_did_before_who_did_not(
    staffing: Staffing, merged_first: bool
) -> None:
    brand = staffing.brand
    survivor, loser = two_persons(staffing, guides=("G1", "G2"))
    one, other = (staffing.staff(it).id for it in ("G1", "G2"))

    def follow_up(node: UUID, staff: UUID, days: int) -> None:
        brand.do(RecordFollowUp(node, FollowUpType.CALL, staff=staff, occurred_at=NOON + days * DAY))

    merge = brand.merge(survivor, loser) if merged_first else None
    brand.clock.set(NOON + 9 * DAY)
    follow_up(survivor, one, 3)
    merge = merge or brand.merge(survivor, loser)
    assert staffing.guide(survivor) == one

    follow_up(survivor, other, 5)
    follow_up(survivor, one, 4)
    assert staffing.guide(survivor) == other
    assert staffing.guide(survivor, NOON + 2 * DAY) == other

    brand.unmerge(merge)
    assert [staffing.guide(it) for it in (survivor, loser)] == [one, other]


def test_who_is_assigned_to_a_merged_customer_counts_whoever_followed_up_before(staffing: Staffing) -> None:
    survivor, loser = two_persons(staffing, guides=("G1", "G2"))
    merge = staffing.brand.merge(survivor, loser)
    staffing.brand.do(RecordFollowUp(loser, FollowUpType.CALL, staff=staffing.staff("G2").id))
    chosen = staffing.hire("G3")
    staffing.assign(survivor, chosen)
    assert staffing.guide(loser) == chosen

    staffing.brand.unmerge(merge)
    assert [staffing.guide(it) for it in (survivor, loser)] == [chosen, staffing.staff("G2").id]


def test_taking_the_guide_away_counts_for_all_nodes_of_a_customer_until_they_part(staffing: Staffing) -> None:
    survivor, loser = two_persons(staffing, guides=("G1", "G2"))
    merge = staffing.brand.merge(survivor, loser)

    staffing.unassign(survivor)
    assert staffing.guide(survivor) is None

    staffing.brand.unmerge(merge)
    assert staffing.guide(survivor) is None
    assert staffing.guide(loser) == staffing.staff("G2").id


def test_a_transfer_of_a_guide_who_lost_a_merge_does_not_win_it(staffing: Staffing) -> None:
    survivor, loser = two_persons(staffing, guides=("G1", "G2"))
    merge = staffing.brand.merge(survivor, loser)
    successor = staffing.hire("G3")

    staffing.carry_out(staffing.transfer(staffing.staff("G1").id, successor))
    assert staffing.guide(survivor) == staffing.staff("G2").id

    staffing.brand.unmerge(merge)
    assert staffing.guide(survivor) == successor


def test_transfers_go_in_chunks_and_none_is_left_behind(staffing: Staffing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.identity.application.transfer_commands.CHUNK", 20)
    one, other, third = (staffing.hire(it, capacity=0) for it in ("G1", "G2", "G3"))
    nodes = [staffing.brand.resolve(phone(it)).node_id for it in range(45)]
    for node in nodes:
        staffing.assign(node, one)
    kept = staffing.brand.resolve(phone(1000)).node_id
    staffing.assign(kept, third)

    transfer = staffing.transfer(one, other)
    first = staffing.carry_out(transfer, most=1)
    assert (first.state, first.moved) == (TransferState.RUNNING, 20)
    late = staffing.brand.resolve(phone(2000)).node_id
    staffing.assign(late, one)

    done = staffing.carry_out(transfer)

    assert done.state is TransferState.FINISHED
    assert {staffing.guide(it) for it in nodes} == {other}
    assert staffing.guide(kept) == third
    assert done.moved - 45 == (staffing.guide(late) == other)
    assert len(staffing.told("CustomerTransferred")) == done.moved
    assert staffing.carry_out(transfer).steps == done.steps
    assert transfers.CHUNK == 500


def test_a_list_of_customers_is_transferred_and_others_are_skipped(staffing: Staffing) -> None:
    one, other, third = (staffing.hire(it) for it in ("G1", "G2", "G3"))
    theirs, not_theirs, merged = (staffing.brand.resolve(phone(it)).node_id for it in (1, 2, 3))
    staffing.scan(theirs, one)
    staffing.scan(not_theirs, third)
    staffing.scan(merged, one)
    nobody = one
    survivor = staffing.brand.resolve(phone(4)).node_id
    staffing.brand.merge(survivor, merged)

    done = staffing.carry_out(staffing.transfer(one, other, (theirs, not_theirs, survivor, nobody, theirs)))

    assert (done.moved, done.skipped) == (2, 2)
    assert [staffing.guide(it) for it in (theirs, not_theirs, survivor)] == [other, third, other]


def test_a_transfer_waits_for_its_time_and_stops_when_the_colleague_has_left(staffing: Staffing) -> None:
    one, other = staffing.hire("G1"), staffing.hire("G2")
    node = staffing.brand.resolve(phone(1)).node_id
    staffing.scan(node, one)
    transfer = staffing.transfer(one, other, effective_at=NOON + DAY)
    assert staffing.carry_out(transfer, most=1).steps == 0

    staffing.brand.do(SetStaffLeft(other))
    staffing.brand.clock.set(NOON + DAY)

    assert staffing.carry_out(transfer).state is TransferState.STOPPED
    assert staffing.guide(node) == one


def test_customers_are_not_transferred_to_the_same_or_to_who_left(staffing: Staffing) -> None:
    one, other = staffing.hire("G1"), staffing.hire("G2")
    refused(staffing.brand, SameStaff, lambda: staffing.transfer(one, one))
    refused(staffing.brand, StaffNotFound, lambda: staffing.transfer(one, staffing.store("S1")))
    staffing.brand.do(SetStaffLeft(other))
    refused(staffing.brand, StaffInactive, lambda: staffing.transfer(one, other))


def test_who_is_bound_to_a_store_assigns_neither_to_others_nor_their_customers(staffing: Staffing) -> None:
    here, there = staffing.hire("G1", "S1"), staffing.hire("G2", "S2")
    theirs, free = (staffing.brand.resolve(phone(it)).node_id for it in (1, 2))
    staffing.assign(theirs, there)
    bound = staffing.bound_to("S1")

    def assign(node: object, staff: object) -> None:
        command = AssignCustomer(node, staff, AssignmentSource.MANUAL)  # type: ignore[arg-type]
        staffing.brand.bus.execute_now(command, bound)

    for node, staff in ((free, there), (free, free), (theirs, here)):
        refused(staffing.brand, StoreScope, lambda node=node, staff=staff: assign(node, staff))  # type: ignore[misc]
    assign(free, here)
    assert staffing.guide(free) == here
