"""What other services tell in the tests of profiles: messages about people, as they arrive in identity's inbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid5

import orjson
import sqlalchemy as sa
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis import inbox
from chassis.context import Context
from chassis.envelope import Incoming, partition_of
from scrm.campaigns.v1 import events_pb2 as campaigns
from scrm.membership.v1 import events_pb2 as membership
from scrm.membership.v1 import points_pb2
from scrm.tagging.v1 import events_pb2 as tagging
from scrm.tagging.v1 import layer_pb2
from scrm.tracking.v1 import events_pb2 as tracking
from scrm.tracking.v1 import group_pb2
from tests.identity.brand import NOON

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Telling:
    """One message: the stream it comes in, the customer it is about, when it was told."""

    stream: str
    key: UUID
    message: Message
    at: datetime = NOON
    tenant: str = "acme"


def id_of(name: str) -> UUID:
    return uuid5(UUID(int=0), name)


def stamp(at: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(at.astimezone(UTC))
    return found


def money(amount: str, currency: str = "USD") -> Money:
    units, nanos = divmod(int(Decimal(amount) * 10**9), 10**9)
    return Money(currency_code=currency, units=units, nanos=nanos)


def behaviour(node: UUID, at: datetime = NOON, kind: str = "content_viewed", **fields: Any) -> Telling:
    """`properties` is a dict; the page view is one of its own unless it is given."""
    properties = orjson.dumps(fields.pop("properties", {}))
    fields = {"channel": "h5", "content_id": "H5-1", "page_view_id": f"pv-{at.isoformat()}", **fields}
    message = tracking.BehaviourTracked(
        node_id=str(node), event_type=kind, occur_time=stamp(at), properties_json=properties, **fields
    )
    return Telling("tracking_behaviours", node, message, at)


def placed(node: UUID, order: str, at: datetime = NOON, amount: str = "10") -> Telling:
    message = tracking.OrderPlaced(
        order_id=str(id_of(order)), order_no=order, source_key="shop", node_id=str(node), place_time=stamp(at),
        amount=money(amount),
    )  # fmt: skip
    return Telling("tracking", node, message, at)


def paid(node: UUID, order: str, at: datetime = NOON, net: str = "10") -> Telling:
    message = tracking.OrderPaid(
        order_id=str(id_of(order)), order_no=order, source_key="shop", node_id=str(node), net=money(net), paid=money(net),
        pay_time=stamp(at), place_time=stamp(at),
    )  # fmt: skip
    return Telling("tracking", node, message, at)


def refunded(node: UUID, order: str, amount: str, net: str, at: datetime = NOON) -> Telling:
    message = tracking.OrderRefunded(
        order_id=str(id_of(order)), refund_no="r1", node_id=str(node), amount=money(amount), cumulative=money(amount),
        full=net == "0", refund_time=stamp(at), net=money(net),
    )  # fmt: skip
    return Telling("tracking", node, message, at)


def shipped(node: UUID, order: str, at: datetime = NOON) -> Telling:
    message = tracking.OrderShipped(order_id=str(id_of(order)), node_id=str(node), ship_time=stamp(at))
    return Telling("tracking", node, message, at)


def cancelled(node: UUID, order: str, at: datetime = NOON) -> Telling:
    message = tracking.OrderCancelled(order_id=str(id_of(order)), node_id=str(node), cancel_time=stamp(at))
    return Telling("tracking", node, message, at)


def tagged(customer: UUID, tag: str, at: datetime = NOON, value: str = "", *, several: bool = False) -> Telling:
    message = tagging.TagAssigned(
        customer_id=str(customer), node_id=str(customer), tag_key=tag, value=value, source="STAFF:a", time=stamp(at),
        several=several,
    )  # fmt: skip
    return Telling("tagging", customer, message, at)


def untagged(customer: UUID, tag: str, at: datetime = NOON, value: str = "") -> Telling:
    message = tagging.TagRemoved(
        customer_id=str(customer), node_id=str(customer), tag_key=tag, value=value, time=stamp(at)
    )
    return Telling("tagging", customer, message, at)


def modelled(model: str, kind: str) -> list[Telling]:
    """A model that is active, of a kind such as "PYRAMID"."""
    defined = tagging.ModelDefined(model_id=model, kind=layer_pb2.ModelKind.Value(f"MODEL_KIND_{kind}"))
    activated = tagging.ModelActivated(model_id=model, version=1)
    return [Telling("tagging", id_of(model), it) for it in (defined, activated)]


def moved(customer: UUID, model: str, layer: str, at: datetime = NOON) -> Telling:
    message = tagging.LayerChanged(
        customer_id=str(customer), model_id=model, model_version=1, from_layer="NONE", to_layer=layer, time=stamp(at)
    )
    return Telling("tagging", customer, message, at)


def shared(node: UUID, share: str, at: datetime = NOON) -> Telling:
    message = tracking.ShareCreated(
        share_id=share, node_id=str(node), root_share_id=share, depth=1, content_id="H5-1", share_time=stamp(at)
    )
    return Telling("tracking", node, message, at)


def visited(node: UUID, share: str, at: datetime = NOON) -> Telling:
    message = tracking.ShareVisited(share_id=share, node_id=str(node), unique=True, visit_time=stamp(at))
    return Telling("tracking", node, message, at)


def grouped(node: UUID, group: str, at: datetime = NOON, *, left: bool = False) -> Telling:
    change = group_pb2.GROUP_CHANGE_LEFT if left else group_pb2.GROUP_CHANGE_JOINED
    message = tracking.GroupMembershipChanged(group_id=group, node_id=str(node), change=change, change_time=stamp(at))
    return Telling("tracking", node, message, at)


def joined(customer: UUID, member_no: str, at: datetime = NOON) -> Telling:
    message = membership.MemberJoined(customer_id=str(customer), member_no=member_no, join_time=stamp(at))
    return Telling("membership", customer, message, at)


def of_membership(customer: UUID, message: Message, at: datetime = NOON) -> Telling:
    return Telling("membership", customer, message, at)


def granted(
    node: UUID,
    lot: str,
    points: int,
    at: datetime = NOON,
    expire: datetime | None = None,
    active: datetime | None = None,
) -> Telling:
    message = membership.PointsGranted(customer_id=str(node), lot=lot_of(node, lot, points, active or at, expire))
    return Telling("membership", node, message, at)


def lot_of(
    node: UUID, lot: str, points: int, active: datetime = NOON, expire: datetime | None = None
) -> points_pb2.PointsLot:
    return points_pb2.PointsLot(
        lot_id=str(id_of(lot)), node_id=str(node), granted=points, remaining=points, active_time=stamp(active),
        expire_time=stamp(expire) if expire else None,
    )  # fmt: skip


def taken(**points: int) -> list[points_pb2.PointsAllocation]:
    """So many points of each lot."""
    return [points_pb2.PointsAllocation(lot_id=str(id_of(lot)), points=it) for lot, it in points.items()]


def delivered(customer: UUID, arm: str, at: datetime = NOON) -> Telling:
    message = campaigns.DeliverySent(
        delivery_id=str(id_of(f"{customer}/{at}")), broadcast_id=str(id_of("winback")), customer_id=str(customer), arm=arm,
        send_time=stamp(at),
    )  # fmt: skip
    return Telling("campaigns", id_of("winback"), message, at)


def converted(node: UUID, order: str, net: str, at: datetime = NOON) -> Telling:
    message = campaigns.ConversionRecorded(
        broadcast_id=str(id_of("winback")), order_id=str(id_of(order)), customer_id=str(node), node_id=str(node), variant="A",
        net=money(net), pay_time=stamp(at),
    )  # fmt: skip
    return Telling("campaigns", node, message, at)


class Inbox:
    """Takes messages as a consumer would, each in its stream's order."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._positions: dict[str, Any] = {}

    def take(self, tellings: Sequence[Telling]) -> None:
        with self._engine.begin() as rows:
            inbox.keep(rows, [self._incoming(it) for it in tellings])

    def _incoming(self, it: Telling) -> Incoming:
        position = next(self._positions.setdefault(it.stream, count(1)))
        return Incoming(
            it.stream, position, position, 0, 1, it.tenant, it.message.DESCRIPTOR.full_name, str(it.key),
            partition_of(it.key), f"{it.stream}/1/{position}", it.at, Context(it.tenant, "test"),
            it.message.SerializeToString(),
        )  # fmt: skip
