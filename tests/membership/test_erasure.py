"""A member is to be forgotten: the account is closed, the ledger adds up, and what comes late brings nobody back."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from chassis.errors import DomainError
from services.membership.application.enrollment_commands import EnrollMember, RecognizeCustomer
from services.membership.application.erasure_commands import EraseMember
from services.membership.domain.erasure import Erasure
from services.membership.domain.errors import CustomerErased
from services.membership.domain.lots import Source
from services.membership.domain.member import Member, MemberState, member_id
from services.membership.domain.points_account import PointsAccount
from services.membership.read_models.members import list_members
from services.membership.read_models.points import balances, ledger, lots
from services.membership.read_models.points_statistics import accounts_that_do_not_add_up, points_totals
from tests.membership.scenario import Scenario, days, local
from tests.membership.test_read_models import Reading, reading  # noqa: F401 (a fixture)


def erase(club: Scenario, *nodes: UUID, case_id: UUID | None = None) -> dict[str, int]:
    """What was removed."""
    case_id = case_id or uuid4()
    club.run(EraseMember(club.tenant, case_id, nodes[0], nodes))
    (done,) = [it for it in club.events() if isinstance(it, Erasure.Completed) and it.originator_id == case_id]
    return done.removed


def state(club: Scenario, node: UUID) -> MemberState:
    """That of the aggregate of exactly this node."""
    found: MemberState = club.look(lambda work: work.get(Member, member_id(club.tenant, node)).state)
    return found


def _all(rows: sa.Connection, query: sa.Select[Any]) -> Sequence[Any]:
    return rows.execute(query).all()


def refused(attempt: Callable[[], Any]) -> None:
    with pytest.raises(CustomerErased):
        attempt()


def test_the_account_is_closed_and_the_points_are_forfeited(club: Scenario) -> None:
    member = club.enroll()
    club.grant(member, 100)
    club.grant(member, 50)
    club.burn(member, 30)
    removed = erase(club, member)
    assert removed == {"members": 1, "points_balance": 1, "points_lot": 2}
    account = club.accounts()[0]
    assert account.balance(club.clock.now()).active == 0
    assert (account.tally.forfeited, account.tally.remaining) == (120, 0)
    assert account.next_due is None
    refused(lambda: club.grant(member, 10))
    refused(lambda: club.burn(member, 10))
    refused(lambda: club.run(EnrollMember(club.tenant, member)))


def test_debt_is_forgiven(club: Scenario) -> None:
    member, at = club.known(), local(1997, 1, 1)
    order = club.pay(member, 20_000, at)
    club.burn(member, 200)
    club.refund(member, order, 0, at)
    assert club.accounts()[0].debt > 0
    erase(club, member)
    account = club.accounts()[0]
    assert (account.debt, account.tally.debt) == (0, 0)


def test_what_comes_late_is_dropped_and_what_was_never_heard_of_is_marked(club: Scenario) -> None:
    known, unknown = club.known(), uuid4()
    assert erase(club, known, unknown) == {"members": 0, "points_balance": 0, "points_lot": 0}
    head = club.bus.store.head()
    other = uuid4()
    for node in (known, unknown):
        club.pay(node, 50_000, local(1997, 1, 1))
        club.refund(node, uuid4(), 100, local(1997, 1, 2))
        club.run(RecognizeCustomer(club.tenant, node, local(1997, 1, 1)))
        club.merge(other, node)
        club.merge(node, other)
        club.unmerge(other, node)
    assert club.bus.store.head() == head, "nothing of that is kept"


def test_an_erasure_is_answered_once(club: Scenario) -> None:
    member, case_id = club.enroll(), uuid4()
    erase(club, member, case_id=case_id)
    head = club.bus.store.head()
    erase(club, member, case_id=case_id)
    assert club.bus.store.head() == head


def test_all_nodes_of_a_merged_customer_are_erased(club: Scenario) -> None:
    one, other = club.enroll(), club.enroll()
    club.grant(one, 100)
    club.grant(other, 50)
    club.merge(one, other)
    removed = erase(club, one, other)
    assert removed == {"members": 1, "points_balance": 2, "points_lot": 2}
    assert {it.tally.remaining for it in club.accounts()} == {0}
    for node in (one, other):
        assert state(club, node) is MemberState.ERASED
        refused(partial(club.grant, node, 1))
    head = club.bus.store.head()
    club.unmerge(one, other)
    assert club.bus.store.head() == head


def test_the_ledger_keeps_every_entry_and_names_nobody(reading: Reading) -> None:  # noqa: F811
    club = reading.club
    one, other, third = club.enroll(), club.enroll(), club.enroll()
    for it in (one, other, third):
        club.grant(it, 100, club.clock.now() + days(100))
    order = club.pay(one, 20_000, local(1997, 1, 1))
    club.burn(one, 250)
    club.refund(one, order, 0, local(1997, 1, 2))
    club.merge(one, other)
    reading.project()
    before = reading.ask(lambda rows: points_totals(rows, club.clock.now()))
    erase(club, one, other)
    reading.project()
    after = reading.ask(lambda rows: points_totals(rows, club.clock.now()))
    assert (after.granted, after.burned) == (before.granted, before.burned)
    assert (after.active, after.debt, after.broken) == (100, 0, 0)
    assert reading.ask(accounts_that_do_not_add_up) == 0
    assert reading.ask(lambda rows: [it.customer for it in list_members(rows, [MemberState.ACTIVE], None, 9)]) == [
        third
    ]
    for column in (balances.c.customer, lots.c.node, ledger.c.account):
        query = sa.select(column).where(column.in_([one, other]))
        assert not reading.ask(partial(_all, query=query))
    hashes = reading.hashes()
    reading.project(anew=True)
    assert reading.hashes() == hashes


def test_points_of_somebody_else_are_not_touched(club: Scenario) -> None:
    one, other = club.enroll(), club.enroll()
    club.grant(other, 50)
    erase(club, one)
    assert club.account(other).balance(club.clock.now()).active == 50
    assert [it for it in club.events() if isinstance(it, PointsAccount.Closed)] == []
    assert club.grant(other, 1, ref="x").lot.source is Source.MANUAL
    with pytest.raises(DomainError):
        club.grant(one, 1)
