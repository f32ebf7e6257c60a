"""Orders out of what sources report as behaviours: what is recorded, of whom it is believed, and what is put aside."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.errors import DomainError
from chassis.event_store import PostgresEventStore
from chassis.unit_of_work import replay
from services.tracking.adapters.order_reporter import OrderReporter, ReportsTaken
from services.tracking.application.commands import (
    RecordOrderCancelled,
    RecordOrderPaid,
    RecordOrderPlaced,
    RecordOrderRefunded,
)
from services.tracking.application.handlers import HANDLERS
from services.tracking.application.order_reports import OrderReport, commands_of
from services.tracking.application.source_commands import RegisterSource
from services.tracking.domain.order import Order, order_id
from services.tracking.domain.order_facts import Status
from services.tracking.domain.source import SourceKind, Terms
from tests.tracking.shop import JANE
from tests.tracking.touches import NOON, Tracking, event


def report(event_type: str = "order_completed", **properties: Any) -> OrderReport:
    given = {"order_no": "7", "currency": "USD", **properties}
    return OrderReport(1, "acme", "shop", "m1", event_type, JANE, NOON, given)


def completed(**properties: Any) -> tuple[RecordOrderPlaced, RecordOrderPaid]:
    placed, paid = commands_of(report(**properties))
    assert isinstance(placed, RecordOrderPlaced)
    assert isinstance(paid, RecordOrderPaid)
    return placed, paid


def test_a_completed_order_is_placed_and_paid_at_once() -> None:
    placed, paid = completed(paid=25.1, shipping=5)
    assert (placed.node, placed.placement.amount, placed.placement.shipping) == (JANE, 2510, 500)
    assert (paid.payment.paid, paid.payment.shipping, paid.payment.paid_at) == (2510, 500, NOON)


def test_what_was_paid_is_shared_out_among_the_lines_to_the_cent() -> None:
    lines = [{"sku": f"S{n}", "quantity": n + 1, "price": 3.33, "category": "tea"} for n in range(3)]
    placed, _ = completed(paid=20.0, shipping=2.5, lines=lines)
    found = placed.placement.lines
    assert [(it.sku, it.quantity, it.listed) for it in found] == [("S0", 1, 333), ("S1", 2, 666), ("S2", 3, 999)]
    assert sum(it.paid for it in found) == 1750
    placed.placement.check()


@pytest.mark.parametrize("lines", [None, [], "x", [{"sku": "a", "price": 0}], [{"sku": "a"}]])
def test_without_prices_there_are_no_lines(lines: Any) -> None:
    assert completed(paid=1, lines=lines)[0].placement.lines == ()


@pytest.mark.parametrize(("paid", "minor"), [(24.990000000000002, 2499), (0.005, 1), (10, 1000), (0, 0)])
def test_dust_of_binary_numbers_is_rounded_away(paid: float, minor: int) -> None:
    assert completed(paid=paid)[1].payment.paid == minor


def test_refunds_and_cancellations_are_read() -> None:
    [refund] = commands_of(report("order_refunded", amount=5))
    assert isinstance(refund, RecordOrderRefunded)
    assert (refund.refund.refund_no, refund.refund.amount, refund.currency) == ("m1", 500, "USD")
    [named] = commands_of(report("order_refunded", amount=5, refund_no="R1"))
    assert isinstance(named, RecordOrderRefunded)
    assert named.refund.refund_no == "R1"
    assert isinstance(commands_of(report("order_cancelled"))[0], RecordOrderCancelled)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"order_no": ""}, "FIELD_REQUIRED"),
        ({"order_no": "x" * 129}, "FIELD_TOO_LONG"),
        ({"order_no": "\u0085"}, "BAD_FORMAT"),
        ({"currency": "XXX"}, "CURRENCY_UNSUPPORTED"),
        ({"paid": -1}, "NEGATIVE_AMOUNT"),
        ({"paid": 1e300}, "OUT_OF_RANGE"),
        ({"lines": [{"sku": "a", "price": 1, "quantity": 0}]}, "OUT_OF_RANGE"),
        ({"lines": [{"sku": "a", "price": 1, "quantity": 1.5}]}, "OUT_OF_RANGE"),
        ({"lines": [{"price": 1}]}, "FIELD_REQUIRED"),
        ({"lines": [1]}, "BAD_FORMAT"),
        ({"lines": [{"sku": "a", "price": 1}] * 501}, "FIELD_TOO_LONG"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused_with_the_reason(properties: dict[str, Any], reason: str) -> None:
    with pytest.raises(DomainError) as refused:
        commands_of(report(**{"paid": 10, **properties}))
    assert refused.value.reason == reason


class Reporting:
    """Tracking with the loop that records reports."""

    def __init__(self, tracking: Tracking, store: PostgresEventStore, loop: asyncio.AbstractEventLoop) -> None:
        self.tracking = tracking
        self.bus = CommandBus(store, ReplayClock(NOON + timedelta(hours=1)), HANDLERS)
        self.reporter = OrderReporter(self.bus, store.engine)
        self._loop = loop
        for key, kind in (("shop", SourceKind.SERVER), ("site", SourceKind.SDK)):
            terms = Terms(True, 0, "external_id", key)
            self.bus.execute_now(RegisterSource("acme", key, kind, terms, b"digest"), Context("acme", "test"))

    def report(self, message_id: str, event_type: str, source: str = "shop", **properties: Any) -> None:
        content = orjson.dumps({"order_no": "7", "currency": "USD", **properties})
        said = self.tracking.track(event(message_id, event_type, source_key=source, properties=content))
        assert said == ["ACCEPTED"]

    def follow(self) -> int:
        """Record all that waits; how many reports that were."""
        self.tracking.resolve()

        async def steps() -> int:
            count = 0
            while done := await self.reporter.step():
                count += done
            return count

        return self._loop.run_until_complete(steps())

    def order(self, source: str = "shop", number: str = "7") -> Order | None:
        id = order_id("acme", source, number)
        streams = self.bus.store.load([id])
        found = replay(streams[id]) if id in streams else None
        return found if isinstance(found, Order) else None


@pytest.fixture
def reporting(
    tracking: Tracking, postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop
) -> Iterator[Reporting]:
    found = Reporting(tracking, postgres_store, loop)
    found.bus.start()
    yield found
    found.bus.stop()


def test_an_order_is_recorded_once_at_the_node_of_its_behaviour(reporting: Reporting) -> None:
    reporting.report("m1", "order_completed", paid=25, shipping=5)
    reporting.report("m2", "order_refunded", amount=25)
    assert reporting.follow() == 2
    order = reporting.order()
    assert order is not None
    assert order.node == reporting.tracking.identity.node("a:1")
    assert (order.status, order.refunded, order.net) == (Status.CLOSED_REFUNDED, 2500, 0)
    assert reporting.follow() == 0
    [progress] = reporting._loop.run_until_complete(reporting.reporter.progress())
    assert (progress.backlog, progress.position) == (0, progress.head)


def test_a_site_or_somebody_unknown_cannot_make_orders(reporting: Reporting) -> None:
    reporting.report("m1", "order_completed", "site", paid=1_000_000)
    reporting.report("m2", "order_completed", "nobody", paid=1_000_000)
    assert reporting.follow() == 2
    assert reporting.order("site") is None
    assert reporting.order("nobody") is None
    assert reporting.tracking.count("behaviours") == 2, "they are part of the trail all the same"
    assert reporting.tracking.count("quarantine") == 0


def test_what_is_refused_is_put_aside_and_stays_in_the_trail(reporting: Reporting) -> None:
    reporting.report("m1", "order_completed", paid=25)
    reporting.report("m2", "order_refunded", amount=26)
    reporting.report("m3", "order_completed", paid=25, currency="???")
    reporting.report("m4", "order_completed", paid=24)
    reporting.report("m5", "order_refunded", amount=1)
    assert reporting.follow() == 5
    kept = reporting.tracking.rows("SELECT message_id, reason, field FROM quarantine ORDER BY message_id")
    assert kept == [
        ("m2", "ORDER_REFUSED", "amount: REFUND_EXCEEDS_PAID"),
        ("m3", "ORDER_REFUSED", "paid: CURRENCY_UNSUPPORTED"),
        ("m4", "ORDER_REFUSED", "placement: ORDER_CONFLICT"),
    ]
    order = reporting.order()
    assert order is not None
    assert order.net == 2400
    assert reporting.tracking.count("behaviours") == 5


def test_two_that_record_at_once_record_once(reporting: Reporting) -> None:
    reporting.report("m1", "order_completed", paid=25)
    reporting.tracking.resolve()
    was, reports = reporting.reporter._read()
    reporting.follow()
    before = reporting.bus.store.head()
    with pytest.raises(ReportsTaken):
        reporting._loop.run_until_complete(reporting.reporter._record(was, reports, {("acme", "shop"): True}))
    assert reporting.bus.store.head() == before
