"""The aggregates of a customer, found by any of their nodes, and the timer of their account."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.membership.domain.errors import CustomerErased, MemberNotFound
from services.membership.domain.member import Member, member_id
from services.membership.domain.points_account import PointsAccount, account_id
from services.membership.domain.program import Program, program_id

POINTS_DUE = "points_due"


def find_program(work: UnitOfWork) -> Program | None:
    return work.find(Program, program_id(work.context.tenant))


def find_member(node: UUID, work: UnitOfWork) -> Member | None:
    """The customer to whom the facts of `node` belong; None for one without facts so far."""
    member = work.find(Member, member_id(work.context.tenant, node))
    return member if member is None else [member, *ancestors(member, work)][-1]


def member_of(node: UUID, work: UnitOfWork) -> Member:
    """The customer to whom the facts of `node` belong; `node` itself if nothing else is known."""
    return find_member(node, work) or notice(node, work)


def is_erased(node: UUID, work: UnitOfWork) -> bool:
    """Whether `node` was somebody who is erased; what is heard of them is dropped."""
    member = work.find(Member, member_id(work.context.tenant, node))
    return member is not None and member.is_erased


def ancestors(member: Member, work: UnitOfWork) -> list[Member]:
    """Of whom `member` is a part, and of whom they are, up to the customer."""
    above = []
    while (survivor := member.merged_into) is not None:
        member = work.find(Member, member_id(work.context.tenant, survivor)) or notice(survivor, work)
        above.append(member)
    return above


def known_member(customer: UUID, work: UnitOfWork) -> Member:
    """Raises MemberNotFound for somebody of whom nothing was ever heard, and CustomerErased."""
    if is_erased(customer, work):
        raise CustomerErased
    member = find_member(customer, work)
    if member is None:
        raise MemberNotFound
    return member


def notice(customer: UUID, work: UnitOfWork) -> Member:
    """A customer of whom nothing was known."""
    member = Member.notice(work.context.tenant, customer)
    work.add(member)
    return member


def find_account(member: Member, work: UnitOfWork) -> PointsAccount | None:
    return work.find(PointsAccount, account_id(member.tenant, member.customer))


def account_of(member: Member, work: UnitOfWork) -> PointsAccount:
    """The account of `member`, opened if there is none."""
    account = find_account(member, work)
    if account is None:
        account = PointsAccount.open_for(member.tenant, member.customer)
        work.add(account)
    return account


@contextmanager
def keeping_time(account: PointsAccount, work: UnitOfWork) -> Iterator[None]:
    """Whatever is done to `account` inside, its timer is set to when something next happens in it."""
    before = account.next_due
    yield
    if account.next_due != before:
        set_timer(account, work)


def set_timer(account: PointsAccount, work: UnitOfWork) -> None:
    """One timer per account, at the first instant at which a lot of it activates or expires."""
    due, key = account.next_due, str(account.id)
    if due is None:
        work.unschedule(POINTS_DUE, key)
    else:
        work.schedule(Timer(POINTS_DUE, key, due))
