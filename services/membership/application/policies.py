"""Whenever another service reports something, membership follows: orders count, recognition opens the door."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.envelope import Incoming, event_name
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import events_pb2 as identity
from scrm.tracking.v1 import events_pb2 as tracking
from services.membership.application.enrollment_commands import (
    CountOrder,
    CountRefund,
    RecognizeCustomer,
)
from services.membership.application.erasure_commands import EraseMember
from services.membership.application.merge_commands import FollowAwaitedMerges, MergeMembers, UnmergeMembers
from services.membership.domain.join_policy import Spend
from services.membership.domain.money import minor_units

Commands = Sequence[Any]


def react(incoming: Incoming) -> Commands:
    """The commands that follow from a message; none for most kinds of them."""
    policy = POLICIES.get(incoming.type)
    return () if policy is None else policy(incoming)


def count_paid_order(incoming: Incoming) -> Commands:
    """Whenever an order is paid, it counts towards membership and earns points for a member."""
    paid = incoming.parse(tracking.OrderPaid)
    net = _minor(paid.net)
    if net is None:
        return ()
    order, node = UUID(paid.order_id), UUID(paid.node_id)
    spend = Spend(order, node, net, paid.net.currency_code, _instant(paid.pay_time))
    return (CountOrder(incoming.tenant, spend),)


def count_refunded_order(incoming: Incoming) -> Commands:
    """Whenever money of an order goes back, it counts for what is left of it."""
    refunded = incoming.parse(tracking.OrderRefunded)
    order, node = UUID(refunded.order_id), UUID(refunded.node_id)
    return _reduced(incoming.tenant, node, order, refunded.net, refunded.refund_time)


def count_revised_order(incoming: Incoming) -> Commands:
    """Whenever an order turns out to have brought less, it counts for that."""
    revised = incoming.parse(tracking.OrderPaymentRevised)
    order, node = UUID(revised.order_id), UUID(revised.node_id)
    return _reduced(incoming.tenant, node, order, revised.net, revised.pay_time)


def recognize_customer_who_became_known(incoming: Incoming) -> Commands:
    """Whenever a customer is known, from the start or from now on, what they spent may make them a member."""
    known = incoming.parse(identity.CustomerBecameKnown)
    since = _instant(known.become_known_time)
    return (RecognizeCustomer(incoming.tenant, UUID(known.customer_id), since),)


def merge_memberships_of_merged_customers(incoming: Incoming) -> Commands:
    """Whenever two customers are one, so are their orders, memberships and points."""
    merged = incoming.parse(identity.CustomersMerged)
    ids = UUID(merged.merge_id), UUID(merged.survivor_id), UUID(merged.loser_id)
    return (MergeMembers(incoming.tenant, *ids),)


def restore_memberships_of_unmerged_customers(incoming: Incoming) -> Commands:
    """Whenever a merge is taken back, both go on with what is their own, and merges that waited for it take effect."""
    unmerged = incoming.parse(identity.CustomerUnmerged)
    merge, survivor, restored = UUID(unmerged.merge_id), UUID(unmerged.survivor_id), UUID(unmerged.restored_id)
    is_known = unmerged.restored_state == customer_pb2.CUSTOMER_STATE_KNOWN
    known_since = _instant(unmerged.unmerge_time) if is_known else None
    return (
        UnmergeMembers(incoming.tenant, merge, survivor, restored, known_since),
        FollowAwaitedMerges(incoming.tenant, restored),
    )


def erase_members_of_erased_customers(incoming: Incoming) -> Commands:
    """Whenever a customer is erased, so is the member, and the points are forfeited."""
    it = incoming.parse(identity.CustomerErasing)
    nodes = tuple(UUID(node) for node in it.node_ids)
    return (EraseMember(incoming.tenant, UUID(it.case_id), UUID(it.customer_id), nodes),)


POLICIES: Mapping[str, Callable[[Incoming], Commands]] = {
    "scrm.tracking.v1.OrderPaid": count_paid_order,
    "scrm.tracking.v1.OrderRefunded": count_refunded_order,
    "scrm.tracking.v1.OrderPaymentRevised": count_revised_order,
    "scrm.identity.v1.CustomerBecameKnown": recognize_customer_who_became_known,
    "scrm.identity.v1.CustomersMerged": merge_memberships_of_merged_customers,
    "scrm.identity.v1.CustomerUnmerged": restore_memberships_of_unmerged_customers,
    "scrm.identity.v1.CustomerErasing": erase_members_of_erased_customers,
}

CONCERNS: Final = tuple(event_name(it.rpartition(".")[2]) for it in POLICIES)
"""The events that are of concern here, as they stand in subjects; all others are not even delivered."""


def _reduced(tenant: str, node: UUID, order: UUID, net: Money, at: Timestamp) -> Commands:
    left = _minor(net)
    return () if left is None else (CountRefund(tenant, node, order, left, _instant(at)),)


def _minor(money: Money) -> int | None:
    return minor_units(money.units, money.nanos, money.currency_code)


def _instant(at: Timestamp) -> datetime:
    return at.ToDatetime(tzinfo=UTC)
