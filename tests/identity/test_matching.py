"""The matcher on PostgreSQL: whom it compares when, what it leaves out, and that nothing is asked twice or forgotten."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from uuid import UUID

import pytest

from chassis.event_store import PostgresEventStore
from chassis.projection import Projector
from chassis.read_models import ReadModels
from services.identity.adapters.match_blocks import SqlBlocks
from services.identity.adapters.matcher import CursorMoved, Matcher
from services.identity.adapters.matching_servicer import MatchingParts
from services.identity.adapters.trait_book import SqlTraitBook
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.matching import Block, Matching
from services.identity.application.matching_commands import DecideMatchCandidate, RunMatching
from services.identity.domain.attribute_forms import Address
from services.identity.domain.blocking import BlockKeys, KeyKind
from services.identity.domain.match_candidate import CandidateState, ExpiryReason, MatchCandidate
from services.identity.domain.match_model import DEFAULT, Band
from services.identity.domain.match_run import MatchRun, Skipped
from services.identity.domain.traits import Known
from services.identity.read_models.steward_queue import CandidateRow, Wanted, list_candidates
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, SECRET, Brand, device, phone, unionid
from tests.identity.febrl import people
from tests.identity.people import IMPORT, forgotten, says, told
from tests.identity.test_read_models import PROJECTIONS

BORN = "1990-05-12"


class Book:
    """The traits that a test gives, by the node they were given of; customers are those of the brand."""

    def __init__(self, brand: Brand) -> None:
        self.traits: dict[UUID, Known] = {}
        self._brand = brand

    async def known(self, tenant: str, nodes: Collection[UUID]) -> Sequence[Known]:
        found: dict[UUID, Known] = {}
        for node in nodes:
            customer = self._brand.customer(node)
            of_nodes = [self.traits[it] for it in customer.nodes if it in self.traits]
            if of_nodes:
                first = of_nodes[0]
                found[customer.id] = Known(
                    customer.id, first.name, first.birthdate, first.gender, first.address, first.district
                )
        return list(found.values())

    async def telling(self, tenant: str, nodes: Collection[UUID]) -> Collection[UUID]:
        return nodes

    async def customers(self, tenant: str, after: UUID | None, limit: int) -> Sequence[UUID]:
        return sorted(it.id for it in self._brand.customers() if after is None or it.id > after)[:limit]


class World:
    """A brand on PostgreSQL with its read models and a matcher."""

    def __init__(self, store: PostgresEventStore, reader_dsn: str, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self.brand = Brand(store)
        self.read_models = ReadModels(reader_dsn)
        self.loop = loop
        self.book = Book(self.brand)
        self.blocks = SqlBlocks(store.engine, largest=4)
        self.matching = Matching(self.book, self.blocks, BlockKeys(SECRET))
        self.projector = Projector(PROJECTIONS, store.engine, store)
        self._following = loop.create_task(self.projector.run())
        self.brand.bus.start()
        while any(it.backlog for it in loop.run_until_complete(self.projector.progress())):
            loop.run_until_complete(asyncio.sleep(0.01))  # until there are tables

    def close(self) -> None:
        self._following.cancel()
        self.loop.run_until_complete(asyncio.wait([self._following]))
        self.brand.bus.stop()
        self.read_models.close()
        self.store.close()

    def matcher(self, batch_limit: int = 1000) -> Matcher:
        return Matcher(self.matching, self.brand.bus, self.read_models, self.store.engine, batch_limit=batch_limit)

    def in_service(self) -> Matcher:
        """A matcher that reads what was told to identity itself."""
        parts = MatchingParts.on(self.store, self.read_models, self.brand.wrap, SECRET)
        return Matcher(parts.matching, self.brand.bus, self.read_models, self.store.engine)

    def follow(self, matcher: Matcher | None = None) -> Matcher:
        """Let the matcher reach the end of the log, which it makes longer itself, and the projections too."""
        matcher = matcher or self.matcher()
        while self.loop.run_until_complete(matcher.step()):
            pass
        self.loop.run_until_complete(self.read_models.wait_for(self.store.head()))
        return matcher

    def person(self, number: int, **traits: str) -> UUID:
        """A customer with a phone number, and what is known besides."""
        id = self.brand.resolve(phone(number)).customer_id
        self.book.traits[id] = Known(id, **traits)  # type: ignore[arg-type]
        return id

    def queue(self, state: CandidateState = CandidateState.OPEN, tenant: str = "acme") -> list[CandidateRow]:
        return self.read_models.query_now(lambda rows: list_candidates(rows, Wanted(state), 100), tenant)

    def pairs(self, state: CandidateState = CandidateState.OPEN) -> set[frozenset[UUID]]:
        return {frozenset((it.a, it.b)) for it in self.queue(state)}

    def keys(self) -> dict[UUID, int]:
        """How many keys each customer has."""
        with self.store.engine.connect() as rows:
            found = rows.exec_driver_sql("SELECT customer, count(*) FROM match_keys GROUP BY customer")
            return {it[0]: it[1] for it in found}

    def run(self, *customers: UUID) -> MatchRun:
        """Somebody asks for a comparison; what came of it."""
        run: MatchRun = self.brand.do(RunMatching(customers))
        self.follow()
        found = self.brand.loaded(MatchRun, run.id)
        assert found is not None
        return found


@pytest.fixture
def world(migrated: Migrated, loop: asyncio.AbstractEventLoop) -> Iterator[World]:
    made = migrated("identity", MIGRATIONS)
    found = World(PostgresEventStore(made.writer_dsn), made.reader_dsn, loop)
    yield found
    found.close()


def test_a_new_customer_is_compared_with_those_of_its_blocks(world: World) -> None:
    jane = world.person(1, name="Jane Roe", birthdate=BORN, gender="FEMALE")
    world.person(2, name="John Doe", birthdate="1971-01-01")
    world.follow()
    assert world.queue() == []

    again = world.person(3, name="Roe, Jane", birthdate=BORN, gender="FEMALE")
    world.person(4, name="Jane Roe")
    matcher = world.follow()

    (row,) = world.queue()
    assert {row.a, row.b} == {jane, again}
    assert (row.band, round(row.weight or 0, 2), round(row.probability or 0, 4)) == (Band.HIGH, 10.84, 0.9995)
    assert [(it.feature, it.level) for it in row.steps[:3]] == [
        ("PRIOR", ""),
        ("NAME", "EXACT"),
        ("BIRTHDATE", "EXACT"),
    ]
    assert matcher.compared == 1
    assert world.queue(tenant="globex") == []


def test_what_was_compared_is_not_compared_again_until_something_changes(world: World) -> None:
    one = world.person(1, name="Jane Roe", birthdate=BORN)
    other = world.person(2, name="Jane Roe", birthdate=BORN)
    world.follow()
    world.brand.do(DecideMatchCandidate(world.queue()[0].candidate, accept=False))

    assert world.follow().compared == 0

    world.brand.link(other, phone(3))
    assert world.follow().compared == 1
    assert (world.pairs(), world.pairs(CandidateState.REJECTED)) == (set(), {frozenset((one, other))})


def test_a_stretch_of_the_log_that_was_read_by_another_is_left_to_it(world: World) -> None:
    world.person(1, name="Jane Roe", birthdate=BORN)
    world.person(2, name="Jane Roe", birthdate=BORN)
    late, other = world.matcher(), world.matcher()
    read = late._read

    def meanwhile() -> object:
        found = read()
        with world.store.engine.begin() as rows:
            rows.exec_driver_sql("UPDATE matcher_cursor SET position = position + 1")
        return found

    late._read = meanwhile  # type: ignore[method-assign, assignment]
    with pytest.raises(CursorMoved):
        world.loop.run_until_complete(late.step())
    assert world.brand.events(MatchCandidate.Found) == []

    with world.store.engine.begin() as rows:
        rows.exec_driver_sql("UPDATE matcher_cursor SET position = 0")
    world.follow(other)
    assert len(world.queue()) == 1


def test_doing_it_again_asks_nothing_twice(world: World) -> None:
    for number in range(4):
        world.person(number, name="Jane Roe", birthdate=BORN)
    world.follow()
    before = world.store.head()
    with world.store.engine.begin() as rows:
        rows.exec_driver_sql("UPDATE matcher_cursor SET position = 0")

    world.follow(world.matcher(batch_limit=2))

    assert world.store.head() == before
    assert len(world.queue()) == 6


def test_a_merge_closes_the_question_and_moves_the_others(world: World) -> None:
    one, other, third = (world.person(number, name="Jane Roe", birthdate=BORN) for number in range(3))
    world.follow()
    assert len(world.queue()) == 3

    world.brand.merge(one, other)
    world.follow()

    assert world.pairs() == {frozenset((one, third))}
    reasons = {it.reason for it in world.brand.events(MatchCandidate.Expired)}
    assert reasons == {ExpiryReason.ONE_CUSTOMER, ExpiryReason.MERGED}
    assert world.keys().keys() == {one, third}


def test_a_merge_that_is_taken_back_has_both_compared_again(world: World) -> None:
    one, other = (world.person(number, name="Jane Roe", birthdate=BORN) for number in range(2))
    third = world.person(3, name="Jane Roe", birthdate=BORN)
    merge = world.brand.merge(one, other)
    world.follow()
    world.brand.unmerge(merge)
    world.follow()

    assert world.pairs() == {frozenset((one, third)), frozenset((other, third))}, "those kept apart are not asked about"
    assert world.keys().keys() == {one, other, third}

    world.brand.allow_reunion(one, other)
    world.follow()
    assert len(world.queue()) == 3


def test_who_turns_out_to_be_two_persons_is_not_asked_about_any_more(world: World) -> None:
    one, other = (world.person(number, name="Jane Roe", birthdate=BORN) for number in range(2))
    world.follow()
    world.brand.link(one, unionid(1))
    world.follow()
    assert len(world.queue()) == 1

    world.brand.link(other, unionid(2))
    world.follow()

    assert world.pairs(CandidateState.EXPIRED) == {frozenset((one, other))}
    assert world.queue() == []


def test_a_pair_that_turns_out_to_differ_is_not_asked_about_any_more(world: World) -> None:
    one, other, third = (world.person(number, name="Jane Roe", birthdate=BORN) for number in range(3))
    world.brand.resolve(phone(0), phone(2))
    world.follow()
    assert len(world.queue()) == 3

    for id in (one, other):
        world.book.traits[id] = Known(id, name="John Doe", birthdate="1971-01-01")
    world.brand.link(one, phone(10))
    world.brand.link(other, phone(11))
    world.follow()

    assert world.pairs() == {frozenset((one, other)), frozenset((one, third))}, "the second met in a call"
    assert [it.expiry_reason for it in world.queue(CandidateState.EXPIRED)] == [ExpiryReason.UNLIKE]


def test_a_run_over_everybody_finds_what_following_found(world: World) -> None:
    known, truth = people("dataset1")
    records = known[:150]
    ids = {}
    for number, it in enumerate(records):
        ids[it.customer] = world.person(
            number, **{key: getattr(it, key) or "" for key in ("name", "birthdate", "address", "district")}
        )
    world.follow(world.matcher(batch_limit=40))
    followed = world.pairs()
    expected = {frozenset(ids[it] for it in pair) for pair in truth if pair <= ids.keys()}
    assert followed
    assert followed <= expected

    again = world.run()

    assert again.tally is not None
    assert (again.tally.opened, again.tally.merged) == (0, 0)
    assert again.tally.compared >= len(followed)
    assert world.pairs() == followed


def test_a_run_asks_about_pairs_that_nobody_compared_by_todays_model(world: World) -> None:
    one, other = (world.person(number, name="Jane Roe", birthdate=BORN) for number in range(2))
    world.follow()
    with world.store.engine.begin() as rows:
        rows.exec_driver_sql("DELETE FROM match_keys")
    world.book.traits[one] = Known(one, name="Jane Roe", birthdate=BORN, address="1 Bund")
    world.book.traits[other] = Known(other, name="Jane Roe", birthdate=BORN, address="1 Bund")

    found = world.run()

    assert found.tally is not None
    assert (found.tally.opened, found.finished_at) == (1, world.brand.clock.now())
    assert round(world.queue()[0].weight or 0, 2) == 20.32


def test_a_run_over_some_compares_no_others(world: World) -> None:
    ids = [world.person(number, name="Jane Roe", birthdate=BORN) for number in range(3)]

    with world.store.engine.begin() as rows:
        rows.exec_driver_sql("UPDATE matcher_cursor SET position = %s", (world.store.head(),))
    world.loop.run_until_complete(world.matching.refresh("acme", ids))
    found = world.run(ids[0])

    assert found.tally is not None
    assert (found.customers, found.tally.compared, found.tally.opened) == ((ids[0],), 2, 2)
    assert frozenset(ids[1:]) not in world.pairs()


def test_blocks_that_are_too_large_are_left_out_and_reported(world: World) -> None:
    for number in range(5):
        world.person(number, name="Jane Roe", birthdate=BORN, address=f"{number} Bund")
    for number in range(5, 7):
        world.person(number, name="John Doe", address="88 Nanjing Road")
    assert world.follow().compared == 1

    found = world.run()

    assert found.tally is not None
    assert found.tally.skipped == (Skipped(KeyKind.NAME_BIRTHDATE, 2, 5),)
    assert found.tally.compared == 1


def test_keys_are_of_one_tenant(world: World) -> None:
    world.person(1, name="Jane Roe", birthdate=BORN)
    world.follow()
    keys = BlockKeys(SECRET).of("acme", Known(UUID(int=0), name="Jane Roe", birthdate=BORN).traits())
    world.loop.run_until_complete(world.blocks.keep("globex", {UUID(int=1): keys, UUID(int=2): keys}))

    ours, theirs = (world.loop.run_until_complete(world.blocks.part(it, 0, 1)) for it in ("acme", "globex"))

    assert (len(ours), len(theirs)) == (0, 2)


def test_the_parts_of_all_blocks_are_all_blocks(world: World) -> None:
    keys = BlockKeys(SECRET)
    names = [f"Jane{number:02} Roe{number:02}" for number in range(40)]
    traits = [Known(UUID(int=n), name=names[n % 40], birthdate=BORN).traits() for n in range(80)]
    world.loop.run_until_complete(world.blocks.keep("acme", {it.customer: keys.of("acme", it) for it in traits}))

    async def blocks(of: int) -> list[Block]:
        return [block for number in range(of) for block in await world.blocks.part("acme", number, of)]

    whole = world.loop.run_until_complete(blocks(1))
    assert len(whole) == 80
    assert whole == world.loop.run_until_complete(blocks(7))
    assert world.loop.run_until_complete(world.blocks.count("acme")) == 160


def test_the_book_knows_devices_that_few_share_and_phone_numbers(world: World) -> None:
    book = SqlTraitBook(world.store, world.read_models, Unsealer(world.brand.wrap))
    one = world.brand.resolve(phone(1), device("tablet")).customer_id
    other = world.brand.resolve(phone(2), device("tablet")).customer_id
    merged, bare = (world.brand.resolve(phone(number)).customer_id for number in (3, 8))
    world.brand.merge(one, merged)
    world.follow()

    nodes = [one, other, merged, bare]
    assert world.loop.run_until_complete(book.telling("acme", nodes)) == {one, other, merged}
    assert world.loop.run_until_complete(book.telling("globex", nodes)) == set()
    found = {it.customer: it for it in world.loop.run_until_complete(book.known("acme", [one, other, bare]))}
    assert found[one].devices == found[other].devices
    assert len(found[one].devices) == 1
    assert sorted(found[one].phones) == [phone(1)[1], phone(3)[1]]
    assert world.loop.run_until_complete(book.customers("acme", None, 10)) == sorted(found)
    assert world.loop.run_until_complete(book.known("globex", [one, other])) == []

    for number in range(4, 7):
        world.brand.resolve(phone(number), device("tablet"))
    world.follow()
    shared = world.loop.run_until_complete(book.known("acme", [one, other]))
    assert [it.devices for it in shared] == [frozenset(), frozenset()]


def test_ac_5_what_was_said_of_two_people_is_weighed(world: World) -> None:
    one, other, third = (world.brand.resolve(phone(number)).customer_id for number in range(1, 4))
    for id, name in ((one, "李伟"), (other, "李伟"), (third, "李维")):
        told(world.brand, id, says("name", name), says("birthdate", BORN, IMPORT), says("gender", "MALE"))
    world.follow(world.in_service())

    weights = {frozenset((it.a, it.b)): round(it.weight or 0, 2) for it in world.queue()}
    assert weights == {
        frozenset((one, other)): 10.84,
        frozenset((one, third)): 5.93,
        frozenset((other, third)): 5.93,
    }


def test_ac_5_a_shared_device_counts_with_a_name_and_not_alone(world: World) -> None:
    one = world.brand.resolve(phone(1), device("tablet")).customer_id
    other = world.brand.resolve(phone(2), device("tablet")).customer_id
    stranger = world.brand.resolve(phone(3), device("tablet")).customer_id
    for id, name, gender in ((one, "李伟", "MALE"), (other, "李伟", "MALE"), (stranger, "王芳", "FEMALE")):
        told(world.brand, id, says("name", name), says("gender", gender))
    world.follow(world.in_service())

    assert [(round(it.weight or 0, 2), {it.a, it.b}) for it in world.queue()] == [(8.05, {one, other})]


def test_another_name_that_counts_from_now_on_is_compared(world: World) -> None:
    one, other = (world.brand.resolve(phone(number)).customer_id for number in (1, 2))
    told(world.brand, one, says("name", "Jane Roe"), says("birthdate", BORN))
    told(world.brand, other, says("name", "John Doe", IMPORT), says("birthdate", BORN, IMPORT))
    matcher = world.follow(world.in_service())
    assert world.queue() == []

    told(world.brand, other, says("name", "Jane Roe"))
    world.follow(matcher)

    assert world.pairs() == {frozenset((one, other))}


def test_the_book_knows_the_best_address_and_nothing_of_the_forgotten(world: World) -> None:
    book = SqlTraitBook(world.store, world.read_models, Unsealer(world.brand.wrap))
    one = world.brand.resolve(phone(1)).customer_id
    home = Address("CN", "Shanghai", "Shanghai", "Xuhui", "1 Huaihai Rd")
    told(world.brand, one, says("address", (Address(city="Beijing", street="9 Far Rd"),), IMPORT))
    told(world.brand, one, says("address", (home,)), says("birthdate", "--05-12"))
    world.follow()

    assert world.loop.run_until_complete(book.telling("acme", [one])) == {one}
    (found,) = world.loop.run_until_complete(book.known("acme", [one]))
    assert (found.address, found.district) == ("Shanghai Xuhui 1 Huaihai Rd", "Shanghai Xuhui")
    assert found.traits().birthdate == ""

    forgotten(world.brand, one)
    (found,) = world.loop.run_until_complete(book.known("acme", [one]))
    assert found == Known(one)


def test_a_rebuild_gives_the_same_rows(world: World) -> None:
    for number in range(4):
        world.person(number, name="Jane Roe", birthdate=BORN)
    world.brand.resolve(phone(0), device("tablet"))
    world.follow()
    accepted, rejected, barred = world.queue()[:3]
    world.brand.do(DecideMatchCandidate(accepted.candidate, accept=True))
    world.brand.do(DecideMatchCandidate(rejected.candidate, accept=False, note="Twins"))
    world.brand.keep_apart(barred.a, barred.b)
    world.follow()
    names = ("steward_queue", "device_use")
    before = [world.projector.canonical_hash(it) for it in names]

    for it in names:
        world.loop.run_until_complete(world.projector.rebuild(it))

    assert [world.projector.canonical_hash(it) for it in names] == before


def test_a_model_is_learnt_from_the_customers_there_are(world: World) -> None:
    known, _ = people("dataset1")
    learner = Matching(_Everybody(known), world.blocks, BlockKeys(SECRET))

    found = world.loop.run_until_complete(learner.learn("acme", DEFAULT, 1))

    found.model.require_sound()
    assert found.expected == pytest.approx(500, rel=0.05)
    name = found.model.comparisons[0].levels
    assert name[1].m > 0.2, "spelling errors are common among these people"


class _Everybody:
    """A tenant whose customers are the records of a data set."""

    def __init__(self, known: Sequence[Known]) -> None:
        self._known = {it.customer: it for it in known}

    async def known(self, tenant: str, nodes: Collection[UUID]) -> Sequence[Known]:
        return [self._known[it] for it in nodes]

    async def telling(self, tenant: str, nodes: Collection[UUID]) -> Collection[UUID]:
        return nodes

    async def customers(self, tenant: str, after: UUID | None, limit: int) -> Sequence[UUID]:
        return sorted(it for it in self._known if after is None or it > after)[:limit]
