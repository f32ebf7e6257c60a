"""What other services report, as facts that a flow may listen to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from google.type.money_pb2 import Money

from chassis.envelope import Incoming
from scrm.tagging.v1.events_pb2 import SegmentEntered
from scrm.tagging.v1.segment_pb2 import MEMBERSHIP_CAUSE_EVENT, MEMBERSHIP_CAUSE_TIME
from scrm.tracking.v1.events_pb2 import OrderCancelled, OrderPaid, OrderPlaced, PathStalled
from scrm.tracking.v1.path_pb2 import PathNode
from services.campaigns.application.policies import amount
from services.campaigns.domain.flow_definition import Fact, FactKind

EVENTS: Final = ("order_placed", "order_cancelled", "path_stalled", "segment_entered")
"""What concerns flows beside that which concerns broadcasts, as it stands in subjects."""

PAID: Final = OrderPaid.DESCRIPTOR.full_name

_PATH_NODE: Final = "PATH_NODE_"
_STARTING: Final = frozenset({MEMBERSHIP_CAUSE_EVENT, MEMBERSHIP_CAUSE_TIME})
"""Why somebody came into a segment, where that starts something: not because of an edit, a merge or a count."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened to a node, at an instant: all the facts it is, and of an order which one and what it is worth."""

    message: str
    facts: frozenset[Fact]
    node: UUID
    at: datetime
    order: UUID | None = None
    amount: Decimal | None = None
    currency: str = ""

    def excepting(self, kind: FactKind) -> "frozenset[Fact]":
        """The facts it is, but for those of one kind."""
        return frozenset(it for it in self.facts if it.kind is not kind)

    @property
    def is_of_an_order(self) -> bool:
        return self.order is not None


def kinds_of(message: Incoming) -> frozenset[FactKind]:
    """The kinds of fact a message may be, told without reading it; empty where it concerns no flow."""
    return KINDS.get(message.type, frozenset())


def read(message: Incoming) -> Happened | None:
    """The fact that a message of one of these kinds reports; None where it starts nothing and nobody waits for it."""
    return _READERS[message.type](message)


def _placed(message: Incoming) -> Happened:
    it = message.parse(OrderPlaced)
    facts = frozenset({Fact(FactKind.ORDER_PLACED)})
    return _of_order(message, facts, it.node_id, it.order_id, it.place_time.ToDatetime(UTC), it.amount)


def _paid(message: Incoming) -> Happened:
    it = message.parse(OrderPaid)
    facts = frozenset({Fact(FactKind.ORDER_PAID), Fact(FactKind.FIRST_ORDER_PAID)})
    return _of_order(message, facts, it.node_id, it.order_id, it.pay_time.ToDatetime(UTC), it.net)


def _cancelled(message: Incoming) -> Happened:
    it = message.parse(OrderCancelled)
    facts = frozenset({Fact(FactKind.ORDER_CANCELLED)})
    return Happened(message.id, facts, UUID(it.node_id), it.cancel_time.ToDatetime(UTC), UUID(it.order_id))


def _stalled(message: Incoming) -> Happened:
    it = message.parse(PathStalled)
    node = PathNode.Name(it.path_node).removeprefix(_PATH_NODE)
    facts = frozenset(Fact(FactKind.PATH_STALLED, node, after) for after in (0, it.after_seconds))
    at = datetime.fromtimestamp(it.since_time.ToDatetime(UTC).timestamp() + it.after_seconds, UTC)
    return Happened(message.id, facts, UUID(it.node_id), at, UUID(it.order_id) if it.order_id else None)


def _entered(message: Incoming) -> Happened | None:
    it = message.parse(SegmentEntered)
    if it.cause not in _STARTING:
        return None
    facts = frozenset({Fact(FactKind.SEGMENT_ENTERED, it.segment_id)})
    return Happened(message.id, facts, UUID(it.customer_id), it.enter_time.ToDatetime(UTC))


def _of_order(
    message: Incoming, facts: frozenset[Fact], node: str, order: str, at: datetime, worth: Money
) -> Happened:  # fmt: skip
    return Happened(message.id, facts, UUID(node), at, UUID(order), amount(worth), worth.currency_code)


_READERS: Final[Mapping[str, Callable[[Incoming], Happened | None]]] = {
    OrderPlaced.DESCRIPTOR.full_name: _placed,
    PAID: _paid,
    OrderCancelled.DESCRIPTOR.full_name: _cancelled,
    PathStalled.DESCRIPTOR.full_name: _stalled,
    SegmentEntered.DESCRIPTOR.full_name: _entered,
}
KINDS: Final[Mapping[str, frozenset[FactKind]]] = {
    OrderPlaced.DESCRIPTOR.full_name: frozenset({FactKind.ORDER_PLACED}),
    PAID: frozenset({FactKind.ORDER_PAID, FactKind.FIRST_ORDER_PAID}),
    OrderCancelled.DESCRIPTOR.full_name: frozenset({FactKind.ORDER_CANCELLED}),
    PathStalled.DESCRIPTOR.full_name: frozenset({FactKind.PATH_STALLED}),
    SegmentEntered.DESCRIPTOR.full_name: frozenset({FactKind.SEGMENT_ENTERED}),
}
