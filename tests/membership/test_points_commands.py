"""Points through commands: for members only, one effect per reference, timers at the next instant."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest

from chassis.commands import Unit
from chassis.errors import DomainError
from services.membership.application.enrollment_commands import CountOrder
from services.membership.application.points_commands import BurnPoints, CancelBurn, GrantPoints, ReverseGrant
from services.membership.domain.errors import InsufficientPoints, MemberNotFound, NotAMember
from services.membership.domain.join_policy import Spend
from services.membership.domain.lots import Source
from services.membership.domain.points_account import PointsAccount
from tests.membership.scenario import Scenario, days, local


def test_two_devices_spending_80_of_100_are_one_burn_and_one_refusal(club: Scenario) -> None:
    customer = club.enroll()
    club.grant(customer, 100)

    def burn(ref: str) -> object:
        try:
            return club.burn(customer, 80, ref)
        except InsufficientPoints as refusal:
            return refusal

    with ThreadPoolExecutor(2) as devices:
        results = list(devices.map(burn, ["phone", "tablet"]))

    refusals = [it for it in results if isinstance(it, InsufficientPoints)]
    assert [it.metadata for it in refusals] == [{"available": "20"}]
    assert club.account(customer).tally.burned == 80


def test_two_burns_in_one_batch_see_each_other(club: Scenario) -> None:
    customer = club.enroll()
    club.grant(customer, 100)
    burns = [(club.context, BurnPoints("acme", customer, ref, 80)) for ref in ("phone", "tablet")]
    first, second = club.bus.run_now(Unit(burns))
    assert first.error is None
    assert isinstance(second.error, InsufficientPoints)


@pytest.mark.parametrize(
    "command",
    [
        lambda it: GrantPoints("acme", it, Source.GIFT, "x", 10),
        lambda it: BurnPoints("acme", it, "x", 10),
    ],
)
def test_points_are_for_members(club: Scenario, command: object) -> None:
    with pytest.raises(NotAMember):
        club.run(command(club.known()))  # type: ignore[operator]
    with pytest.raises(MemberNotFound):
        club.run(command(uuid4()))  # type: ignore[operator]
    assert not any(isinstance(it, PointsAccount.Opened) for it in club.events())


@pytest.mark.parametrize(
    "command",
    [lambda it: CancelBurn("acme", it, "x"), lambda it: ReverseGrant("acme", it, Source.GIFT, "x")],
)
def test_nothing_is_given_back_of_what_never_was(club: Scenario, command: object) -> None:
    customer = club.enroll()
    before = len(club.events())
    with pytest.raises(DomainError):
        club.run(command(customer))  # type: ignore[operator]
    assert len(club.events()) == before


def test_a_grant_lives_as_long_as_the_program_says(club: Scenario) -> None:
    customer = club.at(local(1997, 1, 31, 12)).enroll()
    assert club.grant(customer, 10).lot.expire_at == local(1998, 2, 1)
    assert club.grant(customer, 10, local(1997, 2, 5)).lot.expire_at == local(1997, 2, 5)


def test_expired_points_cannot_be_spent_although_no_timer_ran_and_their_end_is_recorded_then(club: Scenario) -> None:
    customer = club.enroll()
    club.grant(customer, 100, local(1997, 2, 1))
    club.grant(customer, 10, local(1997, 3, 1))
    club.at(local(1997, 2, 1))
    with pytest.raises(InsufficientPoints):
        club.burn(customer, 11)
    club.burn(customer, 10)
    assert club.account(customer).tally.expired == 100


def test_a_timer_records_what_expired_and_waits_for_the_next(club: Scenario) -> None:
    customer = club.enroll()
    club.grant(customer, 100, local(1997, 2, 1))
    club.grant(customer, 10, local(1997, 3, 1))
    club.settle(local(1997, 2, 1))
    account = club.account(customer)
    assert (account.tally.expired, account.next_due) == (100, local(1997, 3, 1))
    club.settle(local(1997, 4, 1))
    expired = [it for it in club.events() if isinstance(it, PointsAccount.Expired)]
    assert [it.expired_at for it in expired] == [local(1997, 2, 1), local(1997, 3, 1)]
    assert club.account(customer).next_due is None


def test_points_can_wait_for_their_day(club: Scenario) -> None:
    customer = club.enroll()
    day = club.clock.now() + days(7)
    club.run(GrantPoints("acme", customer, Source.GIFT, "birthday", 50, day))
    with pytest.raises(InsufficientPoints):
        club.burn(customer, 1)
    club.at(day - timedelta(seconds=1))
    assert club.account(customer).balance(club.clock.now()).pending == 50
    club.at(day)
    club.burn(customer, 50)


def test_a_cancelled_burn_and_a_reversed_grant_are_on_the_account(club: Scenario) -> None:
    customer = club.enroll()
    club.grant(customer, 100, ref="present")
    club.burn(customer, 60, "mug")
    cancelled = club.run(CancelBurn("acme", customer, "mug"))
    assert (cancelled.burn.cancelled, cancelled.balance.available) == (True, 100)
    given_back = club.run(ReverseGrant("acme", customer, Source.MANUAL, "present", 30))
    assert (given_back.lot.reversible, given_back.balance.available) == (70, 70)


def test_an_order_paid_after_our_clock_is_spendable_when_the_clock_gets_there(club: Scenario) -> None:
    customer = club.enroll()
    paid_at = club.clock.now() + timedelta(minutes=4)
    club.run(CountOrder("acme", Spend(uuid4(), customer, 5000, "USD", paid_at)))
    with pytest.raises(InsufficientPoints):
        club.burn(customer, 50)
    club.at(paid_at).burn(customer, 50)
