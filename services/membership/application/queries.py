"""Strong reads: what the event store says now, under any id of a customer."""

from datetime import datetime
from uuid import UUID

from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from services.membership.domain.errors import CustomerErased, MemberNotFound, ProgramNotFound
from services.membership.domain.lots import Balance
from services.membership.domain.member import Member, member_id
from services.membership.domain.points_account import PointsAccount, account_id
from services.membership.domain.program import Program, program_id


async def the_program(bus: CommandBus, tenant: str) -> Program:
    """Raises ProgramNotFound."""
    try:
        return await bus.load(Program, program_id(tenant))
    except AggregateNotFound:
        raise ProgramNotFound from None


async def the_member(bus: CommandBus, tenant: str, customer: UUID) -> Member:
    """The customer, or whom they were merged into. Raises MemberNotFound and CustomerErased."""
    try:
        member = await bus.load(Member, member_id(tenant, customer))
        while member.merged_into is not None:
            member = await bus.load(Member, member_id(tenant, member.merged_into))
    except AggregateNotFound:
        raise MemberNotFound from None
    if member.is_erased:
        raise CustomerErased
    return member


async def the_balance(bus: CommandBus, member: Member, at: datetime) -> Balance:
    """The account of `member` at `at`; empty if there is none."""
    try:
        account = await bus.load(PointsAccount, account_id(member.tenant, member.customer))
    except AggregateNotFound:
        return Balance(active=0, pending=0, debt=0, next_expiry=None)
    return account.balance(at)
