"""What the application found, as the contract tells it."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from scrm.membership.v1 import member_pb2, points_pb2
from scrm.membership.v1 import membership_service_pb2 as pb
from services.membership.application.messages import (
    JOINED_VIA,
    MEMBER_STATES,
    allocation_messages,
    lot_message,
    optional_timestamp,
    program_message,
    timestamp,
)
from services.membership.application.points_commands import BurnResult, LotResult
from services.membership.domain.lots import Balance, Burn
from services.membership.domain.member import Member, MemberState
from services.membership.domain.program import Program
from services.membership.domain.standing import Via
from services.membership.read_models.members import MemberCounts
from services.membership.read_models.points_statistics import PointsTotals

_KINDS: Final[Mapping[tuple[str, str], points_pb2.LedgerEntryKind.ValueType]] = {
    ("ISSUED", "LOTS"): points_pb2.LEDGER_ENTRY_KIND_GRANTED,
    ("LOTS", "BURNED"): points_pb2.LEDGER_ENTRY_KIND_BURNED,
    ("BURNED", "LOTS"): points_pb2.LEDGER_ENTRY_KIND_RESTORED,
    ("LOTS", "EXPIRED"): points_pb2.LEDGER_ENTRY_KIND_EXPIRED,
    ("LOTS", "REVERSED"): points_pb2.LEDGER_ENTRY_KIND_REVERSED,
    ("DEBT", "REVERSED"): points_pb2.LEDGER_ENTRY_KIND_OWED,
    ("LOTS", "DEBT"): points_pb2.LEDGER_ENTRY_KIND_REPAID,
    ("TRANSFERRED", "LOTS"): points_pb2.LEDGER_ENTRY_KIND_TRANSFERRED_IN,
    ("LOTS", "TRANSFERRED"): points_pb2.LEDGER_ENTRY_KIND_TRANSFERRED_OUT,
    ("DEBT", "TRANSFERRED"): points_pb2.LEDGER_ENTRY_KIND_DEBT_TRANSFERRED_IN,
    ("TRANSFERRED", "DEBT"): points_pb2.LEDGER_ENTRY_KIND_DEBT_TRANSFERRED_OUT,
}


def defined_program(program: Program) -> pb.DefineProgramResponse:
    return pb.DefineProgramResponse(program=program_message(program))


def program_with_policy(program: Program) -> pb.SetJoinPolicyResponse:
    return pb.SetJoinPolicyResponse(program=program_message(program))


def enrolled_member(member: Member) -> pb.EnrollMemberResponse:
    return pb.EnrollMemberResponse(member=member_message(member))


def granted(result: LotResult) -> pb.GrantPointsResponse:
    balance = balance_message(result.customer, result.balance)
    return pb.GrantPointsResponse(lot=lot_message(result.lot), balance=balance)


def reversed_grant(result: LotResult) -> pb.ReverseGrantResponse:
    balance = balance_message(result.customer, result.balance)
    return pb.ReverseGrantResponse(lot=lot_message(result.lot), balance=balance)


def burned(result: BurnResult) -> pb.BurnPointsResponse:
    balance = balance_message(result.customer, result.balance)
    return pb.BurnPointsResponse(burn=_burn(result.burn), balance=balance)


def cancelled_burn(result: BurnResult) -> pb.CancelBurnResponse:
    balance = balance_message(result.customer, result.balance)
    return pb.CancelBurnResponse(burn=_burn(result.burn), balance=balance)


def member_message(member: Member) -> member_pb2.Member:
    """Without progress and target."""
    message = member_pb2.Member(
        customer_id=str(member.customer),
        state=MEMBER_STATES[member.state],
        revoke_time=optional_timestamp(member.revoked_at),
    )
    if (membership := member.membership) is not None:
        message.member_no = membership.member_no
        message.via = JOINED_VIA[membership.via]
        message.policy_version = membership.policy_version
        message.join_time.CopyFrom(timestamp(membership.joined_at))
    return message


def listed_member(row: Any) -> member_pb2.Member:
    return member_pb2.Member(
        customer_id=str(row.customer),
        member_no=row.member_no,
        state=MEMBER_STATES[MemberState(row.state)],
        via=JOINED_VIA[Via(row.via)],
        join_time=timestamp(row.joined_at),
        policy_version=row.policy_version,
        revoke_time=optional_timestamp(row.revoked_at),
    )


def balance_message(customer: UUID, balance: Balance) -> points_pb2.PointsBalance:
    expire_at, expiring = balance.next_expiry or (None, 0)
    return points_pb2.PointsBalance(
        customer_id=str(customer),
        balance=balance.total,
        available=balance.available,
        pending=balance.pending,
        debt=balance.debt,
        next_expire_time=optional_timestamp(expire_at),
        next_expiring=expiring,
    )


def ledger_entry(row: Any) -> points_pb2.LedgerEntry:
    gain = (row.credit in ("LOTS", "DEBT")) - (row.debit in ("LOTS", "DEBT"))
    return points_pb2.LedgerEntry(
        entry_id=f"{row.position}-{row.line}",
        kind=_KINDS[row.debit, row.credit],
        points=row.points,
        debit=points_pb2.LedgerSide.Value(f"LEDGER_SIDE_{row.debit}"),
        credit=points_pb2.LedgerSide.Value(f"LEDGER_SIDE_{row.credit}"),
        balance_change=gain * row.points,
        lot_id=str(row.lot),
        ref=row.ref,
        effect_time=timestamp(row.effect_at),
    )


def statistics(members: MemberCounts, points: PointsTotals) -> pb.GetMembershipStatisticsResponse:
    return pb.GetMembershipStatisticsResponse(
        members=members.active,
        revoked_members=members.revoked,
        lots=points.lots,
        granted_points=points.granted,
        earned_points=points.earned,
        burned_points=points.burned,
        expired_points=points.expired,
        reversed_points=points.reversed,
        active_points=points.active,
        pending_points=points.pending,
        debt_points=points.debt,
        accounts_with_positive_balance=points.positive,
        accounts=points.accounts,
        accounts_with_broken_ledger=points.broken,
    )


def _burn(burn: Burn) -> points_pb2.PointsBurn:
    return points_pb2.PointsBurn(
        ref=burn.ref,
        points=burn.points,
        allocations=allocation_messages(burn.allocations),
        cancelled=burn.cancelled,
    )
