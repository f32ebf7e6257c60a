"""Who is created with what, what is refused, and batches (ID-2, rules 3 and 8); on both stores."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.errors import DomainError
from chassis.event_store import MemoryEventStore
from services.identity.application.resolving import Resolution
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer
from services.identity.domain.errors import (
    BadIdentifier,
    CustomerIdTaken,
    CustomerNotFound,
    FutureTimestamp,
    NoUsableIdentifier,
)
from tests.identity.brand import NOON, Brand, anonymous, device, drops, phone

DAY = timedelta(days=1)


# Creation


def test_nobody_is_created_unless_wanted(brand: Brand) -> None:
    with pytest.raises(CustomerNotFound):
        brand.resolve(phone(1), create_if_missing=False)

    assert brand.bus.store.head() == 0


def test_the_assignment_key_is_the_id_unless_chosen(brand: Brand) -> None:
    plain, chosen = brand.resolve(anonymous("a")), brand.resolve(phone(1), assignment_key="cdnow:00001")

    assert brand.customer(plain.customer_id).assignment_key == str(plain.customer_id)
    assert brand.customer(chosen.customer_id).assignment_key == "cdnow:00001"


def test_an_anonymous_customer_with_the_default_key_takes_over_the_one_it_becomes_known_with(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a"))

    brand.resolve(anonymous("a"), phone(1), assignment_key="cdnow:00001")
    brand.resolve(anonymous("a"), phone(1), assignment_key="cdnow:00002")

    assert brand.customer(visitor.customer_id).assignment_key == "cdnow:00001"
    assert [it.assignment_key for it in brand.events(Customer.BecameKnown)] == ["cdnow:00001"]


def test_a_chosen_key_is_never_replaced(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a"), assignment_key="mine")

    brand.resolve(anonymous("a"), phone(1), assignment_key="cdnow:00001")

    assert brand.customer(visitor.customer_id).assignment_key == "mine"


def test_an_id_of_another_tenant_cannot_be_chosen(brand: Brand) -> None:
    theirs = Brand(brand.bus.store, "other").resolve(phone(1))

    with pytest.raises(CustomerIdTaken):
        brand.resolve(phone(1), new_customer_id=theirs.customer_id)


def test_an_importer_chooses_the_id(brand: Brand) -> None:
    chosen = uuid4()

    assert brand.resolve(phone(1), new_customer_id=chosen).customer_id == chosen
    assert brand.resolve(phone(1), new_customer_id=uuid4()).customer_id == chosen
    with pytest.raises(CustomerIdTaken):
        brand.resolve(phone(2), new_customer_id=chosen)


# Refusals


def test_a_call_without_usable_identifier_is_refused(brand: Brand) -> None:
    for call in ([], [phone(1)][:0], [("anonymous_id", "null"), ("device_id", "")]):
        with pytest.raises(NoUsableIdentifier):
            brand.resolve(*call)


def test_an_unknown_customer_is_refused_and_so_is_another_tenants(brand: Brand) -> None:
    theirs = Brand(brand.bus.store, "other").resolve(phone(1))

    for id in (uuid4(), theirs.customer_id):
        with pytest.raises(CustomerNotFound):
            brand.resolve(phone(1), customer_id=id)
    assert brand.resolve(phone(1)).customer_id != theirs.customer_id


def test_the_future_is_refused_beyond_five_minutes(brand: Brand) -> None:
    brand.resolve(phone(1), occurred_at=NOON + timedelta(minutes=5))

    with pytest.raises(FutureTimestamp):
        brand.resolve(phone(2), occurred_at=NOON + timedelta(minutes=5, microseconds=1))


# Batches


def test_a_batch_resolves_in_order_with_an_answer_for_each(brand: Brand) -> None:
    results = brand.batch(
        brand.call(anonymous("a")),
        brand.call(anonymous("null")),
        BadIdentifier(ns="phone"),
        brand.call(anonymous("a"), phone(1)),
        brand.call(anonymous("b")),
        brand.call(anonymous("b"), phone(1)),
        brand.call(phone(2), create_if_missing=False),
    )

    outcomes = [it.outcome if isinstance(it, Resolution) else type(it) for it in results]
    assert outcomes == [
        "CREATED", NoUsableIdentifier, BadIdentifier, "EXTENDED", "CREATED", "MERGED", CustomerNotFound,
    ]  # fmt: skip
    assert len(brand.customers()) == 1


def test_a_batch_does_what_its_calls_do_one_by_one() -> None:
    batched, single = Brand(MemoryEventStore()), Brand(MemoryEventStore())
    given: list[tuple[list[tuple[str, str]], dict[str, Any]]] = [
        ([anonymous("a")], {}),
        ([anonymous("b"), device("d")], {}),
        ([anonymous("a"), phone(1)], {"authenticated": True}),
        ([phone(2), device("d")], {}),
        ([phone(3), device("d")], {"authenticated": True}),
        ([phone(1), phone(2)], {"authenticated": True}),
        ([phone(1), anonymous("b")], {}),
        ([phone(3), phone(2)], {}),
    ]

    in_one = batched.batch(*(batched.call(*identifiers, **details) for identifiers, details in given))
    one_by_one: list[Resolution | DomainError] = [single.resolve(*ids, **details) for ids, details in given]

    assert [it.outcome for it in in_one if isinstance(it, Resolution)] == [
        it.outcome for it in one_by_one if isinstance(it, Resolution)
    ]
    assert [drops(it) for it in in_one] == [drops(it) for it in one_by_one]


def test_claims_of_other_tenants_do_not_matter(brand: Brand) -> None:
    other = Brand(brand.bus.store, "other")
    theirs, ours = other.resolve(phone(1)), brand.resolve(phone(1))

    assert ours.outcome == "CREATED"
    assert [it.tenant for one in (brand, other) for it in one.events(IdentifierClaim.Claimed)] == ["acme", "other"]
    assert isinstance(theirs.customer_id, UUID)
