"""The gRPC service of membership: requests in, answers out; decisions are made elsewhere."""

from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.message import Message
from grpc.aio import ServicerContext

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.membership.v1 import membership_service_pb2 as pb
from scrm.membership.v1.membership_service_pb2_grpc import MembershipServiceServicer
from services.membership.adapters import requests, responses
from services.membership.application.messages import money, program_message
from services.membership.application.queries import the_balance, the_member, the_program
from services.membership.domain.errors import ProgramNotFound
from services.membership.domain.points_account import account_id
from services.membership.read_models.members import count_members, list_members
from services.membership.read_models.points import list_entries
from services.membership.read_models.points_statistics import points_totals

MEMBERS: Final = Keyset(UUID)
LEDGER: Final = Keyset(int, int)

R = TypeVar("R", bound=Message)
Context = ServicerContext[object, object]


class MembershipServicer(MembershipServiceServicer):
    """Answers every RPC of MembershipService."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock

    async def DefineProgram(self, request: pb.DefineProgramRequest, context: Context) -> pb.DefineProgramResponse:
        command = requests.define_program(request)
        return await self._execute(command, reply=responses.defined_program)

    async def SetJoinPolicy(self, request: pb.SetJoinPolicyRequest, context: Context) -> pb.SetJoinPolicyResponse:
        command = requests.set_join_policy(request)
        return await self._execute(command, reply=responses.program_with_policy)

    async def GetProgram(self, request: pb.GetProgramRequest, context: Context) -> pb.GetProgramResponse:
        program = await the_program(self._bus, _tenant())
        return pb.GetProgramResponse(program=program_message(program))

    async def EnrollMember(self, request: pb.EnrollMemberRequest, context: Context) -> pb.EnrollMemberResponse:
        command = requests.enroll_member(_tenant(), request)
        return await self._execute(command, reply=responses.enrolled_member)

    async def GetMember(self, request: pb.GetMemberRequest, context: Context) -> pb.GetMemberResponse:
        member = await the_member(self._bus, _tenant(), UUID(request.customer_id))
        message = responses.member_message(member)
        try:
            policy = (await the_program(self._bus, _tenant())).join_policy
        except ProgramNotFound:
            policy = None
        if policy is not None:
            spent = policy.progress(member.spends.values(), self._clock.now())
            message.progress.CopyFrom(money(spent, policy.currency))
            message.target.CopyFrom(money(policy.threshold, policy.currency))
        return pb.GetMemberResponse(member=message)

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        page, states = MEMBERS.page(request), requests.states(request)
        after = page.after[0] if page.after else None
        found = await self._read_models.query(lambda rows: list_members(rows, states, after, page.limit))
        rows, token = MEMBERS.cut(request, found, key=lambda row: [row.customer])
        return pb.ListMembersResponse(members=map(responses.listed_member, rows), next_page_token=token)

    async def GrantPoints(self, request: pb.GrantPointsRequest, context: Context) -> pb.GrantPointsResponse:
        command = requests.grant_points(_tenant(), request)
        return await self._execute(command, reply=responses.granted)

    async def BurnPoints(self, request: pb.BurnPointsRequest, context: Context) -> pb.BurnPointsResponse:
        command = requests.burn_points(_tenant(), request)
        return await self._execute(command, reply=responses.burned)

    async def CancelBurn(self, request: pb.CancelBurnRequest, context: Context) -> pb.CancelBurnResponse:
        command = requests.cancel_burn(_tenant(), request)
        return await self._execute(command, reply=responses.cancelled_burn)

    async def ReverseGrant(self, request: pb.ReverseGrantRequest, context: Context) -> pb.ReverseGrantResponse:
        command = requests.reverse_grant(_tenant(), request)
        return await self._execute(command, reply=responses.reversed_grant)

    async def GetBalance(self, request: pb.GetBalanceRequest, context: Context) -> pb.GetBalanceResponse:
        member = await the_member(self._bus, _tenant(), UUID(request.customer_id))
        balance = await the_balance(self._bus, member, self._clock.now())
        return pb.GetBalanceResponse(balance=responses.balance_message(member.customer, balance))

    async def ListLedger(self, request: pb.ListLedgerRequest, context: Context) -> pb.ListLedgerResponse:
        page = LEDGER.page(request)
        member = await the_member(self._bus, _tenant(), UUID(request.customer_id))
        accounts = [account_id(_tenant(), it) for it in member.history.nodes]
        found = await self._read_models.query(lambda rows: list_entries(rows, accounts, page.after, page.limit))
        rows, token = LEDGER.cut(request, found, key=lambda row: [row.position, row.line])
        return pb.ListLedgerResponse(entries=map(responses.ledger_entry, rows), next_page_token=token)

    async def GetMembershipStatistics(
        self, request: pb.GetMembershipStatisticsRequest, context: Context
    ) -> pb.GetMembershipStatisticsResponse:
        joined_before, now = requests.instant(request, "joined_before"), self._clock.now()

        def ask(rows: sa.Connection) -> pb.GetMembershipStatisticsResponse:
            return responses.statistics(count_members(rows, joined_before), points_totals(rows, now))

        return await self._read_models.query(ask)

    async def _execute(self, command: object, reply: Callable[[Any], R]) -> R:
        response: R = await self._bus.execute(command, reply=reply)
        return response


def _tenant() -> str:
    return contexts.current().tenant
