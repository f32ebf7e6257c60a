"""Commands that follow from orders and recognition: progress, joining, earning, merging."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import UnitOfWork
from services.membership.application.customers import (
    account_of,
    find_account,
    find_member,
    find_program,
    keeping_time,
    known_member,
    member_of,
)
from services.membership.domain.earning_rules import Purchase, earned, points_at
from services.membership.domain.errors import ProgramNotDefined
from services.membership.domain.expiry_rules import expire_at
from services.membership.domain.join_policy import Spend
from services.membership.domain.lots import Grant, Source
from services.membership.domain.member import Member, member_id
from services.membership.domain.points_account import PointsAccount, account_id
from services.membership.domain.program import Program, program_id


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
class MergeMembers:
    """Two customers turned out to be one."""

    tenant: str
    merge: UUID
    survivor: UUID
    loser: UUID


@dataclass(frozen=True, slots=True)
class EnrollMember:
    """Staff makes a customer a member."""

    tenant: str
    customer: UUID


def count_order(command: CountOrder, work: UnitOfWork) -> None:
    """Count the order towards the threshold; join with it; earn by it as a member."""
    spend = command.spend
    member = member_of(spend.node, work)
    member.count(spend)
    program = find_program(work)
    if program is not None:
        joined = _consider_joining(member, program, spend.paid_at)
        _earn(member, program, member.spends.values() if joined else [spend], work)


def count_refund(command: CountRefund, work: UnitOfWork) -> None:
    """Count the order for what is left of it; take back points, and the membership if it rested on it."""
    member = member_of(command.node, work)
    member.reduce(command.order, command.net, command.refunded_at)
    account, program = find_account(member, work), find_program(work)
    policy = program.join_policy if program is not None else None
    revoked = policy is not None and member.consider_revoking(policy, command.refunded_at)
    if account is not None:
        with keeping_time(account, work):
            for spend in member.spends.values() if revoked else [member.spends[command.order]]:
                _take_back(account, spend, 0 if revoked else spend.net, work.now)


def recognize_customer(command: RecognizeCustomer, work: UnitOfWork) -> None:
    """A customer who spent enough while anonymous joins when recognized."""
    member = find_member(command.customer, work)
    if member is None:
        work.add(Member.notice(command.tenant, command.customer, command.known_since))
        return
    member.recognize(command.known_since)
    _reconsider(member, work)


def merge_members(command: MergeMembers, work: UnitOfWork) -> None:
    """One list of orders, one membership, one account; the loser's aggregates point to the survivor's."""
    tenant = command.tenant
    if command.loser == command.survivor:
        return
    loser = find_member(command.loser, work)
    if loser is None:
        loser = Member.notice(tenant, command.loser)
        work.add(loser)
        survivor = find_member(command.survivor, work)
        loser.point_to(survivor.customer if survivor else command.survivor, command.merge)
        return
    survivor = member_of(command.survivor, work)
    if survivor is loser:
        return
    survivor.absorb(loser, command.merge)
    account = find_account(loser, work)
    if account is not None:
        taking = account_of(survivor, work)
        with keeping_time(account, work), keeping_time(taking, work):
            taking.take_over(account, command.merge, work.now)
    _reconsider(survivor, work)


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


def _reconsider(member: Member, work: UnitOfWork) -> None:
    """Look at all orders of a customer anew."""
    program = find_program(work)
    if program is not None and member.spends:
        _consider_joining(member, program, None)
        _earn(member, program, member.spends.values(), work)


def _consider_joining(member: Member, program: Program, changed_from: datetime | None) -> bool:
    policy = program.join_policy
    return policy is not None and member.consider_joining(policy, changed_from)


def _earn(member: Member, program: Program, spends: Iterable[Spend], work: UnitOfWork) -> None:
    """Grant what `spends` earn, as far as they were paid as a member and have not earned yet."""
    membership = member.membership
    if membership is None:
        return
    earning = [
        it for it in spends if it.paid_at >= membership.earns_from and it.currency == program.currency and it.net > 0
    ]
    if not earning:
        return
    account = account_of(member, work)
    with keeping_time(account, work):
        for spend in sorted(earning, key=lambda it: it.paid_at):
            if account.granted_lot(Source.ORDER, str(spend.order)) is None:
                purchase = Purchase(spend.net, spend.paid_at, membership.joined_at)
                _grant(account, program, spend, purchase, work.now)


def _grant(account: PointsAccount, program: Program, spend: Spend, purchase: Purchase, now: datetime) -> None:
    result = earned(purchase, program.terms)
    if result.points > 0:
        gone = expire_at(program.expiry, spend.paid_at, program.zone)
        ref = str(spend.order)
        grant = Grant(spend.node, Source.ORDER, ref, result.points, spend.paid_at, gone, result.rate, result.rules)
        account.grant(grant, now)


def _take_back(account: PointsAccount, spend: Spend, net: int, now: datetime) -> None:
    """Leave an order the points that `net` of it earns at the rate of its day."""
    lot = account.granted_lot(Source.ORDER, str(spend.order))
    if lot is not None and lot.rate is not None:
        target = points_at(lot.rate, net, spend.currency)
        account.reverse_down_to(Source.ORDER, lot.ref, target, now)
