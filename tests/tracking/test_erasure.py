"""Somebody is to be forgotten: what is removed, what stays without them, and that nothing brings them back."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from chassis.commands import CommandBus, Unit
from chassis.context import Context
from chassis.envelope import Incoming
from deploy.local.postgres import Database
from scrm.identity.v1.events_pb2 import CustomerCreated, CustomerErasing
from scrm.tracking.v1.events_pb2 import CustomerDataErased
from services.tracking.adapters import erasures
from services.tracking.adapters.behaviour_log import BehaviourLog
from services.tracking.adapters.erasures import SqlErasures
from services.tracking.application.erasure_commands import BeginErasure, FinishErasure
from services.tracking.application.handlers import handlers
from services.tracking.domain.errors import CustomerErased
from services.tracking.read_models.customer_nodes import (
    CustomerNodesProjection,
    is_erased,
    is_known,
    nodes_of,
)
from services.tracking.read_models.orders import OrderTotals
from tests.tracking.shop import JANE, Shop
from tests.tracking.test_read_models import Reading, merged, person, reading  # noqa: F401 (a fixture)
from tests.tracking.touches import Tracking, event, view

CASE = uuid4()


def erase(shop: Shop, *nodes: UUID, case_id: UUID = CASE) -> None:
    shop.tell(BeginErasure(case_id, nodes[0], nodes))


def test_nothing_new_is_taken_in_for_somebody_who_is_erased(shop: Shop) -> None:
    shop.tell(shop.paid("1", 1200))
    erase(shop, JANE)
    with pytest.raises(CustomerErased):
        shop.tell(shop.paid("2", 1200))
    with pytest.raises(CustomerErased):
        shop.tell(shop.placed("2", 1200))
    refused, taken = shop.bring(shop.paid("3", 100), shop.paid("4", 100, node=person("john")))
    assert isinstance(refused, CustomerErased)
    assert not isinstance(taken, CustomerErased)
    assert shop.tell(shop.refunded("1", "r1", 200)).net == 1000, "money of an order that is known still goes back"


def test_an_erasure_is_answered_once(shop: Shop) -> None:
    erase(shop, JANE)
    head = shop.bus.store.head()
    erase(shop, JANE)
    assert shop.bus.store.head() == head
    assert shop.open_erasures == {CASE: (JANE,)}
    shop.tell(FinishErasure(CASE, {"behaviours": 3}))
    (done,) = [it for it in shop.published if isinstance(it, CustomerDataErased)]
    assert (done.case_id, done.customer_id, dict(done.removed)) == (str(CASE), str(JANE), {"behaviours": 3})
    assert done.position == shop.bus.store.head()
    assert not shop.open_erasures


def test_revenue_is_as_before_and_leads_to_nobody(reading: Reading) -> None:  # noqa: F811
    shop, john = reading.shop, person("john")
    shop.bring(shop.paid("1", 1200), shop.paid("2", 7700, node=john), shop.paid("3", 100, node=person("x")))
    reading.follow()
    before = reading.totals()
    erase(shop, JANE, john)
    reading.follow()
    assert reading.totals() == OrderTotals(before.rows, before.net_rows, 2, 2, before.net, before.unpaid)
    assert reading.order_numbers(JANE, john) == []
    shop.tell(shop.refunded("1", "r1", 200))
    shop.tell(shop.paid("1", 1100, revision=1))
    reading.follow()
    assert reading.totals().net == {"USD": before.net["USD"] - 300}
    assert reading.totals().rows == before.rows
    hashes = reading.projector.canonical_hash("orders")
    reading.rebuild("orders")
    assert reading.projector.canonical_hash("orders") == hashes


def test_nodes_of_the_erased_do_not_come_back_whatever_arrives_late(reading: Reading) -> None:  # noqa: F811
    def feed(*messages: Incoming) -> None:
        with reading.shop.bus.store.engine.begin() as rows:  # type: ignore[attr-defined]
            live = rows.scalar(sa.text("SELECT schema FROM projections WHERE name = 'customer_nodes' AND live"))
            rows.execute(sa.text(f'SET LOCAL search_path = "{live}", public'))
            CustomerNodesProjection().apply(messages, rows)

    def known(customer: UUID) -> tuple[bool, bool, Sequence[UUID]]:
        ask = reading.read_models.query_now
        return ask(lambda rows: (is_known(rows, customer), is_erased(rows, customer), nodes_of(rows, customer)), "acme")

    reading.follow()
    john, template = person("john"), merged("jane", "john")
    created = _like(template, CustomerCreated(customer_id=str(john), node_id=str(john)))
    erasing = _like(
        template, CustomerErasing(case_id=str(CASE), customer_id=str(JANE), node_ids=[str(JANE), str(john)])
    )
    feed(_like(template, CustomerCreated(customer_id=str(JANE), node_id=str(JANE))), template)
    assert known(JANE)[0]
    feed(erasing)
    feed(created, template)
    feed(created, erasing, template)
    for customer in (JANE, john):
        assert known(customer) == (False, True, [customer])


def test_rows_of_the_erased_are_removed_everywhere(tracking: Tracking, tables: Database) -> None:
    tracking.track(view("m1", "p1"), view("m2", "p2"), view("m3", "p3", person="b:2"))
    tracking.track(view("m1", "p9"))  # known with another content
    tracking.track(event("q1", "unheard_of"), event("q2", "unheard_of", person="b:2"))  # put aside
    tracking.resolve()
    assert [tracking.count(it) for it in ("accepted", "behaviours", "quarantine", "conflicts")] == [3, 3, 2, 1]
    node = tracking.identity.node("a:1")
    assert isinstance(node, UUID)
    bus = CommandBus(tracking.store, Shop(tracking.store).clock, handlers(_tables))
    context = Context("acme", "test")
    bus.run_now(Unit([(context, BeginErasure(CASE, node, (node,)))]))
    (due,) = erasures.due(tracking.store.engine)
    removed = erasures.remove(tracking.store.engine, [due])[CASE]
    counts = {"accepted": 2, "behaviours": 2, "quarantine": 1, "conflicts": 1, "node_orders": 0, "timers": 0}
    assert removed == counts
    assert erasures.remove(tracking.store.engine, [due]) == {CASE: removed}, (
        "what an interrupted try removed is counted"
    )
    assert [tracking.count(it) for it in ("accepted", "behaviours", "quarantine", "conflicts")] == [1, 1, 1, 0]
    assert tracking.count("message_keys") == 5, "and a repeated message is still known"
    bus.run_now(Unit([(context, FinishErasure(CASE, removed))]))
    assert erasures.due(tracking.store.engine) == []


@pytest.mark.parametrize("others", [0, 30])
def test_of_several_who_are_erased_at_once_each_is_told_what_was_removed(tracking: Tracking, others: int) -> None:
    """Few, of whom PostgreSQL finds what was put aside, or many, of whom every such event is read."""
    people = ["a:1", "b:2", *(f"c:{n}" for n in range(others))]
    for n, it in enumerate(people):
        tracking.track(view(f"m{n}", f"p{n}", person=it), event(f"q{n}", "unheard_of", person=it))
    tracking.track(view("more", "p1"), event("nobody", "unheard_of", person="z:9"))
    tracking.track(view("m0", "p9"))  # known with another content
    tracking.resolve()
    cases = {it: uuid4() for it in people}
    bus = CommandBus(tracking.store, Shop(tracking.store).clock, handlers(_tables))
    nodes = {it: UUID(str(tracking.identity.node(it))) for it in people}
    bus.run_now(Unit([(Context("acme", "test"), BeginErasure(cases[it], nodes[it], (nodes[it],))) for it in people]))
    removed = erasures.remove(tracking.store.engine, erasures.due(tracking.store.engine))
    assert set(removed) == set(cases.values())
    names = ("accepted", "behaviours", "quarantine", "conflicts")
    assert [removed[cases["a:1"]][it] for it in names] == [2, 2, 1, 1]
    assert {tuple(removed[cases[it]][name] for name in names) for it in people[1:]} == {(1, 1, 1, 0)}
    assert [tracking.count(it) for it in names] == [0, 0, 1, 0]
    assert erasures.remove(tracking.store.engine, erasures.due(tracking.store.engine)) == removed


def test_nothing_is_removed_before_what_was_accepted_is_resolved(tracking: Tracking) -> None:
    tracking.track(view("m1", "p1"))
    node = tracking.identity.node("a:1")
    assert isinstance(node, UUID)
    bus = CommandBus(tracking.store, Shop(tracking.store).clock, handlers(_tables))
    bus.run_now(Unit([(Context("acme", "test"), BeginErasure(CASE, node, (node,)))]))
    assert erasures.due(tracking.store.engine) == []
    tracking.resolve()
    assert len(erasures.due(tracking.store.engine)) == 1


def test_an_event_of_somebody_who_is_being_erased_is_dropped_but_for_its_count(tracking: Tracking) -> None:
    tracking.track(view("m1", "p1"), view("m2", "p2", person="b:2"))
    tracking.identity.erased.add("a:1")
    tracking.resolve()
    assert [tracking.count(it) for it in ("accepted", "behaviours", "quarantine")] == [1, 1, 0]
    assert tracking.tallies() == {"ACCEPTED": 1, "QUARANTINED CUSTOMER_ERASED": 1}


def test_the_end_of_the_log_of_behaviours_stays_where_it_is(tracking: Tracking) -> None:
    """A stream that knows more than the log would be taken for one of a lost database."""
    tracking.track(view("m1", "p1"))
    tracking.resolve()
    log = BehaviourLog(tracking.store.engine)
    head = log.head()
    with tracking.store.engine.begin() as rows:
        rows.execute(sa.text("DELETE FROM behaviours"))
    assert log.head() == head > 0
    assert asyncio.run(_head_now(log)) == head


async def _head_now(log: object) -> int:
    return int(await log.head_now())  # type: ignore[attr-defined]


def _tables(work: object) -> SqlErasures:
    return SqlErasures(work.rows, work.context.tenant)  # type: ignore[attr-defined]


def _like(template: Incoming, message: CustomerCreated | CustomerErasing) -> Incoming:
    return template._replace(type=message.DESCRIPTOR.full_name, payload=message.SerializeToString())
