"""To whom orders are credited: exactly one guide and one store, as of the payment."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.commands import Effect, Unit, UnitOfWork
from chassis.context import Context
from chassis.envelope import Incoming, event_name
from scrm.tracking.v1 import events_pb2 as tracking
from services.identity.application.credit_commands import CreditOrder, ReduceCredit, credit_order
from services.identity.application.credit_policies import CONCERNS, POLICIES, follow, react
from services.identity.application.relationship_commands import RecordGuideTouch, record_guide_touch
from services.identity.domain.relationships import Touch, TouchKind
from services.identity.domain.sales import Credit, CreditRule, Sale, Sales, credit
from tests.identity.brand import NOON, Brand, phone
from tests.identity.staffing import Staffing, row
from tests.identity.uncredited import stored_orders

DAY = timedelta(days=1)
GUIDE, OTHER, ORDER, NODE = (uuid4() for _ in range(4))


def may(day: int, month: int = 5) -> datetime:
    return datetime(2026, month, day, 13, tzinfo=UTC)


class Shop(Staffing):
    """A brand with one customer who buys."""

    def __init__(self, brand: Brand) -> None:
        super().__init__(brand)
        self.node = brand.resolve(phone(1)).node_id

    def at(self, when: datetime) -> "Shop":
        self.brand.clock.set(when)
        return self

    def buy(self, net: int = 100_00, *, order: UUID | None = None, node: UUID | None = None, **codes: str) -> UUID:
        """An order paid now."""
        order = order or uuid4()
        guide, store, now = codes.get("guide_code", ""), codes.get("store_code", ""), self.brand.clock.now()
        self.brand.credit(CreditOrder(node or self.node, order, guide, store, net, "CNY", now))
        return order

    def refund(self, order: UUID, left: int, node: UUID | None = None) -> None:
        self.brand.credit(ReduceCredit(node or self.node, order, left))

    def credited(self, order: UUID) -> tuple[str | None, CreditRule, str | None]:
        """The guide and the rule by which it is theirs, and the store: the order's or else where the guide was at the payment."""
        events = [it for it in self.brand.events(Sales.Credited) if it.sale.order == order]
        if not events:
            assert order in self.nobodys()
            return None, CreditRule.NONE, None
        event = events[-1]
        everybody = [self.staff(it) for it in sorted({it.code for it in self.told("StaffUpserted")})]
        staff = next((it for it in everybody if it.id == event.credit.staff), None)
        store = event.sale.store or (staff.store_at(event.sale.paid_at) if staff else None)
        names = {self.store(it): it for it in ("S1", "S2")}
        return staff.code if staff else None, event.credit.rule, names[store] if store else None

    def nobodys(self) -> dict[UUID, Sale]:
        """The orders that were credited to nobody when they were paid."""
        return stored_orders(self.brand.bus.store, self.brand.tenant)


@pytest.fixture
def shop(brand: Brand) -> Shop:
    return Shop(brand)


def test_ac_11_orders_are_credited_by_code_touch_or_primary_guide_to_the_store_of_their_time(shop: Shop) -> None:
    g001, g002 = shop.hire("G001", "S1"), shop.hire("G002", "S1")
    shop.at(may(1)).scan(shop.node, g001)
    early = shop.at(may(10)).buy()
    shop.at(may(20)).scan(shop.node, g002)
    by_touch = shop.at(may(25)).buy()
    shop.open_store("S2")
    shop.at(may(28)).brand.do(row("G001", "S2"))
    by_guide = shop.at(may(1, month=6)).buy()

    assert shop.credited(by_touch) == ("G002", CreditRule.TOUCH, "S1")
    assert shop.credited(by_guide) == ("G001", CreditRule.PRIMARY_GUIDE, "S2")
    assert shop.credited(early) == ("G001", CreditRule.PRIMARY_GUIDE, "S1")


def test_a_code_on_the_order_counts_before_all_and_one_of_nobody_not_at_all(shop: Shop) -> None:
    one = shop.hire("G1")
    shop.hire("G2", "S2")
    shop.scan(shop.node, one)

    assert shop.credited(shop.buy(guide_code="G2")) == ("G2", CreditRule.GUIDE_CODE, "S2")
    assert shop.credited(shop.buy(guide_code="G2", store_code="S1")) == ("G2", CreditRule.GUIDE_CODE, "S1")
    assert shop.credited(shop.buy(guide_code="NOBODY", store_code="NOWHERE")) == ("G1", CreditRule.TOUCH, "S1")


def test_an_order_of_a_customer_without_a_guide_is_nobodys_but_may_be_a_stores(shop: Shop) -> None:
    shop.open_store("S1")
    assert shop.credited(shop.buy()) == (None, CreditRule.NONE, None)
    assert shop.credited(shop.buy(store_code="S1")) == (None, CreditRule.NONE, "S1")


@pytest.mark.parametrize(
    ("before", "counts"),
    [(timedelta(0), True), (7 * DAY, True), (7 * DAY + timedelta(microseconds=1), False), (-DAY, False)],
)
def test_a_touch_counts_for_seven_days_before_the_payment(before: timedelta, counts: bool) -> None:
    sale = Sale(ORDER, None, None, 100, "CNY", NOON)
    found = credit(sale, [Touch(GUIDE, TouchKind.CLICK, NOON - before)], OTHER)
    assert found == (Credit(GUIDE, CreditRule.TOUCH) if counts else Credit(OTHER, CreditRule.PRIMARY_GUIDE))


def test_of_several_touches_the_last_counts_in_whatever_order_they_are_given() -> None:
    sale = Sale(ORDER, None, None, 100, "CNY", NOON)
    touches = [Touch(GUIDE, TouchKind.CLICK, NOON - DAY), Touch(OTHER, TouchKind.SCAN, NOON - 2 * DAY)]
    for given in (touches, touches[::-1]):
        assert credit(sale, given, None) == Credit(GUIDE, CreditRule.TOUCH)
    assert credit(Sale(ORDER, OTHER, None, 100, "CNY", NOON), touches, GUIDE) == Credit(OTHER, CreditRule.GUIDE_CODE)


def test_a_refund_takes_credit_from_who_had_it_though_the_customer_has_moved_on(shop: Shop) -> None:
    one, other = shop.hire("G1"), shop.hire("G2")
    shop.scan(shop.node, one)
    order = shop.buy(100_00)
    shop.at(NOON + DAY).carry_out(shop.transfer(one, other))
    shop.refund(order, 30_00)
    shop.refund(order, 30_00)

    assert shop.credited(order)[0] == "G1"
    assert [(it.order, it.net) for it in shop.brand.events(Sales.NetChanged)] == [(order, 30_00)]


def test_a_customer_who_was_transferred_is_the_new_guides_from_then_on_only(shop: Shop) -> None:
    one, other = shop.hire("G1"), shop.hire("G2")
    shop.assign(shop.node, one)
    shop.at(NOON + 10 * DAY).carry_out(shop.transfer(one, other))
    shop.at(NOON + 20 * DAY)
    order, earlier = shop.buy(), uuid4()
    shop.brand.credit(CreditOrder(shop.node, earlier, "", "", 100, "CNY", NOON + 5 * DAY))

    assert [shop.credited(it)[0] for it in (order, earlier)] == ["G2", "G1"]


def test_a_click_that_is_heard_of_late_counts_as_if_it_had_been_heard_of_in_time(shop: Shop) -> None:
    one, other = shop.hire("G1"), shop.hire("G2")
    shop.scan(shop.node, one)
    named, order = shop.at(NOON + 10 * DAY).buy(guide_code="G1"), shop.buy()
    assert shop.credited(order)[:2] == ("G1", CreditRule.PRIMARY_GUIDE)

    late = RecordGuideTouch(shop.node, other, TouchKind.CLICK, NOON + 9 * DAY)
    for _ in range(2):
        shop.brand.do(late)

    assert shop.credited(order)[:2] == ("G2", CreditRule.TOUCH)
    assert shop.credited(named)[:2] == ("G1", CreditRule.GUIDE_CODE)
    assert len(shop.brand.events(Sales.Credited)) == 3


def test_an_order_that_is_nobodys_is_not_told_of_until_a_late_click_makes_it_somebodys(shop: Shop) -> None:
    guide = shop.hire("G1")
    other = shop.brand.resolve(phone(2)).node_id
    shop.brand.merge(shop.node, other)
    head = shop.brand.bus.store.head()
    early, order = shop.at(NOON + DAY).buy(), shop.at(NOON + 10 * DAY).buy(100_00, node=other)
    shop.refund(order, 30_00, node=other)
    assert shop.brand.bus.store.head() == head
    assert {id: it.net for id, it in shop.nobodys().items()} == {order: 30_00, early: 100_00}

    shop.at(NOON + 11 * DAY).brand.do(RecordGuideTouch(shop.node, guide, TouchKind.CLICK, NOON + 9 * DAY))

    assert shop.credited(order) == ("G1", CreditRule.TOUCH, "S1")
    assert [(it.sale.order, it.sale.net) for it in shop.brand.events(Sales.Credited)] == [(order, 30_00)]
    assert shop.credited(early)[0] is None
    shop.refund(order, 0, node=other)
    assert [(it.order, it.net) for it in shop.brand.events(Sales.NetChanged)] == [(order, 0)]


def test_an_order_of_this_very_moment_can_be_made_somebodys(shop: Shop) -> None:
    """The order is not stored yet when the click, in the same commit, is heard of."""
    guide = shop.hire("G1")
    shop.at(NOON + 2 * DAY)
    order = uuid4()
    paid = CreditOrder(shop.node, order, "", "", 100, "CNY", NOON + DAY)
    click = RecordGuideTouch(shop.node, guide, TouchKind.CLICK, NOON)

    def both(work: UnitOfWork) -> None:
        credit_order(paid, work, shop.brand.uncredited)
        record_guide_touch(click, work, shop.brand.uncredited)

    shop.brand.bus.start()
    try:
        asyncio.run(shop.brand.bus.effect(both, shop.brand.context()))
    finally:
        shop.brand.bus.stop()

    assert shop.credited(order) == ("G1", CreditRule.TOUCH, "S1")


def test_touches_and_orders_of_all_nodes_of_a_customer_count_together(shop: Shop) -> None:
    one = shop.hire("G1")
    other = shop.brand.resolve(phone(2)).node_id
    shop.scan(other, one)
    assert shop.credited(shop.buy())[:2] == (None, CreditRule.NONE)

    shop.brand.merge(shop.node, other)

    assert shop.credited(shop.buy())[:2] == ("G1", CreditRule.TOUCH)


def test_what_is_heard_again_or_of_nobody_changes_nothing(shop: Shop) -> None:
    order = shop.buy()
    head = shop.brand.bus.store.head()
    shop.buy(order=order)
    shop.buy(node=NODE)
    shop.refund(uuid4(), 1)
    shop.refund(order, 1, node=NODE)
    assert shop.brand.bus.store.head() == head


AT = Timestamp(seconds=int(NOON.timestamp()))
MONEY, NOTHING = Money(currency_code="CNY", units=99, nanos=900_000_000), Money(currency_code="CNY")
WHO: Any = {"order_id": str(ORDER), "node_id": str(NODE), "net": MONEY}
NAMED: Any = {"guide_code": "G1", "store_code": "S1"}
CREDITED = CreditOrder(NODE, ORDER, "G1", "S1", 9990, "CNY", NOON)


@pytest.mark.parametrize(
    ("message", "commands"),
    [
        (tracking.OrderPaid(**WHO, **NAMED, pay_time=AT), (CREDITED,)),
        (tracking.OrderPaymentRevised(**WHO, **NAMED, pay_time=AT), (CREDITED,)),
        (tracking.OrderRefunded(**WHO, refund_time=AT), (ReduceCredit(NODE, ORDER, 9990),)),
        (tracking.OrderShipped(order_id=str(ORDER), node_id=str(NODE), ship_time=AT), ()),
    ],
)
def test_what_tracking_reports_of_orders_becomes_commands(message: Message, commands: tuple[object, ...]) -> None:
    assert tuple(react(told(message, 1, "acme"))) == commands


def told(message: Message, number: int, tenant: str) -> Incoming:
    """The message as it comes from the stream, number `number` of it."""
    context = Context(tenant, "consume/identity_credits", causation=f"s/1/{number}")
    kind, content = message.DESCRIPTOR.full_name, message.SerializeToString()
    return Incoming("s", number, number, 0, 1, tenant, kind, str(NODE), 0, f"s/1/{number}", NOON, context, content)


def test_orders_told_of_together_are_credited_as_if_one_after_another_each_by_its_own_message(shop: Shop) -> None:
    guide = shop.hire("G1")
    other = shop.brand.resolve(phone(2)).node_id
    shop.scan(other, guide)
    shop.brand.merge(shop.node, other)
    mine, nobodys = uuid4(), uuid4()
    stranger = shop.brand.resolve(phone(3)).node_id
    batch = [
        tracking.OrderPaid(order_id=str(mine), node_id=str(shop.node), net=MONEY, pay_time=AT),
        tracking.OrderPaid(order_id=str(nobodys), node_id=str(stranger), net=MONEY, pay_time=AT),
        tracking.OrderPaymentRevised(order_id=str(mine), node_id=str(shop.node), net=MONEY, **NAMED, pay_time=AT),
        tracking.OrderPaid(order_id=str(uuid4()), node_id=str(NODE), net=MONEY, pay_time=AT),
        tracking.OrderRefunded(order_id=str(nobodys), node_id=str(stranger), net=NOTHING, refund_time=AT),
        tracking.OrderRefunded(order_id=str(mine), node_id=str(shop.node), net=NOTHING, refund_time=AT),
    ]
    messages = [told(it, number, shop.brand.tenant) for number, it in enumerate(batch)]
    change = Effect(lambda work: follow(messages, work, shop.brand.uncredited))
    (outcome,) = shop.brand.bus.run_now(Unit([(shop.brand.context(), change)]))

    assert outcome.error is None
    assert [it.credit.rule for it in shop.brand.events(Sales.Credited)] == [CreditRule.TOUCH, CreditRule.GUIDE_CODE]
    assert {id: it.net for id, it in shop.nobodys().items()} == {nobodys: 0}
    recorded = [
        it for it in shop.brand.bus.store.read_log(0, 1000) if isinstance(it.event, Sales.Credited | Sales.NetChanged)
    ]
    assert [it.context.causation for it in recorded] == ["s/1/0", "s/1/2", "s/1/5"]


def test_only_what_is_of_concern_is_delivered() -> None:
    assert {event_name(it.rpartition(".")[2]) for it in POLICIES} == set(CONCERNS)
    assert set(CONCERNS) == {"order_paid", "order_payment_revised", "order_refunded"}
