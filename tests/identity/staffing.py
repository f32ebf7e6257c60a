"""A brand with stores and staff, in short forms for tests."""

from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.context import Context
from chassis.unit_of_work import replay
from services.identity.application.contact_commands import RecordFollowUp
from services.identity.application.credit_commands import CreditOrder, ReduceCredit
from services.identity.application.guides import Guided
from services.identity.application.org_commands import (
    SetStaffLeft,
    SetStaffShift,
    Upserted,
    UpsertStaff,
    UpsertStore,
)
from services.identity.application.relationship_commands import (
    AssignCustomer,
    RecordGuideTouch,
    SetOrgSettings,
    UnassignCustomer,
)
from services.identity.application.routing_commands import RouteCustomer
from services.identity.application.transfer_commands import AdvanceTransfer, TransferCustomers
from services.identity.domain.follow_up import FollowUpType
from services.identity.domain.org_settings import AssignmentRule
from services.identity.domain.relationships import (
    AssignmentSource,
    Guidance,
    Relationship,
    TouchKind,
    guide_at,
    relationship_id,
)
from services.identity.domain.staff import Duties, Role, Staff, staff_id
from services.identity.domain.stores import Store, StoreFacts, StoreStatus, store_id
from services.identity.domain.transfers import Transfer, TransferState
from tests.identity.brand import Brand

A = TypeVar("A", bound=Aggregate)


def row(code: str, store: str = "S1", *, name: str = "", capacity: int = 10, **details: Any) -> UpsertStaff:
    return UpsertStaff(code, name or f"Name of {code}", Duties(Role.GUIDE, capacity), store, **details)


class Staffing:
    """Stores and staff of a brand, by their codes."""

    def __init__(self, brand: Brand) -> None:
        self.brand = brand

    def open_store(self, code: str, *regions: str, status: StoreStatus = StoreStatus.OPEN) -> UUID:
        store: Store = self.brand.do(UpsertStore(code, StoreFacts(f"Store {code}", regions, status)))
        return store.id

    def hire(self, code: str, store: str = "S1", **details: Any) -> UUID:
        """In a store that is opened where there is none; at work since 2020 unless said otherwise."""
        self.open_store(store)
        details = {"effective_at": datetime.fromisoformat("2020-01-01T00:00:00+00:00"), **details}
        done: Upserted = self.brand.do(row(code, store, **details))
        return done.staff.id

    def staff(self, code: str) -> Staff:
        found = self._stored(Staff, staff_id(self.brand.tenant, code))
        assert found is not None
        return found

    def store(self, code: str) -> UUID:
        return store_id(self.brand.tenant, code)

    def decide(self, assignment: AssignmentRule, time_zone: str = "UTC") -> None:
        self.brand.do(SetOrgSettings(assignment, time_zone))

    def assign(self, node: UUID, staff: UUID, source: AssignmentSource = AssignmentSource.MANUAL) -> Guided:
        done: Guided = self.brand.do(AssignCustomer(node, staff, source))
        return done

    def unassign(self, node: UUID) -> Guided:
        done: Guided = self.brand.do(UnassignCustomer(node, "ASKED"))
        return done

    def scan(self, node: UUID, staff: UUID, at: datetime | None = None) -> Guided:
        done: Guided = self.brand.do(RecordGuideTouch(node, staff, TouchKind.SCAN, at))
        return done

    def guidance(self, node: UUID, at: datetime | None = None) -> Guidance | None:
        """Who looks after the customer of the node."""
        return guide_at(self.relationships(node), at or self.brand.clock.now())

    def relationships(self, node: UUID) -> list[Relationship]:
        """Those of all nodes of the customer of the node, read from the log."""
        tenant, nodes = self.brand.tenant, self.brand.customer(node).nodes
        found = [self._stored(Relationship, relationship_id(tenant, it)) for it in nodes]
        return [it for it in found if it is not None]

    def guide(self, node: UUID, at: datetime | None = None) -> UUID | None:
        found = self.guidance(node, at)
        return found.staff if found else None

    def transfer(self, source: UUID, target: UUID, customers: tuple[UUID, ...] | None = None, **details: Any) -> UUID:
        made: Transfer = self.brand.do(TransferCustomers(source, target, customers, "LEFT", **details))
        return made.id

    def carry_out(self, transfer: UUID, most: int = 1000) -> Transfer:
        """Let its timers go off until it has ended, at most so often."""
        done: Transfer = self.brand.do(AdvanceTransfer(transfer))
        for _ in range(most - 1):
            if done.state is not TransferState.RUNNING:
                break
            done = self.brand.do(AdvanceTransfer(transfer))
        return done

    def told(self, name: str) -> list[Any]:
        """The messages of that name which other services were told."""
        return list(self.brand.published(name))

    def bound_to(self, *stores: str) -> Context:
        """Somebody whose token is bound to these stores."""
        return Context(self.brand.tenant, "guide", stores=frozenset(self.store(it) for it in stores))

    def _stored(self, kind: type[A], id: UUID) -> A | None:
        stream = self.brand.bus.store.load([id]).get(id)
        found = replay(stream) if stream else None
        assert found is None or isinstance(found, kind)
        return found


def everything_organised(brand: Brand, node: UUID) -> None:
    """Everything that can happen to stores, staff and guides happens once; the name of a guide is Mei Lan."""
    staffing = Staffing(brand)
    one, other = staffing.hire("G1", "S1", name="Mei Lan"), staffing.hire("G2", "S2")
    staffing.open_store("S1", "East")
    brand.do(row("G1", "S2", name="Mei Lan"))
    staffing.decide(AssignmentRule.ASSIGN_LAST)
    staffing.scan(node, one)
    brand.do(RouteCustomer("c", node, (other,)))
    order = UUID(int=7)
    brand.credit(CreditOrder(node, order, "", "", 100, "CNY", brand.clock.now()))
    brand.credit(ReduceCredit(node, order, 40))
    staffing.carry_out(staffing.transfer(other, one))
    brand.do(RecordFollowUp(node, FollowUpType.CALL, staff=one))
    staffing.unassign(node)
    brand.do(SetStaffShift(other, False))
    brand.do(SetStaffLeft(one))
