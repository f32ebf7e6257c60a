"""What profiles are read from: the timeline and the tables of what other services told, by node, live and rebuilt."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar
from uuid import UUID, uuid5

import pytest
import sqlalchemy as sa

from chassis.event_store import PostgresEventStore
from chassis.projection import Projector
from chassis.read_models import ReadModels
from scrm.identity.v1 import events_pb2 as identity
from scrm.membership.v1 import events_pb2 as membership
from services.identity.read_models.assignment_keys import AssignmentKeysProjection, keys_with_prefix, prefix_query
from services.identity.read_models.names import NamesProjection, named_query, nodes_named
from services.identity.read_models.profile.conversions import conversions_of
from services.identity.read_models.profile.layers import layers_of
from services.identity.read_models.profile.members import member_of
from services.identity.read_models.profile.orders import orders_of, status_of
from services.identity.read_models.profile.points import Balance, balance_of
from services.identity.read_models.profile.projection import ProfileProjection
from services.identity.read_models.profile.relations import brought_by, groups_of, shares_of, visitors_of
from services.identity.read_models.profile.sources import told_until
from services.identity.read_models.profile.tags import tags_of
from services.identity.read_models.profile.timeline import Place, Wanted, page_of, page_query
from tests.chassis.streams import running, settled, until
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, NOON, Brand, phone
from tests.identity.telling import (
    DAY,
    Inbox,
    Telling,
    behaviour,
    cancelled,
    converted,
    delivered,
    granted,
    grouped,
    id_of,
    joined,
    lot_of,
    modelled,
    moved,
    of_membership,
    paid,
    placed,
    refunded,
    shared,
    shipped,
    stamp,
    tagged,
    taken,
    untagged,
    visited,
)
from tests.identity.test_name_index import HASHES, say

T = TypeVar("T")

ANNE, BEN, CLEO = id_of("anne"), id_of("ben"), id_of("cleo")


class Reading:
    """What is told, and what is read of it."""

    def __init__(self, store: PostgresEventStore, reader_dsn: str, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self.read_models = ReadModels(reader_dsn)
        self._inbox = Inbox(store.engine)
        self._loop = loop
        self._projections = (ProfileProjection(), AssignmentKeysProjection(), NamesProjection())

    def tell(self, *tellings: Telling, batch_limit: int = 1000) -> None:
        """All of it, read in batches of that size."""
        self._inbox.take(tellings)
        self.follow(batch_limit)

    def follow(self, batch_limit: int = 1000) -> None:
        projector = self.projector(batch_limit)

        async def catch_up() -> None:
            async with running(projector):
                await until(lambda: settled(projector), "the read models have taken everything in")

        self._loop.run_until_complete(catch_up())

    def projector(self, batch_limit: int = 1000) -> Projector:
        return Projector(self._projections, self.store.engine, self.store, batch_limit=batch_limit)

    def rebuild(self) -> None:
        async def run() -> None:
            for it in self._projections:
                await self.projector(7).rebuild(it.name)

        self._loop.run_until_complete(run())

    def hashes(self) -> list[str]:
        return [self.projector().canonical_hash(it.name) for it in self._projections]

    def ask(self, question: Callable[[sa.Connection], T], tenant: str = "acme") -> T:
        return self.read_models.query_now(question, tenant)

    def page(
        self, nodes: Sequence[UUID], after: Place | None = None, limit: int = 100, tenant: str = "acme", **wanted: Any
    ) -> Sequence[Any]:
        return self.ask(lambda rows: page_of(rows, nodes, Wanted(**wanted), after, limit), tenant)

    def types(self, *nodes: UUID, **wanted: Any) -> list[str]:
        return [it.type for it in self.page(nodes, **wanted)]

    def balance(self, *nodes: UUID, at: datetime = NOON) -> Balance:
        return self.ask(lambda rows: balance_of(rows, nodes, at))

    def plan(self, statement: Any, parameters: dict[str, Any]) -> str:
        """How PostgreSQL would read it, with the tables as full as they are."""
        explain = sa.text("EXPLAIN " + str(statement.compile(compile_kwargs={"literal_binds": False})))
        return self.ask(lambda rows: "\n".join(rows.scalars(explain, parameters)))


@pytest.fixture
def reading(migrated: Migrated, loop: asyncio.AbstractEventLoop) -> Iterator[Reading]:
    made = migrated("identity", MIGRATIONS)
    store = PostgresEventStore(made.writer_dsn)
    found = Reading(store, made.reader_dsn, loop)
    yield found
    found.read_models.close()
    store.close()


def hours(number: float) -> datetime:
    return NOON + timedelta(hours=number)


# The timeline.


def test_the_timeline_merges_all_services_newest_first(reading: Reading) -> None:
    reading.tell(
        paid(ANNE, "o1", hours(2), "29.73"),
        behaviour(ANNE, hours(1)),
        tagged(ANNE, "vip", hours(3)),
        joined(ANNE, "M-0001", hours(4)),
        granted(ANNE, "l1", 29, hours(5)),
        delivered(ANNE, "A", hours(6)),
        converted(ANNE, "o1", "29.73", hours(2)),
        behaviour(BEN, hours(2)),
    )

    found = reading.page([ANNE])

    assert [(it.type, it.kind, it.service) for it in found] == [
        ("delivery_sent", "DELIVERY", "campaigns"),
        ("points_granted", "POINTS", "membership"),
        ("member_joined", "MEMBERSHIP", "membership"),
        ("tag_assigned", "TAG", "tagging"),
        ("conversion_recorded", "CONVERSION", "campaigns"),
        ("order_paid", "ORDER", "tracking"),
        ("content_viewed", "BEHAVIOUR", "tracking"),
    ]
    order = found[5]
    assert (order.ref, order.event_id) == (str(id_of("o1")), "tracking/1/1")
    assert order.facts == '{"source_key":"shop","order_no":"o1","net":"29.73 USD","paid":"29.73 USD"}'


def test_a_timeline_says_nothing_that_somebody_wrote(reading: Reading) -> None:
    written = {"topic": "my neighbour Li", "keyword": "cure for baldness", "active_buckets": 3, "wall_ms": "x"}
    reading.tell(
        behaviour(ANNE, kind="complaint_submitted", properties=written, page="/me?phone=13800000001"),
        behaviour(ANNE, kind="content_engaged", properties=written),
    )

    facts = [it.facts for it in reading.page([ANNE])]

    assert facts == [
        '{"channel":"h5","content_id":"H5-1"}',
        '{"channel":"h5","content_id":"H5-1","active_buckets":3}',
    ]


def test_entries_of_one_instant_stand_in_the_order_of_their_ids(reading: Reading) -> None:
    reading.tell(*(placed(ANNE, f"o{it}") for it in range(3)), *(tagged(BEN, f"t{it}") for it in range(3)))

    assert [it.event_id for it in reading.page([BEN, ANNE])] == [
        *(f"tagging/1/{it}" for it in (1, 2, 3)),
        *(f"tracking/1/{it}" for it in (1, 2, 3)),
    ]


def test_a_timeline_is_narrowed_by_kind_type_and_time(reading: Reading) -> None:
    reading.tell(
        behaviour(ANNE, hours(1)), behaviour(ANNE, hours(2), "login"), placed(ANNE, "o", hours(3)), paid(ANNE, "o", hours(4))
    )  # fmt: skip

    assert reading.types(ANNE, kinds=("ORDER",)) == ["order_paid", "order_placed"]
    assert reading.types(ANNE, kinds=("ORDER", "BEHAVIOUR"), types=("login", "order_paid")) == ["order_paid", "login"]
    assert reading.types(ANNE, start=hours(2), end=hours(4)) == ["order_placed", "login"]
    assert reading.types(ANNE, kinds=("TAG",)) == []


def test_pages_neither_repeat_nor_skip_while_more_is_told_and_customers_merge(reading: Reading) -> None:
    random = Random(9)
    first = [behaviour(random.choice([ANNE, BEN]), hours(random.randrange(20)), content_id=str(it)) for it in range(60)]
    reading.tell(*first, batch_limit=7)
    whole = [it.event_id for it in reading.page([ANNE, BEN])]
    of_anne = {it.event_id for it in reading.page([ANNE])}
    seen: list[str] = []
    after: Place | None = None

    for number, nodes in enumerate([[ANNE, BEN], [ANNE], [ANNE, BEN], [BEN, ANNE], [ANNE, BEN]] * 3):
        page = reading.page(nodes, after, 7)
        seen += [it.event_id for it in page]
        after = (page[-1].occurred_at, page[-1].event_id) if page else after
        newer = [behaviour(ANNE, hours(30 + number)), behaviour(BEN, hours(21))]
        reading.tell(*newer)

    assert len(seen) == len(set(seen))
    assert [it for it in whole if it in set(seen)] == seen
    assert of_anne <= set(seen)


def test_another_brand_sees_nothing_of_it(reading: Reading) -> None:
    reading.tell(behaviour(ANNE), placed(ANNE, "o"))

    assert reading.page([ANNE], tenant="globex") == []
    assert reading.ask(lambda rows: orders_of(rows, [ANNE]), "globex") == []
    assert reading.ask(told_until, "globex") == {}


# Orders.


def test_orders_stand_as_they_were_told_last(reading: Reading) -> None:
    reading.tell(placed(ANNE, "1", hours(1)), paid(ANNE, "1", hours(1)), paid(ANNE, "2", hours(2), "20"))
    reading.tell(refunded(ANNE, "1", "10", "0", hours(5)), shipped(ANNE, "2"), placed(ANNE, "3", hours(3)))
    reading.tell(cancelled(ANNE, "3"), refunded(ANNE, "2", "5", "15"))

    found = reading.ask(lambda rows: orders_of(rows, [ANNE]))

    assert [(it.order_no, status_of(it), it.net, it.refunded) for it in found] == [
        ("3", "CANCELLED", None, None),
        ("2", "SHIPPED", Decimal(15), Decimal(5)),
        ("1", "REFUNDED", Decimal(0), Decimal(10)),
    ]


# Tags.


def test_tags_stand_with_the_moment_since_when(reading: Reading) -> None:
    reading.tell(tagged(ANNE, "vip", hours(1)), tagged(ANNE, "size", hours(2), "S"), tagged(ANNE, "gone", hours(2)))
    reading.tell(tagged(ANNE, "size", hours(3), "M"), untagged(ANNE, "gone"))

    found = reading.ask(lambda rows: tags_of(rows, [ANNE]))

    assert [(it.tag_key, it.value, it.since) for it in found] == [("size", "M", hours(3)), ("vip", "", hours(1))]


def test_a_tag_that_two_nodes_have_for_the_moment_stands_once(reading: Reading) -> None:
    reading.tell(tagged(ANNE, "vip", hours(1)), tagged(BEN, "vip", hours(2)))

    assert [it.since for it in reading.ask(lambda rows: tags_of(rows, [ANNE, BEN]))] == [hours(2)]


def values(reading: Reading, *nodes: UUID) -> list[tuple[str, str]]:
    return [(it.tag_key, it.value) for it in reading.ask(lambda rows: tags_of(rows, nodes))]


def test_a_tag_with_several_values_stands_with_each_of_them(reading: Reading) -> None:
    likes = [tagged(ANNE, "likes", hours(it), value, several=True) for it, value in enumerate(("jazz", "rock", "folk"))]
    reading.tell(*likes, untagged(ANNE, "likes", hours(4), "rock"))
    assert values(reading, ANNE) == [("likes", "folk"), ("likes", "jazz")]

    reading.tell(untagged(ANNE, "likes", hours(5), "jazz"), tagged(BEN, "likes", hours(5), "folk", several=True))
    assert values(reading, ANNE, BEN) == [("likes", "folk")]


def test_another_value_of_a_tag_with_one_takes_its_place_though_no_removal_is_told(reading: Reading) -> None:
    reading.tell(tagged(ANNE, "size", hours(1), "S"))
    reading.tell(tagged(ANNE, "size", hours(2), "M"), tagged(BEN, "size", hours(3), "L"))
    assert values(reading, ANNE) == [("size", "M")]
    assert values(reading, ANNE, BEN) == [("size", "L")]

    reading.tell(untagged(ANNE, "size", hours(4), "M"))
    assert values(reading, ANNE) == []


# Layers.


def standing(reading: Reading, customer: UUID, *others: UUID) -> list[tuple[str, str, str | None]]:
    found = reading.ask(lambda rows: layers_of(rows, customer, [customer, *others]))
    return [(it.model, it.kind, it.layer) for it in found]


def test_layers_stand_for_active_models_also_where_the_customer_never_moved(reading: Reading) -> None:
    inactive = modelled("aipl", "AIPL")[:1]
    reading.tell(*modelled("pyramid", "PYRAMID"), *modelled("life", "LIFECYCLE"), *inactive)
    reading.tell(
        moved(ANNE, "pyramid", "L3", hours(1)), moved(ANNE, "pyramid", "L4", hours(2)), moved(ANNE, "aipl", "I")
    )

    assert standing(reading, ANNE) == [("life", "LIFECYCLE", None), ("pyramid", "PYRAMID", "L4")]
    assert standing(reading, BEN) == [("life", "LIFECYCLE", None), ("pyramid", "PYRAMID", None)]


def test_of_two_nodes_the_own_layer_counts_and_until_one_is_told_that_of_the_other(reading: Reading) -> None:
    reading.tell(*modelled("pyramid", "PYRAMID"), moved(BEN, "pyramid", "L5", hours(1)))
    assert standing(reading, ANNE, BEN) == [("pyramid", "PYRAMID", "L5")]

    reading.tell(moved(BEN, "pyramid", "NONE", hours(2)))
    assert standing(reading, ANNE, BEN) == [("pyramid", "PYRAMID", None)]

    reading.tell(moved(ANNE, "pyramid", "L6", hours(2)), moved(BEN, "pyramid", "L5", hours(3)))
    assert standing(reading, ANNE, BEN) == [("pyramid", "PYRAMID", "L6")]


# Relations.


def test_who_came_through_whom_is_told_from_both_sides(reading: Reading) -> None:
    reading.tell(shared(ANNE, "s1", hours(1)), visited(BEN, "s1", hours(2)), visited(CLEO, "s1", hours(3)))
    reading.tell(shared(ANNE, "s2", hours(4)), visited(BEN, "s2", hours(5)), shared(CLEO, "s3", hours(6)))
    reading.tell(visited(BEN, "s3", hours(7)))

    assert [(it.share_id, it.visitors) for it in reading.ask(lambda rows: shares_of(rows, [ANNE]))] == [
        ("s2", 1),
        ("s1", 2),
    ]
    assert reading.ask(lambda rows: visitors_of(rows, [ANNE])) == 2
    found = reading.ask(lambda rows: brought_by(rows, [BEN]))
    assert (found.share_id, found.node, found.visited_at) == ("s1", ANNE, hours(2))
    assert reading.ask(lambda rows: brought_by(rows, [ANNE])) is None


def test_who_is_one_with_the_sharer_did_not_come_through_somebody_else(reading: Reading) -> None:
    reading.tell(shared(ANNE, "s1", hours(1)), visited(BEN, "s1", hours(2)), visited(CLEO, "s1", hours(3)))

    assert [it.visitors for it in reading.ask(lambda rows: shares_of(rows, [ANNE, BEN]))] == [1]
    assert reading.ask(lambda rows: visitors_of(rows, [ANNE, BEN])) == 1
    assert reading.ask(lambda rows: brought_by(rows, [ANNE, BEN])) is None


def test_somebody_is_in_a_group_who_did_not_leave_it_later(reading: Reading) -> None:
    reading.tell(grouped(ANNE, "g1", hours(1)), grouped(ANNE, "g2", hours(3)), grouped(ANNE, "g2", hours(2), left=True))
    reading.tell(grouped(ANNE, "g1", hours(4), left=True), grouped(BEN, "g2", hours(5)))

    assert [it.group_id for it in reading.ask(lambda rows: groups_of(rows, [ANNE], 10))] == ["g2"]
    joined_at = reading.ask(lambda rows: groups_of(rows, [ANNE, BEN], 10))[0].joined_at
    assert joined_at == hours(3), "since the first of the two joined"


def test_nothing_is_left_of_an_erased_node(reading: Reading) -> None:
    reading.tell(*modelled("pyramid", "PYRAMID"), *about(ANNE), *about(BEN))
    gone = identity.CustomerErased(customer_id=str(ANNE), node_ids=[str(ANNE)])
    reading.tell(Telling("identity", ANNE, gone), moved(ANNE, "pyramid", "L6"), shared(ANNE, "late"))

    def left(node: UUID) -> list[int]:
        def count(rows: sa.Connection) -> list[int]:
            return [
                len(tags_of(rows, [node])),
                len([it for it in layers_of(rows, node, [node]) if it.layer]),
                len(shares_of(rows, [node])),
                len(groups_of(rows, [node], 10)),
                1 if brought_by(rows, [node]) else 0,
            ]

        return reading.ask(count)

    assert left(ANNE) == [0] * 5
    assert left(BEN) == [1] * 4 + [0], "the control; the share through which Ben came was that of the erased"


def about(node: UUID) -> list[Telling]:
    """A tag, a layer, a share, a group, and a visit to the share of the other."""
    other = BEN if node == ANNE else ANNE
    return [
        tagged(node, "vip"),
        moved(node, "pyramid", "L5"),
        shared(node, f"share of {node}"),
        visited(node, f"share of {other}"),
        grouped(node, "g1"),
    ]


# Membership and points.


def test_a_membership_is_what_membership_says_it_is_after_merges(reading: Reading) -> None:
    def state(*nodes: UUID) -> Any:
        found = reading.ask(lambda rows: member_of(rows, nodes[0], nodes))
        return (found.state, found.member_no) if found else None

    reading.tell(joined(ANNE, "M-1", hours(2)), joined(BEN, "M-2", hours(1)))
    assert state(ANNE, BEN) == ("ACTIVE", "M-1")
    assert state(CLEO) is None
    assert state(CLEO, BEN) == ("ACTIVE", "M-2")

    reading.tell(
        of_membership(
            ANNE,
            membership.MembersMerged(
                customer_id=str(ANNE), loser_id=str(BEN), member_no="M-1", join_time=stamp(hours(1))
            ),
        ),
        of_membership(ANNE, membership.MemberRevoked(customer_id=str(ANNE), revoke_time=stamp(hours(3)))),
    )
    assert state(ANNE, BEN) == ("REVOKED", "M-1")

    reading.tell(
        of_membership(ANNE, membership.MembersUnmerged(customer_id=str(ANNE), restored_id=str(BEN))),
        of_membership(BEN, membership.MemberRestored(customer_id=str(BEN), member_no="M-2", join_time=stamp(hours(1)))),
    )
    assert state(ANNE) == ("REVOKED", "M-1")
    assert state(BEN) == ("ACTIVE", "M-2")


def points_told() -> list[Telling]:
    """Anne has 200 points and Ben 100 of which the merged customer spends 250; then Anne owes 30, and pays 10 of it."""
    burned = membership.PointsBurned(customer_id=str(ANNE), points=250, allocations=taken(b=100, a=150))
    back = membership.PointsRestored(customer_id=str(ANNE), allocations=taken(a=20), new_lots=[lot_of(BEN, "n", 7)])
    reversed_ = membership.PointsReversed(customer_id=str(ANNE), points=60, allocations=taken(a=30), to_debt=30)
    offset = membership.PointsDebtOffset(customer_id=str(ANNE), allocations=taken(a=10))
    return [
        granted(ANNE, "a", 200, expire=NOON + 30 * DAY),
        granted(BEN, "b", 100, expire=NOON + 10 * DAY),
        granted(BEN, "later", 40, active=NOON + 5 * DAY),
        *(of_membership(ANNE, it) for it in (burned, back, reversed_, offset)),
    ]


def test_points_add_up_by_node_whatever_order_they_are_told_in(reading: Reading) -> None:
    told = points_told()
    Random(4).shuffle(told)
    reading.tell(*told, batch_limit=2)

    assert reading.balance(ANNE, BEN) == Balance(30 + 7, 40, 20, NOON + 30 * DAY, 30)
    assert reading.balance(ANNE) == Balance(30, 0, 20, NOON + 30 * DAY, 30)
    assert reading.balance(BEN) == Balance(7, 40, 0, None, 0)
    assert reading.balance(ANNE, BEN, at=NOON + 31 * DAY) == Balance(47, 0, 20, None, 0)


def test_what_is_owed_goes_over_with_the_account_and_back(reading: Reading) -> None:
    owed = membership.PointsReversed(customer_id=str(BEN), to_debt=50)
    merged = membership.PointsAccountsMerged(customer_id=str(ANNE), loser_id=str(BEN), debt=50)
    split = membership.PointsAccountsSplit(customer_id=str(ANNE), restored_id=str(BEN), debt=50)

    reading.tell(of_membership(BEN, owed), of_membership(ANNE, merged))
    assert [reading.balance(ANNE).debt, reading.balance(ANNE, BEN).debt] == [50, 50]

    reading.tell(of_membership(ANNE, split))
    assert [reading.balance(ANNE).debt, reading.balance(BEN).debt] == [0, 50]


def test_a_conversion_is_worth_what_was_told_last(reading: Reading) -> None:
    reading.tell(converted(ANNE, "1", "12"), converted(ANNE, "2", "5", hours(1)), converted(ANNE, "1", "7"))
    reading.tell(converted(ANNE, "2", "0", hours(1)))

    found = reading.ask(lambda rows: conversions_of(rows, [ANNE], 10))

    assert [(it.order_id, it.net) for it in found] == [(id_of("1"), Decimal(7))]


# How it is kept.


def everything() -> list[Telling]:
    random, people = Random(3), [ANNE, BEN, CLEO]
    found = [behaviour(random.choice(people), hours(random.randrange(99)), content_id=str(it)) for it in range(50)]
    for number in range(20):
        who, order = random.choice(people), str(number)
        found += [placed(who, order, hours(number)), paid(who, order, hours(number)), converted(who, order, "3")]
        found += [refunded(who, order, "10", "0")] if number % 3 else [shipped(who, order)]
    for _ in range(30):
        who, tag = random.choice(people), f"t{random.randrange(5)}"
        found.append(random.choice([tagged, untagged])(who, tag))
    for number in range(20):
        who, at = random.choice(people), hours(random.randrange(99))
        found += [moved(who, "pyramid", f"L{number % 6}", at), grouped(who, "g", at, left=number % 3 == 0)]
        found += [
            tagged(who, "likes", at, f"v{number % 4}", several=True),
            untagged(who, "likes", at, f"v{number % 3}"),
        ]
        found += [shared(who, f"s{number}", at), visited(random.choice(people), f"s{random.randrange(20)}", at)]
    found += modelled("pyramid", "PYRAMID")
    return [*found, joined(ANNE, "M-1"), *points_told(), delivered(BEN, "B")]


def test_a_rebuild_gives_the_same_rows_in_whatever_batches_it_was_read(reading: Reading) -> None:
    brand = Brand(reading.store)
    brand.resolve(phone(1), assignment_key="cdnow:1")
    for number, name in enumerate(("Li Wei", "Leo", "李伟")):
        say(brand, brand.resolve(phone(number % 2)).customer_id, name)
    told = everything()
    reading.tell(*told[:40], batch_limit=3)
    reading.tell(*told[40:], batch_limit=11)
    live = reading.hashes()

    reading.rebuild()

    assert reading.hashes() == live


def test_every_source_says_up_to_when_it_was_read(reading: Reading) -> None:
    reading.tell(behaviour(ANNE, hours(1)), behaviour(BEN, hours(-5)), placed(ANNE, "1", hours(2)))

    assert reading.ask(told_until) == {"tracking_behaviours": hours(1), "tracking": hours(2)}


def crowd(reading: Reading, people: int = 200) -> None:
    """So many that PostgreSQL has a choice."""
    reading.tell(*(behaviour(uuid5(ANNE, str(it % people)), hours(it)) for it in range(4000)), placed(ANNE, "o"))
    with reading.store.engine.begin() as rows:
        schema = rows.scalar(sa.text("SELECT schema FROM projections WHERE live AND name = 'profile'"))
        rows.execute(sa.text(f'ANALYZE "{schema}".timeline'))


def test_a_page_is_read_by_an_index_and_nothing_as_a_whole(reading: Reading) -> None:
    crowd(reading)

    for wanted, index in (
        (Wanted(), "timeline_pkey"),
        (Wanted(types=("login",), start=hours(3)), "timeline_pkey"),
        (Wanted(kinds=("ORDER",)), "timeline_without_behaviours"),
    ):
        plan = reading.plan(*page_query([ANNE, BEN], wanted, (hours(9), "x"), 50))
        assert index in plan
        assert "Seq Scan" not in plan

    # a plan that reads everything would have shown it
    assert "Seq Scan on timeline" in reading.plan(sa.text("SELECT * FROM timeline WHERE ref = 'x'"), {})


# Assignment keys.


def test_keys_are_found_by_how_they_begin(reading: Reading) -> None:
    brand = Brand(reading.store)
    nodes = [
        brand.resolve(phone(it), assignment_key=key).customer_id for it, key in enumerate(["cdnow:1", "cdnow:12", "cd"])
    ]
    reading.follow()

    def found(prefix: str, after: tuple[str, UUID] | None = None) -> list[Any]:
        return [it.key for it in reading.ask(lambda rows: keys_with_prefix(rows, prefix, after, 10))]

    assert found("cdnow:1") == ["cdnow:1", "cdnow:12"]
    assert found("cd", ("cdnow:1", nodes[0])) == ["cdnow:12"]
    assert found("cdnow:2") == []
    assert found("CD") == []


def test_names_are_found_by_all_their_words_page_by_page(reading: Reading) -> None:
    brand = Brand(reading.store)
    people = [brand.resolve(phone(it)).customer_id for it in range(3)]
    for customer, name in zip(people, ("Li Wei", "李伟", "Li Na"), strict=True):
        say(brand, customer, name)
    reading.follow()

    def found(*words: str, after: UUID | None = None, tenant: str = "acme") -> list[UUID]:
        hashes = HASHES.of("acme", words)
        return reading.ask(lambda rows: nodes_named(rows, hashes, after, 2), tenant)

    assert found("li", "wei") == sorted(people[:2])
    assert [*found("li"), *found("li", after=sorted(people)[1])] == sorted(people)
    assert found("li", "leo") == found() == found("li", tenant="globex") == []

    say(brand, people[0], "Leo")
    reading.follow()
    assert found("li", "wei") == [people[1]]


def test_words_are_read_by_an_index(reading: Reading) -> None:
    reading.follow()
    fill(reading, "names", "name_words", "decode(md5((n % 3000)::text), 'hex'), gen_random_uuid()")
    hashes = HASHES.of("acme", ["li", "wei"])

    plan = reading.plan(named_query(hashes, ANNE, 50), dict(named_query(hashes, ANNE, 50).compile().params))

    assert "name_words_pkey" in plan
    assert "Seq Scan" not in plan


def fill(reading: Reading, projection: str, table: str, row: str) -> None:
    """9,000 rows of acme, each made of a number `n`, in the live build."""
    with reading.store.engine.begin() as rows:
        schema = rows.scalar(
            sa.text("SELECT schema FROM projections WHERE live AND name = :name"), {"name": projection}
        )
        where = f'"{schema}".{table}'
        rows.execute(sa.text(f"INSERT INTO {where} SELECT 'acme', {row} FROM generate_series(1, 9000) n"))
    with reading.store.engine.begin() as rows:
        rows.execute(sa.text(f"ANALYZE {where}"))


def test_a_prefix_is_read_by_an_index(reading: Reading) -> None:
    reading.follow()
    fill(reading, "assignment_keys", "assignment_keys", "gen_random_uuid(), 'k:' || n")
    query = prefix_query("k:12", ("k:121", ANNE), 50)

    plan = reading.plan(query, dict(query.compile().params))

    assert "assignment_keys_by_key" in plan
    assert "Seq Scan" not in plan
