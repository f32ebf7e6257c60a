"""What a request asks for, in the words of the application."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import ValueOutOfRange
from scrm.membership.v1 import member_pb2
from scrm.membership.v1 import membership_service_pb2 as pb
from services.membership.application.enrollment_commands import EnrollMember
from services.membership.application.messages import EXPIRIES, SOURCES
from services.membership.application.points_commands import BurnPoints, CancelBurn, GrantPoints, ReverseGrant
from services.membership.application.program_commands import DefineProgram, SetJoinPolicy
from services.membership.domain.errors import CurrencyUnknown
from services.membership.domain.member import MemberState
from services.membership.domain.money import MINOR_DIGITS, minor_units

REVOKE_ON_REFUND_DAYS: Final = 30

_EXPIRY_OF: Final = {value: rule for rule, value in EXPIRIES.items()}
_SOURCE_OF: Final = {value: source for source, value in SOURCES.items()}
_STATES: Final[Mapping[int, Sequence[MemberState]]] = {
    member_pb2.MEMBER_STATE_UNSPECIFIED: (MemberState.ACTIVE, MemberState.REVOKED),
    member_pb2.MEMBER_STATE_ACTIVE: (MemberState.ACTIVE,),
    member_pb2.MEMBER_STATE_REVOKED: (MemberState.REVOKED,),
    member_pb2.MEMBER_STATE_PROSPECT: (),
}


def define_program(request: pb.DefineProgramRequest) -> DefineProgram:
    program = request.program
    return DefineProgram(
        program.code,
        program.currency_code,
        program.time_zone,
        program.points_name,
        Decimal(program.points_per_unit),
        _EXPIRY_OF[program.points_expiry],
    )


def set_join_policy(request: pb.SetJoinPolicyRequest) -> SetJoinPolicy:
    """Raises CurrencyUnknown, OutOfRange."""
    policy = request.join_policy
    amount = policy.spend.amount
    field = "join_policy.spend.amount"
    if amount.currency_code not in MINOR_DIGITS:
        raise CurrencyUnknown(field=field)
    threshold = minor_units(amount.units, amount.nanos, amount.currency_code)
    if threshold is None or not 0 < threshold < 2**53:
        raise ValueOutOfRange("must be positive, in whole minor units", field=field)
    days = policy.revoke_on_refund_days if policy.HasField("revoke_on_refund_days") else REVOKE_ON_REFUND_DAYS
    return SetJoinPolicy(threshold, amount.currency_code, policy.spend.window_days, days)


def enroll_member(tenant: str, request: pb.EnrollMemberRequest) -> EnrollMember:
    return EnrollMember(tenant, UUID(request.customer_id))


def grant_points(tenant: str, request: pb.GrantPointsRequest) -> GrantPoints:
    return GrantPoints(
        tenant,
        UUID(request.customer_id),
        _SOURCE_OF[request.source],
        request.ref,
        request.points,
        instant(request, "active_time"),
        instant(request, "expire_time"),
    )


def burn_points(tenant: str, request: pb.BurnPointsRequest) -> BurnPoints:
    return BurnPoints(tenant, UUID(request.customer_id), request.ref, request.points, request.purpose)


def cancel_burn(tenant: str, request: pb.CancelBurnRequest) -> CancelBurn:
    return CancelBurn(tenant, UUID(request.customer_id), request.ref)


def reverse_grant(tenant: str, request: pb.ReverseGrantRequest) -> ReverseGrant:
    points = request.points if request.HasField("points") else None
    return ReverseGrant(tenant, UUID(request.customer_id), _SOURCE_OF[request.source], request.ref, points)


def states(request: pb.ListMembersRequest) -> Sequence[MemberState]:
    """In which states members are asked for; nobody is listed who never joined."""
    return _STATES[request.state]


def instant(request: Message, name: str) -> datetime | None:
    """The field `name`, None if absent. Raises OutOfRange for an instant no calendar knows."""
    if not request.HasField(name):
        return None
    value: Timestamp = getattr(request, name)
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueOutOfRange("not an instant", field=name) from None
