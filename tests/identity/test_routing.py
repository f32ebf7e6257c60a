"""Codes that several staff share: whose turn it is, who has room today, and who stands in."""

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.errors import DomainError, StoreScope
from services.identity.application.org_commands import SetStaffLeft, SetStaffShift
from services.identity.application.routing_commands import RouteCustomer, Routed, RouteOutcome
from services.identity.domain.errors import CustomerNotFound, NoStaffAvailable, StaffNotFound
from services.identity.domain.org_settings import AssignmentRule
from services.identity.domain.routing import Rota
from tests.identity.brand import NOON, Brand, phone, refused
from tests.identity.staffing import Staffing


class Code(Staffing):
    """A code that G1, G2 and G3 share, each with room for so many new customers a day."""

    def __init__(self, brand: Brand, capacity: int = 10) -> None:
        super().__init__(brand)
        self.sharers = tuple(self.hire(it, capacity=capacity) for it in ("G1", "G2", "G3"))
        self.customers = 0

    def node(self) -> UUID:
        """A new customer."""
        self.customers += 1
        return self.brand.resolve(phone(self.customers)).node_id

    def route(self, node: UUID | None = None, *, key: str = "c", fallback: UUID | None = None) -> Routed:
        done: Routed = self.brand.do(RouteCustomer(key, node or self.node(), self.sharers, fallback))
        return done

    def refuses(self, error: type[DomainError], **details: Any) -> None:
        """A new customer is refused."""
        node = self.node()
        refused(self.brand, error, lambda: self.route(node, **details))


@pytest.fixture
def code(brand: Brand) -> Code:
    return Code(brand)


def test_customers_go_to_the_staff_of_a_code_in_turn(code: Code) -> None:
    chosen = [code.route().staff for _ in range(9)]
    assert set(chosen[:3]) == set(code.sharers)
    assert chosen == chosen[:3] * 3


def test_turns_are_kept_by_code_and_survive_a_restart(brand: Brand) -> None:
    code = Code(brand)
    first, other = code.route(), code.route(key="d")
    assert first.staff == other.staff

    again = Brand(brand.bus.store)  # nothing but what is stored
    done: Routed = again.do(RouteCustomer("c", code.node(), code.sharers))
    assert done.staff == code.sharers[(code.sharers.index(first.staff) + 1) % 3]


def test_the_same_customers_in_the_same_order_go_to_the_same_staff(brand: Brand) -> None:
    globex = Code(Brand(brand.bus.store, "globex"))
    acme = Code(brand)
    turns = [[code.sharers.index(code.route().staff) for _ in range(7)] for code in (acme, globex)]
    assert turns[0] == turns[1]


def test_who_is_full_for_today_is_passed_over_until_tomorrow(brand: Brand) -> None:
    code = Code(brand, capacity=2)
    direct = code.sharers[0]
    code.scan(code.node(), direct)  # counts too, though it did not come by this code

    assert Counter(code.route().staff for _ in range(5)) == {direct: 1, code.sharers[1]: 2, code.sharers[2]: 2}
    code.refuses(NoStaffAvailable)
    fallback = code.hire("G9", capacity=0)
    last = code.route(fallback=fallback)
    assert (last.staff, last.outcome, last.assigned) == (fallback, RouteOutcome.FALLBACK, True)

    brand.clock.set(NOON + timedelta(hours=12))
    assert code.route(fallback=fallback).outcome is RouteOutcome.TURN


def test_the_day_is_that_of_the_brand(brand: Brand) -> None:
    code = Code(brand, capacity=1)
    code.decide(AssignmentRule.ASSIGN_FIRST, "Asia/Shanghai")
    for _ in range(3):
        code.route()
    brand.clock.set(NOON + timedelta(hours=3))
    code.refuses(NoStaffAvailable)
    brand.clock.set(NOON + timedelta(hours=4))  # midnight in Shanghai
    assert code.route().outcome is RouteOutcome.TURN


def test_nobody_is_led_to_who_is_away_or_has_left(code: Code) -> None:
    away, left, there = code.sharers
    code.brand.do(SetStaffShift(away, False))
    code.brand.do(SetStaffLeft(left))
    assert {code.route().staff for _ in range(4)} == {there}

    code.brand.do(SetStaffLeft(there))
    code.refuses(NoStaffAvailable)
    code.refuses(NoStaffAvailable, fallback=left)


def test_who_has_a_guide_is_led_there_unless_the_last_scan_counts(code: Code) -> None:
    guide, node = code.hire("G9"), code.node()
    code.scan(node, guide)
    kept = code.route(node)
    assert (kept.staff, kept.outcome, kept.assigned) == (guide, RouteOutcome.KEPT, False)

    code.decide(AssignmentRule.ASSIGN_LAST)
    moved = code.route(node)
    assert (moved.outcome, moved.assigned) == (RouteOutcome.TURN, True)
    assert code.guide(node) == moved.staff


def test_a_customer_of_who_left_is_led_to_a_colleague_and_stays_to_be_transferred(code: Code) -> None:
    guide, node = code.hire("G9"), code.node()
    code.scan(node, guide)
    code.brand.do(SetStaffLeft(guide))

    led = code.route(node)

    assert (led.staff in code.sharers, led.assigned) == (True, False)
    assert code.guide(node) == guide


def test_codes_of_unknown_staff_and_unknown_customers_are_refused(code: Code) -> None:
    store = code.store("S1")
    refused(code.brand, CustomerNotFound, lambda: code.route(store))
    code.refuses(StaffNotFound, fallback=store)
    assert code.brand.events(Rota.Turned) == []


def test_who_is_bound_to_a_store_neither_routes_elsewhere_nor_learns_who_looks_after_others(code: Code) -> None:
    there = code.hire("G9", "S2")
    theirs, free = code.node(), code.node()
    code.scan(theirs, there)

    def route(node: UUID, *staff: UUID) -> Routed:
        command = RouteCustomer("c", node, staff)
        done: Routed = code.brand.bus.execute_now(command, code.bound_to("S1"))
        return done

    here = code.sharers[0]
    for node, staff in ((free, (here, there)), (free, (here, free)), (theirs, (here,))):
        refused(code.brand, StoreScope, lambda node=node, staff=staff: route(node, *staff))  # type: ignore[misc]
    assert route(free, here).staff == here
