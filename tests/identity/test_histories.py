"""The customers are what the record says, after random histories, also of several writers at once; a twin history, and a planted bug."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest

from chassis.log import EventStore
from services.identity.domain.customer import Customer
from services.identity.domain.identifiers import IdentifierKey
from services.identity.domain.merging import Merge
from tests.identity.brand import Brand, device, email, phone
from tests.identity.histories import History, careless, compare, wrong_histories

HISTORIES = 2_000


def test_customers_are_what_the_record_says() -> None:
    assert wrong_histories(range(HISTORIES)) == []


def test_also_when_several_write_at_once_on_two_replicas(store: EventStore) -> None:
    """Each thread has a bus of its own, as each replica has."""
    for attempt in range(5):
        tenant = f"tenant-{attempt}"
        replicas = [Brand(store, tenant) for _ in range(4)]
        with ThreadPoolExecutor(len(replicas)) as pool:
            for done in [pool.submit(History(it, 97 * attempt + n).run, 20) for n, it in enumerate(replicas)]:
                done.result()
        assert replicas[0].events(Merge.Made)
        compare(Brand(store, tenant))


def test_an_identifier_that_stays_on_the_wrong_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control."""
    monkeypatch.setattr(Customer, "belongings_of", careless(Customer.belongings_of))
    assert wrong_histories(range(HISTORIES // 10))


def test_a_merge_taken_back_at_once_was_never_there(store: EventStore) -> None:
    """A twin history without it leads to the same customers."""
    for seed in range(20):
        shapes = []
        for merges in (True, False):
            brand = Brand(store, f"{seed}-{merges}")
            people = [_arrive(brand, it) for it in range(4)]
            if merges:
                pair = Random(seed).sample(people, 2)
                brand.clock.set(brand.clock.now() + timedelta(hours=1))
                brand.unmerge(brand.merge(*pair))
                brand.allow_reunion(*pair)
            after = Random(seed)
            for _ in range(8):
                one, other = after.choices(range(4), k=2)
                brand.resolve(phone(one), device(f"d{after.randint(1, 3)}"), email(f"p{other}"), authenticated=True)
            shapes.append([_shape(brand, people, it) for it in people])
        assert shapes[0] == shapes[1]


def _arrive(brand: Brand, number: int) -> UUID:
    """The earlier, the lower the number: who survives whom depends on it."""
    brand.clock.set(brand.clock.now() + timedelta(minutes=1))
    return brand.resolve(phone(number), email(f"p{number}")).customer_id


def _shape(brand: Brand, people: list[UUID], id: UUID) -> tuple[int, str, list[IdentifierKey]]:
    customer = brand.customer(id)
    hmacs = sorted((ns, scope, b"") for ns, scope, _ in customer.identifiers)
    return people.index(customer.id), customer.state, hmacs
