"""What tracking answers from: orders with their money, customers with their nodes, and the same rows from a rebuild."""

import asyncio
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from uuid import UUID, uuid5

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message

from chassis.context import Context
from chassis.envelope import Incoming
from chassis.event_store import PostgresEventStore
from chassis.projection import Projector
from chassis.read_models import ReadModels
from deploy.local.postgres import Database
from scrm.identity.v1.events_pb2 import CustomerCreated, CustomersMerged, CustomerUnmerged
from services.tracking.application.commands import RecordOrderCancelled, RecordOrderReceived, RecordOrderShipped
from services.tracking.domain.order import Order
from services.tracking.read_models.customer_nodes import (
    CustomerNodesProjection,
    customer_of,
    nodes_of,
)
from services.tracking.read_models.customer_nodes import tables as node_tables
from services.tracking.read_models.orders import OrdersProjection, OrderTotals, list_orders, order_totals
from tests.chassis.streams import until
from tests.tracking.shop import JANE, NOON, Shop

PROJECTIONS = (OrdersProjection(), CustomerNodesProjection())


def person(name: str) -> UUID:
    return uuid5(UUID(int=0), name)


class Reading:
    """A shop on PostgreSQL, and what is read of it."""

    def __init__(self, store: PostgresEventStore, dsn: str, loop: asyncio.AbstractEventLoop) -> None:
        self.shop = Shop(store)
        self.projector = Projector(PROJECTIONS, store.engine, store, batch_limit=7)
        self.read_models = ReadModels(dsn)
        self._loop = loop

    def follow(self) -> None:
        async def catch_up() -> None:
            following = asyncio.create_task(self.projector.run())
            await until(self._is_done, "the projections reach the end of the log")
            following.cancel()
            await asyncio.wait([following])

        self._loop.run_until_complete(catch_up())

    async def _is_done(self) -> bool:
        return not any(it.backlog for it in await self.projector.progress())

    def rebuild(self, name: str) -> None:
        self._loop.run_until_complete(self.projector.rebuild(name))

    def totals(self, nodes: Sequence[UUID] | None = None, zone: str = "UTC", tenant: str = "acme") -> OrderTotals:
        return self.read_models.query_now(lambda rows: order_totals(rows, nodes, zone, None, None), tenant)

    def order_numbers(self, *nodes: UUID) -> list[str]:
        found = self.read_models.query_now(lambda rows: list_orders(rows, nodes, None, 100), "acme")
        return [it.order_no for it in found]


@pytest.fixture
def reading(postgres_store: PostgresEventStore, tables: Database, loop: asyncio.AbstractEventLoop) -> Iterator[Reading]:
    found = Reading(postgres_store, tables.reader_dsn, loop)
    yield found
    found.read_models.close()


def test_ac29_two_orders_of_one_day_are_one_occasion_until_both_are_refunded(reading: Reading) -> None:
    shop = reading.shop
    shop.bring(shop.placed("1", 1200), shop.paid("1", 1200), shop.placed("2", 7700), shop.paid("2", 7700))
    reading.follow()
    assert reading.totals() == OrderTotals(2, 2, 1, 1, {"USD": 8900}, 0)

    shop.tell(shop.refunded("2", "r1", 7700))
    reading.follow()
    assert reading.totals() == OrderTotals(2, 1, 1, 1, {"USD": 1200}, 0)

    shop.tell(shop.refunded("1", "r2", 1200))
    reading.follow()
    assert reading.totals() == OrderTotals(2, 0, 0, 0, {"USD": 0}, 0)


def test_an_order_that_cost_nothing_is_no_occasion(reading: Reading) -> None:
    reading.shop.tell(reading.shop.paid("1", 0))
    reading.follow()
    assert reading.totals() == OrderTotals(1, 0, 0, 0, {"USD": 0}, 0)


def test_days_are_those_of_the_zone_asked_for(reading: Reading) -> None:
    shop = reading.shop
    for number, hour in enumerate((2, 20)):
        shop.tell(shop.paid(str(number), 100, datetime(2026, 4, 30, hour, tzinfo=UTC)))
    reading.follow()
    assert reading.totals().occasions == 1
    assert reading.totals(zone="America/New_York").occasions == 2


def test_orders_of_merged_customers_are_orders_of_one(reading: Reading) -> None:
    shop, john = reading.shop, person("john")
    shop.bring(shop.paid("1", 1200), shop.paid("2", 7700, node=john), shop.placed("3", 100, node=john))
    reading.follow()
    assert reading.totals().customers == 2
    with reading.shop.bus.store.engine.begin() as rows:  # type: ignore[attr-defined]
        live = rows.scalar(sa.text("SELECT schema FROM projections WHERE name = 'customer_nodes' AND live"))
        rows.execute(sa.text(f'SET LOCAL search_path = "{live}", public'))
        CustomerNodesProjection().apply([merged("jane", "john")], rows)

    assert reading.totals() == OrderTotals(2, 2, 1, 1, {"USD": 8900}, 1)
    assert set(reading.order_numbers(JANE, john)) == {"1", "2", "3"}


def test_nobody_sees_the_orders_of_another_brand(reading: Reading) -> None:
    reading.shop.tell(reading.shop.paid("1", 1200))
    reading.follow()
    assert reading.totals(tenant="globex") == OrderTotals(0, 0, 0, 0, {}, 0)


def test_a_rebuild_gives_the_rows_of_live_running_and_those_are_the_aggregates(reading: Reading) -> None:
    shop, random = reading.shop, Random(5)
    for n in range(30):
        number, cents = str(n), random.randrange(0, 9000)
        facts = [shop.paid(number, cents)]
        if random.random() < 0.7:
            facts.insert(random.randrange(2), shop.placed(number, cents))  # type: ignore[arg-type]
        shop.tell(*facts)
        if cents > 10 and random.random() < 0.5:
            shop.tell(shop.refunded(number, "r", random.choice((cents, cents // 2))))
        if random.random() < 0.3:
            shop.tell(RecordOrderShipped(shop.key(number), NOON), RecordOrderReceived(shop.key(number), NOON))
        if random.random() < 0.3:
            reading.follow()
    shop.tell(shop.placed("c", 100), RecordOrderCancelled(shop.key("c"), NOON))
    reading.follow()
    live = reading.projector.canonical_hash("orders")

    reading.rebuild("orders")

    assert reading.projector.canonical_hash("orders") == live
    found = reading.read_models.query_now(lambda rows: list_orders(rows, [JANE], None, 100), "acme")
    assert {it.order_no: (it.status, it.net, it.refunded, it.estimated) for it in found} == {
        number: seen(shop.order(number)) for number in [*map(str, range(30)), "c"]
    }


def seen(order: Order) -> tuple[str, int, int, bool]:
    return order.status, order.net, order.refunded, order.estimated


# Who is whom.


def created(name: str) -> Incoming:
    id = str(person(name))
    return incoming(CustomerCreated(customer_id=id, node_id=id), id)


def merge_id(survivor: str, loser: str, number: int = 0) -> str:
    return str(UUID(int=number << 64 | zlib.crc32(f"{survivor}/{loser}".encode())))


def merged(survivor: str, loser: str, *nodes: str, number: int = 0) -> Incoming:
    event = CustomersMerged(
        merge_id=merge_id(survivor, loser, number),
        survivor_id=str(person(survivor)),
        loser_id=str(person(loser)),
        node_ids=[str(person(it)) for it in nodes or (loser,)],
    )
    return incoming(event, event.survivor_id)


def unmerged(survivor: str, restored: str, *nodes: str, number: int = 0) -> Incoming:
    event = CustomerUnmerged(
        merge_id=merge_id(survivor, restored, number),
        survivor_id=str(person(survivor)),
        restored_id=str(person(restored)),
        node_ids=[str(person(it)) for it in nodes or (restored,)],
    )
    return incoming(event, event.survivor_id)


def incoming(event: Message, key: str) -> Incoming:
    return Incoming(
        "identity", 1, 1, 0, 1, "acme", event.DESCRIPTOR.full_name, key, 0, "identity/1/1", NOON,
        Context("acme", "test"), event.SerializeToString(),
    )  # fmt: skip


def test_whatever_order_merges_are_heard_of_in_everybody_is_the_same_in_the_end(
    postgres_store: PostgresEventStore,
) -> None:
    facts = (created("a"), created("b"), created("c"), merged("b", "c"), merged("a", "b", "b", "c"))
    with postgres_store.engine.connect() as rows:
        rows.execute(sa.text("CREATE SCHEMA trial"))
        rows.execute(sa.text("SET search_path = trial"))
        for order in permutations(facts):
            node_tables.create_all(rows)
            for half in (order[:2], order[2:]):
                CustomerNodesProjection().apply(half, rows)
            assert {customer_of(rows, person(it)) for it in "abc"} == {person("a")}
            assert nodes_of(rows, person("a")) == sorted(person(it) for it in "abc")
            node_tables.drop_all(rows)


@pytest.mark.parametrize(
    ("facts", "customers"),
    [
        pytest.param(
            (merged("b", "c"), merged("a", "b", "b", "c"), unmerged("a", "b", "b", "c")),
            {"a": "a", "b": "bc"},
            id="a part goes with its own parts",
        ),
        pytest.param(
            (merged("b", "c"), merged("a", "b", "b", "c"), unmerged("b", "c")),
            {"a": "ab", "c": "c"},
            id="a part of a part goes alone",
        ),
        pytest.param(
            (merged("a", "b"), unmerged("a", "b"), merged("c", "b", number=1)),
            {"a": "a", "c": "bc"},
            id="merged again, with another",
        ),
        pytest.param(
            (merged("a", "b"), unmerged("a", "b"), merged("b", "a", number=1)),
            {"b": "ab", "c": "c"},
            id="merged again, the other way round",
        ),
    ],
)
def test_whatever_order_it_is_heard_of_a_merge_that_was_taken_back_does_not_count(
    postgres_store: PostgresEventStore, facts: Sequence[Incoming], customers: Mapping[str, str]
) -> None:
    known = (created("a"), created("b"), created("c"))
    with postgres_store.engine.connect() as rows:
        rows.execute(sa.text("CREATE SCHEMA trial"))
        rows.execute(sa.text("SET search_path = trial"))
        node_tables.create_all(rows)
        for order in Random(1).sample(list(permutations((*known, *facts))), 60):
            for size in (1, 2, 6):
                rows.execute(sa.text("TRUNCATE customer_nodes, merged_customers"))
                for start in range(0, len(order), size):
                    CustomerNodesProjection().apply(order[start : start + size], rows)
                CustomerNodesProjection().apply(order[:1], rows)  # heard of twice
                found = {it: nodes_of(rows, person(it)) for it in customers}
                assert found == {it: sorted(map(person, members)) for it, members in customers.items()}


def test_a_node_nobody_has_told_of_is_its_own_customer(postgres_store: PostgresEventStore) -> None:
    with postgres_store.engine.connect() as rows:
        node_tables.create_all(rows)
        assert customer_of(rows, person("x")) == person("x")
        assert nodes_of(rows, person("x")) == [person("x")]


def test_paging_goes_on_where_the_page_before_ended(reading: Reading) -> None:
    shop = reading.shop
    for n in range(5):
        shop.tell(shop.placed(str(n), 100, NOON - timedelta(hours=n // 2)))
    reading.follow()
    first = reading.read_models.query_now(lambda rows: list_orders(rows, [JANE], None, 3), "acme")
    after = (first[-1].placed_at, first[-1].order_id)
    rest = reading.read_models.query_now(lambda rows: list_orders(rows, [JANE], after, 3), "acme")
    assert sorted(it.order_no for it in [*first, *rest]) == ["0", "1", "2", "3", "4"]
    assert [it.placed_at for it in [*first, *rest]] == sorted(it.placed_at for it in [*first, *rest])
