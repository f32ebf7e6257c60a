"""The boards of guides and stores, and the lists of the organisation: what they show, and that a rebuild shows the same."""

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random

import pytest

from chassis.event_store import PostgresEventStore
from chassis.projection import Projector
from chassis.read_models import ReadModels
from deploy.local.postgres import Database
from services.identity.application.contact_commands import RecordFollowUp
from services.identity.application.org_commands import SetStaffLeft, SetStaffShift
from services.identity.application.relationship_commands import RecordGuideTouch
from services.identity.domain.follow_up import FollowUpType
from services.identity.domain.relationships import TouchKind
from services.identity.read_models.guide_boards import BoardOf, Day, GuideBoardsProjection, board
from services.identity.read_models.organisation import OrganisationProjection, StaffFilter, list_staff
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, NOON, Brand, phone
from tests.identity.staffing import row
from tests.identity.test_order_credit import Shop, may

PROJECTIONS = (OrganisationProjection(), GuideBoardsProjection())


class Boards(Shop):
    """A shop on PostgreSQL with its boards."""

    def __init__(self, store: PostgresEventStore, made: Database, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(Brand(store))
        self.read_models = ReadModels(made.reader_dsn)
        self.event_store = store
        self.loop = loop

    def projected(self, batch_limit: int = 1000) -> list[str]:
        """Build the read models anew; the hashes of their rows."""
        projector = Projector(PROJECTIONS, self.event_store.engine, self.event_store, batch_limit=batch_limit)
        for it in PROJECTIONS:
            self.loop.run_until_complete(projector.rebuild(it.name))
        return [projector.canonical_hash(it.name) for it in PROJECTIONS]

    def days(self, *, guide: str = "", store: str = "", zone: str = "UTC") -> dict[date, Day]:
        staff_id, store_id = (self.staff(guide).id if guide else None), (self.store(store) if store else None)
        of = BoardOf(date(2026, 5, 1), date(2026, 6, 30), zone, staff=staff_id, store=store_id)
        return {it.day: it for it in self.read_models.query_now(lambda rows: board(rows, of), self.brand.tenant)}

    def revenue(self, **of: str) -> dict[str, int]:
        """What each day brought, by the end of its ISO date."""
        return {it.isoformat()[5:]: day.revenues[0].net for it, day in self.days(**of).items() if day.revenues}

    def click(self, staff: str) -> None:
        self.brand.do(RecordGuideTouch(self.node, self.staff(staff).id, TouchKind.CLICK))


@pytest.fixture
def boards(migrated: Migrated, loop: asyncio.AbstractEventLoop) -> Iterator[Boards]:
    made = migrated("identity", MIGRATIONS)
    store = PostgresEventStore(made.writer_dsn)
    found = Boards(store, made, loop)
    yield found
    found.read_models.close()
    store.close()


def test_ac_11_the_boards_show_each_order_at_one_guide_and_one_store(boards: Boards) -> None:
    g001, g002 = boards.hire("G001", "S1"), boards.hire("G002", "S1")
    boards.open_store("S2")
    boards.at(may(1)).scan(boards.node, g001)
    boards.at(may(10)).buy(10)
    boards.at(may(20)).scan(boards.node, g002)
    boards.at(may(25)).buy(25)
    boards.at(may(1, month=6)).buy(61)
    boards.at(may(2, month=6)).brand.do(row("G001", "S2", effective_at=may(28)))  # heard of after the order
    boards.projected()

    assert boards.revenue(guide="G001") == {"05-10": 10, "06-01": 61}
    assert boards.revenue(guide="G002") == {"05-25": 25}
    assert boards.revenue(store="S1") == {"05-10": 10, "05-25": 25}
    assert boards.revenue(store="S2") == {"06-01": 61}


def test_new_customers_scans_clicks_and_follow_ups_are_counted_by_day_where_the_guide_was(boards: Boards) -> None:
    g1 = boards.hire("G1", "S1")
    boards.open_store("S2")
    boards.at(may(1)).scan(boards.node, g1)
    boards.at(may(3)).brand.do(row("G1", "S2"))
    boards.click("G1")
    wrong = boards.brand.do(RecordFollowUp(boards.node, FollowUpType.CALL, staff=g1)).id
    boards.brand.do(RecordFollowUp(boards.node, FollowUpType.VISIT, staff=g1, supersedes=wrong))
    boards.brand.do(RecordFollowUp(boards.node, FollowUpType.NOTE))
    boards.scan(boards.brand.resolve(phone(2)).node_id, g1)
    boards.scan(boards.brand.resolve(phone(2)).node_id, g1)
    other = boards.hire("G2", "S2")
    boards.at(may(4)).carry_out(boards.transfer(g1, other))
    boards.projected()

    def counts(**of: str) -> dict[int, tuple[int, ...]]:
        found = ((it.day, day.activity) for it, day in boards.days(**of).items())
        return {day: (it.new_customers, it.scans, it.clicks, it.follow_ups) for day, it in found}

    assert counts(guide="G1") == {1: (1, 1, 0, 0), 3: (1, 1, 1, 1)}
    assert counts(store="S1") == {1: (1, 1, 0, 0)}
    assert counts(store="S2") == {3: (1, 1, 1, 1)}
    assert counts(guide="G2") == {}


def test_a_refund_lowers_the_day_of_the_payment_and_an_order_that_names_its_store_is_that_stores(
    boards: Boards,
) -> None:
    boards.scan(boards.node, boards.hire("G1", "S1"))
    boards.open_store("S2")
    order, named = boards.buy(100_00), boards.buy(50_00, store_code="S2")
    boards.projected()
    assert boards.revenue(guide="G1") == {"05-01": 150_00}

    boards.at(may(9)).refund(order, 40_00)
    boards.refund(named, 0)
    boards.projected()

    assert boards.revenue(guide="G1") == {"05-01": 40_00}
    assert boards.days(guide="G1")[date(2026, 5, 1)].revenues[0].orders == 2
    assert (boards.revenue(store="S1"), boards.revenue(store="S2")) == ({"05-01": 40_00}, {"05-01": 0})


def test_days_are_those_of_the_zone(boards: Boards) -> None:
    boards.at(NOON + timedelta(hours=5)).scan(boards.node, boards.hire("G1"))
    boards.projected()
    assert list(boards.days(guide="G1")) == [date(2026, 5, 1)]
    assert list(boards.days(guide="G1", zone="Asia/Shanghai")) == [date(2026, 5, 2)]


def test_boards_and_lists_are_the_same_however_the_log_is_cut_and_another_tenant_sees_nothing(boards: Boards) -> None:
    random = Random(7)
    staff = [boards.hire(f"G{it}", random.choice(["S1", "S2"])) for it in range(5)]
    nodes = [boards.brand.resolve(phone(it)).node_id for it in range(8)]
    orders = []
    for step in range(60):
        boards.at(NOON + timedelta(hours=step))
        node, code = random.choice(nodes), f"G{random.randrange(5)}"
        match random.randrange(6):
            case 0:
                boards.scan(node, boards.staff(code).id)
            case 1:
                orders.append((boards.buy(random.randrange(1000), node=node), node))
            case 2 if orders:
                order, buyer = random.choice(orders)
                boards.refund(order, random.randrange(5), node=buyer)
            case 3:
                boards.brand.do(row(code, random.choice(["S1", "S2"]), effective_at=NOON + timedelta(hours=step // 2)))
            case 4:
                boards.brand.do(SetStaffShift(boards.staff(code).id, random.random() < 0.5))
            case _:
                boards.assign(node, boards.staff(code).id)
    boards.brand.do(SetStaffLeft(staff[0]))

    assert boards.projected() == boards.projected(batch_limit=1) == boards.projected(batch_limit=7)

    everybody = StaffFilter(boards.brand.clock.now(), None, None)
    rows = boards.read_models.query_now(lambda rows: list_staff(rows, everybody, None, 100), "acme")
    expected = [boards.staff(f"G{it}") for it in range(5)]
    assert [(it.staff, it.store, it.on_shift, it.left_at) for it in rows] == [
        (it.id, it.store_at(everybody.at), it.on_shift, it.left_at) for it in expected
    ]
    assert boards.read_models.query_now(lambda rows: list_staff(rows, everybody, None, 100), "globex") == []
    assert sum(sum(boards.revenue(guide=it.code).values()) for it in expected) > 0
    of = BoardOf(date(2026, 5, 1), date(2026, 5, 31), "UTC", staff=staff[1])
    assert boards.read_models.query_now(lambda rows: board(rows, of), "globex") == []
