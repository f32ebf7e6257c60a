"""A points account: use first what expires first, nothing after its instant, debt before new points."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from chassis.errors import ValueOutOfRange
from services.membership.domain.errors import (
    BurnNotFound,
    BurnRefUsed,
    GrantNotFound,
    GrantRefUsed,
    InsufficientPoints,
    ReversalExceedsGrant,
)
from services.membership.domain.expiry_rules import ExpiryRule, expire_at
from services.membership.domain.lots import Allocation, Grant, LotState, Source
from services.membership.domain.points_account import PointsAccount

NODE = UUID(int=7)
START = datetime(2025, 1, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def on(month: int, date: int = 1, year: int = 2025) -> datetime:
    return datetime(year, month, date, tzinfo=UTC)


@pytest.fixture
def account() -> PointsAccount:
    return PointsAccount.open_for("acme", NODE)


def grant(
    account: PointsAccount,
    points: int,
    expire: datetime | None,
    ref: str = "",
    *,
    source: Source = Source.ORDER,
    now: datetime = START,
    active: datetime | None = None,
    rate: Decimal | None = Decimal(1),
) -> UUID:
    one = Grant(NODE, source, ref or str(uuid4()), points, active or now, expire, rate)
    return account.grant(one, now).id


def left(account: PointsAccount, *lots: UUID) -> list[int]:
    return [account.lots[it].remaining for it in lots]


def test_a_burn_takes_first_what_expires_first(account: PointsAccount) -> None:  # AC-63
    second = grant(account, 200, on(10))
    first = grant(account, 100, on(7))

    burn = account.burn("gift", 150, "redemption", on(2))

    assert burn.allocations == (Allocation(first, 100), Allocation(second, 50))
    assert account.balance(on(2)).total == 150
    account.settle(on(7))
    assert account.tally.expired == 0
    assert account.balance(on(7)).available == 150


def test_of_lots_that_expire_together_the_one_active_first_goes_first(account: PointsAccount) -> None:
    late = grant(account, 10, on(7), now=day(0), active=day(2))
    early = grant(account, 10, on(7), now=day(0), active=day(1))
    account.burn("x", 10, "", day(3))
    assert left(account, early, late) == [0, 10]


def test_points_spent_before_a_refund_become_debt_that_new_points_repay(account: PointsAccount) -> None:  # AC-64
    grant(account, 300, on(12), "order-1")
    account.burn("gift", 250, "", day(1))

    account.reverse(Source.ORDER, "order-1", None, day(2))

    balance = account.balance(day(2))
    assert (account.tally.reversed_from_lots, balance.debt) == (50, 250)
    assert (balance.total, balance.available) == (-250, 0)
    with pytest.raises(InsufficientPoints):
        account.burn("more", 1, "", day(2))
    grant(account, 100, on(12), "order-2", now=day(3))
    assert account.balance(day(3)).debt == 150
    grant(account, 200, on(12), "order-3", now=day(4))
    assert (account.balance(day(4)).debt, account.balance(day(4)).available) == (0, 50)


def test_many_partial_refunds_take_back_exactly_what_was_earned(account: PointsAccount) -> None:  # AC-65
    grant(account, 99, on(12), "order")
    taken = []
    for left_of_order in (66, 33, 0):  # floor of 66.60, 33.30, 0.00 at 1 point per 1.00
        before = account.tally.reversed_from_lots
        account.reverse_down_to(Source.ORDER, "order", left_of_order, day(1))
        taken.append(account.tally.reversed_from_lots - before)
    assert taken == [33, 33, 33]


def test_what_was_spent_cannot_expire(account: PointsAccount) -> None:  # AC-66
    first = on(7)
    grant(account, 100, first)
    account.burn("all", 100, "", day(1))
    grant(account, 50, on(12))
    account.settle(first)
    assert account.balance(first).total == 50


def test_points_live_through_the_last_second_of_the_month_and_not_into_the_next() -> None:  # AC-66
    zone = "America/New_York"
    account = PointsAccount.open_for("acme", NODE)
    earned_at = datetime(2025, 1, 31, 20, tzinfo=UTC)
    gone = expire_at(ExpiryRule.ROLLING_12_MONTH_END, earned_at, zone)
    assert gone == datetime(2026, 2, 1, 5, tzinfo=UTC)  # 00:00 in New York
    grant(account, 100, gone, now=earned_at)

    last_second = gone - timedelta(seconds=1)
    assert account.balance(last_second).available == 100
    assert account.balance(gone).available == 0, "at the instant, though no timer has run"
    with pytest.raises(InsufficientPoints):
        account.burn("too-late", 1, "", gone)
    account.burn("in-time", 1, "", last_second)


def test_the_month_of_earning_is_the_local_one() -> None:
    at = datetime(2025, 2, 1, 3, tzinfo=UTC)  # still January in New York
    gone = expire_at(ExpiryRule.ROLLING_12_MONTH_END, at, "America/New_York")
    assert gone == datetime(2026, 2, 1, 5, tzinfo=UTC)


def test_pending_points_count_only_from_their_instant_and_repay_debt_then(account: PointsAccount) -> None:
    grant(account, 100, on(12), "order", rate=None)
    account.burn("gift", 80, "", day(1))
    pending = grant(account, 50, on(12), now=day(1), active=day(5))
    assert account.balance(day(1)).pending == 50
    account.reverse(Source.ORDER, "order", None, day(2))  # 20 from the lot, 80 owed
    assert left(account, pending) == [50]

    account.settle(day(5))

    assert account.lots[pending].state is LotState.EXHAUSTED
    assert account.balance(day(5)).debt == 30


def test_a_refund_takes_pending_points_of_the_order_before_active_ones(account: PointsAccount) -> None:
    active = grant(account, 50, on(12))
    pending = grant(account, 50, on(12), "order", active=day(9))
    account.reverse(Source.ORDER, "order", 30, day(1))
    assert left(account, pending, active) == [20, 50]


def test_points_that_expired_unspent_are_not_taken_back_again(account: PointsAccount) -> None:
    grant(account, 100, on(2), "order")
    account.burn("gift", 60, "", day(1))
    account.settle(on(2))
    assert account.tally.expired == 40
    account.reverse_down_to(Source.ORDER, "order", 0, on(3))
    assert account.balance(on(3)).debt == 60


def test_a_cancelled_burn_goes_back_to_its_lots_once(account: PointsAccount) -> None:
    one, two = grant(account, 100, on(7)), grant(account, 100, on(8))
    account.burn("gift", 150, "", day(1))
    account.cancel_burn("gift", day(2))
    account.cancel_burn("gift", day(3))
    assert left(account, one, two) == [100, 100]
    assert account.tally.restored == 150


def test_points_that_come_back_after_expiry_live_for_thirty_days(account: PointsAccount) -> None:
    grant(account, 100, on(2))
    alive = grant(account, 20, on(7))
    account.burn("gift", 110, "", day(1))
    account.cancel_burn("gift", on(3))
    assert account.balance(on(3)).available == 120
    assert left(account, alive) == [20]
    gone = on(3) + timedelta(days=30)
    assert account.balance(gone - timedelta(seconds=1)).available == 120
    assert account.balance(gone).available == 20


def test_points_that_come_back_pay_debt_first(account: PointsAccount) -> None:
    grant(account, 100, on(12), "order")
    account.burn("gift", 100, "", day(1))
    account.reverse(Source.ORDER, "order", None, day(2))
    account.cancel_burn("gift", day(3))
    assert (account.balance(day(3)).debt, account.balance(day(3)).available) == (0, 0)


def test_one_source_and_ref_grant_once(account: PointsAccount) -> None:
    first = grant(account, 10, on(7), "welcome", source=Source.GIFT)
    assert grant(account, 10, on(7), "welcome", source=Source.GIFT) == first
    assert account.tally.granted == 10
    with pytest.raises(GrantRefUsed):
        grant(account, 11, on(7), "welcome", source=Source.GIFT)
    grant(account, 11, on(7), "welcome", source=Source.TASK)
    assert account.tally.granted == 21


def test_one_ref_burns_once(account: PointsAccount) -> None:
    grant(account, 100, on(7))
    assert account.burn("gift", 60, "", day(1)) == account.burn("gift", 60, "", day(1))
    assert account.tally.burned == 60
    with pytest.raises(BurnRefUsed):
        account.burn("gift", 61, "", day(1))


@pytest.mark.parametrize("points", [0, -1])
def test_no_command_takes_less_than_one_point(account: PointsAccount, points: int) -> None:
    grant(account, 100, on(7), "order")
    with pytest.raises(ValueOutOfRange):
        grant(account, points, on(7))
    with pytest.raises(ValueOutOfRange):
        account.burn("x", points, "", day(1))
    with pytest.raises(ValueOutOfRange):
        account.reverse(Source.ORDER, "order", points, day(1))


def test_points_cannot_expire_before_they_are_active(account: PointsAccount) -> None:
    with pytest.raises(ValueOutOfRange):
        grant(account, 1, day(1), active=day(1))


def test_what_is_not_there_cannot_be_spent_cancelled_or_reversed(account: PointsAccount) -> None:
    grant(account, 100, on(7), "order")
    with pytest.raises(InsufficientPoints) as refusal:
        account.burn("x", 101, "", day(1))
    assert refusal.value.metadata == {"available": "100"}
    with pytest.raises(BurnNotFound):
        account.cancel_burn("x", day(1))
    with pytest.raises(GrantNotFound):
        account.reverse(Source.ORDER, "another", None, day(1))
    with pytest.raises(ReversalExceedsGrant):
        account.reverse(Source.ORDER, "order", 101, day(1))


def test_accounts_that_become_one_keep_lots_and_add_debts(account: PointsAccount) -> None:
    mine = grant(account, 100, on(12))
    other = PointsAccount.open_for("acme", UUID(int=8))
    grant(other, 50, on(12), "order")
    other.burn("gift", 50, "", day(1))
    other.reverse(Source.ORDER, "order", None, day(2))  # 50 owed
    theirs = grant(other, 30, on(11), now=day(2), active=day(9))

    account.take_over(other, UUID(int=1), day(3))

    assert left(account, mine, theirs) == [50, 30]
    assert account.balance(day(3)).debt == 0
    assert (other.lots, other.debt) == ({}, 0)
    account.cancel_burn("gift", day(4))
    assert account.balance(day(4)).available == 100
