"""A shop in tests: orders that are reported in whatever order, and what is recorded of them."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from google.protobuf.message import Message

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.context import Call, Context
from chassis.log import EventStore
from chassis.testing import recorded
from chassis.unit_of_work import replay
from services.tracking.application.commands import (
    ImportOrders,
    OrderKey,
    RecordOrderPaid,
    RecordOrderPlaced,
    RecordOrderRefunded,
    RowOutcome,
)
from services.tracking.application.handlers import handlers
from services.tracking.application.published_events import publish
from services.tracking.domain.order import Order
from services.tracking.domain.order_facts import Line, Payment, Placement, Refund

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
JANE = uuid5(UUID(int=0), "jane")


class OpenErasures:
    """Erasures under way, in a dictionary."""

    def __init__(self, open_ones: dict[UUID, Collection[UUID]]) -> None:
        self._open = open_ones

    def open(self, case_id: UUID, nodes: Collection[UUID]) -> None:
        self._open[case_id] = nodes

    def close(self, case_id: UUID) -> None:
        del self._open[case_id]


class Shop:
    """One tenant's orders on `store`."""

    def __init__(self, store: EventStore, tenant: str = "acme") -> None:
        self.tenant = tenant
        self.clock = ReplayClock(NOON)
        self.open_erasures: dict[UUID, Collection[UUID]] = {}
        self.bus = CommandBus(store, self.clock, handlers(lambda work: OpenErasures(self.open_erasures)))

    def key(self, order_no: str) -> OrderKey:
        return OrderKey.of(self.tenant, "shop", order_no)

    def placed(
        self,
        order_no: str,
        cents: int,
        at: datetime = NOON - timedelta(hours=1),
        *,
        node: UUID = JANE,
        revision: int = 0,
        currency: str = "USD",
        lines: Sequence[Line] | None = None,
        shipping: int = 0,
    ) -> RecordOrderPlaced:
        line = Line("CD", "", "", 1, cents, cents - shipping)
        placement = Placement(at, currency, cents, shipping, tuple([line] if lines is None else lines))
        return RecordOrderPlaced(self.key(order_no), node, placement, revision)

    def paid(
        self,
        order_no: str,
        cents: int,
        at: datetime = NOON,
        *,
        node: UUID = JANE,
        revision: int = 0,
        currency: str = "USD",
        shipping: int = 0,
        **codes: str,
    ) -> RecordOrderPaid:
        return RecordOrderPaid(self.key(order_no), node, Payment(at, currency, cents, shipping, **codes), revision)

    def refunded(self, order_no: str, refund_no: str, cents: int, currency: str = "USD") -> RecordOrderRefunded:
        return RecordOrderRefunded(self.key(order_no), currency, Refund(refund_no, cents, NOON))

    def tell(self, *commands: Any, request_id: str | None = None) -> Order:
        """Report facts one by one; the order after the last of them."""
        context = self.context(request_id)
        return [self.bus.execute_now(it, context) for it in commands][-1]  # type: ignore[no-any-return]

    def bring(self, *rows: Any) -> list[RowOutcome]:
        """Report facts in one import."""
        outcomes: list[RowOutcome] = self.bus.execute_now(ImportOrders(rows), self.context())
        return outcomes

    def context(self, request_id: str | None = None) -> Context:
        call = Call("RecordOrder", request_id, request_id.encode()) if request_id else None
        return Context(self.tenant, "test", call=call)

    def order(self, order_no: str) -> Order:
        """As it is in the store."""
        id = self.key(order_no).id
        found = replay(self.bus.store.load([id])[id])
        assert isinstance(found, Order)
        return found

    @property
    def published(self) -> list[Message]:
        found = (publish(it) for it in recorded(self.bus))
        return [message for it in found if it for message in ((it,) if isinstance(it, Message) else it)]

    @property
    def events(self) -> list[str]:
        return [type(it.event).__name__ for it in recorded(self.bus)]
