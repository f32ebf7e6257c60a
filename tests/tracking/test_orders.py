"""Orders (TR-9): facts that arrive in any order, each of them once."""

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from chassis.errors import DomainError
from scrm.tracking.v1 import events_pb2
from services.tracking.application.commands import RecordOrderCancelled, RecordOrderReceived, RecordOrderShipped
from services.tracking.domain.errors import (
    AmountsMismatch,
    CurrencyMismatch,
    FutureTimestamp,
    OrderAlreadyPaid,
    OrderConflict,
    OrderNotFound,
    RefundExceedsPaid,
    TimeOrder,
)
from services.tracking.domain.order import Order
from services.tracking.domain.order_facts import Line, Status
from tests.tracking.shop import JANE, NOON, Shop


def state_of(order: Order) -> dict[str, Any]:
    return {
        "status": order.status,
        "net": order.net,
        "placement": order.placement,
        "payment": order.payment,
        "refunded": order.refunded,
        "estimated": order.estimated,
    }


def test_ac28_a_payment_that_arrives_before_its_placement_makes_one_order_that_is_paid(shop: Shop) -> None:
    shop.tell(shop.paid("1", 1200))
    guessed = shop.order("1")
    shop.tell(shop.placed("1", 1200))

    order = shop.order("1")
    assert guessed.estimated
    assert guessed.placement.placed_at == NOON
    assert (order.status, order.net, order.estimated) == (Status.PAID, 1200, False)
    assert order.placement.placed_at == NOON - timedelta(hours=1)
    assert [it.DESCRIPTOR.name for it in shop.published] == ["OrderPaid", "OrderPlaced"]


def test_ac28_a_payment_repeated_under_a_new_request_id_is_paid_once(shop: Shop) -> None:
    shop.tell(shop.placed("1", 1200))
    shop.tell(shop.paid("1", 1200), request_id="a")
    order = shop.tell(shop.paid("1", 1200), request_id="b")

    assert order.status is Status.PAID
    assert shop.events == ["Placed", "Paid"]


def test_what_is_paid_is_told_with_what_models_count(memory_shop: Shop) -> None:
    memory_shop.tell(memory_shop.placed("1", 1700, shipping=500), memory_shop.paid("1", 1700, shipping=500))

    paid = memory_shop.published[-1]
    assert isinstance(paid, events_pb2.OrderPaid)
    assert (paid.net.units, paid.paid.units, paid.paid.currency_code) == (12, 17, "USD")
    assert (paid.order_no, paid.source_key, paid.node_id) == ("1", "shop", str(JANE))


def test_the_guide_and_store_that_the_source_names_are_told_and_corrected_like_the_payment(memory_shop: Shop) -> None:
    memory_shop.tell(memory_shop.paid("1", 1200, guide_code="G1", store_code="S1"))
    with pytest.raises(OrderConflict):
        memory_shop.tell(memory_shop.paid("1", 1200, guide_code="G2", store_code="S1"))
    memory_shop.tell(memory_shop.paid("1", 1200, guide_code="G2", store_code="S1", revision=1))

    paid, revised = memory_shop.published
    assert isinstance(paid, events_pb2.OrderPaid)
    assert isinstance(revised, events_pb2.OrderPaymentRevised)
    assert [(it.guide_code, it.store_code) for it in (paid, revised)] == [("G1", "S1"), ("G2", "S1")]


def test_any_order_of_arrival_gives_the_same_order(memory_shop: Shop) -> None:
    key = memory_shop.key
    facts: tuple[Callable[[str], Any], ...] = (
        lambda no: memory_shop.placed(no, 1200),
        lambda no: memory_shop.paid(no, 1200),
        lambda no: RecordOrderShipped(key(no), NOON),
        lambda no: RecordOrderReceived(key(no), NOON + timedelta(minutes=1)),
    )
    found = []
    for number, order_of_arrival in enumerate(permutations(facts)):
        waiting = [fact(str(number)) for fact in order_of_arrival]
        while waiting:  # what is refused because the order is not known yet is reported again, as a source does
            fact = waiting.pop(0)
            try:
                memory_shop.tell(fact)
            except OrderNotFound:
                waiting.append(fact)
        found.append(state_of(memory_shop.order(str(number))))

    assert found[0]["status"] is Status.RECEIVED
    assert all(it == found[0] for it in found)


def test_a_payment_after_a_cancellation_counts_and_a_cancellation_after_a_payment_is_refused(memory_shop: Shop) -> None:
    cancelled = RecordOrderCancelled(memory_shop.key("1"), NOON)
    memory_shop.tell(memory_shop.placed("1", 1200), cancelled)
    assert memory_shop.order("1").status is Status.CANCELLED

    assert memory_shop.tell(memory_shop.paid("1", 1200)).status is Status.PAID
    memory_shop.tell(memory_shop.placed("2", 1200), memory_shop.paid("2", 1200))
    with pytest.raises(OrderAlreadyPaid):
        memory_shop.tell(RecordOrderCancelled(memory_shop.key("2"), NOON))


def test_refunds_add_up_to_what_was_paid_and_no_further(shop: Shop) -> None:
    shop.tell(shop.placed("1", 7700), shop.paid("1", 7700))
    part = shop.tell(shop.refunded("1", "r1", 7000))
    assert (part.net, part.status) == (700, Status.PAID)

    with pytest.raises(RefundExceedsPaid):
        shop.tell(shop.refunded("1", "r2", 701))
    whole = shop.tell(shop.refunded("1", "r3", 700))

    assert (whole.net, whole.status) == (0, Status.CLOSED_REFUNDED)
    last = shop.published[-1]
    assert isinstance(last, events_pb2.OrderRefunded)
    assert (last.cumulative.units, last.net.units, last.full) == (77, 0, True)


def test_a_refund_is_recorded_once_and_another_amount_under_its_number_is_a_conflict(memory_shop: Shop) -> None:
    memory_shop.tell(memory_shop.placed("1", 7700), memory_shop.paid("1", 7700))
    memory_shop.tell(memory_shop.refunded("1", "r1", 100), memory_shop.refunded("1", "r1", 100))
    assert memory_shop.order("1").refunded == 100

    with pytest.raises(OrderConflict):
        memory_shop.tell(memory_shop.refunded("1", "r1", 200))


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (lambda shop: shop.paid("1", 1300), AmountsMismatch),
        (lambda shop: shop.paid("1", 1200, currency="EUR"), CurrencyMismatch),
        (lambda shop: shop.paid("1", 1200, NOON - timedelta(hours=1, minutes=5, microseconds=1)), TimeOrder),
        (lambda shop: shop.paid("1", 1200, NOON + timedelta(minutes=6)), FutureTimestamp),
        (lambda shop: shop.placed("1", 1300), OrderConflict),
        (lambda shop: shop.placed("2", 1200, lines=[Line("CD", "", "", 1, 0, 1)]), AmountsMismatch),
        (lambda shop: shop.placed("2", 1200, shipping=1201), AmountsMismatch),
        (lambda shop: shop.refunded("1", "r", 1), RefundExceedsPaid),
        (lambda shop: shop.refunded("unknown", "r", 1), OrderNotFound),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    refused: Any, reason: type[DomainError], memory_shop: Shop
) -> None:
    memory_shop.tell(memory_shop.placed("1", 1200))
    with pytest.raises(reason):
        memory_shop.tell(refused(memory_shop))
    assert memory_shop.events == ["Placed"]


def test_a_payment_exactly_five_minutes_early_is_taken(memory_shop: Shop) -> None:
    memory_shop.tell(memory_shop.placed("1", 1200))
    at = NOON - timedelta(hours=1, minutes=5)
    assert memory_shop.tell(memory_shop.paid("1", 1200, at)).status is Status.PAID


def test_other_content_is_a_conflict_unless_the_revision_is_higher(shop: Shop) -> None:
    shop.tell(shop.placed("1", 1200), shop.paid("1", 1200))
    with pytest.raises(OrderConflict):
        shop.tell(shop.paid("1", 1200, NOON + timedelta(minutes=1)))

    order = shop.tell(shop.paid("1", 1200, NOON + timedelta(minutes=1), revision=1))

    assert order.payment is not None
    assert order.payment.paid_at == NOON + timedelta(minutes=1)
    assert [it.DESCRIPTOR.name for it in shop.published] == ["OrderPlaced", "OrderPaid", "OrderPaymentRevised"]


def test_an_order_that_cost_nothing_is_paid_and_counts_nothing(memory_shop: Shop) -> None:
    order = memory_shop.tell(memory_shop.placed("1", 0), memory_shop.paid("1", 0))
    assert (order.status, order.net) == (Status.PAID, 0)


def test_an_import_takes_the_good_rows_and_says_what_is_wrong_with_the_others(shop: Shop) -> None:
    outcomes = shop.bring(
        shop.placed("1", 1200),
        shop.paid("1", 1200),
        shop.paid("1", 1300),
        CurrencyMismatch(field="amount"),
        shop.refunded("2", "r", 100),
        shop.paid("3", 500),
    )

    assert [getattr(it, "reason", "OK") for it in outcomes] == [
        "OK",
        "OK",
        "ORDER_CONFLICT",
        "CURRENCY_MISMATCH",
        "ORDER_NOT_FOUND",
        "OK",
    ]
    assert (shop.order("1").net, shop.order("3").net) == (1200, 500)
    assert shop.events == ["Placed", "Paid", "Placed", "Paid"]


def test_equal_rows_of_different_orders_are_different_orders(memory_shop: Shop) -> None:
    memory_shop.bring(memory_shop.paid("1", 1200), memory_shop.paid("2", 1200))
    assert memory_shop.order("1").id != memory_shop.order("2").id


def test_the_same_number_in_another_brand_is_another_order(memory_shop: Shop) -> None:
    assert memory_shop.key("1").id != Shop(memory_shop.bus.store, "globex").key("1").id
