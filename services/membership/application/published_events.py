"""The only door out: what other services are told of the events of membership."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message

from chassis.event_store import Recorded
from scrm.membership.v1 import events_pb2 as pb
from scrm.membership.v1 import program_pb2
from services.membership.application.messages import (
    EXPIRIES,
    JOINED_VIA,
    SOURCES,
    allocation_messages,
    lot_message,
    money,
    timestamp,
)
from services.membership.domain.erasure import Erasure
from services.membership.domain.lots import Allocation
from services.membership.domain.member import Member
from services.membership.domain.points_account import PointsAccount
from services.membership.domain.program import Program
from services.membership.domain.standing import Standing


def publish(recorded: Recorded) -> Message | None:
    """The message for an event; None for a private one."""
    if isinstance(recorded.event, Erasure.Completed):
        return _erased(recorded.event, recorded.position)
    published = PUBLISHED.get(type(recorded.event))
    return None if published is None else published(recorded.event)


def partition_key(recorded: Recorded) -> UUID:
    """The customer, so that what happens to one stays in order; of a program its own id."""
    customer: UUID = getattr(recorded.event, "customer", recorded.event.originator_id)
    return customer


def _program_defined(it: Program.Defined) -> Message:
    program = program_pb2.Program(
        code=it.code,
        currency_code=it.currency,
        time_zone=it.zone,
        points_name=it.points_name,
        points_per_unit=str(it.points_per_unit),
        points_expiry=EXPIRIES[it.expiry],
    )
    return pb.ProgramDefined(program=program)


def _join_policy_set(it: Program.JoinPolicySet) -> Message:
    amount = money(it.threshold, it.currency)
    policy = program_pb2.JoinPolicy(
        version=it.version,
        spend=program_pb2.SpendThreshold(amount=amount, window_days=it.window_days),
        revoke_on_refund_days=it.revoke_on_refund_days,
    )
    return pb.JoinPolicySet(join_policy=policy)


def _joined(it: Member.Joined) -> Message:
    return pb.MemberJoined(
        customer_id=str(it.customer),
        member_no=it.membership.member_no,
        via=JOINED_VIA[it.membership.via],
        policy_version=it.membership.policy_version,
        join_time=timestamp(it.membership.joined_at),
        crossing_order_id="" if it.crossing_order is None else str(it.crossing_order),
    )


def _joined_earlier(it: Member.JoinedEarlier) -> Message:
    return pb.MemberJoinedEarlier(
        customer_id=str(it.customer),
        member_no=it.membership.member_no,
        join_time=timestamp(it.membership.joined_at),
    )


def _revoked(it: Member.Revoked) -> Message:
    return pb.MemberRevoked(customer_id=str(it.customer), revoke_time=timestamp(it.revoked_at))


def _absorbed(it: Member.Absorbed) -> Message:
    return pb.MembersMerged(
        customer_id=str(it.customer),
        loser_id=str(it.part.customer),
        merge_id=str(it.merge),
        **_membership(it.standing),
    )


def _released(it: Member.Released) -> Message:
    return pb.MembersUnmerged(
        customer_id=str(it.customer),
        restored_id=str(it.restored),
        merge_id=str(it.merge),
        **_membership(it.record.standing),
    )


def _member_restored(it: Member.Restored) -> Message:
    return pb.MemberRestored(
        customer_id=str(it.customer),
        survivor_id=str(it.survivor),
        merge_id=str(it.merge),
        **_membership(it.record.standing),
    )


def _membership(standing: Standing) -> dict[str, Any]:
    """The fields that tell of a membership, if there is one."""
    membership = standing.membership
    if membership is None:
        return {}
    return {"member_no": membership.member_no, "join_time": timestamp(membership.joined_at)}


def _granted(it: PointsAccount.Granted) -> Message:
    return pb.PointsGranted(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        lot=lot_message(it.lot),
        rate="" if it.lot.rate is None else str(it.lot.rate),
        rules=it.rules,
    )


def _activated(it: PointsAccount.Activated) -> Message:
    return pb.PointsActivated(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        lot_id=str(it.lot),
        points=it.points,
        active_time=timestamp(it.activated_at),
    )


def _burned(it: PointsAccount.Burned) -> Message:
    return pb.PointsBurned(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        ref=it.ref,
        points=it.points,
        purpose=it.purpose,
        allocations=allocation_messages(it.allocations),
        burn_time=timestamp(it.burned_at),
    )


def _restored(it: PointsAccount.Restored) -> Message:
    return pb.PointsRestored(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        ref=it.ref,
        allocations=allocation_messages(it.allocations),
        new_lots=[lot_message(lot) for lot in it.new_lots],
        restore_time=timestamp(it.restored_at),
    )


def _expired(it: PointsAccount.Expired) -> Message:
    return pb.PointsExpired(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        lot_id=str(it.lot),
        points=it.points,
        expire_time=timestamp(it.expired_at),
    )


def _reversed(it: PointsAccount.Reversed) -> Message:
    return pb.PointsReversed(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        lot_id=str(it.lot),
        source=SOURCES[it.source],
        ref=it.ref,
        points=it.points,
        allocations=allocation_messages(it.allocations),
        to_debt=it.to_debt,
        reverse_time=timestamp(it.reversed_at),
    )


def _withdrawn(it: PointsAccount.Withdrawn) -> Message:
    return pb.PointsReversed(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        lot_id=str(it.lot),
        source=SOURCES[it.source],
        ref=it.ref,
        points=it.points,
        allocations=allocation_messages([Allocation(it.lot, it.points)]),
        reverse_time=timestamp(it.withdrawn_at),
    )


def _debt_offset(it: PointsAccount.DebtOffset) -> Message:
    return pb.PointsDebtOffset(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        allocations=allocation_messages(it.allocations),
        offset_time=timestamp(it.offset_at),
    )


def _taken_over(it: PointsAccount.TakenOver) -> Message:
    return pb.PointsAccountsMerged(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        loser_id=str(it.from_customer),
        merge_id=str(it.merge),
        lots=[lot_message(lot) for lot in it.lots],
        debt=sum(it.debts.values()),
    )


def _split(it: PointsAccount.Split) -> Message:
    return pb.PointsAccountsSplit(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        restored_id=str(it.to_customer),
        merge_id=str(it.merge),
        lots=[lot_message(lot) for lot in it.lots],
        debt=sum(it.debts.values()),
    )


def _regained(it: PointsAccount.Regained) -> Message:
    return pb.PointsAccountRestored(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        survivor_id=str(it.from_customer),
        merge_id=str(it.merge),
        lots=[lot_message(lot) for lot in it.lots],
        debt=sum(it.debts.values()),
    )


def _closed(it: PointsAccount.Closed) -> Message:
    return pb.PointsForfeited(
        customer_id=str(it.customer),
        account_id=str(it.originator_id),
        allocations=allocation_messages(it.lots),
        debt=sum(it.debts.values()),
        forfeit_time=timestamp(it.closed_at),
    )


def _erased(it: Erasure.Completed, position: int) -> Message:
    return pb.CustomerDataErased(
        case_id=str(it.originator_id),
        customer_id=str(it.customer),
        removed=it.removed,
        position=position,
        erase_time=timestamp(it.completed_at),
    )


PUBLISHED: Final[Mapping[type, Callable[[Any], Message]]] = {
    Program.Defined: _program_defined,
    Program.JoinPolicySet: _join_policy_set,
    Member.Joined: _joined,
    Member.JoinedEarlier: _joined_earlier,
    Member.Revoked: _revoked,
    Member.Absorbed: _absorbed,
    Member.Released: _released,
    Member.Restored: _member_restored,
    PointsAccount.Granted: _granted,
    PointsAccount.Activated: _activated,
    PointsAccount.Burned: _burned,
    PointsAccount.Restored: _restored,
    PointsAccount.Expired: _expired,
    PointsAccount.Reversed: _reversed,
    PointsAccount.Withdrawn: _withdrawn,
    PointsAccount.DebtOffset: _debt_offset,
    PointsAccount.TakenOver: _taken_over,
    PointsAccount.Split: _split,
    PointsAccount.Regained: _regained,
    PointsAccount.Closed: _closed,
}
"""How each published event is told."""

PRIVATE: Final = frozenset[type](
    {
        Member.Noticed,
        Member.Recognized,
        Member.SpendCounted,
        Member.SpendReduced,
        Member.MergeAwaited,
        Member.MergedInto,
        Member.MergeTakenBack,
        Member.Corrected,
        Member.Erased,
        PointsAccount.Opened,
        PointsAccount.HandedOver,
    }
)
"""Domain events that nobody else is ever told of: facts other services have at first hand, and our own bookkeeping."""
