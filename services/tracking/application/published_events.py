"""The only door out: what other services are told of the events of tracking."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from google.protobuf.message import Message

from chassis.log import Recorded
from scrm.tracking.v1 import events_pb2 as pb
from services.tracking.application import (
    published_channels,
    published_groups,
    published_links,
    published_plan,
    published_touchpoints,
)
from services.tracking.application.published_analysis import PRIVATE_ANALYSIS, PUBLISHED_ANALYSIS, of_analysis
from services.tracking.application.published_channels import of_channels
from services.tracking.application.published_groups import of_groups
from services.tracking.application.published_links import of_links
from services.tracking.application.published_plan import of_plan
from services.tracking.application.published_touchpoints import of_touchpoints
from services.tracking.application.wire_values import money, order_line, timestamp
from services.tracking.domain.erasure import ErasedNode, Erasure
from services.tracking.domain.order import Order
from services.tracking.domain.source import IngestSource

PUBLISHED: Final = (
    "order_placed",
    "order_paid",
    "order_payment_revised",
    "order_refunded",
    "order_shipped",
    "order_received",
    "order_cancelled",
    "customer_data_erased",
    *PUBLISHED_ANALYSIS,
    "event_type_registered",
    "event_type_updated",
    "event_type_deprecated",
    "channel_code_created",
    "channel_code_updated",
    "channel_code_archived",
    "channel_scanned",
    "menu_published",
    "content_registered",
    "tracked_link_created",
    "form_defined",
    "group_upserted",
    "group_membership_changed",
)
"""Events of the log "tracking", in snake_case; behaviours have a log of their own."""

PRIVATE: Final = frozenset[type](
    {
        IngestSource.Registered,  # who may report is our own business
        IngestSource.Updated,
        IngestSource.WriteKeyReplaced,
        IngestSource.WechatAccountSet,
        Erasure.Begun,
        ErasedNode.Marked,
        *PRIVATE_ANALYSIS,
    }
    | published_plan.PRIVATE
    | published_channels.PRIVATE
    | published_touchpoints.PRIVATE
    | published_links.PRIVATE
    | published_groups.PRIVATE
)
"""Domain events that nobody else is ever told of."""


def publish(recorded: Recorded) -> Message | Sequence[Message] | None:
    """The message for an event, or several; None for a placement that is only guessed and for one that is only corrected."""
    match recorded.event:
        case Order.Placed(estimated=False) | Order.PlacementReported(corrected=False):
            return _placed(recorded.event)
        case Order.Paid():
            return _paid(recorded.event)
        case Order.PaymentRevised():
            return _payment_revised(recorded.event)
        case Order.Refunded():
            return _refunded(recorded.event)
        case Order.Shipped(originator_id=id, node=node, shipped_at=at):
            return pb.OrderShipped(order_id=str(id), node_id=str(node), ship_time=timestamp(at))
        case Order.Received(originator_id=id, node=node, received_at=at):
            return pb.OrderReceived(order_id=str(id), node_id=str(node), receive_time=timestamp(at))
        case Order.Cancelled(originator_id=id, node=node, cancelled_at=at):
            return pb.OrderCancelled(order_id=str(id), node_id=str(node), cancel_time=timestamp(at))
        case Erasure.Finished(originator_id=id, customer=customer, removed=removed, finished_at=at):
            return pb.CustomerDataErased(
                case_id=str(id),
                customer_id=str(customer),
                removed=removed,
                position=recorded.position,
                erase_time=timestamp(at),
            )
    return of_analysis(recorded) or of_definitions(recorded)


def of_definitions(recorded: Recorded) -> Message | None:
    """The message for an event of what a brand defines, and of what is recorded of it."""
    found = (it(recorded) for it in (of_plan, of_channels, of_touchpoints, of_links, of_groups))
    return next((message for message in found if message is not None), None)


def partition_key(recorded: Recorded) -> UUID:
    """The node of the customer, or what is defined: what happens to one of them stays in order; the customer of an erasure."""
    match recorded.event:
        case Erasure.Begun(customer=customer) | Erasure.Finished(customer=customer):
            return customer
    node: UUID = getattr(recorded.event, "node", recorded.event.originator_id)
    return node


def _placed(event: Order.Placed | Order.PlacementReported) -> pb.OrderPlaced:
    placement = event.placement
    return pb.OrderPlaced(
        order_id=str(event.originator_id),
        order_no=event.order_no,
        source_key=event.source,
        node_id=str(event.node),
        place_time=timestamp(placement.placed_at),
        lines=[order_line(line, placement.currency) for line in placement.lines],
        amount=money(placement.currency, placement.amount),
        coupons=placement.coupons,
    )


def _paid(event: Order.Paid) -> pb.OrderPaid:
    payment = event.payment
    return pb.OrderPaid(
        order_id=str(event.originator_id),
        order_no=event.order_no,
        source_key=event.source,
        node_id=str(event.node),
        net=money(payment.currency, event.net),
        paid=money(payment.currency, payment.paid),
        pay_time=timestamp(payment.paid_at),
        place_time=timestamp(event.placed_at),
        guide_code=payment.guide_code,
        store_code=payment.store_code,
    )


def _payment_revised(event: Order.PaymentRevised) -> pb.OrderPaymentRevised:
    payment = event.payment
    return pb.OrderPaymentRevised(
        order_id=str(event.originator_id),
        order_no=event.order_no,
        source_key=event.source,
        node_id=str(event.node),
        revision=event.revision,
        net=money(payment.currency, event.net),
        paid=money(payment.currency, payment.paid),
        pay_time=timestamp(payment.paid_at),
        guide_code=payment.guide_code,
        store_code=payment.store_code,
    )


def _refunded(event: Order.Refunded) -> pb.OrderRefunded:
    refund = event.refund
    return pb.OrderRefunded(
        order_id=str(event.originator_id),
        refund_no=refund.refund_no,
        node_id=str(event.node),
        amount=money(event.currency, refund.amount),
        cumulative=money(event.currency, event.cumulative),
        full=event.full,
        refund_time=timestamp(refund.refunded_at),
        net=money(event.currency, event.net),
        order_no=event.order_no,
        source_key=event.source,
    )
