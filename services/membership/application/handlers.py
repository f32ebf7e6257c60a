"""Which function carries out which command, and which aggregates it is sure to need."""

from chassis.commands import Handlers, handler
from services.membership.application.enrollment_commands import (
    CountOrder,
    CountRefund,
    EnrollMember,
    RecognizeCustomer,
    count_order,
    count_refund,
    customer_loads,
    enroll_member,
    recognize_customer,
)
from services.membership.application.erasure_commands import EraseMember, erase_member, erasure_loads
from services.membership.application.merge_commands import (
    FollowAwaitedMerges,
    MergeMembers,
    UnmergeMembers,
    follow_awaited_merges,
    merge_members,
    unmerge_members,
)
from services.membership.application.points_commands import (
    BurnPoints,
    CancelBurn,
    GrantPoints,
    ReverseGrant,
    SettleAccount,
    burn_points,
    cancel_burn,
    grant_points,
    reverse_grant,
    settle_account,
)
from services.membership.application.program_commands import (
    DefineProgram,
    SetJoinPolicy,
    define_program,
    set_join_policy,
)
from services.membership.domain.member import member_id

HANDLERS: Handlers = (
    handler(DefineProgram, define_program),
    handler(SetJoinPolicy, set_join_policy),
    handler(CountOrder, count_order, loads=lambda it: customer_loads(it.tenant, it.spend.node)),
    handler(CountRefund, count_refund, loads=lambda it: customer_loads(it.tenant, it.node)),
    handler(
        RecognizeCustomer,
        recognize_customer,
        loads=lambda it: [member_id(it.tenant, it.customer)],
    ),
    handler(
        MergeMembers,
        merge_members,
        loads=lambda it: customer_loads(it.tenant, it.survivor, it.loser),
    ),
    handler(
        UnmergeMembers,
        unmerge_members,
        loads=lambda it: customer_loads(it.tenant, it.survivor, it.restored),
    ),
    handler(
        FollowAwaitedMerges,
        follow_awaited_merges,
        loads=lambda it: customer_loads(it.tenant, it.restored),
    ),
    handler(EraseMember, erase_member, loads=erasure_loads),
    handler(EnrollMember, enroll_member, loads=lambda it: customer_loads(it.tenant, it.customer)),
    handler(GrantPoints, grant_points, loads=lambda it: customer_loads(it.tenant, it.customer)),
    handler(BurnPoints, burn_points, loads=lambda it: customer_loads(it.tenant, it.customer)),
    handler(CancelBurn, cancel_burn, loads=lambda it: customer_loads(it.tenant, it.customer)),
    handler(ReverseGrant, reverse_grant, loads=lambda it: customer_loads(it.tenant, it.customer)),
    handler(SettleAccount, settle_account, loads=lambda it: [it.account]),
)
