"""A merge that is taken back: each side has what came to it, nobody has more than before, in whatever order it is told."""

import random
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.event_store import MemoryEventStore
from services.membership.application.customers import find_account
from services.membership.application.enrollment_commands import EnrollMember
from services.membership.application.points_commands import CancelBurn, GrantPoints, ReverseGrant
from services.membership.domain.errors import NotAMember
from services.membership.domain.lots import Source
from services.membership.domain.member import MemberState
from services.membership.domain.standing import Via
from tests.membership.scenario import Scenario, days, local

JANUARY_12 = local(1997, 1, 12, 12)
FEBRUARY_12 = local(1997, 2, 12, 12)


def total(club: Scenario, *customers: UUID) -> list[int]:
    return [club.account(it).balance(club.clock.now()).total for it in customers]


def owed(club: Scenario, *customers: UUID) -> list[int]:
    return [club.account(it).debt for it in customers]


def orders(club: Scenario, customer: UUID) -> set[UUID]:
    return set(club.the_member(customer).spends)


def check_accounts(club: Scenario) -> None:
    """Every account adds up, and no lot is in two."""
    accounts = club.accounts()
    for it in accounts:
        assert sum(lot.remaining for lot in it.lots.values()) == it.tally.remaining
        assert it.debt == it.tally.debt
    lots = [lot for it in accounts for lot in it.lots]
    assert len(lots) == len(set(lots))


@pytest.mark.parametrize(("expire_of_b", "left"), [(local(2025, 12, 1), [50, 0]), (local(2026, 2, 1), [0, 50])])
def test_ac_6_what_was_redeemed_meanwhile_is_gone_and_the_rest_returns_to_where_it_came_from(
    club: Scenario, expire_of_b: datetime, left: list[int]
) -> None:
    club.at(local(2025, 1, 1))
    a, b = club.enroll(), club.enroll()
    of_a = {club.pay(a, 50, club.clock.now()) for _ in range(3)}
    of_b = {club.pay(b, 50, club.clock.now()) for _ in range(2)}
    club.grant(a, 200, local(2026, 1, 1))
    club.grant(b, 100, expire_of_b)
    club.merge(a, b)
    assert total(club, a) == [300]
    assert orders(club, a) == of_a | of_b
    club.burn(a, 250)

    club.unmerge(a, b)

    assert total(club, a, b) == left
    assert [club.account(it).nodes for it in (a, b)] == [{a}, {b}]
    assert (orders(club, a), orders(club, b)) == (of_a, of_b)
    assert [club.the_member(it).state for it in (a, b)] == [MemberState.ACTIVE] * 2
    check_accounts(club)


@pytest.fixture
def chain(club: Scenario) -> tuple[UUID, UUID, UUID]:
    """C became part of B, and B of A; each has an order and points of their own."""
    a, b, c = club.enroll(), club.enroll(), club.enroll()
    for customer, points in ((a, 100), (b, 20), (c, 3)):
        club.grant(customer, points)
        club.pay(customer, 99, JANUARY_12)
    club.merge(b, c)
    club.pay(c, 99, JANUARY_12 + days(1))
    club.merge(a, b)
    club.pay(c, 99, JANUARY_12 + days(2))
    club.pay(b, 99, JANUARY_12 + days(2))
    assert total(club, a) == [123]
    return a, b, c


def test_ac_7_a_part_of_a_part_leaves_alone_and_then_its_survivor_alone(
    club: Scenario, chain: tuple[UUID, UUID, UUID]
) -> None:
    a, b, c = chain
    club.unmerge(b, c)
    assert (club.the_member(b).customer, club.the_member(c).customer) == (a, c)
    assert (total(club, a, c), len(orders(club, a)), len(orders(club, c))) == ([120, 3], 3, 3)
    check_accounts(club)
    club.unmerge(a, b)
    assert total(club, a, b, c) == [100, 20, 3]
    assert [len(orders(club, it)) for it in (a, b, c)] == [1, 2, 3]
    check_accounts(club)


def test_ac_7_a_part_leaves_with_its_own_parts_and_these_leave_it_later(
    club: Scenario, chain: tuple[UUID, UUID, UUID]
) -> None:
    a, b, c = chain
    club.unmerge(a, b)
    assert (club.the_member(b).customer, club.the_member(c).customer) == (b, b)
    assert (total(club, a, b), len(orders(club, a)), len(orders(club, b))) == ([100, 23], 1, 5)
    check_accounts(club)
    club.unmerge(b, c)
    assert total(club, a, b, c) == [100, 20, 3]
    assert [len(orders(club, it)) for it in (a, b, c)] == [1, 2, 3]
    check_accounts(club)


def test_a_merge_that_was_taken_back_before_it_arrives_never_takes_effect(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    club.grant(b, 10)
    club.unmerge(a, b)
    club.merge(a, b)
    assert club.the_member(b).customer == b
    assert total(club, b) == [10]
    club.merge(a, b, turn=2)
    assert club.the_member(b).customer == a


def test_customers_merge_again_after_a_merge_was_taken_back(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    club.grant(a, 100)
    club.grant(b, 10)
    for turn in (1, 2, 3):
        club.merge(a, b, turn)
        club.pay(b, 99, JANUARY_12 + days(turn))
        assert total(club, b) == [110]
        assert len(orders(club, a)) == turn
        club.unmerge(a, b, turn)
        assert total(club, a, b) == [100, 10]
        assert (len(orders(club, a)), len(orders(club, b))) == (0, turn)
        check_accounts(club)


def test_a_merge_waits_for_another_of_the_same_customer_to_be_taken_back(club: Scenario) -> None:
    a, b, c = club.enroll(), club.enroll(), club.enroll()
    club.grant(b, 10)
    club.merge(a, b)
    club.merge(c, b)
    assert club.the_member(b).customer == a
    club.unmerge(a, b)
    assert club.the_member(b).customer == c
    assert total(club, c) == [10]
    check_accounts(club)


def test_a_merge_the_other_way_round_waits_for_the_first_to_be_taken_back(club: Scenario) -> None:
    a, b, c = club.enroll(), club.enroll(), club.enroll()
    club.grant(a, 100)
    club.grant(c, 1)
    club.merge(a, b)
    club.merge(b, c)
    club.merge(c, a)
    assert {club.the_member(it).customer for it in (a, b, c)} == {a}
    club.unmerge(a, b)
    assert {club.the_member(it).customer for it in (a, b, c)} == {b}
    assert total(club, b) == [101]
    check_accounts(club)


def test_a_merge_waits_while_its_own_customer_comes_back_under_another(club: Scenario) -> None:
    a, b, c = club.enroll(), club.enroll(), club.enroll()
    club.grant(b, 10)
    club.merge(a, b)
    club.merge(c, b)
    club.merge(a, c)
    club.unmerge(a, b)
    assert {club.the_member(it).customer for it in (a, b, c)} == {a}
    assert total(club, a) == [10]
    club.unmerge(a, c)
    assert [club.the_member(it).customer for it in (a, b, c)] == [a, c, c]
    assert total(club, c) == [10]
    check_accounts(club)


def test_telling_it_again_changes_nothing(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    club.grant(b, 10)
    club.merge(a, b)
    club.unmerge(a, b)
    before = len(club.events())
    club.unmerge(a, b)
    club.merge(a, b)
    club.unmerge(a, b)
    assert len(club.events()) == before


def test_facts_between_merge_and_its_end_and_after_it_are_of_their_node(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    early = club.pay(b, 1000, JANUARY_12)
    club.merge(a, b)
    mine, theirs = club.pay(a, 2000, JANUARY_12 + days(1)), club.pay(b, 3000, JANUARY_12 + days(1))
    club.refund(b, early, 400, JANUARY_12 + days(2))
    club.refund(b, theirs, 2000, JANUARY_12 + days(2))
    club.grant(b, 7, local(1997, 2, 1))
    club.settle(local(1997, 2, 1))
    assert total(club, a) == [4 + 20 + 20]

    club.unmerge(a, b)

    assert (orders(club, a), orders(club, b)) == ({mine}, {early, theirs})
    assert club.the_member(b).spends[early].net == 400
    assert total(club, a, b) == [20, 24]
    club.refund(b, theirs, 0, FEBRUARY_12)
    last = club.pay(b, 500, FEBRUARY_12)
    assert last in orders(club, b)
    assert total(club, a, b) == [20, 9]
    assert club.account(b).tally.expired == 0, "they expired while they were the survivor's"
    check_accounts(club)


def test_each_side_is_known_since_its_own_day(club: Scenario) -> None:
    a, b = club.known(JANUARY_12), club.known(JANUARY_12 + days(3))
    club.merge(a, b)
    club.known(JANUARY_12 + days(1), b)
    club.known(JANUARY_12 - days(1), a)
    club.unmerge(a, b)
    assert [club.the_member(it).known_since for it in (a, b)] == [JANUARY_12 - days(1), JANUARY_12 + days(1)]


def test_a_device_nobody_knew_is_anonymous_again(club: Scenario) -> None:
    person, device = club.known(), uuid4()
    club.pay(device, 20_000, JANUARY_12)
    club.merge(person, device)
    assert total(club, person) == [200]
    club.unmerge(person, device)
    assert [club.the_member(it).state for it in (person, device)] == [MemberState.PROSPECT] * 2
    assert club.the_member(device).known_since is None
    assert total(club, person, device) == [0, 0]
    with pytest.raises(NotAMember):
        club.burn(device, 1)


def test_a_device_that_came_to_be_known_joins_from_the_day_it_is_restored(club: Scenario) -> None:
    person, device = club.known(), uuid4()
    club.pay(device, 20_000, JANUARY_12)
    club.merge(person, device)
    club.unmerge(person, device, known_since=JANUARY_12 + days(9))
    assert club.the_member(device).require_membership().joined_at == JANUARY_12 + days(9)
    assert total(club, device) == [200], "points that were withdrawn unspent are earned anew"
    check_accounts(club)


def test_orders_of_a_device_first_seen_by_its_merge_go_with_it(club: Scenario) -> None:
    person, device = club.enroll(), uuid4()
    club.merge(person, device)
    order = club.pay(device, 5000, JANUARY_12)
    club.grant(device, 5)
    club.unmerge(person, device)
    assert (orders(club, person), orders(club, device)) == (set(), {order})
    assert total(club, person, device) == [0, 5], "what only a member earns is gone, a present stays"


def test_who_became_members_only_together_are_none_apart_and_what_they_earned_is_gone(club: Scenario) -> None:
    a, b = club.known(), club.known()
    club.pay(a, 6000, JANUARY_12)
    club.pay(b, 5000, JANUARY_12 + days(1))
    club.merge(a, b)
    assert total(club, a) == [50]
    club.unmerge(a, b)
    assert [club.the_member(it).state for it in (a, b)] == [MemberState.PROSPECT] * 2
    assert total(club, a, b) == [0, 0]
    crossing = club.pay(b, 5000, FEBRUARY_12)
    assert club.the_member(b).require_membership().joined_at == FEBRUARY_12
    assert [it.ref for it in club.account(b).lots.values() if it.remaining] == [str(crossing)]


def test_what_members_only_together_earned_and_spent_is_owed_by_nobody(club: Scenario) -> None:
    a, b = club.known(), club.known()
    club.pay(a, 6000, JANUARY_12)
    club.pay(b, 5000, JANUARY_12 + days(1))
    club.merge(a, b)
    club.burn(a, 30)
    club.unmerge(a, b)
    assert total(club, a, b) == [0, 0]
    assert owed(club, a, b) == [0, 0]
    check_accounts(club)


def test_memberships_are_as_they_were_although_one_of_them_had_been_theirs_together(club: Scenario) -> None:
    a, b = club.known(), club.known()
    club.pay(a, 12_000, FEBRUARY_12)
    club.pay(b, 11_000, JANUARY_12)
    before = [club.the_member(it).require_membership() for it in (a, b)]
    club.merge(a, b)
    assert club.the_member(a).require_membership().joined_at == JANUARY_12
    club.unmerge(a, b)
    assert [club.the_member(it).require_membership() for it in (a, b)] == before


def test_a_membership_given_by_staff_after_the_merge_is_the_survivors(club: Scenario) -> None:
    a, b = club.known(), club.known()
    club.merge(a, b)
    club.run(EnrollMember("acme", b))
    club.unmerge(a, b)
    assert club.the_member(a).require_membership().via is Via.STAFF
    assert club.the_member(b).state is MemberState.PROSPECT


def test_a_refund_that_the_others_orders_made_up_for_revokes_once_they_are_gone(club: Scenario) -> None:
    a, b = club.known(), club.known()
    order = club.pay(a, 12_000, JANUARY_12)
    club.pay(b, 9000, JANUARY_12)
    club.merge(a, b)
    club.refund(a, order, 2000, JANUARY_12 + days(3))
    assert club.the_member(a).state is MemberState.ACTIVE
    club.unmerge(a, b)
    member = club.the_member(a)
    assert (member.state, member.revoked_at) == (MemberState.REVOKED, JANUARY_12 + days(3))
    assert total(club, a, b) == [0, 0]


def test_points_lost_with_a_membership_that_was_theirs_together_are_earned_anew(club: Scenario) -> None:
    a, b = club.known(), club.known()
    order = club.pay(a, 12_000, JANUARY_12)
    club.pay(b, 11_000, JANUARY_12 + days(1))
    club.refund(a, order, 5000, JANUARY_12 + days(2))
    club.merge(a, b)
    club.refund(a, order, 0, JANUARY_12 + days(3))
    assert (club.the_member(a).state, total(club, a)) == (MemberState.REVOKED, [0])
    club.unmerge(a, b)
    assert [club.the_member(it).state for it in (a, b)] == [MemberState.REVOKED, MemberState.ACTIVE]
    assert total(club, a, b) == [0, 110]
    check_accounts(club)


def test_somebody_revoked_before_the_merge_is_so_again_and_the_others_stay(club: Scenario) -> None:
    a, b = club.known(), club.known()
    order = club.pay(b, 12_000, JANUARY_12)
    club.refund(b, order, 0, JANUARY_12 + days(3))
    club.pay(a, 12_000, FEBRUARY_12)
    club.merge(a, b)
    club.unmerge(a, b)
    assert [club.the_member(it).state for it in (a, b)] == [MemberState.ACTIVE, MemberState.REVOKED]


def test_debt_returns_in_proportion_to_the_grants_that_were_taken_back(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    club.grant(a, 40, ref="a")
    club.grant(b, 20, ref="b")
    club.merge(a, b)
    club.burn(a, 60)
    club.run(ReverseGrant("acme", a, Source.MANUAL, "a"))
    club.run(ReverseGrant("acme", b, Source.MANUAL, "b"))
    club.grant(a, 15)
    assert owed(club, a) == [45]
    club.unmerge(a, b)
    assert owed(club, a, b) == [30, 15]
    assert total(club, a, b) == [-30, -15]
    check_accounts(club)
    club.grant(b, 20)
    assert (owed(club, b), total(club, b)) == ([0], [5])


def test_points_that_paid_for_the_other_stay_paid(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    club.grant(a, 100)
    club.grant(b, 60, ref="b")
    club.burn(b, 60)
    club.run(ReverseGrant("acme", b, Source.MANUAL, "b"))
    club.merge(a, b)
    assert total(club, a) == [40]
    club.unmerge(a, b)
    assert total(club, a, b) == [40, 0]
    check_accounts(club)


def test_a_burn_cancelled_later_gives_each_their_own_points_back(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    club.grant(a, 200, local(1998, 1, 1))
    club.grant(b, 100, local(1997, 12, 1))
    club.merge(a, b)
    club.burn(a, 250, "mug")
    club.unmerge(a, b)
    for _ in range(2):
        club.run(CancelBurn("acme", a, "mug"))
        assert total(club, a, b) == [200, 100]
    check_accounts(club)


def test_a_burn_cancelled_after_merging_again_finds_all_its_lots(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    club.grant(a, 200, local(1998, 1, 1))
    club.grant(b, 100, local(1997, 12, 1))
    club.merge(a, b)
    club.burn(b, 250, "mug")
    club.unmerge(a, b)
    club.merge(b, a)
    club.run(CancelBurn("acme", a, "mug"))
    assert total(club, b) == [300]
    check_accounts(club)


def test_one_ref_used_by_both_before_they_were_one_is_each_ones_own_again(club: Scenario) -> None:
    a, b = club.enroll(), club.enroll()
    for customer, points in ((a, 10), (b, 20)):
        club.run(GrantPoints("acme", customer, Source.GIFT, "welcome", points))
        club.burn(customer, points // 2, "mug")
    club.merge(a, b)
    club.run(CancelBurn("acme", b, "mug"))
    assert total(club, a) == [5 + 20]
    club.unmerge(a, b)
    club.run(ReverseGrant("acme", b, Source.GIFT, "welcome", 1))
    assert total(club, a, b) == [5, 19]
    club.run(CancelBurn("acme", a, "mug"))
    assert total(club, a, b) == [10, 19]


def test_both_accounts_are_called_when_their_points_expire() -> None:
    store = MemoryEventStore()
    club = Scenario(store).define()
    a, b = club.enroll(), club.enroll()
    club.grant(a, 10, local(1997, 3, 1))
    club.grant(b, 20, local(1997, 2, 1))
    club.merge(a, b)
    assert due(store) == {club.account(a).id: local(1997, 2, 1)}
    club.unmerge(a, b)
    assert due(store) == {club.account(a).id: local(1997, 3, 1), club.account(b).id: local(1997, 2, 1)}


def due(store: MemoryEventStore) -> dict[UUID, datetime]:
    """When each account is called next."""
    return {UUID(it.key): it.due_at for it in store.timers.values()}


Fact = Callable[[Scenario], Any]


def facts_of_four(a: UUID, b: UUID, c: UUID, d: UUID) -> list[Fact]:
    """Orders of four, who become one in several ways, of which two stand in the end: C is part of B, and A of D."""
    spent = [(a, 60), (b, 50), (c, 70), (d, 30), (a, 45), (b, 20), (c, 80), (d, 90), (b, 15)]
    facts: list[Fact] = []
    for number, (node, amount) in enumerate(spent):
        at, order = JANUARY_12 + days(5 * number), UUID(int=number + 1)
        facts.append(lambda it, n=node, m=amount * 100, t=at, o=order: it.pay(n, m, t, o))  # type: ignore[misc]
    facts.extend(lambda it, n=node: it.known(JANUARY_12 + days(2), n) for node in (a, c, d))  # type: ignore[misc]
    for survivor, loser, turn in ((b, c, 1), (a, b, 1), (d, b, 1), (b, a, 1), (b, c, 2), (d, a, 1)):
        facts.append(lambda it, s=survivor, x=loser, n=turn: it.merge(s, x, n))  # type: ignore[misc]
    for survivor, restored in ((b, c), (a, b), (d, b), (b, a)):
        facts.append(lambda it, s=survivor, x=restored: it.unmerge(s, x))  # type: ignore[misc]
    return facts


def outcome(club: Scenario, *customers: UUID) -> list[tuple[object, ...]]:
    """What there is of each but the number of the membership: a member who becomes part of somebody without one keeps it."""
    found: list[tuple[object, ...]] = []
    for it in customers:
        member = club.the_member(it)
        account = club.look(partial(find_account, member))
        lots = account.lots.values() if account is not None else ()
        live = sorted((lot.ref, lot.node, lot.remaining, lot.active_at, lot.expire_at) for lot in lots if lot.remaining)
        membership = member.membership
        joined = (membership.via, membership.joined_at, membership.earns_from) if membership is not None else None
        spent = sorted(member.spends.items())
        found.append((member.customer, member.known_since, spent, joined, member.revoked_at, live))
    return found


def test_merges_and_their_ends_lead_to_the_same_in_any_order() -> None:
    people = [UUID(int=it) for it in (101, 102, 103, 104)]
    facts = facts_of_four(*people)
    outcomes = []
    for seed in range(60):
        shuffled = facts[:]
        if seed:
            random.Random(seed).shuffle(shuffled)
        club = Scenario(MemoryEventStore()).define().at(JANUARY_12 + days(100))
        for fact in shuffled:
            fact(club)
        check_accounts(club)
        outcomes.append(outcome(club, *people))
    b, d = people[1], people[3]
    assert [it[0] for it in outcomes[0]] == [d, b, b, d]
    assert all(it == outcomes[0] for it in outcomes)
