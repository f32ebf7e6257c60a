"""Commands that follow from orders and recognition: progress, joining, earning."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import UnitOfWork
from services.membership.application.customers import (
    find_account,
    find_member,
    find_program,
    is_erased,
    keeping_time,
    known_member,
    member_of,
)
from services.membership.application.earning import consider_joining, earn, reconsider, take_back, take_back_all
from services.membership.domain.errors import ProgramNotDefined
from services.membership.domain.join_policy import Spend
from services.membership.domain.member import Member, member_id
from services.membership.domain.points_account import account_id
from services.membership.domain.program import program_id


@dataclass(frozen=True, slots=True)
class CountOrder:
    """An order was paid."""

    tenant: str
    spend: Spend


@dataclass(frozen=True, slots=True)
class CountRefund:
    """A refund left `net` minor units of an order of `node`."""

    tenant: str
    node: UUID
    order: UUID
    net: int
    refunded_at: datetime


@dataclass(frozen=True, slots=True)
class RecognizeCustomer:
    """A customer is no longer anonymous."""

    tenant: str
    customer: UUID
    known_since: datetime


@dataclass(frozen=True, slots=True)
class EnrollMember:
    """Staff makes a customer a member."""

    tenant: str
    customer: UUID


def count_order(command: CountOrder, work: UnitOfWork) -> None:
    """Count the order towards the threshold; join with it; earn by it as a member."""
    spend = command.spend
    if is_erased(spend.node, work):
        return
    member = member_of(spend.node, work)
    member.count(spend)
    program = find_program(work)
    if program is not None:
        joined = consider_joining(member, program, spend.paid_at)
        earn(member, program, member.spends.values() if joined else [spend], work)


def count_refund(command: CountRefund, work: UnitOfWork) -> None:
    """Count the order for what is left of it; take back points, and the membership if it rested on it."""
    if is_erased(command.node, work):
        return
    member = member_of(command.node, work)
    member.reduce(command.order, command.net, command.refunded_at)
    account, program = find_account(member, work), find_program(work)
    policy = program.join_policy if program is not None else None
    revoked = policy is not None and member.consider_revoking(policy, command.refunded_at)
    if account is not None:
        with keeping_time(account, work):
            if revoked:
                for spend in member.spends.values():
                    take_back_all(account, spend, work.now)
            else:
                take_back(account, member.spends[command.order], command.net, work.now)


def recognize_customer(command: RecognizeCustomer, work: UnitOfWork) -> None:
    """A customer who spent enough while anonymous joins when recognized."""
    if is_erased(command.customer, work):
        return
    member = find_member(command.customer, work)
    if member is None:
        work.add(Member.notice(command.tenant, command.customer, command.known_since))
        return
    member.recognize(command.customer, command.known_since)
    reconsider(member, work)


def enroll_member(command: EnrollMember, work: UnitOfWork) -> Member:
    """Raises ProgramNotDefined, MemberNotFound, NotKnown."""
    if find_program(work) is None:
        raise ProgramNotDefined
    member = known_member(command.customer, work)
    member.enroll(work.now)
    return member


def customer_loads(tenant: str, *nodes: UUID) -> Sequence[UUID]:
    """What a decision about these customers starts from."""
    ids = [program_id(tenant)]
    for node in nodes:
        ids += (member_id(tenant, node), account_id(tenant, node))
    return ids
