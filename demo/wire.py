"""What the demo knows, written as the services' contracts ask for it."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money

from demo.backend import request_id
from demo.dataset import Order
from demo.people import SHOP, Binding, Sighting
from demo.prospects import ARTICLE
from demo.touches import ACCOUNT, Touch
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.tracking.v1 import behaviour_pb2, order_pb2
from scrm.tracking.v1 import tracking_service_pb2 as tracking

CURRENCY: Final = "USD"
APPS: Final = {ACCOUNT: "wx-cdnow-music"}
"""The app of a channel that has one: the id of the official account."""
_CENTS: Final = 100
_NANOS_OF_A_CENT: Final = 10_000_000


def timestamp(at: datetime) -> Timestamp:
    """`at` to the second, which is as exact as anything here."""
    return Timestamp(seconds=int(at.timestamp()))


def calendar_date(day: date) -> Date:
    return Date(year=day.year, month=day.month, day=day.day)


def money(cents: int) -> Money:
    units, rest = divmod(cents, _CENTS)
    return Money(currency_code=CURRENCY, units=units, nanos=rest * _NANOS_OF_A_CENT)


def cents(amount: Money) -> int:
    return int(amount.units) * _CENTS + amount.nanos // _NANOS_OF_A_CENT


def track_batch(touches: Sequence[Touch]) -> tracking.TrackBatchRequest:
    """No request id: message ids make it safe to repeat."""
    return tracking.TrackBatchRequest(events=[_event(it) for it in touches])


def batch_resolve(bindings: Sequence[Binding], *about: object) -> identity.BatchResolveRequest:
    """Logins in their order; `about` names the request."""
    return identity.BatchResolveRequest(
        request_id=request_id("logins", *about), items=[_resolve_item(it) for it in bindings]
    )


def import_orders(orders: Sequence[Order], *about: object) -> tracking.ImportOrdersRequest:
    """A placement and a payment of each order; `about` names the request."""
    rows = [row for order in orders for row in _order_rows(order)]
    return tracking.ImportOrdersRequest(request_id=request_id("orders", *about), rows=rows)


def _event(touch: Touch) -> behaviour_pb2.TrackedEvent:
    event = behaviour_pb2.TrackedEvent(
        message_id=touch.message_id,
        source_key=touch.channel,
        event_type=touch.event_type,
        identifiers=[_identifier(it) for it in touch.who],
        authenticated=len(touch.who) > 1,
        original_time=timestamp(touch.occurred_at),
        context=behaviour_pb2.EventContext(
            channel=touch.channel,
            app=APPS.get(touch.channel, ""),
            content_id=touch.content,
            page_view_id=touch.page_view,
        ),
        properties_json=touch.properties.encode(),
    )
    if touch.code:
        event.context.campaign.code_key = touch.code
        event.context.campaign.staff_code = touch.staff
    return event


def _identifier(it: Sighting) -> behaviour_pb2.Identifier:
    return behaviour_pb2.Identifier(namespace=it.namespace, scope=it.scope, value=it.value, verified=it.verified)


def _resolve_item(binding: Binding) -> identity.ResolveItem:
    identifiers = [
        customer_pb2.Identifier(namespace=it.namespace, scope=it.scope, value=it.value, verified=it.verified)
        for it in binding.sightings
    ]
    return identity.ResolveItem(
        identifiers=identifiers,
        authenticated=True,
        occur_time=timestamp(binding.at),
        assignment_key=binding.person.key,
    )


def _order_rows(order: Order) -> Iterator[tracking.OrderRow]:
    customer = order_pb2.OrderCustomer(
        identifiers=[behaviour_pb2.Identifier(namespace="external_id", scope=SHOP, value=order.customer, verified=True)]
    )
    amount = money(order.amount)
    placed = order_pb2.OrderPlacement(
        source_key=SHOP,
        order_no=order.order_no,
        customer=customer,
        place_time=timestamp(order.placed_at),
        lines=[order_pb2.OrderLine(sku=ARTICLE, quantity=order.discs, list=amount, paid=amount)],
        amount=amount,
    )
    paid = order_pb2.OrderPayment(
        source_key=SHOP,
        order_no=order.order_no,
        customer=customer,
        pay_time=timestamp(order.paid_at),
        paid=amount,
    )
    yield tracking.OrderRow(placed=placed)
    yield tracking.OrderRow(paid=paid)
