"""Values of the domain as the contracts write them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from scrm.membership.v1 import member_pb2, points_pb2, program_pb2
from services.membership.domain.expiry_rules import ExpiryRule
from services.membership.domain.join_policy import JoinPolicy
from services.membership.domain.lots import Allocation, Lot, LotState, Source
from services.membership.domain.member import MemberState
from services.membership.domain.money import money_parts
from services.membership.domain.program import Program
from services.membership.domain.standing import Via

EXPIRIES: Final[Mapping[ExpiryRule, program_pb2.PointsExpiry.ValueType]] = {
    ExpiryRule.ROLLING_12_MONTH_END: program_pb2.POINTS_EXPIRY_ROLLING_12_MONTH_END,
    ExpiryRule.NEVER: program_pb2.POINTS_EXPIRY_NEVER,
}
SOURCES: Final[Mapping[Source, points_pb2.PointsSource.ValueType]] = {
    it: points_pb2.PointsSource.Value(f"POINTS_SOURCE_{it}") for it in Source
}
LOT_STATES: Final[Mapping[LotState, points_pb2.PointsLotState.ValueType]] = {
    it: points_pb2.PointsLotState.Value(f"POINTS_LOT_STATE_{it}") for it in LotState
}
MEMBER_STATES: Final[Mapping[MemberState, member_pb2.MemberState.ValueType]] = {
    it: member_pb2.MemberState.Value(f"MEMBER_STATE_{it}")
    for it in MemberState
    if it not in (MemberState.MERGED, MemberState.ERASED)
}
JOINED_VIA: Final[Mapping[Via, member_pb2.JoinedVia.ValueType]] = {
    it: member_pb2.JoinedVia.Value(f"JOINED_VIA_{it}") for it in Via
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY: Final = 86_400


def timestamp(at: datetime) -> Timestamp:
    """An instant, to the microsecond."""
    since = at - _EPOCH
    seconds = since.days * _SECONDS_PER_DAY + since.seconds
    return Timestamp(seconds=seconds, nanos=since.microseconds * 1000)


def optional_timestamp(at: datetime | None) -> Timestamp | None:
    return None if at is None else timestamp(at)


def money(minor: int, currency: str) -> Money:
    units, nanos = money_parts(minor, currency)
    return Money(currency_code=currency, units=units, nanos=nanos)


def program_message(program: Program) -> program_pb2.Program:
    policy = program.join_policy
    return program_pb2.Program(
        code=program.code,
        currency_code=program.currency,
        time_zone=program.zone,
        points_name=program.points_name,
        points_per_unit=str(program.points_per_unit),
        points_expiry=EXPIRIES[program.expiry],
        join_policy=None if policy is None else join_policy_message(policy),
    )


def join_policy_message(policy: JoinPolicy) -> program_pb2.JoinPolicy:
    return program_pb2.JoinPolicy(
        version=policy.version,
        spend=program_pb2.SpendThreshold(
            amount=money(policy.threshold, policy.currency), window_days=policy.window_days
        ),
        revoke_on_refund_days=policy.revoke_on_refund_days,
    )


def lot_message(lot: Lot) -> points_pb2.PointsLot:
    return points_pb2.PointsLot(
        lot_id=str(lot.id),
        source=SOURCES[lot.source],
        ref=lot.ref,
        node_id=str(lot.node),
        granted=lot.granted,
        remaining=lot.remaining,
        expired=lot.expired,
        reversed=lot.reversed,
        active_time=timestamp(lot.active_at),
        expire_time=optional_timestamp(lot.expire_at),
        state=LOT_STATES[lot.state],
    )


def allocation_messages(allocations: Iterable[Allocation]) -> list[points_pb2.PointsAllocation]:
    return [points_pb2.PointsAllocation(lot_id=str(it.lot), points=it.points) for it in allocations]
