"""The messages of other services that tell facts: how each is read, and what of it is kept for a rebuild."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.consumer import Incoming
from scrm.identity.v1 import customer_pb2 as identity
from scrm.identity.v1 import events_pb2 as identity_events
from scrm.tracking.v1 import events_pb2 as tracking_events
from services.tagging.application import dealing_messages, said_messages
from services.tagging.application.dealings import Click
from services.tagging.application.facts import Done, Erasing, Facts, Merge, Paid, Placed, Recognition, Refunded
from services.tagging.domain.money import minor_units
from services.tagging.domain.sessions import event, opens_session

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CLICK: Final = "link_clicked"
"""The behaviour by which a message is known to be clicked, if it says in which message the link was."""


def facts_of(messages: Iterable[Incoming]) -> Facts:
    """One batch. Raises UnreadableMessage, and ValueError for ids that are none."""
    facts = Facts()
    for message in messages:
        read = READERS.get(message.type)
        if read is not None:
            read(facts, message)
    return facts


def _created(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity_events.CustomerCreated)
    node = UUID(it.customer_id)
    facts.nodes[node] = None
    known = it.state == identity.CUSTOMER_STATE_KNOWN
    at = _told(it, "create_time")
    facts.recognitions.append(Recognition(node, known, it.assignment_key, created=True, at=at))


def _became_known(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity_events.CustomerBecameKnown)
    node = UUID(it.customer_id)
    facts.nodes[node] = None
    at = _told(it, "become_known_time")
    facts.recognitions.append(Recognition(node, known=True, assignment_key=it.assignment_key, at=at))


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
    kind, channel, node = it.event_type, it.channel, UUID(it.node_id)
    at = it.occur_time.seconds * 1_000_000 + it.occur_time.nanos // 1000
    offset = it.tz_offset_minutes if it.HasField("tz_offset_minutes") else None
    key = int.from_bytes(blake2b(f"{kind} {it.message_id}".encode(), digest_size=8).digest(), "big", signed=True)
    properties = it.properties_json.decode() or "{}"
    facts.nodes[node] = None
    facts.done.append(
        Done(node, at, key, kind, it.category, channel, offset, it.content_id, it.page_view_id, properties)
    )
    if it.delivery_id and kind == CLICK and not json.loads(properties).get("prefetch"):
        facts.dealt.click(Click(it.delivery_id, node, _EPOCH + timedelta(microseconds=at)))
    if opens_session(kind):
        facts.add(node, event(channel, _EPOCH + timedelta(microseconds=at), offset))


def _placed(facts: Facts, message: Incoming) -> None:
    it = message.parse(tracking_events.OrderPlaced)
    node, order = UUID(it.node_id), UUID(it.order_id)
    facts.nodes[node] = None
    lines = [[one.sku, one.category, one.brand, one.quantity, _minor(one.list), _minor(one.paid)] for one in it.lines]
    told = Placed(node, order, _instant(it.place_time), json.dumps(lines, ensure_ascii=False), len(it.coupons))
    facts.placed.setdefault(order, told)


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
    "scrm.tracking.v1.OrderPlaced": _placed,
    "scrm.tracking.v1.OrderPaid": _paid,
    "scrm.tracking.v1.OrderPaymentRevised": _payment_revised,
    "scrm.tracking.v1.OrderRefunded": _refunded,
    **said_messages.READERS,
    **dealing_messages.READERS,
}

STREAMS: Final = ("identity", "tracking", "tracking_behaviours")
EVENTS: Final = (
    "customer_created",
    "customer_became_known",
    "customers_merged",
    "customer_unmerged",
    "customer_erasing",
    "behaviour_tracked",
    "order_placed",
    "order_paid",
    "order_payment_revised",
    "order_refunded",
    *said_messages.EVENTS,
)
"""The names of the events above, in snake_case: what the intake subscribes to."""


_NOT_READ: Final[Mapping[str, tuple[type[Message], tuple[str, ...]]]] = {
    kind.DESCRIPTOR.full_name: (kind, fields)
    for kind, fields in (
        (
            tracking_events.BehaviourTracked,
            ("source_key", "receive_time", "code_key", "app", "page", "share_id", "staff_code"),
        ),
        (tracking_events.OrderPlaced, ("order_no", "source_key", "amount")),
        (tracking_events.OrderPaid, ("order_no", "source_key", "guide_code", "store_code")),
        (tracking_events.OrderPaymentRevised, ("order_no", "source_key", "guide_code", "store_code")),
        (tracking_events.OrderRefunded, ("order_no", "source_key")),
        (identity_events.FollowUpRecorded, ("type", "stage", "topics", "product", "next_follow_time")),
    )
}


def essence(message: Incoming) -> Incoming:
    """A message as it is kept: of what somebody did, and of what they bought, only what is read here."""
    found = _NOT_READ.get(message.type)
    if found is None:
        return message
    kind, fields = found
    kept: Any = message.parse(kind)
    for field in fields:
        kept.ClearField(field)
    return message._replace(payload=kept.SerializeToString())


_OF_PEOPLE: Final[Mapping[str, tuple[type[Message], tuple[str, ...]]]] = {
    kind.DESCRIPTOR.full_name: (kind, fields)
    for kind, fields in (
        (tracking_events.BehaviourTracked, ("node_id", "occur_time")),
        (tracking_events.OrderPlaced, ("node_id", "order_id", "place_time")),
        (identity_events.AttributesChanged, ("node_id", "change_time")),
    )
}

TOLD_OF_PEOPLE: Final = tuple(_OF_PEOPLE)
"""The messages that say more of somebody than ids, amounts and times."""


def blank(message: Incoming) -> Incoming:
    """A message as it is kept of somebody who is erased: that there was something, not what."""
    found = _OF_PEOPLE.get(message.type)
    if found is None:
        return message
    kind, fields = found
    told: Any = message.parse(kind)
    kept: Any = kind()
    for field in fields:
        if told.DESCRIPTOR.fields_by_name[field].message_type is None:
            setattr(kept, field, getattr(told, field))
        else:
            getattr(kept, field).CopyFrom(getattr(told, field))
    return message._replace(payload=kept.SerializeToString())


def _told(message: Any, field: str) -> datetime | None:
    return _instant(getattr(message, field)) if message.HasField(field) else None


def _instant(time: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)


def _minor(money: Money) -> int:
    return minor_units(money.currency_code, money.units, money.nanos)
