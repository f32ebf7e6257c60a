"""Commands on the points account of a member."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import UnitOfWork
from services.membership.application.customers import (
    account_of,
    find_program,
    keeping_time,
    known_member,
    member_of,
    set_timer,
)
from services.membership.domain.errors import ProgramNotDefined
from services.membership.domain.expiry_rules import expire_at
from services.membership.domain.lots import Balance, Burn, Grant, Lot, Source
from services.membership.domain.member import Member
from services.membership.domain.points_account import PointsAccount


@dataclass(frozen=True, slots=True)
class GrantPoints:
    """Without `active_at` at once, without `expire_at` as the program says."""

    tenant: str
    customer: UUID
    source: Source
    ref: str
    points: int
    active_at: datetime | None = None
    expire_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BurnPoints:
    tenant: str
    customer: UUID
    ref: str
    points: int
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class CancelBurn:
    tenant: str
    customer: UUID
    ref: str


@dataclass(frozen=True, slots=True)
class ReverseGrant:
    """Without `points` all that is left of the grant."""

    tenant: str
    customer: UUID
    source: Source
    ref: str
    points: int | None = None


@dataclass(frozen=True, slots=True)
class SettleAccount:
    """The timer of an account went off."""

    account: UUID


@dataclass(frozen=True, slots=True)
class LotResult:
    """A lot, and the account of `customer` after the command."""

    customer: UUID
    lot: Lot
    balance: Balance


@dataclass(frozen=True, slots=True)
class BurnResult:
    """A burn, and the account of `customer` after the command."""

    customer: UUID
    burn: Burn
    balance: Balance


def grant_points(command: GrantPoints, work: UnitOfWork) -> LotResult:
    """Raises ProgramNotDefined, MemberNotFound, NotAMember, OutOfRange, GrantRefUsed."""
    program = find_program(work)
    if program is None:
        raise ProgramNotDefined
    member = known_member(command.customer, work)
    member.require_membership()
    active_at = command.active_at or work.now
    gone = command.expire_at or expire_at(program.expiry, active_at, program.zone)
    grant = Grant(command.customer, command.source, command.ref, command.points, active_at, gone)
    account = account_of(member, work)
    with keeping_time(account, work):
        lot = account.grant(grant, work.now)
    return LotResult(member.customer, lot, account.balance(work.now))


def burn_points(command: BurnPoints, work: UnitOfWork) -> BurnResult:
    """Raises MemberNotFound, NotAMember, OutOfRange, InsufficientPoints, BurnRefUsed."""
    member, account = _account_for(command.customer, work)
    member.require_membership()
    with keeping_time(account, work):
        burn = account.burn(command.ref, command.points, command.purpose, work.now, command.customer)
    return BurnResult(member.customer, burn, account.balance(work.now))


def cancel_burn(command: CancelBurn, work: UnitOfWork) -> BurnResult:
    """Raises MemberNotFound, BurnNotFound."""
    member, account = _account_for(command.customer, work)
    with keeping_time(account, work):
        before = account.find_burn(command.ref, command.customer)
        burn = account.cancel_burn(command.ref, work.now, command.customer)
    if before is not None and not before.cancelled:
        _restore_elsewhere(account, burn, work)
    return BurnResult(member.customer, burn, account.balance(work.now))


def reverse_grant(command: ReverseGrant, work: UnitOfWork) -> LotResult:
    """Raises MemberNotFound, GrantNotFound, OutOfRange, ReversalExceedsGrant."""
    member, account = _account_for(command.customer, work)
    with keeping_time(account, work):
        lot = account.reverse(command.source, command.ref, command.points, work.now)
    return LotResult(member.customer, lot, account.balance(work.now))


def settle_account(command: SettleAccount, work: UnitOfWork) -> None:
    """Record what came by itself; set the timer to what comes next."""
    account = work.get(PointsAccount, command.account)
    account.settle(work.now)
    set_timer(account, work)


def _restore_elsewhere(account: PointsAccount, burn: Burn, work: UnitOfWork) -> None:
    """Points of lots that went back to another customer since they were spent go there too."""
    for node, allocations in account.elsewhere(burn).items():
        theirs = account_of(member_of(node, work), work)
        with keeping_time(theirs, work):
            theirs.restore(burn, allocations, work.now)


def _account_for(customer: UUID, work: UnitOfWork) -> tuple[Member, PointsAccount]:
    member = known_member(customer, work)
    return member, account_of(member, work)
