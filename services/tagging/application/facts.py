"""What other services tell about customers, as far as this one keeps it; a batch of it in the order of arrival."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.consumer import Incoming
from scrm.identity.v1 import customer_pb2 as identity
from scrm.identity.v1 import events_pb2 as identity_events
from scrm.tracking.v1 import events_pb2 as tracking_events
from services.tagging.domain.money import minor_units
from services.tagging.domain.sessions import Visit, event, opens_session

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Recognition(NamedTuple):
    """A customer came into being or became known; its first node has the same id."""

    node: UUID
    known: bool
    assignment_key: str


class Merge(NamedTuple):
    """`loser` and all that belongs to it is part of `survivor`, unless that was taken back."""

    id: UUID
    survivor: UUID
    loser: UUID
    undone: bool


class Erasing(NamedTuple):
    """A customer, with all nodes, is to be forgotten."""

    case_id: UUID
    customer: UUID
    nodes: tuple[UUID, ...]


class Paid(NamedTuple):
    """An order was paid, or its payment corrected; `net` in minor units, refunds told before in this batch added."""

    node: UUID
    order: UUID
    revision: int
    at: datetime
    currency: str
    net: int


class Refunded(NamedTuple):
    """Part of an order was paid back; minor units."""

    node: UUID
    order: UUID
    refund_no: str
    at: datetime
    amount: int


@dataclass(slots=True)
class Facts:
    """One batch. `nodes` are all nodes it names, in the order in which they are first named."""

    nodes: dict[UUID, None] = field(default_factory=dict)
    recognitions: list[Recognition] = field(default_factory=list)
    merges: dict[UUID, Merge] = field(default_factory=dict)
    visits: dict[UUID, list[Visit]] = field(default_factory=dict)
    paid: dict[UUID, Paid] = field(default_factory=dict)
    refunded: dict[tuple[UUID, str], Refunded] = field(default_factory=dict)
    erasures: list[Erasing] = field(default_factory=list)

    @classmethod
    def of(cls, messages: Iterable[Incoming]) -> "Facts":
        """Raises UnreadableMessage, and ValueError for ids that are none."""
        facts = cls()
        for message in messages:
            read = READERS.get(message.type)
            if read is not None:
                read(facts, message)
        return facts

    def add(self, node: UUID, visit: Visit) -> None:
        visits = self.visits.get(node)
        if visits is None:
            self.nodes[node] = None
            self.visits[node] = [visit]
        else:
            visits.append(visit)

    def merge(self, merge: Merge) -> None:
        """Note a merge or that it was taken back, which is the last word on it whatever comes first."""
        self.nodes[merge.survivor] = self.nodes[merge.loser] = None
        if merge.undone or merge.id not in self.merges:
            self.merges[merge.id] = merge

    @property
    def erasing(self) -> set[UUID]:
        """The nodes that are to be forgotten with this batch."""
        return {node for it in self.erasures for node in it.nodes}

    def drop(self, nodes: Collection[UUID]) -> None:
        """Forget what is told of `nodes`; what is told of somebody else beside them stays."""
        self.recognitions = [it for it in self.recognitions if it.node not in nodes]
        self.merges = {id: it for id, it in self.merges.items() if it.survivor not in nodes and it.loser not in nodes}
        self.visits = {node: it for node, it in self.visits.items() if node not in nodes}
        self.paid = {id: it for id, it in self.paid.items() if it.node not in nodes}
        self.refunded = {id: it for id, it in self.refunded.items() if it.node not in nodes}

    def pay(self, paid: Paid) -> None:
        self.nodes[paid.node] = None
        before = self.paid.get(paid.order)
        if before is None or paid.revision > before.revision:
            returned = sum(it.amount for it in self.refunded.values() if it.order == paid.order)
            self.paid[paid.order] = paid._replace(net=paid.net + returned) if returned else paid


def _created(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity_events.CustomerCreated)
    node = UUID(it.customer_id)
    facts.nodes[node] = None
    known = it.state == identity.CUSTOMER_STATE_KNOWN
    facts.recognitions.append(Recognition(node, known, it.assignment_key))


def _became_known(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity_events.CustomerBecameKnown)
    node = UUID(it.customer_id)
    facts.nodes[node] = None
    facts.recognitions.append(Recognition(node, known=True, assignment_key=it.assignment_key))


def _merged(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity_events.CustomersMerged)
    facts.merge(Merge(UUID(it.merge_id), UUID(it.survivor_id), UUID(it.loser_id), undone=False))


def _unmerged(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity_events.CustomerUnmerged)
    facts.merge(Merge(UUID(it.merge_id), UUID(it.survivor_id), UUID(it.restored_id), undone=True))


def _erasing(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity_events.CustomerErasing)
    nodes = tuple(UUID(node) for node in it.node_ids)
    facts.nodes.update(dict.fromkeys(nodes))
    facts.erasures.append(Erasing(UUID(it.case_id), UUID(it.customer_id), nodes))


def _behaved(facts: Facts, message: Incoming) -> None:
    it = message.parse(tracking_events.BehaviourTracked)
    if opens_session(it.event_type):
        offset = it.tz_offset_minutes if it.HasField("tz_offset_minutes") else None
        facts.add(UUID(it.node_id), event(it.channel, _instant(it.occur_time), offset))


def _paid(facts: Facts, message: Incoming) -> None:
    it = message.parse(tracking_events.OrderPaid)
    currency = it.net.currency_code
    facts.pay(Paid(UUID(it.node_id), UUID(it.order_id), 0, _instant(it.pay_time), currency, _minor(it.net)))


def _payment_revised(facts: Facts, message: Incoming) -> None:
    it = message.parse(tracking_events.OrderPaymentRevised)
    currency = it.net.currency_code
    facts.pay(Paid(UUID(it.node_id), UUID(it.order_id), it.revision, _instant(it.pay_time), currency, _minor(it.net)))


def _refunded(facts: Facts, message: Incoming) -> None:
    it = message.parse(tracking_events.OrderRefunded)
    node, order = UUID(it.node_id), UUID(it.order_id)
    facts.nodes[node] = None
    refund = Refunded(node, order, it.refund_no, _instant(it.refund_time), _minor(it.amount))
    facts.refunded.setdefault((order, it.refund_no), refund)


READERS: Final[Mapping[str, Callable[[Facts, Incoming], None]]] = {
    "scrm.identity.v1.CustomerCreated": _created,
    "scrm.identity.v1.CustomerBecameKnown": _became_known,
    "scrm.identity.v1.CustomersMerged": _merged,
    "scrm.identity.v1.CustomerUnmerged": _unmerged,
    "scrm.identity.v1.CustomerErasing": _erasing,
    "scrm.tracking.v1.BehaviourTracked": _behaved,
    "scrm.tracking.v1.OrderPaid": _paid,
    "scrm.tracking.v1.OrderPaymentRevised": _payment_revised,
    "scrm.tracking.v1.OrderRefunded": _refunded,
}

STREAMS: Final = ("identity", "tracking", "tracking_behaviours")
EVENTS: Final = (
    "customer_created",
    "customer_became_known",
    "customers_merged",
    "customer_unmerged",
    "customer_erasing",
    "behaviour_tracked",
    "order_paid",
    "order_payment_revised",
    "order_refunded",
)
"""The names of the events above, in snake_case: what the intake subscribes to."""


def essence(message: Incoming) -> Incoming:
    """A message as it is kept: of what somebody did, and of what they bought, only what is read here."""
    if message.type == "scrm.tracking.v1.BehaviourTracked":
        it = message.parse(tracking_events.BehaviourTracked)
        kept = tracking_events.BehaviourTracked(event_type=it.event_type)
        if opens_session(it.event_type):
            kept.node_id, kept.channel = it.node_id, it.channel
            kept.occur_time.CopyFrom(it.occur_time)
            if it.HasField("tz_offset_minutes"):
                kept.tz_offset_minutes = it.tz_offset_minutes
        return replace(message, payload=kept.SerializeToString())
    kind = _WITH_ORDER_NUMBERS.get(message.type)
    if kind is None:
        return message
    order = message.parse(kind)
    order.ClearField("order_no")
    order.ClearField("source_key")
    return replace(message, payload=order.SerializeToString())


_WITH_ORDER_NUMBERS: Final[Mapping[str, type[Any]]] = {
    it.DESCRIPTOR.full_name: it
    for it in (tracking_events.OrderPaid, tracking_events.OrderPaymentRevised, tracking_events.OrderRefunded)
}


def _instant(time: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)


def _minor(money: Money) -> int:
    return minor_units(money.currency_code, money.units, money.nanos)
