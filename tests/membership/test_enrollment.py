"""Orders make members: progress, the crossing order, recognition, refunds, merges - in whatever order facts arrive."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from chassis.aggregate import Event
from chassis.event_store import EventStore, MemoryEventStore
from services.membership.application.customers import find_program
from services.membership.application.enrollment_commands import EnrollMember
from services.membership.application.program_commands import SetJoinPolicy
from services.membership.domain.errors import (
    CurrencyUnsupported,
    MemberNotFound,
    NotKnown,
    OrderNotCounted,
    ProgramExists,
    ProgramNotDefined,
)
from services.membership.domain.lots import Source
from services.membership.domain.member import Member, MemberState
from services.membership.domain.points_account import PointsAccount
from services.membership.domain.standing import Via
from tests.membership.scenario import Scenario, days, local

JANUARY_12 = local(1997, 1, 12, 12)
FEBRUARY_12 = local(1997, 2, 12, 12)


def progress(club: Scenario, customer: UUID, at: datetime) -> int:
    policy = club.look(find_program).join_policy
    return int(policy.progress(club.the_member(customer).spends.values(), at))


def customer_2(club: Scenario) -> tuple[UUID, UUID]:
    """Customer 00002 of CDNOW with one order more, and that order: the 20.00 that makes a member."""
    customer = club.known()
    club.pay(customer, 1200, JANUARY_12)
    club.pay(customer, 7700, JANUARY_12 + timedelta(seconds=1))
    assert progress(club, customer, JANUARY_12 + timedelta(seconds=1)) == 8900
    assert club.the_member(customer).state is MemberState.PROSPECT
    order = club.pay(customer, 2000, FEBRUARY_12)
    return customer, order


def test_the_order_that_crosses_the_threshold_makes_a_member_and_earns(club: Scenario) -> None:  # AC-59
    customer, order = customer_2(club)
    member = club.the_member(customer)
    assert member.state is MemberState.ACTIVE
    assert member.membership is not None
    assert (member.membership.joined_at, member.membership.via) == (FEBRUARY_12, Via.SPEND)
    assert progress(club, customer, FEBRUARY_12) == 10_900
    [lot] = club.account(customer).lots.values()
    assert (lot.source, lot.ref, lot.granted, lot.node) == (Source.ORDER, str(order), 20, customer)
    assert lot.expire_at == local(1998, 3, 1)


@pytest.mark.parametrize(("after", "state", "balance"), [(10, "REVOKED", 0), (30, "REVOKED", 0), (31, "ACTIVE", 0)])
def test_a_refund_of_the_crossing_order_revokes_within_thirty_days(
    club: Scenario, after: int, state: str, balance: int
) -> None:  # AC-59
    customer, order = customer_2(club)
    club.refund(customer, order, 0, FEBRUARY_12 + days(after))
    assert club.the_member(customer).state == state
    assert club.account(customer).balance(club.clock.now()).total == balance


def test_a_refund_that_leaves_enough_revokes_nothing(club: Scenario) -> None:
    customer, order = customer_2(club)
    club.refund(customer, order, 1100, FEBRUARY_12 + days(1))
    assert club.the_member(customer).state is MemberState.ACTIVE
    assert club.account(customer).balance(club.clock.now()).total == 11


def test_a_later_order_can_hold_a_membership_that_the_crossing_order_no_longer_does(club: Scenario) -> None:
    customer, order = customer_2(club)
    club.pay(customer, 5000, FEBRUARY_12 + days(2))
    club.refund(customer, order, 0, FEBRUARY_12 + days(3))
    assert club.the_member(customer).state is MemberState.ACTIVE
    assert club.account(customer).balance(club.clock.now()).total == 50


def test_revoking_takes_back_all_the_membership_earned_even_what_was_spent(club: Scenario) -> None:
    customer, order = customer_2(club)
    later = club.pay(customer, 500, FEBRUARY_12 + days(1))
    club.burn(customer, 24)
    club.refund(customer, order, 0, FEBRUARY_12 + days(2))
    balance = club.account(customer).balance(club.clock.now())
    assert (balance.debt, balance.available) == (24, 0)
    assert club.account(customer).granted_lot(Source.ORDER, str(later)).reversible == 0  # type: ignore[union-attr]


def test_somebody_revoked_joins_again_with_a_new_crossing(club: Scenario) -> None:
    customer, order = customer_2(club)
    club.refund(customer, order, 0, FEBRUARY_12 + days(10))
    again = club.pay(customer, 3000, FEBRUARY_12 + days(20))
    member = club.the_member(customer)
    assert member.membership is not None
    assert member.membership.joined_at == FEBRUARY_12 + days(20)
    account = club.account(customer)
    assert account.granted_lot(Source.ORDER, str(again)) is not None
    assert account.balance(club.clock.now()).total == 30


@pytest.mark.parametrize(("later", "joins"), [(364, True), (365, False)])
def test_the_window_holds_365_local_days(club: Scenario, later: int, joins: bool) -> None:
    customer = club.known()
    club.pay(customer, 9000, local(1997, 1, 12, 23, 59, 59))
    club.pay(customer, 1000, local(1997, 1, 12, 0, 0, 1) + days(later))
    assert (club.the_member(customer).state is MemberState.ACTIVE) is joins


def test_an_anonymous_customer_joins_when_recognized_and_earns_from_the_crossing_order_on(club: Scenario) -> None:
    customer = uuid4()
    club.pay(customer, 9000, JANUARY_12)
    crossing = club.pay(customer, 2000, JANUARY_12 + days(1))
    assert club.the_member(customer).state is MemberState.PROSPECT
    with pytest.raises(NotKnown):
        club.run(EnrollMember("acme", customer))
    club.at(JANUARY_12 + days(5)).known(JANUARY_12 + days(5), customer)
    member = club.the_member(customer)
    assert member.membership is not None
    assert member.membership.joined_at == JANUARY_12 + days(5)
    assert [it.ref for it in club.account(customer).lots.values()] == [str(crossing)]


def test_staff_enrolls_a_known_customer(club: Scenario) -> None:
    customer = club.enroll()
    membership = club.the_member(customer).require_membership()
    assert (membership.via, membership.policy_version) == (Via.STAFF, 0)
    club.pay(customer, 999, local(1997, 1, 1))
    assert club.account(customer).tally.granted == 9
    with pytest.raises(MemberNotFound):
        club.run(EnrollMember("acme", uuid4()))


def test_an_order_counts_once_and_earns_once(club: Scenario) -> None:
    customer, order = customer_2(club)
    before = len(club.events())
    club.pay(customer, 2000, FEBRUARY_12, order)
    assert len(club.events()) == before


def test_an_order_in_another_currency_neither_counts_nor_earns(club: Scenario) -> None:
    customer, _ = customer_2(club)
    club.pay(customer, 100_000, FEBRUARY_12, currency="CNY")
    assert club.account(customer).tally.granted == 20
    with pytest.raises(CurrencyUnsupported):
        club.run(SetJoinPolicy(1, "CNY", 365, 30))


def test_an_order_below_one_point_makes_no_lot(club: Scenario) -> None:
    customer, _ = customer_2(club)
    club.pay(customer, 99, FEBRUARY_12 + days(1))
    club.pay(customer, 0, FEBRUARY_12 + days(1))
    assert len(club.account(customer).lots) == 1


def test_a_refund_of_an_unknown_order_is_refused(club: Scenario) -> None:
    with pytest.raises(OrderNotCounted):
        club.refund(uuid4(), uuid4(), 0, JANUARY_12)
    assert not any(isinstance(it, Member.Noticed) for it in club.events()), "a refusal leaves no trace"


def test_without_a_program_orders_are_remembered_and_nobody_joins(store: EventStore) -> None:
    club = Scenario(store)
    customer = club.known()
    club.pay(customer, 20_000, JANUARY_12)
    with pytest.raises(ProgramNotDefined):
        club.run(EnrollMember("acme", customer))
    club.define()
    club.pay(customer, 100, JANUARY_12 + days(1))
    assert club.the_member(customer).state is MemberState.ACTIVE


def test_the_program_is_defined_once(club: Scenario) -> None:
    before = len(club.events())
    club.define()
    assert len(club.events()) == before
    with pytest.raises(ProgramExists):
        club.define(rate="2")


def test_another_tenant_with_the_same_node_is_somebody_else(club: Scenario) -> None:
    customer, _ = customer_2(club)
    other = Scenario(club.bus.store, tenant="other").define()
    assert other.member(customer) is None
    other.known(customer=customer)
    assert other.the_member(customer).spends == {}


def test_merged_customers_spend_together_and_join(club: Scenario) -> None:
    survivor, loser = club.known(), uuid4()
    club.pay(survivor, 6000, JANUARY_12)
    crossing = club.pay(loser, 5000, JANUARY_12 + days(1))
    club.merge(survivor, loser)
    for id in (survivor, loser):
        assert club.the_member(id).customer == survivor
    member = club.the_member(survivor)
    assert member.membership is not None
    assert member.membership.joined_at == JANUARY_12 + days(1)
    [lot] = club.account(loser).lots.values()
    assert (lot.node, lot.ref) == (loser, str(crossing)), "facts stay with the node they came to"


def test_two_members_who_merge_have_one_membership_the_earlier_one(club: Scenario) -> None:
    first, second = club.known(), club.known()
    club.pay(first, 12_000, JANUARY_12)
    club.pay(second, 11_000, FEBRUARY_12)
    club.merge(second, first)
    member = club.the_member(first)
    assert member.customer == second
    assert member.require_membership().joined_at == JANUARY_12
    account = club.account(first)
    assert sorted((it.node, it.granted) for it in account.lots.values()) == sorted([(first, 120), (second, 110)])
    club.pay(first, 1000, FEBRUARY_12 + days(1))
    assert club.account(second).tally.remaining == 240


def test_a_refund_finds_the_order_after_the_merge(club: Scenario) -> None:
    survivor, loser = club.known(), club.known()
    order = club.pay(loser, 12_000, JANUARY_12)
    club.merge(survivor, loser)
    club.refund(loser, order, 6000, JANUARY_12 + days(31))
    assert club.account(survivor).balance(club.clock.now()).total == 60


def test_debts_add_and_points_of_the_other_pay_them(club: Scenario) -> None:
    survivor, loser = club.known(), club.known()
    club.pay(survivor, 10_000, JANUARY_12)
    order = club.pay(loser, 12_000, JANUARY_12)
    club.burn(loser, 120)
    club.refund(loser, order, 6000, JANUARY_12 + days(31))  # owes 60
    club.merge(survivor, loser)
    balance = club.account(survivor).balance(club.clock.now())
    assert (balance.active, balance.debt) == (40, 0)


def test_merging_again_and_merging_nobody_changes_nothing(club: Scenario) -> None:
    survivor, loser = club.known(), club.known()
    club.merge(survivor, loser)
    before = len(club.events())
    club.merge(survivor, loser)
    club.merge(survivor, survivor)
    assert len(club.events()) == before
    stranger, other = uuid4(), uuid4()
    club.merge(stranger, other)
    club.pay(other, 500, JANUARY_12)
    assert club.the_member(other).customer == stranger


def test_merges_arriving_in_the_wrong_order_lead_to_the_last_survivor(club: Scenario) -> None:
    a, b, c = club.known(), club.known(), club.known()
    club.merge(c, a)
    club.merge(a, b)
    club.pay(b, 12_000, JANUARY_12)
    assert {club.the_member(it).customer for it in (a, b, c)} == {c}


def facts_of_two(person: UUID, device: UUID) -> list[Callable[[Scenario], object]]:
    """A person who is recognized on a second device: orders on both, in three months, without refunds."""
    orders = [(person, 40), (device, 35), (person, 20), (device, 30), (person, 15), (device, 5)]
    facts: list[Callable[[Scenario], object]] = []
    for number, (node, amount) in enumerate(orders):
        at, order = JANUARY_12 + days(15 * number), UUID(int=number + 1)
        facts.append(lambda it, n=node, m=amount * 100, t=at, o=order: it.pay(n, m, t, o))  # type: ignore[misc]
    facts.append(lambda it: it.known(JANUARY_12 + days(1), person))
    facts.append(lambda it: it.merge(person, device))
    return facts


def outcome(club: Scenario, person: UUID) -> object:
    member, account = club.the_member(person), club.account(person)
    lots = sorted((it.ref, it.node, it.granted, it.active_at, it.expire_at) for it in account.lots.values())
    membership = member.require_membership()
    return (
        sorted(member.spends.values(), key=lambda it: it.order),
        (membership.joined_at, membership.earns_from, membership.member_no),
        lots,
        account.balance(club.clock.now()),
    )


def test_facts_give_the_same_members_and_points_in_any_order() -> None:
    person, device = uuid4(), uuid4()
    facts = facts_of_two(person, device)
    outcomes = []
    for seed in range(20):
        shuffled = facts[:]
        random.Random(seed).shuffle(shuffled)
        club = Scenario(MemoryEventStore()).define().at(JANUARY_12 + days(100))
        for fact in shuffled:
            fact(club)
        outcomes.append(outcome(club, person))
    assert all(it == outcomes[0] for it in outcomes)
    assert len(outcomes[0][2]) == 3  # type: ignore[index]  # 30 crosses after 40 + 35 + 20; 15 and 5 follow


def test_every_account_adds_up_after_all_that(club: Scenario) -> None:
    customer_2(club)
    for account in club.accounts():
        assert sum(it.remaining for it in account.lots.values()) == account.tally.remaining
    opened: list[type[Event]] = [type(it) for it in club.events()]
    assert opened.count(PointsAccount.Opened) == 1
