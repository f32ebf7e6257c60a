"""What lists and boards show of work orders, follow-ups, contacts and leads (ID-8), whatever is merged and taken back."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.aggregate import new_id
from chassis.context import Context
from chassis.envelope import Incoming
from chassis.errors import DomainError
from chassis.event_store import PostgresEventStore
from chassis.inbox import keep
from scrm.campaigns.v1.events_pb2 import DeliverySent
from services.identity.application.contact_commands import RecordContact, RecordFollowUp
from services.identity.application.lead_commands import OpenLead, UpdateLead
from services.identity.application.work_order_commands import (
    About,
    BreachWorkOrderSla,
    CreateWorkOrder,
    RateWorkOrder,
    SetServiceHours,
    TransitionWorkOrder,
    UpsertExternalWorkOrder,
)
from services.identity.domain.follow_up import CONTENT, Direction, FollowUp, FollowUpType
from services.identity.domain.lead import LeadState, Prospect
from services.identity.domain.service_hours import BusinessHours
from services.identity.domain.work_order import Origin, Priority, Progress, WorkOrder, WorkOrderState
from services.identity.read_models.contact_history import (
    ContactHistoryProjection,
    EntryKind,
    EntryRow,
    contact_history,
)
from services.identity.read_models.customer_directory import CustomerDirectoryProjection, nodes_with
from services.identity.read_models.issue_board import IssueBoardProjection, IssueRow, issue_board
from services.identity.read_models.leads import LeadFilter, LeadRow, LeadsProjection, list_leads
from services.identity.read_models.sent_messages import SentMessagesProjection
from services.identity.read_models.work_order_queue import (
    WorkOrderFilter,
    WorkOrderQueueProjection,
    WorkOrderRow,
    list_work_orders,
    work_order_counts,
)
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, NOON, Brand, phone
from tests.identity.test_read_models import Reading

DAY = timedelta(days=1)
JUNE = date(2026, 6, 1)
STAFF, OTHER_STAFF = UUID(int=1), UUID(int=2)
BROADCAST = UUID(int=3)
SHORT_WAY = (WorkOrderState.ASSIGNED, WorkOrderState.IN_PROGRESS, WorkOrderState.RESOLVED)


class Desk(Reading):
    """A brand on PostgreSQL with the read models of what staff and customers have to do with each other."""

    projections = (
        CustomerDirectoryProjection(),
        WorkOrderQueueProjection(),
        ContactHistoryProjection(),
        SentMessagesProjection(),
        LeadsProjection(),
        IssueBoardProjection(),
    )

    def pass_time(self, step: timedelta = timedelta(seconds=1)) -> datetime:
        self.brand.clock.set(self.brand.clock.now() + step)
        return self.brand.clock.now()

    def create(
        self, node: UUID, *topics: str, priority: Priority = Priority.P2, product: str = "", kind: str = "COMPLAINT"
    ) -> UUID:
        self.pass_time()
        found: WorkOrder = self.brand.do(CreateWorkOrder(About(node, kind, priority, topics, product, "words")))
        return found.id

    def move(self, id: UUID, *states: WorkOrderState, staff: UUID = STAFF) -> None:
        for it in states:
            self.brand.do(TransitionWorkOrder(id, it, staff, "a note"))

    def rated(self, node: UUID, rating: int, *topics: str) -> UUID:
        id = self.create(node, *topics)
        self.move(id, *SHORT_WAY)
        self.brand.do(RateWorkOrder(id, rating))
        return id

    def upsert(self, node: UUID, version: int, *topics: str, rating: int | None = None, product: str = "") -> UUID:
        about = About(node, "COMPLAINT", Priority.P3, topics, product, "")
        command = UpsertExternalWorkOrder(
            Origin("helpdesk", "T-1", version), about, Progress(WorkOrderState.CLOSED, None, rating), NOON
        )
        return self.brand.do(command).work_order.id  # type: ignore[no-any-return]

    def follow_up(self, node: UUID, *topics: str, supersedes: UUID | None = None) -> UUID:
        self.pass_time()
        command = RecordFollowUp(node, FollowUpType.CALL, "words", topics=topics, supersedes=supersedes, staff=STAFF)
        found: FollowUp = self.brand.do(command)
        return found.id

    def contact(self, node: UUID) -> UUID:
        self.pass_time()
        return self.brand.do(RecordContact(node, "PHONE", Direction.INBOUND, "REACHED", 30)).id  # type: ignore[no-any-return]

    def sent(self, node: UUID, at: datetime) -> UUID:
        """Campaigns tells that it sent a message, and tells it twice."""
        delivery, stamp = new_id(at, bytes(10)), Timestamp()
        stamp.FromDatetime(at)
        event = DeliverySent(
            delivery_id=str(delivery), broadcast_id=str(BROADCAST), customer_id=str(node), arm="A", send_time=stamp
        )
        kind, context = DeliverySent.DESCRIPTOR.full_name, Context("acme", "test")
        message = Incoming(
            "campaigns", 1, 1, 0, 1, "acme", kind, str(node), 0, "campaigns/1/1", at, context, event.SerializeToString()
        )
        with self.store.engine.begin() as rows:
            keep(rows, [message, message])
        return delivery

    def open_lead(self, node: UUID, category: str = "tea") -> UUID:
        self.pass_time()
        return self.brand.do(OpenLead(Prospect(node, category, 50, STAFF))).id  # type: ignore[no-any-return]

    def queue(
        self, after: tuple[datetime, UUID] | None = None, limit: int = 100, tenant: str = "acme", **wanted: object
    ) -> list[WorkOrderRow]:
        filter = WorkOrderFilter(**wanted)  # type: ignore[arg-type]  # noqa: A001
        return self.read_models.query_now(lambda rows: list_work_orders(rows, filter, after, limit), tenant)

    def history(
        self,
        customer: UUID,
        *kinds: EntryKind,
        before: tuple[datetime, UUID] | None = None,
        limit: int = 100,
    ) -> list[EntryRow]:
        return self.read_models.query_now(
            lambda rows: contact_history(rows, nodes_with(rows, customer), kinds, before, limit), "acme"
        )

    def leads(self, before: UUID | None = None, limit: int = 100, **wanted: object) -> list[LeadRow]:
        filter = LeadFilter(**wanted)  # type: ignore[arg-type]  # noqa: A001
        return self.read_models.query_now(lambda rows: list_leads(rows, filter, before, limit), "acme")

    def board(self, month: date = JUNE, limit: int = 50, tenant: str = "acme") -> list[IssueRow]:
        return self.read_models.query_now(lambda rows: issue_board(rows, month, limit), tenant)

    def nodes(self, customer: UUID) -> list[UUID]:
        return self.read_models.query_now(lambda rows: nodes_with(rows, customer), "acme")


@pytest.fixture
def desk(migrated: Migrated, loop: asyncio.AbstractEventLoop) -> Iterator[Desk]:
    made = migrated("identity", MIGRATIONS)
    store = PostgresEventStore(made.writer_dsn)
    found = Desk(Brand(store), store, made.reader_dsn, loop)
    yield found
    found.read_models.close()
    store.close()


@pytest.fixture
def two(desk: Desk) -> tuple[UUID, UUID]:
    return desk.brand.resolve(phone(1)).customer_id, desk.brand.resolve(phone(2)).customer_id


def ids(rows: Sequence[WorkOrderRow]) -> list[UUID]:
    return [it.work_order for it in rows]


def entries(rows: Sequence[EntryRow]) -> list[UUID]:
    return [it.entry for it in rows]


def test_ac_12_twelve_leaking_caps_and_three_late_deliveries_in_june(desk: Desk, two: tuple[UUID, UUID]) -> None:
    desk.brand.clock.set(datetime(2026, 6, 10, 12, tzinfo=UTC))
    for number in range(12):
        desk.create(two[number % 2], "leaking cap")
    for _ in range(3):
        desk.create(two[0], "Late delivery")
    desk.follow()

    first, second = desk.board()

    assert (first.topic, first.mentions, first.share) == ("leaking cap", 12, 0.8)
    assert (second.topic, second.mentions, second.share) == ("late delivery", 3, 0.2)
    assert desk.board(date(2026, 5, 1)) == desk.board(tenant="other") == []


def test_the_board_shows_trend_rating_and_product(desk: Desk, two: tuple[UUID, UUID]) -> None:
    a, b = two
    desk.brand.clock.set(datetime(2026, 5, 20, 12, tzinfo=UTC))
    for _ in range(2):
        desk.create(a, "leaking cap")
    desk.brand.clock.set(datetime(2026, 6, 10, 12, tzinfo=UTC))
    for rating in (1, 4):
        desk.rated(a, rating, "leaking cap", "smell")
    for product in ("cup", "pot", "cup", ""):
        desk.create(b, "leaking cap", product=product)
    desk.follow()

    cap, smell = desk.board()

    assert (cap.mentions, cap.previous, cap.trend) == (6, 2, 2.0)
    assert (cap.average_rating, cap.product) == (2.5, "cup")
    assert (smell.share, smell.trend, smell.average_rating, smell.product) == (0.25, None, 2.5, None)
    assert [it.topic for it in desk.board(limit=1)] == ["leaking cap"]
    assert desk.board(limit=1)[0].share == 0.75


def test_months_are_those_of_the_zone_in_which_the_brand_was_then(desk: Desk, two: tuple[UUID, UUID]) -> None:
    desk.brand.clock.set(datetime(2026, 5, 31, 17, tzinfo=UTC))
    desk.create(two[0], "in shanghai")
    desk.brand.do(SetServiceHours(BusinessHours.of("America/New_York", [1], (0, 1440))))
    desk.create(two[0], "in new york")
    desk.follow(batch_limit=2)
    desk.create(two[0], "still in new york")
    desk.follow(batch_limit=2)

    assert [it.topic for it in desk.board()] == ["in shanghai"]
    assert [it.topic for it in desk.board(date(2026, 5, 1))] == ["in new york", "still in new york"]


@pytest.mark.parametrize("batch_limit", [1, 1000])
def test_what_was_corrected_or_changed_is_counted_as_it_is_now(
    desk: Desk, two: tuple[UUID, UUID], batch_limit: int
) -> None:
    node = two[0]
    desk.brand.clock.set(datetime(2026, 6, 10, 12, tzinfo=UTC))
    wrong = desk.follow_up(node, "smell", "colour")
    desk.follow_up(node, "taste", supersedes=wrong)
    desk.upsert(node, 1, "late delivery", rating=5)
    desk.upsert(node, 2, "lost parcel", "late delivery", product="tea", rating=2)
    id = desk.rated(node, 1, "price")
    desk.brand.do(RateWorkOrder(id, 4))
    desk.follow(batch_limit)

    assert [(it.topic, it.average_rating) for it in desk.board()] == [("price", 4.0), ("taste", None)]
    may = [("late delivery", 2.0, "tea"), ("lost parcel", 2.0, "tea")]
    assert [(it.topic, it.average_rating, it.product) for it in desk.board(date(2026, 5, 1))] == may


def test_the_queue_shows_what_is_due_first_by_whoever_looks(desk: Desk, two: tuple[UUID, UUID]) -> None:
    a, b = two
    slow, quick = desk.create(a, priority=Priority.P4), desk.create(a, priority=Priority.P1)
    done, middle = desk.create(b, priority=Priority.P1), desk.create(b)
    desk.move(done, *SHORT_WAY)
    desk.move(middle, WorkOrderState.ASSIGNED, staff=OTHER_STAFF)
    desk.move(slow, WorkOrderState.ASSIGNED)
    desk.follow()

    assert ids(desk.queue()) == [quick, middle, slow]
    assert ids(desk.queue(state=WorkOrderState.RESOLVED)) == [done]
    assert ids(desk.queue(state=WorkOrderState.ASSIGNED, assignee=STAFF)) == [slow]
    assert ids(desk.queue(assignee=OTHER_STAFF)) == [middle]
    assert ids(desk.queue(priority=Priority.P1)) == [quick]
    assert ids(desk.queue(due_before=desk.queue()[2].due_at)) == [quick, middle]
    assert ids(desk.queue(nodes=[b])) == [done, middle]
    assert desk.queue(tenant="other") == []


def test_a_row_of_the_queue_tells_what_the_work_order_is(desk: Desk, two: tuple[UUID, UUID]) -> None:
    made = desk.create(two[0], "leaking cap", product="cup", priority=Priority.P1)
    desk.follow()
    (row,) = desk.queue()
    assert (row.topics, row.product, row.kind, row.state, row.rating) == (
        ["leaking cap"],
        "cup",
        "COMPLAINT",
        "NEW",
        None,
    )
    desk.brand.clock.set(row.due_at)
    desk.brand.do(BreachWorkOrderSla(made))
    desk.follow()
    assert [it.breached for it in desk.queue()] == [True]
    desk.move(made, *SHORT_WAY)
    desk.brand.do(RateWorkOrder(made, 2))
    desk.move(made, WorkOrderState.REOPENED)
    desk.follow()
    (again,) = desk.queue()
    assert (again.breached, again.rating, again.state) == (False, 2, "REOPENED")
    assert again.due_at > row.due_at


@pytest.mark.parametrize("batch_limit", [1, 1000])
def test_work_orders_are_counted_as_they_are_now(desk: Desk, two: tuple[UUID, UUID], batch_limit: int) -> None:
    late = desk.create(two[0], priority=Priority.P1)
    desk.create(two[1], priority=Priority.P1)
    for rating in (1, 4):
        desk.rated(two[0], rating)
    desk.upsert(two[0], 1)
    desk.upsert(two[0], 2, rating=3)
    desk.brand.clock.set(NOON + 20 * DAY)
    desk.brand.do(BreachWorkOrderSla(late))
    desk.move(late, WorkOrderState.ASSIGNED)
    desk.follow(batch_limit)

    found = desk.read_models.query_now(work_order_counts, "acme")

    assert [(it.state, it.priority, it.work_orders, it.breached, it.average_rating) for it in found] == [
        ("ASSIGNED", "P1", 1, 1, None),
        ("CLOSED", "P3", 1, 0, 3.0),
        ("NEW", "P1", 1, 0, None),
        ("RESOLVED", "P2", 2, 0, 2.5),
    ]
    assert desk.read_models.query_now(work_order_counts, "other") == []


def test_the_queue_is_read_page_by_page(desk: Desk, two: tuple[UUID, UUID]) -> None:
    for number in range(11):
        desk.create(two[number % 2], priority=list(Priority)[number % 4])
    desk.follow()
    everything = desk.queue()
    pages: list[WorkOrderRow] = []
    while page := desk.queue(after=(pages[-1].due_at, pages[-1].work_order) if pages else None, limit=3):
        pages += page
    assert pages == everything
    assert len(pages) == 11


def test_lists_of_a_customer_show_all_nodes_after_a_merge_and_split_again_after_it_is_taken_back(
    desk: Desk, two: tuple[UUID, UUID]
) -> None:
    a, b = two
    third = desk.brand.resolve(phone(3)).customer_id
    desk.brand.merge(b, third)
    mine, theirs, thirds = desk.create(a), desk.create(b), desk.create(third)
    followed, contacted = desk.follow_up(a), desk.contact(third)
    lead, their_lead = desk.open_lead(a), desk.open_lead(b)
    stranger = desk.brand.resolve(phone(4)).customer_id
    desk.create(stranger), desk.follow_up(stranger), desk.open_lead(stranger)

    def shown(customer: UUID) -> tuple[set[UUID], list[UUID], list[UUID]]:
        desk.follow()
        nodes = desk.nodes(customer)
        return (
            set(ids(desk.queue(nodes=nodes))),
            entries(desk.history(customer)),
            [it.lead for it in desk.leads(nodes=nodes)],
        )

    apart = ({mine}, [followed, mine], [lead]), ({theirs, thirds}, [contacted, thirds, theirs], [their_lead])
    assert (shown(a), shown(b)) == apart
    assert shown(third) == shown(b)

    merge = desk.brand.merge(a, b)
    together = ({mine, theirs, thirds}, [contacted, followed, thirds, theirs, mine], [their_lead, lead])
    assert shown(a) == shown(b) == shown(third) == together
    after = desk.create(third)
    assert shown(a)[1] == [after, *together[1]]

    desk.brand.unmerge(merge)
    assert shown(a) == apart[0]
    assert shown(b)[1] == [after, *apart[1][1]]


def test_the_history_shows_what_happened_newest_first_with_sealed_words(desk: Desk, two: tuple[UUID, UUID]) -> None:
    node = two[0]
    wrong = desk.follow_up(node, "smell")
    right = desk.follow_up(node, "taste", supersedes=wrong)
    order, call = desk.create(node, "leaking cap"), desk.contact(node)
    late = desk.brand.do(RecordFollowUp(node, FollowUpType.VISIT, occurred_at=NOON - DAY)).id
    desk.follow(batch_limit=3)

    rows = {it.entry: it for it in desk.history(node)}

    assert list(rows) == [call, order, right, wrong, late]
    assert (rows[wrong].superseded_by, rows[right].supersedes) == (right, wrong)
    assert (rows[call].kind, rows[call].code, rows[call].direction) == (EntryKind.CONTACT, "PHONE", "INBOUND")
    assert (rows[call].result, rows[call].duration_seconds) == ("REACHED", 30)
    assert (rows[order].kind, rows[order].code, rows[order].topics) == (
        EntryKind.WORK_ORDER,
        "COMPLAINT",
        ["leaking cap"],
    )
    assert (rows[right].code, rows[right].staff, rows[right].topics) == ("CALL", STAFF, ["taste"])
    sealed = rows[right].content
    assert sealed is not None
    assert b"words" not in sealed
    assert desk.brand.opened(node, CONTENT, sealed) == "words"
    assert rows[order].content is rows[late].content is None
    assert entries(desk.history(node, EntryKind.CONTACT, EntryKind.WORK_ORDER)) == [call, order]


def test_the_history_shows_messages_that_were_sent_among_the_rest(desk: Desk, two: tuple[UUID, UUID]) -> None:
    a, b = two
    first = desk.contact(a)
    message = desk.sent(b, desk.pass_time())
    last = desk.contact(b)
    earlier = desk.sent(a, NOON - DAY)
    desk.follow()
    assert entries(desk.history(a)) == [first, earlier]
    merge = desk.brand.merge(a, b)
    desk.follow()

    rows = {it.entry: it for it in desk.history(a)}

    assert list(rows) == [last, message, first, earlier]
    found = rows[message]
    assert (found.kind, found.node, found.direction) == (EntryKind.DELIVERY, b, "OUTBOUND")
    assert (found.code, found.broadcast) == ("A", BROADCAST)
    assert entries(desk.history(a, EntryKind.DELIVERY)) == [message, earlier]
    assert entries(desk.history(a, EntryKind.CONTACT)) == [last, first]
    pages: list[EntryRow] = []
    while page := desk.history(a, before=(pages[-1].occurred_at, pages[-1].entry) if pages else None, limit=1):
        pages += page
    assert entries(pages) == list(rows)

    desk.brand.unmerge(merge)
    desk.follow()
    assert entries(desk.history(b)) == [last, message]


def test_a_history_of_many_nodes_is_read_page_by_page(desk: Desk, two: tuple[UUID, UUID]) -> None:
    a, b = two
    desk.brand.merge(a, b)
    random = Random(5)
    for _ in range(23):
        at = NOON - timedelta(days=random.randrange(4))  # many at the same instant
        desk.brand.do(RecordContact(random.choice(two), "PHONE", Direction.INBOUND, "REACHED", occurred_at=at))
    desk.follow()
    everything = desk.history(b)
    assert [(it.occurred_at, it.entry) for it in everything] == sorted(
        ((it.occurred_at, it.entry) for it in everything), reverse=True
    )
    pages: list[EntryRow] = []
    while page := desk.history(a, before=(pages[-1].occurred_at, pages[-1].entry) if pages else None, limit=4):
        pages += page
    assert pages == everything
    assert len(pages) == 23


def test_leads_are_listed_newest_first(desk: Desk, two: tuple[UUID, UUID]) -> None:
    first, second, third = desk.open_lead(two[0]), desk.open_lead(two[1]), desk.open_lead(two[0], "coffee")
    desk.brand.do(UpdateLead(second, state=LeadState.FOLLOWING, score=90, owner=OTHER_STAFF))
    desk.brand.do(UpdateLead(third, state=LeadState.FOLLOWING))
    desk.brand.do(UpdateLead(third, state=LeadState.LOST, reason="TOO_DEAR"))
    desk.follow(batch_limit=4)

    rows = {it.lead: it for it in desk.leads()}

    assert list(rows) == [third, second, first]
    assert (rows[second].score, rows[second].owner, rows[second].state) == (90, OTHER_STAFF, "FOLLOWING")
    assert (rows[third].reason, rows[third].state) == ("TOO_DEAR", "LOST")
    assert [it.lead for it in desk.leads(state=LeadState.NEW)] == [first]
    assert [it.lead for it in desk.leads(owner=STAFF)] == [third, first]
    assert [it.lead for it in desk.leads(before=second)] == [first]


def test_a_rebuild_gives_the_same_rows_as_following(desk: Desk, two: tuple[UUID, UUID]) -> None:
    random = Random(3)
    desk.brand.merge(*two)
    orders: list[UUID] = []
    follow_ups: list[UUID] = []
    for number in range(60):
        node = random.choice(two)
        match random.randrange(7):
            case 0 | 1:
                orders.append(
                    desk.create(node, random.choice(["smell", "taste"]), priority=random.choice(list(Priority)))
                )
            case 2:
                follow_ups.append(desk.follow_up(node, "colour"))
            case 3 if follow_ups:
                desk.follow_up(node, "taste", supersedes=follow_ups.pop())
            case 4:
                desk.upsert(node, number + 1, random.choice(["smell", "price"]), rating=random.choice([None, 1, 5]))
            case 5:
                desk.open_lead(node, str(number))
            case _ if orders:
                attempt_any(desk, random.choice(orders), random)
        if number % 17 == 0:
            desk.follow(batch_limit=random.choice([3, 1000]))
        desk.pass_time(timedelta(hours=7))
    desk.follow()
    live = desk.hashes()
    assert min(len(desk.queue()), len(desk.history(two[0])), len(desk.leads()), len(desk.board(date(2026, 5, 1)))) > 1

    desk.rebuild()

    assert desk.hashes() == live


def attempt_any(desk: Desk, id: UUID, random: Random) -> None:
    """Something is tried with a work order; what is refused changes nothing."""
    commands = [TransitionWorkOrder(id, it, STAFF, "") for it in WorkOrderState]
    for command in (*commands, RateWorkOrder(id, random.randint(1, 5)), BreachWorkOrderSla(id)):
        try:
            desk.brand.do(command)
        except DomainError:
            continue
