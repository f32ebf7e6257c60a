"""Lists of the customers of some stores: the database says the same of everybody's guide as the domain does."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest

from chassis.event_store import PostgresEventStore
from chassis.projection import Projector
from chassis.read_models import ReadModels
from services.identity.application.contact_commands import RecordFollowUp
from services.identity.domain.follow_up import FollowUpType
from services.identity.read_models.customer_directory import CustomerDirectoryProjection, customers, list_customers
from services.identity.read_models.customer_guides import CustomerGuidesProjection, within
from services.identity.read_models.organisation import OrganisationProjection
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, NOON, Brand, phone
from tests.identity.staffing import Staffing, row

PROJECTIONS = (CustomerDirectoryProjection(), OrganisationProjection(), CustomerGuidesProjection())


class Lists(Staffing):
    """A brand on PostgreSQL with its lists of customers."""

    def __init__(self, store: PostgresEventStore, reader_dsn: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(Brand(store))
        self.read_models = ReadModels(reader_dsn)
        self.event_store = store
        self.loop = loop

    def projected(self, batch_limit: int = 1000) -> list[str]:
        """Build the read models anew; the hashes of their rows."""
        projector = Projector(PROJECTIONS, self.event_store.engine, self.event_store, batch_limit=batch_limit)
        for it in PROJECTIONS:
            self.loop.run_until_complete(projector.rebuild(it.name))
        return [projector.canonical_hash(it.name) for it in PROJECTIONS]

    def listed(self, *stores: str, tenant: str = "acme") -> set[UUID]:
        only = within(customers.c.customer, [self.store(it) for it in stores], self.brand.clock.now())
        rows = self.read_models.query_now(lambda rows: list_customers(rows, None, None, 100, only=only), tenant)
        return {it.customer_id for it in rows}

    def expected(self, store: str) -> set[UUID]:
        """Those whose guide works there now, as the domain says."""
        now, found = self.brand.clock.now(), {it.id: self.guide(it.id) for it in self.brand.customers()}
        there = {it.id for it in map(self.staff, self.codes) if it.store_at(now) == self.store(store)}
        return {customer for customer, guide in found.items() if guide in there}

    @property
    def codes(self) -> list[str]:
        return sorted({it.code for it in self.told("StaffUpserted")})


@pytest.fixture
def lists(migrated: Migrated, loop: asyncio.AbstractEventLoop) -> Iterator[Lists]:
    made = migrated("identity", MIGRATIONS)
    store = PostgresEventStore(made.writer_dsn)
    found = Lists(store, made.reader_dsn, loop)
    yield found
    found.read_models.close()
    store.close()


def test_a_list_has_the_customers_of_guides_who_work_in_the_store_now(lists: Lists) -> None:
    one, other = lists.hire("G1", "S1"), lists.hire("G2", "S2")
    mine, theirs, free = (lists.brand.resolve(phone(it)).customer_id for it in range(3))
    lists.assign(mine, one)
    lists.assign(theirs, other)
    lists.projected()
    assert (lists.listed("S1"), lists.listed("S2"), lists.listed()) == ({mine}, {theirs}, set())
    assert lists.listed("S1", "S2") == {mine, theirs} != {free}
    assert lists.listed("S1", tenant="globex") == set()

    lists.brand.clock.set(NOON + timedelta(days=1))
    lists.brand.do(row("G1", "S2"))
    lists.projected()
    assert (lists.listed("S1"), lists.listed("S2")) == (set(), {mine, theirs})


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_lists_and_domain_agree_and_a_rebuild_too(lists: Lists, seed: int) -> None:
    random = Random(seed)
    staff = [lists.hire(f"G{it}", f"S{1 + it % 2}") for it in range(4)]
    nodes = [lists.brand.resolve(phone(it)).node_id for it in range(8)]
    merges: list[UUID] = []
    for step in range(60):
        lists.brand.clock.set(NOON + timedelta(hours=step // 2))
        node, other = random.sample(nodes, 2)
        match random.randrange(9):
            case 0 | 1:
                lists.assign(node, random.choice(staff))
            case 2:
                lists.unassign(node)
            case 3:
                source, target = random.sample(staff, 2)
                lists.carry_out(lists.transfer(source, target, None if step % 2 else (node, other)))
            case 4:
                lists.brand.do(row(f"G{random.randrange(4)}", f"S{random.randrange(1, 3)}"))
            case 5 if lists.brand.customer(node).id != lists.brand.customer(other).id:
                lists.brand.allow_reunion(node, other)
                merges.append(lists.brand.merge(node, other))
            case 6 if merges:
                lists.brand.unmerge(merges.pop())
            case 7 | 8:
                at = lists.brand.clock.now() - timedelta(hours=random.randrange(3))
                lists.brand.do(RecordFollowUp(node, FollowUpType.CALL, staff=random.choice(staff), occurred_at=at))

    hashes = lists.projected()

    for store in ("S1", "S2"):
        assert lists.listed(store) == lists.expected(store)
    assert lists.projected(batch_limit=1) == hashes == lists.projected(batch_limit=7)
