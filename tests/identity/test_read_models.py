"""The read models of identity: what they show, that a rebuild gives the same rows, and that no order of the log spoils them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from random import Random
from time import monotonic
from uuid import UUID

import pytest

from chassis.event_store import PostgresEventStore
from chassis.log import Recorded
from chassis.projection import Projection, Projector
from chassis.read_models import ReadModels
from chassis.testing import recorded
from services.identity.domain.customer import CustomerState
from services.identity.domain.errors import AlreadyUnmerged
from services.identity.domain.merging import Merge
from services.identity.read_models.attribute_values import AttributeValuesProjection
from services.identity.read_models.customer_directory import (
    CustomerDirectoryProjection,
    CustomerRow,
    canonical,
    list_customers,
)
from services.identity.read_models.device_use import DeviceUseProjection
from services.identity.read_models.erasure_cases import ErasureCasesProjection
from services.identity.read_models.identity_statistics import (
    IdentityStatistics,
    IdentityStatisticsProjection,
    identity_statistics,
)
from services.identity.read_models.merge_history import MergeHistoryProjection, MergeRow, merge_history
from services.identity.read_models.steward_queue import StewardQueueProjection
from services.identity.read_models.work_order_queue import WorkOrderQueueProjection
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, Brand, phone

PROJECTIONS = (
    CustomerDirectoryProjection(),
    IdentityStatisticsProjection(),
    MergeHistoryProjection(),
    ErasureCasesProjection(),
    WorkOrderQueueProjection(),
    AttributeValuesProjection(),
    StewardQueueProjection(),
    DeviceUseProjection(),
)


class Reading:
    """A brand on PostgreSQL with its read models."""

    projections: Sequence[Projection] = PROJECTIONS

    def __init__(
        self, brand: Brand, store: PostgresEventStore, reader_dsn: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.brand = brand
        self.store = store
        self.read_models = ReadModels(reader_dsn)
        self.loop = loop

    def projector(self, batch_limit: int = 1000) -> Projector:
        return Projector(self.projections, self.store.engine, self.store, batch_limit=batch_limit)

    def follow(self, batch_limit: int = 1000) -> None:
        """Let the projections follow the log until they have reached its end."""
        projector = self.projector(batch_limit)
        following = self.loop.create_task(projector.run())
        deadline = monotonic() + 20
        while any(it.backlog for it in self.loop.run_until_complete(projector.progress())):
            assert monotonic() < deadline, "the projections do not reach the end of the log"
            self.loop.run_until_complete(asyncio.sleep(0.01))
        following.cancel()
        self.loop.run_until_complete(asyncio.wait([following]))

    def rebuild(self) -> None:
        async def run() -> None:
            for it in self.projections:
                await self.projector().rebuild(it.name)

        self.loop.run_until_complete(run())

    def hashes(self) -> list[str]:
        return [self.projector().canonical_hash(it.name) for it in self.projections]

    def statistics(self, tenant: str = "acme") -> IdentityStatistics:
        return self.read_models.query_now(identity_statistics, tenant)

    def customers(
        self,
        state: CustomerState | None = None,
        tenant: str = "acme",
        after: UUID | None = None,
        limit: int = 1000,
    ) -> Sequence[CustomerRow]:
        return self.read_models.query_now(lambda rows: list_customers(rows, state, after, limit), tenant)


@pytest.fixture
def reading(migrated: Migrated, loop: asyncio.AbstractEventLoop) -> Iterator[Reading]:
    made = migrated("identity", MIGRATIONS)
    store = PostgresEventStore(made.writer_dsn)
    found = Reading(Brand(store), store, made.reader_dsn, loop)
    yield found
    found.read_models.close()
    store.close()


def populate(brand: Brand, seed: int = 1, calls: int = 150) -> None:
    """Calls that create, extend, merge in chains, conflict, reassign and share, in batches."""
    random = Random(seed)
    pool = [("phone", f"+86138000000{it:02}") for it in range(12)]
    pool += [("wechat_unionid", f"unionid-{it:020}") for it in range(8)]
    pool += [("anonymous_id", f"a{it}") for it in range(60)]
    made = []
    for _ in range(calls):
        device = [("device_id", f"d{random.randrange(4)}")] if random.random() < 0.5 else []
        identifiers = random.sample(pool, random.randint(1, 2))
        made.append(brand.call(*identifiers, *device, authenticated=random.random() < 0.6))
    for start in range(0, calls, 25):
        brand.batch(*made[start : start + 25])
    merges = [it.originator_id for it in brand.events(Merge.Made)]
    for id in random.sample(merges, len(merges) // 2):
        with suppress(AlreadyUnmerged):
            brand.unmerge(id)


def test_the_statistics_count_what_happened(reading: Reading) -> None:
    populate(reading.brand)
    reading.follow()

    found, customers = reading.statistics(), reading.brand.customers()

    assert found.known_customers == sum(it.is_known for it in customers)
    assert found.anonymous_customers == sum(not it.is_known for it in customers)
    assert found.anonymous_created + found.known_created - found.merges + found.unmerges == len(customers)
    assert found.known_created + found.became_known - found.known_customers > 0, "known customers were merged"
    assert min(found.merges, found.unmerges, found.conflicts, found.reassignments, found.shared_devices) > 0


def test_the_directory_shows_every_customer_with_nodes_and_identifiers(reading: Reading) -> None:
    populate(reading.brand)
    reading.follow()

    expected = {it.id: it for it in reading.brand.customers()}
    rows = reading.customers()

    assert [it.customer_id for it in rows] == sorted(expected)
    for row in rows:
        customer = expected[row.customer_id]
        assert (row.state, row.assignment_key) == (customer.state, customer.assignment_key)
        assert set(row.node_ids) == customer.nodes.keys()
        namespaces = [it.namespace for it in customer.identifiers.values()]
        shown = {name: count for name, count in row.identifier_counts.items() if count}
        assert shown == {it: namespaces.count(it) for it in namespaces}
        assert (row.became_known_at is not None) == customer.is_known


def test_the_directory_maps_every_node_to_its_customer(reading: Reading) -> None:
    populate(reading.brand)
    reading.follow()

    expected = {node: it.id for it in reading.brand.customers() for node in it.nodes}

    assert reading.read_models.query_now(lambda rows: canonical(rows, list(expected)), "acme") == expected


def test_customers_are_listed_by_state_and_page(reading: Reading) -> None:
    populate(reading.brand)
    reading.follow()

    everybody = reading.customers()
    pages: list[CustomerRow] = []
    while page := reading.customers(after=pages[-1].customer_id if pages else None, limit=7):
        pages += page

    assert pages == everybody
    assert reading.customers(CustomerState.KNOWN) == [it for it in everybody if it.state is CustomerState.KNOWN]
    found = reading.statistics()
    assert len(reading.customers(CustomerState.MERGED)) == found.merges - found.unmerges


def test_the_history_shows_merges_and_what_was_taken_back(reading: Reading) -> None:
    brand = reading.brand
    a, b, c = (brand.resolve(phone(it)).customer_id for it in range(3))
    inner = brand.merge(b, c)
    brand.clock.set(brand.clock.now() + timedelta(seconds=1))
    outer = brand.merge(a, b)
    brand.unmerge(outer)
    reading.follow()

    def history(*nodes: UUID, before: UUID | None = None) -> list[MergeRow]:
        return reading.read_models.query_now(lambda rows: merge_history(rows, nodes, before, 10), "acme")

    taken_back, standing = history(b, c)
    assert (taken_back.merge_id, taken_back.survivor, taken_back.loser, taken_back.undo_reason) == (
        outer, a, b, "TWO_PERSONS",
    )  # fmt: skip
    assert taken_back.undone_at is not None
    assert set(taken_back.nodes) == {b, c}
    assert (standing.merge_id, standing.undone_at, standing.reason) == (inner, None, "SAME_PERSON")
    assert history(a) == [taken_back]
    assert history(b, c, before=outer) == [standing]


def test_a_rebuild_gives_the_same_rows_as_following(reading: Reading) -> None:
    for seed in range(3):
        populate(reading.brand, seed, calls=50)
        reading.follow(batch_limit=7)
    for customer in reading.brand.customers()[:3]:
        reading.brand.erase(customer.id)
    reading.brand.request_erasure(reading.brand.resolve(phone(9)).customer_id)
    reading.follow(batch_limit=7)
    live, shown = reading.hashes(), reading.customers()

    reading.rebuild()

    assert reading.hashes() == live
    assert reading.customers() == shown


def test_tenants_see_their_own(reading: Reading) -> None:
    populate(reading.brand)
    Brand(reading.store, "other").resolve(("phone", "+8613800000001"))
    reading.follow()

    assert reading.statistics("other") == IdentityStatistics(known_created=1, known_customers=1)
    assert len(reading.customers(tenant="other")) == 1
    assert reading.statistics("nobody") == IdentityStatistics()


def test_it_does_not_matter_how_the_log_interleaves_customers(reading: Reading) -> None:
    """Events of one customer keep their order, those of two may come either way, also within one commit."""
    populate(reading.brand)
    reading.follow()
    live = reading.hashes()
    log = recorded(reading.brand.bus)

    for seed in range(3):
        apply_anew(reading, interleaved(log, Random(seed)))
        assert reading.hashes()[:2] == live[:2], "the history of merges alone needs the log as it is"


def apply_anew(reading: Reading, log: Sequence[Recorded]) -> None:
    """Rebuild the read models from `log` in place of the stored one."""

    class Retold:
        def __init__(self) -> None:
            self.engine = reading.store.engine

        def read_log(self, after: int, limit: int) -> list[Recorded]:
            return [
                Recorded(number, it.event, it.context)
                for number, it in enumerate(log, 1)
                if after < number <= after + limit
            ]

        def head(self) -> int:
            return len(log)

    async def run() -> None:
        for it in PROJECTIONS:
            projector = Projector(PROJECTIONS, reading.store.engine, Retold(), batch_limit=13)  # type: ignore[arg-type]
            await projector.rebuild(it.name)

    reading.loop.run_until_complete(run())


def interleaved(log: Sequence[Recorded], random: Random) -> list[Recorded]:
    streams: dict[object, list[Recorded]] = {}
    for it in log:
        streams.setdefault(it.event.originator_id, []).append(it)
    waiting = [list(reversed(it)) for it in streams.values()]
    mixed: list[Recorded] = []
    while waiting:
        number = random.randrange(len(waiting))
        mixed.append(waiting[number].pop())
        if not waiting[number]:
            waiting[number] = waiting[-1]
            waiting.pop()
    return mixed
