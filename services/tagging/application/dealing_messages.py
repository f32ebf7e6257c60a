"""The messages of membership and campaigns that tell of dealings with customers: how each is read.

What happens to points is told as changes, which add up to the same in any order; what somebody is, by the place in the log of membership.
That points can be spent from now on, or are gone, is known from when they were granted, and not listened to.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.consumer import Incoming
from scrm.campaigns.v1 import events_pb2 as campaigns
from scrm.membership.v1 import events_pb2 as membership
from scrm.membership.v1 import points_pb2 as points
from services.tagging.application.dealings import Delivery, InstanceChange, MemberWord
from services.tagging.application.facts import Facts

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SENT: Final = "SENT"


def _joined(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.MemberJoined)
    _member(facts, message, it.customer_id, it.join_time)


def _joined_earlier(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.MemberJoinedEarlier)
    _member(facts, message, it.customer_id, it.join_time)


def _revoked(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.MemberRevoked)
    _member(facts, message, it.customer_id, None)


def _merged(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.MembersMerged)
    _member(facts, message, it.customer_id, it.join_time if it.member_no else None)
    _member(facts, message, it.loser_id, None)


def _unmerged(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.MembersUnmerged)
    _member(facts, message, it.customer_id, it.join_time if it.member_no else None)


def _restored(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.MemberRestored)
    _member(facts, message, it.customer_id, it.join_time if it.member_no else None)


def _member(facts: Facts, message: Incoming, customer: str, since: Timestamp | None) -> None:
    node = _named(facts, customer)
    at = None if since is None else _instant(since)
    facts.dealt.member(MemberWord(node, at, message.epoch, message.position))


def _granted(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.PointsGranted)
    _new_lots(facts, message, _named(facts, it.customer_id), (it.lot,))


def _burned(facts: Facts, message: Incoming) -> None:
    _less(facts, message.parse(membership.PointsBurned).allocations)


def _given_back(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.PointsRestored)
    for one in it.allocations:
        facts.dealt.lot(UUID(one.lot_id)).points += one.points
    _new_lots(facts, message, _named(facts, it.customer_id), it.new_lots)


def _reversed(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.PointsReversed)
    _less(facts, it.allocations)
    facts.dealt.owe(_named(facts, it.customer_id), it.to_debt)


def _debt_offset(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.PointsDebtOffset)
    _less(facts, it.allocations)
    facts.dealt.owe(_named(facts, it.customer_id), -sum(one.points for one in it.allocations))


def _accounts_merged(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.PointsAccountsMerged)
    node = _named(facts, it.customer_id)
    _moved_lots(facts, message, node, it.lots)
    facts.dealt.owe(node, it.debt)
    facts.dealt.owe(_named(facts, it.loser_id), -it.debt)


def _accounts_split(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.PointsAccountsSplit)
    facts.dealt.owe(_named(facts, it.customer_id), -it.debt)


def _account_restored(facts: Facts, message: Incoming) -> None:
    it = message.parse(membership.PointsAccountRestored)
    node = _named(facts, it.customer_id)
    _moved_lots(facts, message, node, it.lots)
    facts.dealt.owe(node, it.debt)


def _less(facts: Facts, allocations: Iterable[points.PointsAllocation]) -> None:
    for it in allocations:
        facts.dealt.lot(UUID(it.lot_id)).points -= it.points


def _new_lots(facts: Facts, message: Incoming, node: UUID, lots: Iterable[points.PointsLot]) -> None:
    _moved_lots(facts, message, node, lots)
    for it in lots:
        facts.dealt.lot(UUID(it.lot_id)).points += it.remaining


def _moved_lots(facts: Facts, message: Incoming, node: UUID, lots: Iterable[points.PointsLot]) -> None:
    for it in lots:
        change = facts.dealt.lot(UUID(it.lot_id))
        if (change.epoch, change.position) < (message.epoch, message.position):
            change.node, change.epoch, change.position = node, message.epoch, message.position
            change.active_at = _instant(it.active_time)
            change.expires_at = _instant(it.expire_time) if it.HasField("expire_time") else None


def _entered(facts: Facts, message: Incoming) -> None:
    it = message.parse(campaigns.InstanceEntered)
    change = _instance(facts, it.instance_id, it.flow_id)
    change.node, change.entered_at = _named(facts, it.customer_id), _instant(it.enter_time)


def _rekeyed(facts: Facts, message: Incoming) -> None:
    it = message.parse(campaigns.InstanceRekeyed)
    _instance(facts, it.instance_id, it.flow_id).moved_to = _named(facts, it.customer_id)


def _ended(facts: Facts, message: Incoming) -> None:
    it = message.parse(campaigns.InstanceEnded)
    change = _instance(facts, it.instance_id, it.flow_id)
    change.ended_at, change.reason = _instant(it.end_time), it.reason


def _step_executed(facts: Facts, message: Incoming) -> None:
    it = message.parse(campaigns.StepExecuted)
    if it.result != _SENT or not it.delivery_id:
        return
    instance = UUID(it.instance_id)
    known = facts.dealt.instances.get(instance)
    node = None if known is None else known.moved_to or known.node
    sent = Delivery(it.delivery_id, UUID(it.flow_id), node, instance, _instant(it.execute_time))
    facts.dealt.deliveries.setdefault(sent.delivery, sent)


def _delivered(facts: Facts, message: Incoming) -> None:
    it = message.parse(campaigns.DeliverySent)
    node = _named(facts, it.customer_id)
    sent = Delivery(it.delivery_id, UUID(it.broadcast_id), node, None, _instant(it.send_time))
    facts.dealt.deliveries.setdefault(sent.delivery, sent)


def _instance(facts: Facts, instance: str, flow: str) -> InstanceChange:
    return facts.dealt.instances.setdefault(UUID(instance), InstanceChange(UUID(flow)))


def _named(facts: Facts, customer: str) -> UUID:
    node = UUID(customer)
    facts.nodes[node] = None
    return node


def _instant(time: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)


READERS: Final[Mapping[str, Callable[[Facts, Incoming], None]]] = {
    "scrm.membership.v1.MemberJoined": _joined,
    "scrm.membership.v1.MemberJoinedEarlier": _joined_earlier,
    "scrm.membership.v1.MemberRevoked": _revoked,
    "scrm.membership.v1.MembersMerged": _merged,
    "scrm.membership.v1.MembersUnmerged": _unmerged,
    "scrm.membership.v1.MemberRestored": _restored,
    "scrm.membership.v1.PointsGranted": _granted,
    "scrm.membership.v1.PointsBurned": _burned,
    "scrm.membership.v1.PointsRestored": _given_back,
    "scrm.membership.v1.PointsReversed": _reversed,
    "scrm.membership.v1.PointsDebtOffset": _debt_offset,
    "scrm.membership.v1.PointsAccountsMerged": _accounts_merged,
    "scrm.membership.v1.PointsAccountsSplit": _accounts_split,
    "scrm.membership.v1.PointsAccountRestored": _account_restored,
    "scrm.campaigns.v1.InstanceEntered": _entered,
    "scrm.campaigns.v1.InstanceRekeyed": _rekeyed,
    "scrm.campaigns.v1.InstanceEnded": _ended,
    "scrm.campaigns.v1.StepExecuted": _step_executed,
    "scrm.campaigns.v1.DeliverySent": _delivered,
}

STREAMS: Final = ("membership", "campaigns")
EVENTS: Final = (
    "member_joined",
    "member_joined_earlier",
    "member_revoked",
    "members_merged",
    "members_unmerged",
    "member_restored",
    "points_granted",
    "points_burned",
    "points_restored",
    "points_reversed",
    "points_debt_offset",
    "points_accounts_merged",
    "points_accounts_split",
    "points_account_restored",
    "instance_entered",
    "instance_rekeyed",
    "instance_ended",
    "step_executed",
    "delivery_sent",
)
"""The names of the events above, in snake_case."""
