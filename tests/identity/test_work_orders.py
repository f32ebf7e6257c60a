"""Work orders through commands (ID-8): from the first word to the last, and in time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from chassis.errors import BadFormat, DomainError, FieldRequired
from chassis.event_store import MemoryEventStore, PostgresEventStore
from chassis.unit_of_work import replay
from services.identity.application.work_order_commands import (
    SLA_TIMER,
    About,
    BreachWorkOrderSla,
    CreateWorkOrder,
    RateWorkOrder,
    SetServiceHours,
    TransitionWorkOrder,
    UpsertExternalWorkOrder,
)
from services.identity.domain.errors import (
    CustomerNotFound,
    FutureTimestamp,
    IllegalTransition,
    NotResolved,
    WorkOrderMirrored,
    WorkOrderNotFound,
)
from services.identity.domain.service_hours import DEFAULT_HOURS, Allowance, BusinessHours
from services.identity.domain.work_order import CONTENT, NOTE, Origin, Priority, Progress, WorkOrder, WorkOrderState
from tests.identity.brand import NOON, Brand, phone, refused

STAFF, OTHER_STAFF = UUID(int=1), UUID(int=2)
NEW, ASSIGNED, IN_PROGRESS, WAITING, RESOLVED, CLOSED, REOPENED = WorkOrderState
WAYS = {
    NEW: {ASSIGNED},
    ASSIGNED: {ASSIGNED, IN_PROGRESS},
    IN_PROGRESS: {WAITING, RESOLVED},
    WAITING: {IN_PROGRESS, RESOLVED},
    RESOLVED: {CLOSED, REOPENED},
    CLOSED: {REOPENED},
    REOPENED: {ASSIGNED, IN_PROGRESS},
}
TO = {
    NEW: (),
    ASSIGNED: (ASSIGNED,),
    IN_PROGRESS: (ASSIGNED, IN_PROGRESS),
    WAITING: (ASSIGNED, IN_PROGRESS, WAITING),
    RESOLVED: (ASSIGNED, IN_PROGRESS, RESOLVED),
    CLOSED: (ASSIGNED, IN_PROGRESS, RESOLVED, CLOSED),
    REOPENED: (ASSIGNED, IN_PROGRESS, RESOLVED, REOPENED),
}


@pytest.fixture
def customer(brand: Brand) -> UUID:
    return brand.resolve(phone(1)).customer_id


def about(node: UUID, priority: Priority = Priority.P2, content: str = "", **details: Any) -> About:
    given = {"kind": "COMPLAINT", "topics": (), "product": ""} | details
    return About(node=node, priority=priority, content=content, **given)


def create(brand: Brand, node: UUID, priority: Priority = Priority.P2, **details: Any) -> UUID:
    found: WorkOrder = brand.do(CreateWorkOrder(about(node, priority, **details)))
    return found.id


def move(brand: Brand, id: UUID, *states: WorkOrderState, note: str = "") -> None:
    for it in states:
        brand.do(TransitionWorkOrder(id, it, STAFF if it is ASSIGNED else None, note))


def stored(brand: Brand, id: UUID) -> WorkOrder:
    found = replay(brand.bus.store.load([id])[id])
    assert isinstance(found, WorkOrder)
    return found


def upsert(brand: Brand, node: UUID, version: int, **details: Any) -> Any:
    given = {"state": NEW, "rating": None, "priority": Priority.P2, "created_at": NOON, **details}
    progress = Progress(given.pop("state"), STAFF, given.pop("rating"))
    created_at, priority = given.pop("created_at"), given.pop("priority")
    row = about(node, priority, **given)
    return brand.do(UpsertExternalWorkOrder(Origin("helpdesk", "T-1", version), row, progress, created_at))


def test_ac_12_p2_created_on_friday_at_17_is_due_on_monday_at_17(brand: Brand, customer: UUID) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    brand.do(SetServiceHours(BusinessHours.of("Europe/Berlin", [1, 2, 3, 4, 5], (9 * 60, 18 * 60))))
    brand.clock.set(datetime(2026, 6, 5, 17, tzinfo=berlin))

    id = create(brand, customer, Priority.P2)

    assert stored(brand, id).due_at == datetime(2026, 6, 8, 17, tzinfo=berlin)


@pytest.mark.parametrize("start", WorkOrderState)
def test_it_goes_where_it_can_and_nowhere_else(brand: Brand, customer: UUID, start: WorkOrderState) -> None:
    for to in WorkOrderState:
        id = create(brand, customer)
        move(brand, id, *TO[start])
        if to in WAYS[start]:
            brand.do(TransitionWorkOrder(id, to, OTHER_STAFF, ""))
            assert (stored(brand, id).state, stored(brand, id).assignee) == (to, OTHER_STAFF)
        else:
            with pytest.raises(IllegalTransition) as caught:
                brand.do(TransitionWorkOrder(id, to, OTHER_STAFF, ""))
            assert caught.value.metadata == {"from": start, "to": to}
            assert stored(brand, id).state is start


def test_an_assignment_is_to_somebody_who_has_it_until_another_one_has(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer)
    refused(brand, FieldRequired, lambda: brand.do(TransitionWorkOrder(id, ASSIGNED, None, "")))
    move(brand, id, ASSIGNED, IN_PROGRESS)
    assert stored(brand, id).assignee == STAFF


def test_to_hand_it_to_whoever_has_it_is_no_news_but_a_word_on_it_is(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer)
    move(brand, id, ASSIGNED)
    before = brand.bus.store.head()
    move(brand, id, ASSIGNED)
    assert brand.bus.store.head() == before
    move(brand, id, ASSIGNED, note="please hurry")
    assert len(stored(brand, id).steps) == 2


@pytest.mark.parametrize("state", [RESOLVED, CLOSED])
def test_it_is_reopened_within_30_days_with_its_time_anew(brand: Brand, customer: UUID, state: WorkOrderState) -> None:
    late, timely = create(brand, customer), create(brand, customer)
    for it in (late, timely):
        move(brand, it, *TO[state])
    brand.clock.set(NOON + timedelta(days=30))
    move(brand, timely, REOPENED)
    assert stored(brand, timely).due_at == DEFAULT_HOURS.due(brand.clock.now(), days(1))

    brand.clock.set(NOON + timedelta(days=30, seconds=1))
    refused(brand, IllegalTransition, lambda: move(brand, late, REOPENED))


def days(count: int) -> Allowance:
    return Allowance(days=count)


def test_only_what_is_resolved_is_rated_and_the_last_rating_counts(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer)
    for state in (ASSIGNED, IN_PROGRESS):
        refused(brand, NotResolved, lambda: brand.do(RateWorkOrder(id, 5)))
        move(brand, id, state)
    move(brand, id, RESOLVED)
    for rating in (2, 4, 4):
        brand.do(RateWorkOrder(id, rating))
    assert [it.rating for it in brand.events(WorkOrder.Rated)] == [2, 4]
    move(brand, id, CLOSED)
    brand.do(RateWorkOrder(id, 5))
    move(brand, id, REOPENED)
    refused(brand, NotResolved, lambda: brand.do(RateWorkOrder(id, 1)))


def test_it_is_too_late_once_it_is_due_and_not_before(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer, Priority.P1)
    due = stored(brand, id).due_at
    brand.clock.set(due - timedelta(microseconds=1))
    brand.do(BreachWorkOrderSla(id))
    assert brand.published("WorkOrderSlaBreached") == []
    brand.clock.set(due)
    for _ in range(2):
        brand.do(BreachWorkOrderSla(id))
    assert len(brand.published("WorkOrderSlaBreached")) == 1


def test_what_is_resolved_in_time_is_never_too_late(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer, Priority.P1)
    move(brand, id, *TO[RESOLVED])
    brand.clock.set(NOON + timedelta(days=29))
    brand.do(BreachWorkOrderSla(id))
    assert brand.published("WorkOrderSlaBreached") == []

    move(brand, id, REOPENED)
    brand.clock.set(stored(brand, id).due_at)
    brand.do(BreachWorkOrderSla(id))
    assert len(brand.published("WorkOrderSlaBreached")) == 1


def test_words_are_kept_sealed_for_the_node(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer, content="My cap leaks, call +8613800000001")
    move(brand, id, ASSIGNED, note="Mrs Li will call back")
    found = stored(brand, id)
    assert found.content is not None
    assert brand.opened(customer, CONTENT, found.content) == "My cap leaks, call +8613800000001"
    note = found.steps[0].note
    assert note is not None
    assert brand.opened(customer, NOTE, note) == "Mrs Li will call back"
    told = b"".join(
        it.SerializeToString() for name in ("WorkOrderCreated", "WorkOrderTransitioned") for it in brand.published(name)
    )
    assert b"cap leaks" not in told
    assert b"Li" not in told


def test_it_stays_with_its_node_whoever_that_belongs_to(brand: Brand, customer: UUID) -> None:
    other = brand.resolve(phone(2)).customer_id
    brand.merge(customer, other)
    id = create(brand, other)
    assert stored(brand, id).matter.node == other
    assert brand.published("WorkOrderCreated")[0].node_id == str(other)  # type: ignore[attr-defined]


VERSIONS: list[dict[str, Any]] = [
    {"state": NEW, "priority": Priority.P3, "topics": ("late delivery",)},
    {"state": RESOLVED, "priority": Priority.P1, "content": "it broke", "rating": 4},
    {"state": IN_PROGRESS, "priority": Priority.P2, "product": "cup", "created_at": NOON - timedelta(days=1)},
]


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_a_mirror_is_like_the_newest_version_in_whatever_order_versions_come(
    brand: Brand, customer: UUID, order: tuple[int, ...]
) -> None:
    other = brand.resolve(phone(2)).customer_id
    applied = [upsert(brand, other if it == 3 else customer, it, **VERSIONS[it - 1]).applied for it in order]
    assert applied == [it == max(order[: place + 1]) for place, it in enumerate(order)]
    found = stored(brand, upsert(brand, customer, 1).work_order.id)
    assert (found.state, found.matter.priority, found.matter.node, found.matter.product) == (
        IN_PROGRESS,
        Priority.P2,
        other,
        "cup",
    )
    assert (found.matter.topics, found.content, found.rating) == ((), None, None)
    assert found.created_at == NOON - timedelta(days=1)
    assert found.due_at == DEFAULT_HOURS.due(found.created_at, days(1))
    assert found.origin == Origin("helpdesk", "T-1", 3)


def test_a_mirror_may_jump_and_changes_in_its_own_system_only(brand: Brand, customer: UUID) -> None:
    id = upsert(brand, customer, 1).work_order.id
    upsert(brand, customer, 2, state=CLOSED, rating=3)
    assert [(it.from_state, it.to_state) for it in brand.published("WorkOrderTransitioned")] == [(1, 6)]  # type: ignore[attr-defined]
    assert [it.rating for it in brand.published("WorkOrderRated")] == [3]  # type: ignore[attr-defined]
    refused(brand, WorkOrderMirrored, lambda: move(brand, id, REOPENED))
    refused(brand, WorkOrderMirrored, lambda: brand.do(RateWorkOrder(id, 1)))


def test_two_sources_and_two_numbers_are_two_work_orders(brand: Brand, customer: UUID) -> None:
    keys = [("helpdesk", "T-1"), ("helpdesk", "T-2"), ("phone", "T-1")]
    for source, number in keys:
        brand.do(
            UpsertExternalWorkOrder(
                Origin(source, number, 1), about(customer), Progress(), datetime(2026, 4, 1, tzinfo=UTC)
            )
        )
    assert len(brand.events(WorkOrder.Created)) == 3


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        (lambda brand, _: create(brand, uuid4()), CustomerNotFound),
        (lambda brand, node: create(brand, node, topics=("call 13800000001",)), BadFormat),
        (lambda brand, _: move(brand, uuid4(), ASSIGNED), WorkOrderNotFound),
        (lambda brand, _: brand.do(RateWorkOrder(uuid4(), 1)), WorkOrderNotFound),
        (lambda brand, node: move(brand, node, ASSIGNED), WorkOrderNotFound),
        (lambda brand, _: upsert(brand, uuid4(), 1), CustomerNotFound),
        (lambda brand, node: upsert(brand, node, 1, created_at=NOON + timedelta(hours=1)), FutureTimestamp),
    ],
)
def test_what_cannot_be_is_refused(
    brand: Brand, customer: UUID, attempt: Callable[[Brand, UUID], object], error: type[DomainError]
) -> None:
    refused(brand, error, lambda: attempt(brand, customer))


def test_another_tenants_work_order_is_unknown(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer)
    other = Brand(brand.bus.store, "globex")
    refused(other, WorkOrderNotFound, lambda: move(other, id, ASSIGNED))


def test_hours_set_again_are_no_news_and_change_nothing_that_is_due(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer)
    due = stored(brand, id).due_at
    always = BusinessHours.of("UTC", range(1, 8), (0, 1440))
    for _ in range(2):
        brand.do(SetServiceHours(always))
    assert stored(brand, id).due_at == due
    assert stored(brand, create(brand, customer)).due_at == NOON + timedelta(days=1)


def test_a_timer_stands_for_as_long_as_it_can_be_too_late(brand: Brand, customer: UUID) -> None:
    id = create(brand, customer)
    assert timers(brand) == {str(id): stored(brand, id).due_at}
    move(brand, id, *TO[RESOLVED])
    assert timers(brand) == {}
    move(brand, id, REOPENED)
    assert timers(brand) == {str(id): stored(brand, id).due_at}


def timers(brand: Brand) -> dict[str, datetime]:
    store = brand.bus.store
    if isinstance(store, MemoryEventStore):
        return {it.key: it.due_at for it in store.timers.values() if it.kind == SLA_TIMER}
    assert isinstance(store, PostgresEventStore)
    query = sa.text("SELECT t.key, t.due_at FROM timers t WHERE tenant = 'acme' AND kind = :kind")
    ids = {str(it.originator_id) for it in brand.events(WorkOrder.Created)}
    with store.engine.connect() as rows:
        return {key: due_at for key, due_at in rows.execute(query, {"kind": SLA_TIMER}) if key in ids}
