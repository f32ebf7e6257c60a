"""What membership does about somebody who is to be forgotten: it closes the account and forgets the member."""

from dataclasses import dataclass
from uuid import UUID

from chassis.commands import UnitOfWork
from services.membership.application.customers import find_account, keeping_time, notice
from services.membership.domain.erasure import Erasure
from services.membership.domain.member import Member, member_id
from services.membership.domain.points_account import account_id


@dataclass(frozen=True, slots=True)
class EraseMember:
    """Identity erases this customer with all these nodes."""

    tenant: str
    case_id: UUID
    customer: UUID
    node_ids: tuple[UUID, ...]


def erase_member(command: EraseMember, work: UnitOfWork) -> None:
    """Everything at once; nothing the second time. Nodes never heard of are marked, so that what comes late is dropped."""
    if work.find(Erasure, command.case_id) is not None:
        return
    removed = {"members": 0, "points_balance": 0, "points_lot": 0}
    known = work.find_all(Member, [member_id(command.tenant, it) for it in command.node_ids])
    for node in command.node_ids:
        member = known.get(member_id(command.tenant, node)) or notice(node, work)
        removed["members"] += member.merged_into is None and member.history.standing.is_decided
        member.erase(work.now)
        account = find_account(member, work)
        if account is not None:
            removed["points_balance"] += 1
            removed["points_lot"] += len(account.lots)
            with keeping_time(account, work):
                account.close(work.now)
    work.add(Erasure(command.case_id, command.tenant, command.customer, removed, work.now))


def erasure_loads(command: EraseMember) -> list[UUID]:
    """The aggregates that the command is sure to need."""
    ids = [command.case_id]
    for node in command.node_ids:
        ids += (member_id(command.tenant, node), account_id(command.tenant, node))
    return ids
