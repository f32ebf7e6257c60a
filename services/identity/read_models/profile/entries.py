"""What a message of another service says on the timeline of a customer: a line per message in `_TABLE`.

Facts are codes and amounts. Nothing is taken over in which somebody could have written something about a person: no properties of a
behaviour but numbers, no address of a page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.envelope import Incoming, event_name
from services.identity.read_models.profile.essence import MEASURES, measures
from services.identity.read_models.profile.told import amount, instant, uuid

BEHAVIOUR: Final = "BEHAVIOUR"
ORDER: Final = "ORDER"
TAG: Final = "TAG"
MEMBERSHIP: Final = "MEMBERSHIP"
POINTS: Final = "POINTS"
DELIVERY: Final = "DELIVERY"
CONVERSION: Final = "CONVERSION"
LAYER: Final = "LAYER"
KINDS: Final = (BEHAVIOUR, ORDER, TAG, MEMBERSHIP, POINTS, DELIVERY, CONVERSION, LAYER)

TRACKED: Final = "scrm.tracking.v1.BehaviourTracked"


class Entry(NamedTuple):
    """A row of the timeline; `facts` is a JSON object."""

    tenant: str
    node: UUID
    occurred_at: datetime
    event_id: str
    kind: str
    type: str
    service: str
    ref: str
    facts: str


@dataclass(frozen=True, slots=True)
class Line:
    """Which fields of a message are what; `at` empty for one that does not say when it happened, only when it was told."""

    kind: str
    node: Sequence[str]
    at: str
    ref: Sequence[str]
    facts: Mapping[str, Sequence[str]] = field(default_factory=dict)


# Message, kind, node, instant, what it is about, facts; a point leads into a message.
_TABLE: Final = """
tracking.OrderPlaced             ORDER       node_id      place_time   order_id       source_key order_no amount
tracking.OrderPaid               ORDER       node_id      pay_time     order_id       source_key order_no net paid
tracking.OrderPaymentRevised     ORDER       node_id      pay_time     order_id       source_key order_no net paid revision
tracking.OrderRefunded           ORDER       node_id      refund_time  order_id       refund_no amount net full
tracking.OrderShipped            ORDER       node_id      ship_time    order_id
tracking.OrderReceived           ORDER       node_id      receive_time order_id
tracking.OrderCancelled          ORDER       node_id      cancel_time  order_id
tagging.TagAssigned              TAG         node_id      time         tag_key        value source
tagging.TagRemoved               TAG         node_id      time         tag_key        value source
tagging.LayerChanged             LAYER       customer_id  time         model_id       from_layer to_layer
membership.MemberJoined          MEMBERSHIP  customer_id  join_time    member_no      policy_version
membership.MemberJoinedEarlier   MEMBERSHIP  customer_id  join_time    member_no
membership.MemberRevoked         MEMBERSHIP  customer_id  revoke_time  customer_id
membership.PointsGranted         POINTS      lot.node_id  -            lot.lot_id     lot.granted rate lot.active_time
membership.PointsActivated       POINTS      customer_id  active_time  lot_id         points
membership.PointsBurned          POINTS      customer_id  burn_time    ref            points purpose
membership.PointsRestored        POINTS      customer_id  restore_time ref
membership.PointsExpired         POINTS      customer_id  expire_time  lot_id         points
membership.PointsReversed        POINTS      customer_id  reverse_time lot_id         points to_debt
membership.PointsDebtOffset      POINTS      customer_id  offset_time  account_id
campaigns.DeliverySent           DELIVERY    customer_id  send_time    delivery_id    broadcast_id arm
campaigns.ConversionRecorded     CONVERSION  node_id      pay_time     order_id       broadcast_id variant net
"""


def entry_of(told: Incoming, message: Any) -> Entry | None:
    """The entry of a message; None for one that is not about anything that happened to a customer."""
    if told.type == TRACKED:
        return _behaviour(told, message)
    line = LINES.get(told.type)
    if line is None:
        return None
    _, service, _, name = told.type.split(".")
    facts = {key: text for key, path in line.facts.items() if (text := _text(_at(message, path)))}
    return Entry(
        told.tenant,
        uuid(_at(message, line.node)),
        instant(getattr(message, line.at)) if line.at else told.time,
        told.id,
        line.kind,
        event_name(name),
        service,
        str(_at(message, line.ref)),
        orjson.dumps(facts).decode(),
    )


def _behaviour(told: Incoming, it: Any) -> Entry:
    """A page view is what a behaviour is about; attention to it and how long it was open are kept for the dwell."""
    facts = {
        key: value
        for key, value in (
            ("channel", it.channel),
            ("app", it.app),
            ("content_id", it.content_id),
            ("code_key", it.code_key),
            ("category", it.category),
            ("delivery_id", it.delivery_id),
            ("share_id", it.share_id),
            ("staff_code", it.staff_code),
        )
        if value
    }
    found = measures(it.event_type, it.properties_json)
    facts |= {key: found[name] for name, key in MEASURES.get(it.event_type, ()) if name in found}
    occurred_at = instant(it.occur_time)
    return Entry(
        told.tenant,
        uuid(it.node_id),
        occurred_at,
        told.id,
        BEHAVIOUR,
        it.event_type,
        "tracking",
        it.page_view_id,
        orjson.dumps(facts).decode(),
    )


def _at(message: Any, path: Sequence[str]) -> Any:
    return reduce(getattr, path, message)


def _text(value: Any) -> str:
    """A field as a fact; empty for one that says nothing."""
    match value:
        case Money():
            return f"{amount(value).normalize():f} {value.currency_code}" if value.currency_code else ""
        case Timestamp():
            return instant(value).isoformat()
        case bool():
            return "true" if value else ""
        case int() | Decimal():
            return str(value) if value else ""
    return str(value)


def _parse(text: str) -> tuple[str, Line]:
    message, kind, node, at, ref, *facts = text.split()
    service, name = message.split(".")
    line = Line(
        kind,
        node.split("."),
        "" if at == "-" else at,
        ref.split("."),
        {it.rpartition(".")[2]: it.split(".") for it in facts},
    )
    return f"scrm.{service}.v1.{name}", line


LINES: Final[Mapping[str, Line]] = dict(map(_parse, _TABLE.strip().splitlines()))
"""The rows of the table, by the full names of the messages."""
