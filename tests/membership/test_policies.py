"""What other services report becomes commands here; what does not concern membership becomes none."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.context import Context
from chassis.envelope import Incoming, UnreadableMessage, event_name
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import events_pb2 as identity
from scrm.tracking.v1 import events_pb2 as tracking
from services.membership.application.enrollment_commands import (
    CountOrder,
    CountRefund,
    RecognizeCustomer,
)
from services.membership.application.merge_commands import FollowAwaitedMerges, MergeMembers, UnmergeMembers
from services.membership.application.policies import CONCERNS, POLICIES, react
from services.membership.domain.join_policy import Spend

NOON = datetime(1997, 1, 1, 12, tzinfo=UTC)
AT = Timestamp(seconds=int(NOON.timestamp()))
ORDER, NODE, OTHER = uuid4(), uuid4(), uuid4()
DOLLARS = Money(currency_code="USD", units=99, nanos=900_000_000)


def arriving(message: Message, type: str = "") -> Incoming:  # noqa: A002
    name = type or message.DESCRIPTOR.full_name
    context = Context.system("acme", "consume/membership")
    content = message.SerializeToString()
    return Incoming("s", 1, 1, 0, 1, "acme", name, str(NODE), 0, "s/1/1", NOON, context, content)


@pytest.mark.parametrize(
    ("message", "command"),
    [
        (
            tracking.OrderPaid(order_id=str(ORDER), node_id=str(NODE), net=DOLLARS, pay_time=AT),
            CountOrder("acme", Spend(ORDER, NODE, 9990, "USD", NOON)),
        ),
        (
            tracking.OrderRefunded(order_id=str(ORDER), node_id=str(NODE), net=DOLLARS, refund_time=AT),
            CountRefund("acme", NODE, ORDER, 9990, NOON),
        ),
        (
            tracking.OrderPaymentRevised(order_id=str(ORDER), node_id=str(NODE), net=DOLLARS, pay_time=AT),
            CountRefund("acme", NODE, ORDER, 9990, NOON),
        ),
        (
            identity.CustomerBecameKnown(customer_id=str(NODE), become_known_time=AT),
            RecognizeCustomer("acme", NODE, NOON),
        ),
        (
            identity.CustomersMerged(merge_id=str(ORDER), survivor_id=str(NODE), loser_id=str(OTHER)),
            MergeMembers("acme", ORDER, NODE, OTHER),
        ),
    ],
)
def test_a_report_becomes_a_command(message: Message, command: Any) -> None:
    assert list(react(arriving(message))) == [command]


@pytest.mark.parametrize(
    "message",
    [
        tracking.OrderPlaced(order_id=str(ORDER), node_id=str(NODE)),
        identity.CustomerCreated(customer_id=str(NODE), state=customer_pb2.CUSTOMER_STATE_KNOWN),
        identity.IdentifierLinked(customer_id=str(NODE)),
    ],
)
def test_what_does_not_concern_membership_is_passed_over(message: Message) -> None:
    assert list(react(arriving(message))) == []
    assert event_name(message.DESCRIPTOR.name) not in CONCERNS


@pytest.mark.parametrize("money", [Money(currency_code="XXX", units=1), Money(currency_code="USD", nanos=1)])
def test_money_that_cannot_be_counted_is_passed_over(money: Money) -> None:
    paid = tracking.OrderPaid(order_id=str(ORDER), node_id=str(NODE), net=money, pay_time=AT)
    assert list(react(arriving(paid))) == []


def test_a_message_that_is_no_such_message_is_refused() -> None:
    broken = arriving(tracking.OrderPaid(order_id="not a uuid", node_id=str(NODE), net=DOLLARS))
    with pytest.raises(ValueError, match="UUID"):
        react(broken)
    with pytest.raises(UnreadableMessage):
        POLICIES["scrm.tracking.v1.OrderPaid"](arriving(identity.CustomersMerged()))


def test_what_is_of_concern_is_what_there_is_a_policy_for() -> None:
    assert set(CONCERNS) == {
        "order_paid",
        "order_refunded",
        "order_payment_revised",
        "customer_became_known",
        "customers_merged",
        "customer_unmerged",
        "customer_erasing",
    }


@pytest.mark.parametrize(
    ("state", "known_since"),
    [(customer_pb2.CUSTOMER_STATE_KNOWN, NOON), (customer_pb2.CUSTOMER_STATE_ANONYMOUS, None)],
)
def test_a_merge_taken_back_restores_and_lets_others_follow(
    state: customer_pb2.CustomerState.ValueType, known_since: datetime | None
) -> None:
    unmerged = identity.CustomerUnmerged(merge_id=str(ORDER), survivor_id=str(NODE), restored_id=str(OTHER))
    unmerged.restored_state = state
    unmerged.unmerge_time.CopyFrom(AT)
    assert list(react(arriving(unmerged))) == [
        UnmergeMembers("acme", ORDER, NODE, OTHER, known_since),
        FollowAwaitedMerges("acme", OTHER),
    ]
