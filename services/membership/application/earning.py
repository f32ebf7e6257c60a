"""What the orders of a member earn, and how that follows their standing."""

from collections.abc import Iterable
from datetime import datetime

from chassis.commands import UnitOfWork
from services.membership.application.customers import account_of, find_account, find_program, keeping_time
from services.membership.domain.earning_rules import Purchase, earned, points_at
from services.membership.domain.expiry_rules import expire_at
from services.membership.domain.join_policy import Spend
from services.membership.domain.lots import Grant, Source
from services.membership.domain.member import Member
from services.membership.domain.points_account import PointsAccount
from services.membership.domain.program import Program


def reconsider(member: Member, work: UnitOfWork) -> None:
    """Look at all orders of a customer anew."""
    program = find_program(work)
    if program is not None and member.spends:
        consider_joining(member, program, None)
        earn(member, program, member.spends.values(), work)


def consider_joining(member: Member, program: Program, changed_from: datetime | None) -> bool:
    policy = program.join_policy
    return policy is not None and member.consider_joining(policy, changed_from)


def earn(member: Member, program: Program, spends: Iterable[Spend], work: UnitOfWork) -> None:
    """Grant what `spends` earn, as far as they were paid as a member and have not earned yet."""
    membership = member.membership
    earning = [it for it in spends if _earns(it, member, program)]
    if membership is None or not earning:
        return
    account = account_of(member, work)
    with keeping_time(account, work):
        for spend in sorted(earning, key=lambda it: it.paid_at):
            if account.granted_lot(Source.ORDER, str(spend.order)) is None:
                purchase = Purchase(spend.net, spend.paid_at, membership.joined_at)
                _grant(account, program, spend, purchase, work.now)


def lose_unearned(member: Member, program: Program, work: UnitOfWork) -> None:
    """Take back what is left of points for orders that earn nothing as the member stands; nothing becomes debt."""
    account = find_account(member, work)
    if account is not None:
        with keeping_time(account, work):
            for spend in member.spends.values():
                if not _earns(spend, member, program):
                    account.withdraw(Source.ORDER, str(spend.order), work.now)


def take_back(account: PointsAccount, spend: Spend, net: int, now: datetime) -> None:
    """Leave an order the points that `net` of it earns at the rate of its day."""
    lot = account.granted_lot(Source.ORDER, str(spend.order))
    if lot is not None and lot.rate is not None:
        target = points_at(lot.rate, net, spend.currency)
        account.reverse_down_to(Source.ORDER, lot.ref, target, now)


def take_back_all(account: PointsAccount, spend: Spend, now: datetime) -> None:
    """Leave an order no points, as somebody's who is no member; unless they were spent it may earn them anew."""
    lot = account.granted_lot(Source.ORDER, str(spend.order))
    if lot is not None and lot.is_unspent:
        account.withdraw(lot.source, lot.ref, now)
    else:
        take_back(account, spend, 0, now)


def _earns(spend: Spend, member: Member, program: Program) -> bool:
    membership = member.membership
    paid_as_member = membership is not None and spend.paid_at >= membership.earns_from
    return paid_as_member and spend.currency == program.currency and spend.net > 0


def _grant(account: PointsAccount, program: Program, spend: Spend, purchase: Purchase, now: datetime) -> None:
    result = earned(purchase, program.terms)
    if result.points > 0:
        gone = expire_at(program.expiry, spend.paid_at, program.zone)
        ref = str(spend.order)
        grant = Grant(spend.node, Source.ORDER, ref, result.points, spend.paid_at, gone, result.rate, result.rules)
        account.grant(grant, now)
