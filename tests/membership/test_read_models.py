"""The ledger on paper: what entries, lots and balances say is the same, live and rebuilt; a forged row is found."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import pytest
import sqlalchemy as sa

from chassis import builds
from chassis.builds import Build, Projection
from chassis.errors import DomainError
from chassis.event_store import PostgresEventStore
from chassis.read_models import ReadModels
from services.membership.application.points_commands import CancelBurn, ReverseGrant
from services.membership.domain.lots import Source
from services.membership.domain.member import MemberState
from services.membership.domain.points_account import account_id
from services.membership.read_models.members import MembersProjection, count_members, list_members
from services.membership.read_models.points import PointsProjection, balances, ledger, list_entries, lots
from services.membership.read_models.points_statistics import accounts_that_do_not_add_up, points_totals
from tests.conftest import Migrated
from tests.membership.scenario import Scenario, local

T = TypeVar("T")
BOTH = [MemberState.ACTIVE, MemberState.REVOKED]
SIDES = ("LOTS", "DEBT")


class Reading:
    """A scenario on PostgreSQL with its read models, projected on request in small batches."""

    def __init__(self, club: Scenario, store: PostgresEventStore, read_models: ReadModels) -> None:
        self.club = club
        self.engine = store.engine
        self._store = store
        self._read_models = read_models
        self.projections: tuple[Projection, ...] = (MembersProjection(), PointsProjection())

    def project(self, batch: int = 7, *, anew: bool = False) -> None:
        for it in self.projections:
            with self.engine.begin() as rows:
                build = None if anew else builds.live_build(rows, it.name)
                if build is None:
                    build = builds.create(rows, it, live=False)
            while entries := self._store.read_log(build.position, batch):
                with self.engine.begin() as rows:
                    build = builds.advance(rows, build, it, entries, entries[-1].position)
            self._promote(build)

    def _promote(self, build: Build) -> None:
        if not build.live:
            with self.engine.begin() as rows:
                builds.promote(rows, build)

    def hashes(self) -> list[str]:
        return [builds.canonical_hash(self.engine, it) for it in self.projections]

    def ask(self, question: Callable[[sa.Connection], T], tenant: str = "acme") -> T:
        return self._read_models.query_now(question, tenant)

    def forge(self, statement: sa.Update | sa.Delete) -> None:
        """Change a live read model behind its back."""
        with self.engine.begin() as rows:
            build = builds.live_build(rows, "points")
            assert build is not None
            rows.execute(sa.text(f'SET LOCAL search_path TO "{build.schema}"'))
            rows.execute(statement)


@pytest.fixture
def reading(migrated: Migrated) -> Iterator[Reading]:
    made = migrated("membership", None)
    store, read_models = PostgresEventStore(made.writer_dsn), ReadModels(made.reader_dsn)
    yield Reading(Scenario(store).define(), store, read_models)
    read_models.close()
    store.close()


def random_life(club: Scenario, seed: int, steps: int = 60) -> list[UUID]:
    """Members who order, spend, take back, expire, merge and part in no particular order."""
    chance = random.Random(seed)
    people = [club.known() for _ in range(5)]
    orders: list[tuple[UUID, UUID, int]] = []
    merges: list[tuple[UUID, UUID, int]] = []
    for _ in range(steps):
        now = club.clock.now() + timedelta(hours=chance.randrange(24 * 20))
        person, amount = chance.choice(people), chance.randrange(1, 12_000)
        ref = str(chance.randrange(9))
        try:
            match chance.randrange(8):
                case 0 | 1 | 2:
                    orders.append((person, club.pay(person, amount, now), amount))
                case 3:
                    node, order, net = chance.choice(orders)
                    club.refund(node, order, chance.randrange(net + 1), now)
                case 4:
                    club.at(now).burn(person, chance.randrange(1, 150), ref)
                case 5:
                    club.at(now).run(CancelBurn("acme", person, ref))
                case 6:
                    club.settle(now)
                case 7 if chance.random() < 0.6:
                    merge_or_part(club, chance, people, merges)
                case 7:
                    _, order, _ = chance.choice(orders)
                    club.at(now).run(ReverseGrant("acme", person, Source.ORDER, str(order), 5))
        except (DomainError, IndexError):
            continue
    return people


def merge_or_part(
    club: Scenario, chance: random.Random, people: list[UUID], merges: list[tuple[UUID, UUID, int]]
) -> None:
    if merges and chance.random() < 0.4:
        club.unmerge(*merges.pop(chance.randrange(len(merges))))
    else:
        merges.append((chance.choice(people), chance.choice(people), club.bus.store.head()))
        club.merge(*merges[-1])


@pytest.mark.parametrize("seed", range(8))
def test_every_account_adds_up_and_a_rebuild_gives_the_same_rows(reading: Reading, seed: int) -> None:
    people = random_life(reading.club, seed)
    reading.project()
    live = reading.hashes()
    assert reading.ask(accounts_that_do_not_add_up) == 0

    now = reading.club.clock.now()
    accounts = reading.club.accounts()
    totals = reading.ask(lambda rows: points_totals(rows, now))
    assert totals.active == sum(it.balance(now).active for it in accounts)
    assert totals.debt == sum(it.debt for it in accounts)
    assert totals.expired == sum(it.tally.expired for it in accounts)
    assert totals.granted == sum(it.tally.granted for it in accounts)
    assert totals.positive == sum(it.balance(now).total > 0 for it in accounts)
    customers = {it.customer: it for it in map(reading.club.the_member, people)}
    assert totals.accounts == sum(it.customer in customers for it in accounts)
    states = [it.state for it in customers.values()]
    counts = reading.ask(lambda rows: count_members(rows, None))
    assert (counts.active, counts.revoked) == (states.count(MemberState.ACTIVE), states.count(MemberState.REVOKED))
    assert reading.ask(holders) == {lot: it.id for it in accounts for lot in it.lots}

    reading.project(batch=1000, anew=True)
    assert reading.hashes() == live


def holders(rows: sa.Connection) -> dict[UUID, UUID]:
    """In which account each lot is."""
    return {it.lot: it.account for it in rows.execute(sa.select(lots.c.lot, lots.c.account))}


def test_a_statement_tells_every_movement_latest_first_in_pages(reading: Reading) -> None:
    club = reading.club
    customer = club.enroll()
    club.grant(customer, 100, ref="present")
    club.burn(customer, 80, "mug")
    club.run(ReverseGrant("acme", customer, Source.MANUAL, "present"))
    club.run(CancelBurn("acme", customer, "mug"))
    reading.project()
    account = account_id("acme", customer)
    entries = reading.ask(lambda rows: list_entries(rows, [account], None, 100))
    assert [(it.debit, it.credit, it.points, it.ref) for it in reversed(entries)] == [
        ("ISSUED", "LOTS", 100, "present"),
        ("LOTS", "BURNED", 80, "mug"),
        ("LOTS", "REVERSED", 20, "present"),
        ("DEBT", "REVERSED", 80, "present"),
        ("BURNED", "LOTS", 80, "mug"),
        ("LOTS", "DEBT", 80, ""),
    ]
    first = reading.ask(lambda rows: list_entries(rows, [account], None, 4))
    last = first[-1].position, first[-1].line
    assert first + reading.ask(lambda rows: list_entries(rows, [account], last, 4)) == entries


def test_a_merge_leaves_one_statement_and_one_member(reading: Reading) -> None:
    club = reading.club
    survivor, loser = club.known(), club.known()
    club.pay(survivor, 12_000, local(1997, 2, 1))
    order = club.pay(loser, 15_000, local(1997, 1, 1))
    club.burn(loser, 100)
    club.merge(survivor, loser)
    club.refund(loser, order, 0, local(1997, 2, 2))
    reading.project()
    assert reading.ask(accounts_that_do_not_add_up) == 0
    [row] = reading.ask(lambda rows: list_members(rows, BOTH, None, 9))
    assert (row.customer, row.joined_at) == (survivor, local(1997, 1, 1))
    accounts = [account_id("acme", it) for it in club.the_member(loser).history.nodes]
    entries = reading.ask(lambda rows: list_entries(rows, accounts, None, 99))
    gains = [((it.credit in SIDES) - (it.debit in SIDES)) * it.points for it in entries]
    assert sum(gains) == club.account(survivor).balance(club.clock.now()).total
    assert [(it.debit, it.credit, it.points) for it in entries if it.account == account_id("acme", loser)] == [
        ("LOTS", "TRANSFERRED", 50),
        ("LOTS", "BURNED", 100),
        ("ISSUED", "LOTS", 150),
    ], "what was entered in an account stays there"


def statement(reading: Reading, customer: UUID) -> list[tuple[str, str, int]]:
    """From the first entry of a customer's accounts to the last."""
    accounts = [account_id("acme", it) for it in reading.club.the_member(customer).history.nodes]
    entries = reading.ask(lambda rows: list_entries(rows, accounts, None, 99))
    return [(it.debit, it.credit, it.points) for it in reversed(entries)]


def test_a_merge_taken_back_leaves_two_statements_that_add_up_and_two_members(reading: Reading) -> None:
    club = reading.club
    survivor, restored = club.known(), club.known()
    club.pay(survivor, 12_000, local(1997, 2, 1))
    order = club.pay(restored, 15_000, local(1997, 1, 1))
    club.merge(survivor, restored)
    club.burn(survivor, 250)
    club.unmerge(survivor, restored)
    club.refund(restored, order, 14_000, local(1997, 2, 2))
    reading.project()
    assert reading.ask(accounts_that_do_not_add_up) == 0
    listed = reading.ask(lambda rows: list_members(rows, BOTH, None, 9))
    joined = {survivor: local(1997, 2, 1), restored: local(1997, 1, 1)}
    assert {it.customer: it.joined_at for it in listed} == joined
    assert statement(reading, survivor) == [
        ("ISSUED", "LOTS", 120),
        ("TRANSFERRED", "LOTS", 150),
        ("LOTS", "BURNED", 150),
        ("LOTS", "BURNED", 100),
    ]
    assert statement(reading, restored) == [
        ("ISSUED", "LOTS", 150),
        ("LOTS", "TRANSFERRED", 150),
        ("DEBT", "REVERSED", 10),
    ]
    totals = reading.ask(lambda rows: points_totals(rows, club.clock.now()))
    assert (totals.accounts, totals.active, totals.debt) == (2, 20, 10)
    assert (totals.granted, totals.burned, totals.reversed) == (270, 250, 10)


def test_debt_is_transferred_with_the_lots_it_is_owed_for(reading: Reading) -> None:
    club = reading.club
    survivor, restored = club.enroll(), club.enroll()
    club.grant(survivor, 40, ref="a")
    club.grant(restored, 20, ref="b")
    club.merge(survivor, restored)
    club.burn(survivor, 50)
    club.run(ReverseGrant("acme", restored, Source.MANUAL, "b"))
    club.unmerge(survivor, restored)
    reading.project()
    assert reading.ask(accounts_that_do_not_add_up) == 0
    assert statement(reading, survivor)[-3:] == [
        ("LOTS", "REVERSED", 10),
        ("DEBT", "REVERSED", 10),
        ("TRANSFERRED", "DEBT", 10),
    ]
    assert statement(reading, restored)[-1] == ("DEBT", "TRANSFERRED", 10)


def test_a_merge_taken_back_brings_back_who_had_been_revoked(reading: Reading) -> None:
    club = reading.club
    survivor, restored = club.known(), club.known()
    order = club.pay(restored, 15_000, local(1997, 1, 1))
    club.refund(restored, order, 0, local(1997, 1, 3))
    club.merge(survivor, restored)
    reading.project()
    [row] = reading.ask(lambda rows: list_members(rows, BOTH, None, 9))
    assert (row.customer, row.state, row.revoked_at) == (survivor, MemberState.REVOKED, local(1997, 1, 3))
    club.unmerge(survivor, restored)
    reading.project()
    [row] = reading.ask(lambda rows: list_members(rows, BOTH, None, 9))
    assert (row.customer, row.state, row.joined_at) == (restored, MemberState.REVOKED, local(1997, 1, 1))


def test_members_are_counted_by_when_they_joined_and_whether_they_stayed(reading: Reading) -> None:
    club = reading.club
    early, late, gone = club.known(), club.known(), club.known()
    club.pay(early, 10_000, local(1997, 1, 1))
    order = club.pay(gone, 10_000, local(1997, 1, 2))
    club.refund(gone, order, 0, local(1997, 1, 3))
    club.pay(late, 10_000, local(1998, 1, 1))
    club.pay(club.known(), 9_999, local(1998, 1, 1))
    reading.project()
    counts = reading.ask(lambda rows: count_members(rows, None))
    assert (counts.active, counts.revoked) == (2, 1)
    assert reading.ask(lambda rows: count_members(rows, local(1998, 1, 1))).active == 1
    listed = reading.ask(lambda rows: list_members(rows, BOTH, None, 9))
    assert [it.customer for it in listed] == sorted([early, late, gone])
    assert [it.customer for it in reading.ask(lambda rows: list_members(rows, BOTH, listed[0].customer, 9))] == [
        it.customer for it in listed[1:]
    ]


def test_expired_points_are_not_active_even_before_the_timer(reading: Reading) -> None:
    club = reading.club
    customer = club.enroll()
    club.grant(customer, 100, local(1997, 2, 1))
    reading.project()
    before = reading.ask(lambda rows: points_totals(rows, local(1997, 1, 31)))
    after = reading.ask(lambda rows: points_totals(rows, local(1997, 2, 1)))
    assert (before.active, before.positive, before.expired) == (100, 1, 0)
    assert (after.active, after.positive, after.expired) == (0, 0, 0)
    club.settle(local(1997, 2, 1))
    reading.project()
    assert reading.ask(lambda rows: points_totals(rows, local(1997, 2, 1))).expired == 100


def test_another_tenant_sees_nothing(reading: Reading) -> None:
    customer = reading.club.enroll()
    reading.club.grant(customer, 100)
    reading.project()
    account = account_id("acme", customer)
    assert reading.ask(lambda rows: list_entries(rows, [account], None, 9), "other") == []
    assert reading.ask(lambda rows: list_members(rows, BOTH, None, 9), "other") == []
    assert reading.ask(lambda rows: points_totals(rows, local(1998, 1, 1)), "other").lots == 0


@pytest.mark.parametrize(
    "forgery",
    [
        sa.update(lots).values(remaining=lots.c.remaining - 1),
        sa.update(balances).values(remaining=balances.c.remaining + 1),
        sa.update(balances).values(debt=1),
        sa.update(ledger).where(ledger.c.credit == "BURNED").values(points=1),
        sa.delete(ledger).where(ledger.c.credit == "BURNED"),
        sa.delete(balances),
    ],
    ids=["lot", "balance", "debt", "entry", "lost entry", "lost balance"],
)
def test_a_forged_row_is_found(reading: Reading, forgery: sa.Update | sa.Delete) -> None:
    customer = reading.club.enroll()
    reading.club.grant(customer, 100)
    reading.club.burn(customer, 30)
    reading.project()
    assert reading.ask(accounts_that_do_not_add_up) == 0
    reading.forge(forgery)
    assert reading.ask(accounts_that_do_not_add_up) == 1


def test_the_tables_refuse_what_no_account_can_hold(reading: Reading) -> None:
    customer = reading.club.enroll()
    reading.club.grant(customer, 100)
    reading.project()
    for forgery in (
        sa.update(lots).values(remaining=101),
        sa.update(lots).values(remaining=-1),
        sa.update(balances).values(remaining=-1),
        sa.update(balances).values(debt=-1),
        sa.update(ledger).values(points=0),
    ):
        with pytest.raises(sa.exc.IntegrityError):
            reading.forge(forgery)
