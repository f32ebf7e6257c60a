"""Leads through commands and orders (ID-8): one that is open per customer and category, won by what the customer buys."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.commands import CommandBus, Effect, Unit
from chassis.context import Context
from chassis.envelope import Incoming
from chassis.errors import DomainError, FieldRequired
from chassis.event_store import PostgresEventStore
from chassis.unit_of_work import replay
from scrm.tagging.v1 import events_pb2 as tagging
from scrm.tracking.v1 import events_pb2 as tracking
from scrm.tracking.v1 import order_pb2
from services.identity.adapters.awaited_orders import SqlAwaitedOrders
from services.identity.adapters.uncredited_orders import SqlUncreditedOrders
from services.identity.application.handlers import handlers
from services.identity.application.lead_commands import OpenLead, PaidOrder, UpdateLead, win_leads
from services.identity.application.lead_policies import KEPT
from services.identity.application.lead_qualifying import follow
from services.identity.domain.errors import CustomerNotFound, IllegalTransition, LeadClosed, LeadNotFound, LeadOpen
from services.identity.domain.lead import Lead, LeadState, Prospect
from tests.identity.brand import NOON, Brand, phone, refused
from tests.identity.staffing import Staffing

DAY = timedelta(days=1)
STAFF, OTHER_STAFF = UUID(int=1), UUID(int=2)
NEW, FOLLOWING, WON, LOST = LeadState


@pytest.fixture
def customer(brand: Brand) -> UUID:
    return brand.resolve(phone(1)).customer_id


@pytest.fixture
def other(brand: Brand) -> UUID:
    return brand.resolve(phone(2)).customer_id


def open_lead(brand: Brand, node: UUID, category: str = "tea", score: int = 50) -> UUID:
    found: Lead = brand.do(OpenLead(Prospect(node, category, score, STAFF)))
    return found.id


def lead(brand: Brand, id: UUID) -> Lead:
    found = replay(brand.bus.store.load([id])[id])
    assert isinstance(found, Lead)
    return found


def go(brand: Brand, id: UUID, *states: LeadState) -> None:
    for it in states:
        brand.do(UpdateLead(id, state=it, reason="BECAUSE"))


def buy(brand: Brand, *orders: tuple[UUID, str, datetime]) -> list[UUID]:
    """Orders of nodes, each of one category and paid at an instant; their ids."""
    paid = [PaidOrder(uuid4(), node, frozenset({category}), at) for node, category, at in orders]
    outcomes = brand.bus.run_now(Unit([(brand.context(), Effect(lambda work: win_leads(paid, work)))]))
    assert outcomes[0].error is None
    return [it.order for it in paid]


def test_a_customer_has_one_open_lead_per_category(brand: Brand, customer: UUID, other: UUID) -> None:
    id = open_lead(brand, customer)
    with pytest.raises(LeadOpen) as caught:
        open_lead(brand, customer)
    assert caught.value.metadata == {"lead": str(id)}
    open_lead(brand, customer, "coffee")
    open_lead(brand, customer, "")
    open_lead(brand, other)
    go(brand, id, FOLLOWING, LOST)
    open_lead(brand, customer)


def test_nodes_of_one_customer_have_one_open_lead_between_them(brand: Brand, customer: UUID, other: UUID) -> None:
    id = open_lead(brand, other)
    merge = brand.merge(customer, other)
    refused(brand, LeadOpen, lambda: open_lead(brand, customer))
    refused(brand, LeadOpen, lambda: open_lead(brand, other))

    brand.unmerge(merge)
    open_lead(brand, customer)
    refused(brand, LeadOpen, lambda: open_lead(brand, other))
    assert lead(brand, id).is_open


def test_two_that_were_open_before_a_merge_stay_so_and_no_third_is_opened_before_both_are_closed(
    brand: Brand, customer: UUID, other: UUID
) -> None:
    one, another = open_lead(brand, customer), open_lead(brand, other)
    brand.merge(customer, other)
    for id in (one, another):
        refused(brand, LeadOpen, lambda: open_lead(brand, customer))
        go(brand, id, FOLLOWING, LOST)
    open_lead(brand, customer)


def test_of_leads_opened_at_the_same_time_by_several_processes_there_is_one(
    postgres_brand: Brand, postgres_store: PostgresEventStore
) -> None:
    brand = postgres_brand
    customer, other = brand.resolve(phone(1)).customer_id, brand.resolve(phone(2)).customer_id
    brand.merge(customer, other)
    buses = [CommandBus(postgres_store, brand.clock, handlers(brand.vault, SqlUncreditedOrders)) for _ in range(4)]

    def attempt(number: int) -> str:
        node = (customer, other)[number % 2]
        try:
            buses[number % len(buses)].execute_now(OpenLead(Prospect(node, "tea", 50, None)), brand.context())
        except DomainError as error:
            return error.reason
        return "opened"

    with ThreadPoolExecutor(len(buses)) as threads:
        outcomes = list(threads.map(attempt, range(12)))

    assert sorted(outcomes) == ["LEAD_OPEN"] * 11 + ["opened"]
    assert len(brand.events(Lead.Opened)) == 1


def test_a_lead_goes_from_new_over_following_to_its_end(brand: Brand, customer: UUID) -> None:
    ways = {NEW: {FOLLOWING}, FOLLOWING: {WON, LOST}, WON: set(), LOST: set()}
    to = {NEW: (), FOLLOWING: (FOLLOWING,), WON: (FOLLOWING, WON), LOST: (FOLLOWING, LOST)}
    for number, start in enumerate(LeadState):
        for end in LeadState:
            id = open_lead(brand, customer, f"{number} {end}")
            go(brand, id, *to[start])
            if end in ways[start]:
                go(brand, id, end)
                assert lead(brand, id).state is end
            else:
                with pytest.raises(IllegalTransition) as caught:
                    go(brand, id, end)
                assert caught.value.metadata == {"from": start, "to": end}


def test_score_and_owner_change_while_it_is_open(brand: Brand, customer: UUID) -> None:
    id = open_lead(brand, customer)
    brand.do(UpdateLead(id, score=0))
    brand.do(UpdateLead(id, score=0, owner=OTHER_STAFF))
    brand.do(UpdateLead(id, owner=OTHER_STAFF))
    told: list[Any] = brand.published("LeadChanged")
    assert [(it.score, it.staff_id) for it in told] == [(0, str(STAFF)), (0, str(OTHER_STAFF))]
    go(brand, id, FOLLOWING)
    refused(brand, FieldRequired, lambda: brand.do(UpdateLead(id, state=LOST)))
    brand.do(UpdateLead(id, state=LOST, score=7, reason="TOO_DEAR"))
    (lost,) = brand.published("LeadLost")
    assert (lost.score, lost.reason) == (7, "TOO_DEAR")  # type: ignore[attr-defined]
    refused(brand, LeadClosed, lambda: brand.do(UpdateLead(id, score=1)))


@pytest.mark.parametrize("states", [(), (FOLLOWING,)])
def test_the_first_paid_order_of_the_category_wins_it(
    brand: Brand, customer: UUID, states: Sequence[LeadState]
) -> None:
    id = open_lead(brand, customer)
    go(brand, id, *states)
    _, second, first = buy(
        brand, (customer, "coffee", NOON), (customer, "tea", NOON + 2 * DAY), (customer, "tea", NOON + DAY)
    )
    assert second != first
    found = lead(brand, id)
    assert (found.state, found.order, found.reason) == (WON, first, "ORDER_PAID")
    assert [it.order_id for it in brand.published("LeadWon")] == [str(first)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("paid_at", "state"),
    [
        (NOON - timedelta(microseconds=1), NEW),
        (NOON, WON),
        (NOON + 30 * DAY, WON),
        (NOON + 30 * DAY + timedelta(microseconds=1), NEW),
    ],
)
def test_only_an_order_paid_within_30_days_after_it_was_opened_wins_it(
    brand: Brand, customer: UUID, paid_at: datetime, state: LeadState
) -> None:
    id = open_lead(brand, customer)
    brand.clock.set(NOON + 60 * DAY)
    buy(brand, (customer, "tea", paid_at))
    assert lead(brand, id).state is state


def test_an_order_of_any_node_wins_the_leads_of_all_nodes_while_they_are_one(
    brand: Brand, customer: UUID, other: UUID
) -> None:
    one, another = open_lead(brand, customer), open_lead(brand, other)
    coffee = open_lead(brand, other, "coffee")
    merge = brand.merge(customer, other)
    buy(brand, (customer, "tea", NOON))
    assert [lead(brand, it).state for it in (one, another)] == [WON, WON]

    brand.unmerge(merge)
    buy(brand, (customer, "coffee", NOON))
    assert lead(brand, coffee).state is NEW


def test_what_is_lost_is_not_won_any_more(brand: Brand, customer: UUID) -> None:
    id = open_lead(brand, customer)
    go(brand, id, FOLLOWING, LOST)
    buy(brand, (customer, "tea", NOON))
    assert lead(brand, id).state is LOST


def test_orders_of_nodes_nobody_knows_win_nothing(brand: Brand, customer: UUID) -> None:
    id = open_lead(brand, customer)
    buy(brand, (uuid4(), "tea", NOON))
    assert lead(brand, id).state is NEW


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        (lambda brand: open_lead(brand, uuid4()), CustomerNotFound),
        (lambda brand: brand.do(UpdateLead(uuid4(), score=1)), LeadNotFound),
    ],
)
def test_what_is_unknown_is_refused(brand: Brand, attempt: Callable[[Brand], object], error: type[DomainError]) -> None:
    refused(brand, error, lambda: attempt(brand))


# Orders as tracking tells of them, on PostgreSQL.


class Orders:
    """What tracking tells of the orders of one customer."""

    def __init__(self, brand: Brand, node: UUID) -> None:
        self._brand = brand
        self.node = node

    def tell(self, *messages: Message) -> None:
        """One batch."""
        batch = [self._incoming(it) for it in messages]
        change = Effect(lambda work: follow(batch, work, SqlAwaitedOrders(work)))
        outcomes = self._brand.bus.run_now(Unit([(self._brand.context(), change)]))
        assert outcomes[0].error is None

    def placed(self, order: UUID, *categories: str) -> Message:
        lines = [order_pb2.OrderLine(sku="s", category=it, quantity=1) for it in categories]
        return tracking.OrderPlaced(order_id=str(order), node_id=str(self.node), lines=lines)

    def paid(self, order: UUID, at: datetime = NOON) -> Message:
        stamp = Timestamp()
        stamp.FromDatetime(at)
        return tracking.OrderPaid(order_id=str(order), node_id=str(self.node), pay_time=stamp)

    def qualified(self, category: str, score: float, at: datetime = NOON, node: UUID | None = None) -> Message:
        stamp = Timestamp()
        stamp.FromDatetime(at)
        who = str(node or self.node)
        return tagging.LeadQualified(customer_id=who, model_id="intent", category=category, score=score, time=stamp)

    def leads(self) -> list[Lead]:
        """All that were ever opened, in their order."""
        return [lead(self._brand, it.originator_id) for it in self._brand.events(Lead.Opened)]

    def cancelled(self, order: UUID) -> Message:
        return tracking.OrderCancelled(order_id=str(order), node_id=str(self.node))

    def waiting(self) -> int:
        store = self._brand.bus.store
        assert isinstance(store, PostgresEventStore)
        with store.engine.connect() as rows:
            return int(rows.scalar(sa.text("SELECT count(*) FROM awaited_orders")) or 0)

    def _incoming(self, message: Message) -> Incoming:
        context, name = Context.system("acme", "consume/identity"), message.DESCRIPTOR.full_name
        content = message.SerializeToString()
        return Incoming("tracking", 1, 1, 0, 1, "acme", name, str(self.node), 0, "tracking/1/1", NOON, context, content)


@pytest.fixture
def orders(postgres_brand: Brand) -> Iterator[Orders]:
    yield Orders(postgres_brand, postgres_brand.resolve(phone(1)).customer_id)
    store: Any = postgres_brand.bus.store
    with store.engine.begin() as rows:
        rows.execute(sa.text("DELETE FROM awaited_orders"))


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("order", list(permutations(("placed", "paid"))))
def test_an_order_wins_however_its_halves_arrive(
    postgres_brand: Brand, orders: Orders, order: Sequence[str], batches: int
) -> None:
    id, number = open_lead(postgres_brand, orders.node, 'te"a, {\\'), uuid4()
    halves = {"placed": orders.placed(number, "coffee", 'te"a, {\\', "", "NULL"), "paid": orders.paid(number)}
    told = [halves[it] for it in order]
    if batches == 1:
        orders.tell(*told)
    else:
        orders.tell(told[0])
        assert (lead(postgres_brand, id).state, orders.waiting()) == (NEW, 1)
        orders.tell(told[1])
    assert (lead(postgres_brand, id).state, orders.waiting()) == (WON, 0)


def test_an_order_placed_before_the_lead_was_opened_and_paid_after_it_wins(
    postgres_brand: Brand, orders: Orders
) -> None:
    number = uuid4()
    orders.tell(orders.placed(number, "tea"))
    id = open_lead(postgres_brand, orders.node)
    orders.tell(orders.paid(number))
    assert lead(postgres_brand, id).state is WON


def test_a_cancelled_order_waits_no_longer(postgres_brand: Brand, orders: Orders) -> None:
    number = uuid4()
    orders.tell(orders.placed(number, "tea"), orders.placed(uuid4(), "tea"))
    orders.tell(orders.cancelled(number))
    assert orders.waiting() == 1
    orders.tell(orders.placed(number, "tea"), orders.cancelled(number))
    assert orders.waiting() == 1


def test_half_an_order_is_forgotten_in_time(postgres_brand: Brand, orders: Orders) -> None:
    orders.tell(orders.placed(uuid4(), "tea"), orders.placed(uuid4(), "tea"))
    postgres_brand.clock.set(NOON + KEPT + timedelta(seconds=1))
    orders.tell(orders.paid(uuid4()))
    assert orders.waiting() == 1


# Leads that tagging finds.


def test_whoever_is_about_to_buy_is_a_lead_of_the_guide(postgres_brand: Brand, orders: Orders) -> None:
    staffing = Staffing(postgres_brand)
    guide = staffing.hire("G1", "S1")
    staffing.assign(orders.node, guide)
    orders.tell(orders.qualified("tea", 71.6, NOON - DAY), orders.qualified("coffee", 250))

    tea, coffee = orders.leads()
    assert (tea.prospect, tea.opened_at) == (Prospect(orders.node, "tea", 72, guide), NOON - DAY)
    assert coffee.prospect.score == 100


def test_whoever_is_a_lead_already_has_another_score(postgres_brand: Brand, orders: Orders) -> None:
    open_lead(postgres_brand, orders.node, "tea", 50)
    orders.tell(orders.qualified("tea", 80), orders.qualified("tea", 80))

    (known,) = orders.leads()
    assert (known.prospect.score, known.prospect.owner) == (80, STAFF)


def test_an_order_told_with_the_lead_wins_it_and_the_next_one_opens_another(orders: Orders) -> None:
    number = uuid4()
    orders.tell(orders.placed(number, "tea"), orders.paid(number), orders.qualified("tea", 80, NOON - DAY))
    orders.tell(orders.qualified("tea", 90))

    assert [it.state for it in orders.leads()] == [WON, NEW]


def test_nobody_is_a_lead_who_is_not_there_or_erased(postgres_brand: Brand, orders: Orders) -> None:
    postgres_brand.erase(orders.node)
    orders.tell(orders.qualified("tea", 80), orders.qualified("tea", 80, node=uuid4()))

    assert orders.leads() == []
