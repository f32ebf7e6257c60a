"""Eighteen months of real orders through the commands: the members and points that the whole CDNOW file makes."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.commands import Unit, UnitOfWork
from chassis.event_store import MemoryEventStore
from services.membership.application.enrollment_commands import CountOrder, RecognizeCustomer
from services.membership.domain.join_policy import Spend
from services.membership.domain.member import Member, member_id
from services.membership.domain.points_account import PointsAccount, account_id
from tests.membership import cdnow
from tests.membership.scenario import Look, Scenario, local

END = local(1998, 7, 1)
BATCH = 500


def carry_out(club: Scenario, commands: Iterable[Any]) -> None:
    waiting = list(commands)
    for start in range(0, len(waiting), BATCH):
        unit = Unit([(club.context, it) for it in waiting[start : start + BATCH]])
        assert [it.error for it in club.bus.run_now(unit) if it.error] == []


@pytest.mark.timeout(300)
def test_the_whole_file_makes_these_members_and_points() -> None:  # AC-59, AC-67
    club, rows = Scenario(MemoryEventStore()).define(), cdnow.rows()
    customers = {it.customer for it in rows}
    first = {it.customer: it.paid_at for it in reversed(rows)}
    known = [RecognizeCustomer("acme", it, first[it] - timedelta(hours=3)) for it in sorted(customers)]
    orders = [CountOrder("acme", Spend(UUID(int=it.number), it.customer, it.net, "USD", it.paid_at)) for it in rows]
    carry_out(club, known)
    club.at(END - timedelta(microseconds=1))
    carry_out(club, orders)

    def everybody(work: UnitOfWork) -> tuple[list[Member], list[PointsAccount]]:
        members = work.find_all(Member, [member_id("acme", it) for it in customers])
        accounts = work.find_all(PointsAccount, [account_id("acme", it) for it in customers])
        return list(members.values()), list(accounts.values())

    members, accounts = club.run(Look(everybody))
    joined = [it.membership.joined_at for it in members if it.membership]
    assert len(customers) == len(members) == 23_570
    assert (len(joined), sum(it < local(1998, 1, 1) for it in joined)) == (5_792, 5_220)
    for account in accounts:
        account.settle(END)
        assert sum(it.remaining for it in account.lots.values()) == account.tally.remaining
    assert sum(len(it.lots) for it in accounts) == 29_101
    assert sum(it.tally.granted for it in accounts) == 1_428_386
    assert sum(it.tally.expired for it in accounts) == 551_760
    assert sum(it.balance(END).active for it in accounts) == 876_626
    assert sum(it.balance(END).total > 0 for it in accounts) == 4_618
