"""TrackingService on the wire: requests become commands or questions, and what comes back becomes responses."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import status
from chassis.commands import CommandBus
from chassis.context import Context, current
from chassis.errors import AggregateNotFound, DomainError, FieldRequired, FieldTooLong
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tracking.v1 import order_pb2
from scrm.tracking.v1 import tracking_service_pb2 as pb
from services.tracking.adapters import order_import, order_wire, trail_wire
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.order_import import OrderReader
from services.tracking.application.commands import (
    OrderKey,
    RecordOrderCancelled,
    RecordOrderReceived,
    RecordOrderShipped,
    RowOutcome,
)
from services.tracking.application.wire_values import money
from services.tracking.domain.erasure import erased_node_id
from services.tracking.domain.errors import CustomerErased, CustomerNotFound, OrderNotFound, UnknownTimeZone
from services.tracking.domain.order import Order
from services.tracking.domain.trail import Trail, TrailEntry
from services.tracking.read_models import customer_nodes, ingest_statistics, orders, trail
from services.tracking.read_models.trail import Stretch

TRAIL_PAGES: Final = Keyset(datetime, datetime, str, str, default=100)
ORDER_PAGES: Final = Keyset(datetime, UUID, default=100)

MOST_EVENTS: Final = 1000

T = TypeVar("T")


class TrackingServicer:
    """Answers `scrm.tracking.v1.TrackingService`."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, ingest: Ingest, identity: IdentityClient) -> None:
        self._bus = bus
        self._read_models = read_models
        self._ingest = ingest
        self._orders = OrderReader(identity)

    async def TrackBatch(self, request: pb.TrackBatchRequest, _: ServicerContext) -> bytes:
        """The response is serialised by who decided it: the writer stores it as the receipt, too."""
        if not request.events:
            raise FieldRequired(field="events")
        if len(request.events) > MOST_EVENTS:
            raise FieldTooLong(f"at most {MOST_EVENTS} events", field="events")
        return await self._ingest.submit(request, current())

    async def GetTrail(self, request: pb.GetTrailRequest, _: ServicerContext) -> pb.GetTrailResponse:
        page = TRAIL_PAGES.page(request)
        stretch = Stretch(_bound(request, "start_time"), _bound(request, "end_time"), page.after)

        def read(rows: sa.Connection) -> tuple[UUID, list[TrailEntry]]:
            customer = _unerased(rows, UUID(request.customer_id))
            nodes = customer_nodes.nodes_of(rows, customer)
            found = trail.trail_page(rows, nodes, stretch, page.limit)
            if found or customer_nodes.is_known(rows, customer) or trail.is_there_any(rows, nodes):
                return customer, found
            raise CustomerNotFound

        customer, entries = await self._read_models.query(read)
        shown, token = TRAIL_PAGES.cut(request, entries, lambda it: it.behaviour.place)
        return pb.GetTrailResponse(
            entries=[trail_wire.trail_entry(it) for it in shown], next_page_token=token, customer_id=str(customer)
        )

    async def GetContentEngagement(
        self, request: pb.GetContentEngagementRequest, _: ServicerContext
    ) -> pb.GetContentEngagementResponse:
        found = (await self._trail(request.customer_id))[1]
        contents = sorted(found.engagement().items())
        return pb.GetContentEngagementResponse(contents=[trail_wire.content_engagement(*it) for it in contents])

    async def GetIngestStatistics(
        self, request: pb.GetIngestStatisticsRequest, _: ServicerContext
    ) -> pb.GetIngestStatisticsResponse:
        counts = await self._read_models.query(
            lambda rows: ingest_statistics.ingest_counts(rows, request.source_key, request.event_type)
        )
        return trail_wire.statistics(counts)

    async def RecordOrderPlaced(
        self, request: pb.RecordOrderPlacedRequest, _: ServicerContext
    ) -> pb.RecordOrderPlacedResponse:
        context = current()
        sold = order_import.placed(context.tenant, request.placement)
        command = await self._orders.one(sold, context, _number(context))
        return await self._record(command, lambda order: pb.RecordOrderPlacedResponse(order=order))

    async def RecordOrderPaid(
        self, request: pb.RecordOrderPaidRequest, _: ServicerContext
    ) -> pb.RecordOrderPaidResponse:
        context = current()
        sold = order_import.paid(context.tenant, request.payment)
        command = await self._orders.one(sold, context, _number(context))
        return await self._record(command, lambda order: pb.RecordOrderPaidResponse(order=order))

    async def RecordOrderRefunded(
        self, request: pb.RecordOrderRefundedRequest, _: ServicerContext
    ) -> pb.RecordOrderRefundedResponse:
        command = order_import.refunded(current().tenant, request.refund)
        return await self._record(command, lambda order: pb.RecordOrderRefundedResponse(order=order))

    async def RecordOrderShipped(
        self, request: pb.RecordOrderShippedRequest, _: ServicerContext
    ) -> pb.RecordOrderShippedResponse:
        at = order_wire.required_instant(request.ship_time, "ship_time")
        command = RecordOrderShipped(_key(request.order), at)
        return await self._record(command, lambda order: pb.RecordOrderShippedResponse(order=order))

    async def RecordOrderReceived(
        self, request: pb.RecordOrderReceivedRequest, _: ServicerContext
    ) -> pb.RecordOrderReceivedResponse:
        at = order_wire.required_instant(request.receive_time, "receive_time")
        command = RecordOrderReceived(_key(request.order), at)
        return await self._record(command, lambda order: pb.RecordOrderReceivedResponse(order=order))

    async def RecordOrderCancelled(
        self, request: pb.RecordOrderCancelledRequest, _: ServicerContext
    ) -> pb.RecordOrderCancelledResponse:
        at = order_wire.required_instant(request.cancel_time, "cancel_time")
        command = RecordOrderCancelled(_key(request.order), at)
        return await self._record(command, lambda order: pb.RecordOrderCancelledResponse(order=order))

    async def ImportOrders(self, request: pb.ImportOrdersRequest, _: ServicerContext) -> pb.ImportOrdersResponse:
        context = current()
        command = await self._orders.all(request.rows, context, _number(context))

        def reply(outcomes: Sequence[RowOutcome]) -> pb.ImportOrdersResponse:
            rows = zip(request.rows, outcomes, strict=True)
            return pb.ImportOrdersResponse(results=[_row_result(context.tenant, row, it) for row, it in rows])

        response: pb.ImportOrdersResponse = await self._bus.execute(command, reply)
        return response

    async def GetOrder(self, request: pb.GetOrderRequest, _: ServicerContext) -> pb.GetOrderResponse:
        id = UUID(request.order_id) if request.order_id else _key(request.key).id
        try:
            order = await self._bus.load(Order, id)
        except AggregateNotFound:
            raise OrderNotFound from None
        message = order_wire.order_message(order)
        if await self._is_erased(order.node):
            for field in ("node_id", "source_key", "order_no", "lines", "refunds"):
                message.ClearField(field)
        return pb.GetOrderResponse(order=message)

    async def ListOrders(self, request: pb.ListOrdersRequest, _: ServicerContext) -> pb.ListOrdersResponse:
        page = ORDER_PAGES.page(request)
        after = (page.after[0], page.after[1]) if page.after else None

        def read(rows: sa.Connection, nodes: Sequence[UUID]) -> list[sa.Row[tuple[object, ...]]]:
            return orders.list_orders(rows, nodes, after, page.limit)

        found = await self._of_customer(request.customer_id, read)
        shown, token = ORDER_PAGES.cut(request, found, lambda it: (it.placed_at, it.order_id))
        return pb.ListOrdersResponse(orders=[order_wire.order_row_message(it) for it in shown], next_page_token=token)

    async def GetOrderStatistics(
        self, request: pb.GetOrderStatisticsRequest, _: ServicerContext
    ) -> pb.GetOrderStatisticsResponse:
        zone = zone_name(request.time_zone)
        start, end = _bound(request, "start_time"), _bound(request, "end_time")

        def read(rows: sa.Connection, nodes: Sequence[UUID] | None) -> orders.OrderTotals:
            return orders.order_totals(rows, nodes, zone, start, end)

        if request.customer_id:
            totals = await self._of_customer(request.customer_id, read)
        else:
            totals = await self._read_models.query(lambda rows: read(rows, None))
        return pb.GetOrderStatisticsResponse(
            rows=totals.rows,
            net_rows=totals.net_rows,
            customers=totals.customers,
            occasions=totals.occasions,
            net=[money(currency, net) for currency, net in sorted(totals.net.items())],
            unpaid=totals.unpaid,
        )

    async def _record(self, command: object, response: Callable[[order_pb2.Order], T]) -> T:
        recorded: T = await self._bus.execute(command, lambda order: response(order_wire.order_message(order)))  # type: ignore[arg-type,return-value]
        return recorded

    async def _is_erased(self, node: UUID) -> bool:
        id = erased_node_id(current().tenant, node)
        return id in await asyncio.to_thread(self._bus.store.load, [id])

    async def _trail(self, customer_id: str) -> tuple[UUID, Trail]:
        """Who the customer is now, and everything they did."""

        def read(rows: sa.Connection) -> tuple[UUID, Trail]:
            customer = _unerased(rows, UUID(customer_id))
            found = trail.trail_of(rows, customer_nodes.nodes_of(rows, customer))
            if not found.is_empty or customer_nodes.is_known(rows, customer):
                return customer, found
            raise CustomerNotFound

        return await self._read_models.query(read)

    async def _of_customer(self, customer_id: str, read: Callable[[sa.Connection, Sequence[UUID]], T]) -> T:
        """What `read` finds for the nodes of a customer; CustomerNotFound for one of whom there is no order either."""

        def ask(rows: sa.Connection) -> T:
            customer = _unerased(rows, UUID(customer_id))
            nodes = customer_nodes.nodes_of(rows, customer)
            if not customer_nodes.is_known(rows, customer) and not orders.list_orders(rows, nodes, None, 1):
                raise CustomerNotFound
            return read(rows, nodes)

        return await self._read_models.query(ask)


def _unerased(rows: sa.Connection, customer: UUID) -> UUID:
    """Who the customer is now. Raises CustomerErased."""
    if customer_nodes.is_erased(rows, customer):
        raise CustomerErased(field="customer_id")
    return customer_nodes.customer_of(rows, customer)


def _row_result(tenant: str, row: pb.OrderRow, outcome: RowOutcome) -> pb.OrderRowResult:
    if isinstance(outcome, DomainError):
        refused = status.to_status(outcome, "tracking")
        return pb.OrderRowResult(order_id=order_import.order_id_of(tenant, row), status=refused)
    return pb.OrderRowResult(order_id=str(outcome.id))


def _key(key: pb.OrderKey) -> OrderKey:
    return OrderKey.of(current().tenant, key.source_key, key.order_no)


def _number(context: Context) -> UUID:
    """The request id, under which identity is asked, too: a repeated call asks the same there."""
    return UUID(context.call.request_id) if context.call else UUID(int=0)


def _bound(request: pb.GetTrailRequest | pb.GetOrderStatisticsRequest, name: str) -> datetime | None:
    """A bound of the time asked for; None if there is none."""
    given: Timestamp = getattr(request, name)
    return order_wire.required_instant(given, name) if request.HasField(name) else None  # type: ignore[arg-type]


def zone_name(name: str) -> str:
    """The name of an IANA zone; UTC for none. Raises UnknownTimeZone."""
    try:
        return ZoneInfo(name or "UTC").key
    except (KeyError, ValueError, OSError):
        raise UnknownTimeZone(field="time_zone") from None
