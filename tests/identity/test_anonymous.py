"""Anonymous customers expire when nobody has seen them for long (ID-5): their identifiers are free, what was counted stays."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from chassis.event_store import MemoryEventStore, PostgresEventStore
from chassis.timers import TimerLoop
from services.identity.application.expiry_commands import ExpireAnonymous
from services.identity.application.namespace_commands import SetAnonymousLifetime
from services.identity.application.owners import EXPIRY_TIMER
from services.identity.domain.claim import ClaimState
from services.identity.domain.customer import Customer, CustomerState, UnlinkReason
from tests.chassis.streams import running, settled, until
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, Brand, anonymous, device, phone

DAY = timedelta(days=1)


def after(brand: Brand, days: float) -> None:
    brand.clock.set(brand.clock.now() + days * DAY)


def expire(brand: Brand, *customers: UUID) -> list[UUID]:
    """Let their timers come due; who has expired by now."""
    for it in customers:
        brand.do(ExpireAnonymous(it))
    return [it.originator_id for it in brand.events(Customer.Expired)]


def due(brand: Brand, customer: UUID) -> float:
    """In how many days the customer is looked at again."""
    assert isinstance(brand.bus.store, MemoryEventStore)
    timer = brand.bus.store.timers[brand.tenant, EXPIRY_TIMER, str(customer)]
    return (timer.due_at - brand.clock.now()) / DAY


def test_a_visitor_nobody_has_seen_for_180_days_expires(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a"), device("d"))
    after(brand, 179.9)
    assert expire(brand, visitor.customer_id) == []

    after(brand, 0.1)
    assert expire(brand, visitor.customer_id) == [visitor.customer_id]

    assert brand.claim(*anonymous("a")).state is brand.claim(*device("d")).state is ClaimState.FREE
    assert brand.customer(visitor.customer_id).identifiers == {}
    assert [it.reason for it in brand.events(Customer.IdentifiersUnlinked)] == [UnlinkReason.EXPIRED]
    assert brand.resolve(anonymous("a")).outcome == "CREATED"
    assert expire(brand, visitor.customer_id) == [visitor.customer_id], "only once"


def test_other_services_are_told_when_the_visitor_was_last_seen(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a")).customer_id
    after(brand, 3)
    brand.batch(brand.call(anonymous("a")), brand.call(anonymous("a")))
    seen = brand.clock.now()
    after(brand, 180)
    expire(brand, visitor)

    (told,) = brand.published("AnonymousExpired")
    assert told.customer_id == str(visitor)  # type: ignore[attr-defined]
    assert told.last_seen_time.ToDatetime(seen.tzinfo) == seen  # type: ignore[attr-defined]


def test_a_visitor_who_was_seen_again_is_looked_at_again_later() -> None:
    brand = Brand(MemoryEventStore())
    visitor = brand.resolve(anonymous("a")).customer_id
    assert due(brand, visitor) == 180
    after(brand, 100)
    brand.resolve(anonymous("a"))
    assert due(brand, visitor) == 80, "the timer is not moved with every sight"

    after(brand, 80)
    assert expire(brand, visitor) == []
    assert due(brand, visitor) == 100
    after(brand, 100)
    assert expire(brand, visitor) == [visitor]

    brand.resolve(anonymous("new"), customer_id=visitor)
    assert due(brand, visitor) == 180


def test_who_is_seen_after_the_brand_shortened_the_time_is_looked_at_in_time() -> None:
    brand = Brand(MemoryEventStore())
    before = brand.resolve(anonymous("a")).customer_id
    after(brand, 10)
    brand.do(SetAnonymousLifetime(30))
    after(brand, 10)
    later = brand.resolve(anonymous("b")).customer_id
    after(brand, 10)
    brand.batch(brand.call(anonymous("a")), brand.call(anonymous("b")))

    assert (due(brand, before), due(brand, later)) == (30, 20)


def test_sights_are_noted_once_a_day(brand: Brand) -> None:
    brand.resolve(anonymous("a"))
    head = brand.bus.store.head()
    for _ in range(3):
        after(brand, 0.3)
        brand.batch(*[brand.call(anonymous("a"))] * 20)
    assert brand.bus.store.head() == head

    after(brand, 0.1)
    brand.batch(*[brand.call(anonymous("a"))] * 20)
    assert brand.bus.store.head() == head + 1


def test_who_became_known_or_part_of_another_never_expires(brand: Brand) -> None:
    known = brand.resolve(anonymous("a")).customer_id
    brand.resolve(anonymous("a"), phone(1))
    merged = brand.resolve(anonymous("b")).customer_id
    brand.resolve(anonymous("b"), phone(1))
    assert brand.customer(merged).id == known

    after(brand, 1_000)

    assert expire(brand, known, merged) == []
    assert brand.owner(*anonymous("a")) == brand.owner(*anonymous("b")) == known


def test_who_is_named_by_id_after_expiring_is_there_again(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a")).customer_id
    after(brand, 180)
    expire(brand, visitor)

    again = brand.resolve(anonymous("new"), customer_id=visitor)

    assert (again.customer_id, again.state) == (visitor, CustomerState.ANONYMOUS)
    after(brand, 179)
    assert expire(brand, visitor) == [visitor]
    after(brand, 1)
    assert expire(brand, visitor) == [visitor, visitor]


def test_whoever_is_somebody_of_their_own_again_is_kept_as_long_as_anybody() -> None:
    brand = Brand(MemoryEventStore())
    known = brand.resolve(phone(1)).customer_id
    visitor = brand.resolve(anonymous("a")).customer_id
    merge = brand.merge(known, visitor)
    after(brand, 400)
    brand.bus.store.timers.clear()  # type: ignore[attr-defined]

    brand.unmerge(merge)

    assert due(brand, visitor) == 180


def test_a_brand_may_keep_visitors_for_another_time(brand: Brand) -> None:
    brand.do(SetAnonymousLifetime(30))
    visitor = brand.resolve(anonymous("a")).customer_id
    other = Brand(brand.bus.store, "globex")
    theirs = other.resolve(anonymous("a")).customer_id
    for it in (brand, other):
        after(it, 30)

    assert expire(brand, visitor) == [visitor]
    assert expire(other, theirs) == []


@pytest.mark.parametrize("known_there", [True, False])
def test_another_brand_s_visitor_is_nobody(known_there: bool) -> None:
    brand = Brand(MemoryEventStore())
    visitor = brand.resolve(phone(1) if known_there else anonymous("a")).customer_id
    other = Brand(brand.bus.store, "globex")
    after(other, 400)

    assert expire(other, visitor) == expire(brand) == []


def test_timers_fire_from_their_rows(migrated: Migrated, loop: asyncio.AbstractEventLoop) -> None:
    made = migrated("expiry", MIGRATIONS)
    store = PostgresEventStore(made.writer_dsn)
    brand = Brand(store)
    visitors = [brand.resolve(anonymous(f"a{number}")).customer_id for number in range(20)]
    after(brand, 100)
    brand.resolve(anonymous("a7"))
    after(brand, 81)

    async def fire() -> None:
        commands = {EXPIRY_TIMER: lambda timer: ExpireAnonymous(UUID(timer.key))}
        brand.bus.start()
        async with running(one := TimerLoop(brand.bus, commands, store.engine, brand.clock)):
            await until(lambda: settled(one))
            assert one.fired == 20
            assert len(brand.events(Customer.Expired)) == 19
            after(brand, 100)
            await until(lambda: settled(one))
        brand.bus.stop()

    loop.run_until_complete(fire())
    expired = {it.originator_id for it in brand.events(Customer.Expired)}
    assert expired == set(visitors)
    store.close()
