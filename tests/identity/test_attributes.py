"""What sources say of people, and which of it counts (ID-6)."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from chassis.errors import BadFormat, DomainError, FieldRequired, UnknownEnum
from chassis.event_store import PostgresEventStore, PostgresTransaction
from services.identity.application.attribute_upsert import UpsertAttributes
from services.identity.application.consent_commands import RecordConsent
from services.identity.domain.attribute_values import AttributeValues
from services.identity.domain.attributes import AttributeDefinition, AttributeType, MergePolicy
from services.identity.domain.consent import ConsentState, Purpose
from services.identity.domain.errors import (
    AttributeKeyTaken,
    ConsentMissing,
    CustomerErased,
    CustomerNotFound,
    FutureTimestamp,
    TypeMismatch,
    UnknownAttribute,
)
from tests.identity.brand import NOON, Brand, phone, refused
from tests.identity.people import (
    DECLARED,
    IMPORT,
    INFERRED,
    STAFF,
    WECHAT,
    defined,
    forgotten,
    kept,
    resolved,
    says,
    told,
    told_all,
    value,
)

DAY = timedelta(days=1)


def on(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


@pytest.fixture
def node(brand: Brand) -> UUID:
    return brand.resolve(phone(1)).customer_id


@pytest.fixture
def other(brand: Brand) -> UUID:
    return brand.resolve(phone(2)).customer_id


def test_ac_10_what_the_customer_declared_counts_until_its_node_leaves(brand: Brand, node: UUID, other: UUID) -> None:
    told(brand, node, says("nickname", "Leo", WECHAT, on(2025, 3, 1)))
    told(brand, node, says("nickname", "Li Wei", IMPORT, on(2025, 4, 1)))
    assert value(brand, node, "nickname") == "Leo"

    told(brand, other, says("nickname", "李伟", DECLARED, on(2025, 1, 1)))
    merge = brand.merge(node, other)
    assert value(brand, node, "nickname") == value(brand, other, "nickname") == "李伟"
    assert resolved(brand, node)["nickname"].of[0].node == other

    brand.unmerge(merge)
    assert value(brand, node, "nickname") == "Leo"
    assert value(brand, other, "nickname") == "李伟"


def test_of_one_rank_the_newest_counts_and_of_equally_new_the_smallest_node(
    brand: Brand, node: UUID, other: UUID
) -> None:
    brand.merge(node, other)
    told(brand, other, says("city", "Suzhou", STAFF, NOON - DAY))
    told(brand, node, says("city", "Shanghai", STAFF, NOON - 2 * DAY))
    assert value(brand, node, "city") == "Suzhou"
    told(brand, node, says("city", "Wuxi", STAFF, NOON - DAY))
    assert value(brand, node, "city") == ("Wuxi" if node < other else "Suzhou")


def test_what_is_said_of_a_merged_customer_stays_at_its_node(brand: Brand, node: UUID, other: UUID) -> None:
    merge = brand.merge(node, other)
    assert told(brand, other, says("city", "Suzhou")) == node
    brand.unmerge(merge)
    assert value(brand, node, "city") is None
    assert value(brand, other, "city") == "Suzhou"


def test_a_merge_and_its_undoing_store_nothing_about_attributes(brand: Brand, node: UUID, other: UUID) -> None:
    told(brand, node, says("city", "Suzhou"))
    told(brand, other, says("city", "Wuxi"))
    before = len(brand.events(AttributeValues.Changed))
    brand.unmerge(brand.merge(node, other))
    assert len(brand.events(AttributeValues.Changed)) == before


def test_lists_of_all_sources_and_nodes_are_united(brand: Brand, node: UUID, other: UUID) -> None:
    told(brand, node, says("hobbies", ("tea", "go"), IMPORT))
    told(brand, node, says("hobbies", ("hiking", "tea"), DECLARED))
    told(brand, other, says("hobbies", ("opera",), STAFF))
    brand.merge(node, other)
    assert value(brand, node, "hobbies") == ("hiking", "tea", "opera", "go")


def test_an_older_value_of_the_same_source_changes_nothing(brand: Brand, node: UUID) -> None:
    told(brand, node, says("name", "Ann", at=NOON))
    before = brand.bus.store.head()
    told(brand, node, says("name", "Anna", at=NOON - DAY))
    assert brand.bus.store.head() == before
    assert value(brand, node, "name") == "Ann"


def test_the_same_value_again_changes_nothing(brand: Brand, node: UUID) -> None:
    told(brand, node, says("name", "Ann", at=NOON), says("city", "Suzhou", at=NOON))
    before = brand.bus.store.head()
    told(brand, node, says("name", "Ann", at=NOON), says("city", "Suzhou", at=NOON - DAY))
    assert brand.bus.store.head() == before


def test_the_same_value_later_is_told_to_nobody_and_counts_as_newer(brand: Brand, node: UUID, other: UUID) -> None:
    told(brand, node, says("city", "Suzhou", at=NOON - 2 * DAY))
    told(brand, other, says("city", "Wuxi", at=NOON - DAY))
    brand.merge(node, other)
    before = brand.bus.store.head()
    told(brand, node, says("city", "Suzhou", at=NOON))
    assert value(brand, node, "city") == "Suzhou"
    assert brand.published("AttributesChanged", before) == []


def test_the_order_of_arrival_does_not_matter(brand: Brand) -> None:
    said = [
        says("name", "A", at=NOON - 3 * DAY),
        says("name", "B", at=NOON - 2 * DAY),
        says("name", "A", at=NOON - DAY),
        says("name", None, at=NOON - 2 * DAY - timedelta(hours=1)),
    ]
    for customer, order in enumerate(permutations(said)):
        node = brand.resolve(phone(customer)).customer_id
        for it in order:
            told(brand, node, it)
        assert value(brand, node, "name") == "A"
        assert resolved(brand, node)["name"].of[0].observed_at == NOON - DAY


@pytest.mark.parametrize("values", [("A", "B"), ("B", "A")])
def test_of_two_things_said_at_one_moment_the_same_one_counts(
    brand: Brand, node: UUID, values: tuple[str, str]
) -> None:
    for it in values:
        told(brand, node, says("name", it, at=NOON))
    assert value(brand, node, "name") == "B"


def test_a_source_can_take_back_what_it_said(brand: Brand, node: UUID) -> None:
    told(brand, node, says("city", "Suzhou", IMPORT), says("city", "Wuxi", DECLARED, NOON - DAY))
    told(brand, node, says("city", None, DECLARED, NOON))
    assert value(brand, node, "city") == "Suzhou"
    told(brand, node, says("city", "Wuxi", DECLARED, NOON - timedelta(hours=1)))
    assert value(brand, node, "city") == "Suzhou"


def test_personal_values_are_sealed_in_the_log_and_others_are_told(brand: Brand, node: UUID) -> None:
    told(brand, node, says("name", "Ann Lee"), says("city", "Suzhou"))
    (event,) = brand.events(AttributeValues.Changed)
    name, city = event.changed
    assert name.new.text is None
    assert name.new.sealed
    assert b"Ann Lee" not in name.new.sealed
    assert brand.opened(node, "attribute.name", name.new.sealed) == "Ann Lee"
    assert city.new.text == "Suzhou"

    (message,) = brand.published("AttributesChanged")
    told_of: Any = message
    assert b"Ann Lee" not in message.SerializeToString()
    assert [(it.key, it.value, it.HasField("value"), it.source_rank) for it in told_of.changed] == [
        ("name", "", False, 50),
        ("city", "Suzhou", True, 50),
    ]
    assert told_of.node_id == str(node)


def test_others_are_told_what_was_said_before_unless_it_is_personal(brand: Brand, node: UUID) -> None:
    told(brand, node, says("name", "Ann"), says("city", "Suzhou"))
    brand.clock.set(NOON + DAY)
    told(brand, node, says("name", "Anna"), says("city", None))
    changed: Any = brand.published("AttributesChanged")[-1]
    name, city = changed.changed
    assert not name.HasField("old_value")
    assert (city.old_value, city.cleared, city.HasField("value")) == ("Suzhou", True, False)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (says("shoe_size", 42.0), UnknownAttribute),
        (says("name", 42.0), TypeMismatch),
        (says("gender", "x"), UnknownEnum),
        (says("birthdate", "2023-02-29"), BadFormat),
        (says("name", "Ann", at=NOON + timedelta(minutes=6)), FutureTimestamp),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_recorded(
    brand: Brand, node: UUID, said: Any, error: type[DomainError]
) -> None:
    refused(brand, error, lambda: told(brand, node, says("city", "Suzhou"), said))


def test_an_unknown_customer_is_not_found(brand: Brand) -> None:
    refused(brand, CustomerNotFound, lambda: told(brand, UUID(int=1), says("city", "Suzhou")))


def test_another_tenants_customer_is_not_found(brand: Brand, node: UUID) -> None:
    globex = Brand(brand.bus.store, "globex")
    refused(globex, CustomerNotFound, lambda: told(globex, node, says("city", "Suzhou")))


def test_each_item_of_a_batch_has_an_answer_of_its_own(brand: Brand, node: UUID, other: UUID) -> None:
    gone = brand.resolve(phone(3)).customer_id
    told(brand, gone, says("name", "Eve"))
    forgotten(brand, gone)
    results = told_all(
        brand,
        UpsertAttributes(node, (says("name", "Ann"), says("city", "Suzhou"))),
        UpsertAttributes(other, (says("city", "Wuxi"), says("name", True))),
        UpsertAttributes(UUID(int=1), (says("city", "Wuxi"),)),
        UnknownAttribute(),
        UpsertAttributes(gone, (says("name", "Eva"),)),
        UpsertAttributes(node, (says("city", "Nanjing", at=NOON + timedelta(seconds=1)),)),
    )
    assert [it.id if not isinstance(it, DomainError) else type(it) for it in results] == [
        node, TypeMismatch, CustomerNotFound, UnknownAttribute, CustomerErased, node,
    ]  # fmt: skip
    assert (value(brand, node, "name"), value(brand, node, "city")) == ("Ann", "Nanjing")
    assert value(brand, other, "city") is None


SIZE = AttributeDefinition("shoe_size", AttributeType.NUMBER, pii=False)
SKIN = AttributeDefinition("skin", AttributeType.ENUM, pii=True, enum=("DRY", "OILY"), sensitive=True)


def test_a_brand_defines_attributes_of_its_own(brand: Brand, node: UUID) -> None:
    defined(brand, SIZE)
    told(brand, node, says("shoe_size", 42.0))
    assert value(brand, node, "shoe_size") == 42
    assert [it.definition.key for it in brand.published("AttributeDefined")] == ["shoe_size"]  # type: ignore[attr-defined]
    globex = Brand(brand.bus.store, "globex")
    theirs = globex.resolve(phone(1)).customer_id
    refused(globex, UnknownAttribute, lambda: told(globex, theirs, says("shoe_size", 42.0)))


def test_an_attribute_defined_again_may_allow_more_and_nothing_else(brand: Brand) -> None:
    defined(brand, SKIN)
    before = brand.bus.store.head()
    defined(brand, SKIN)
    assert brand.bus.store.head() == before
    more = AttributeDefinition("skin", AttributeType.ENUM, pii=True, enum=("DRY", "OILY", "MIXED"), sensitive=True)
    defined(brand, more)
    for wrong in (
        SKIN,
        AttributeDefinition("skin", AttributeType.TEXT, pii=True),
        AttributeDefinition("skin", AttributeType.ENUM, pii=False, enum=more.enum),
        AttributeDefinition("name", AttributeType.TEXT, pii=False),
    ):
        refused(brand, AttributeKeyTaken, lambda wrong=wrong: defined(brand, wrong))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        (AttributeDefinition("a", AttributeType.ENUM, pii=False), FieldRequired),
        (AttributeDefinition("a", AttributeType.TEXT, pii=False, enum=("A",)), TypeMismatch),
        (AttributeDefinition("a", AttributeType.TEXT, pii=False, merge_policy=MergePolicy.UNION), TypeMismatch),
        (AttributeDefinition("a", AttributeType.TEXT, pii=False, sensitive=True), BadFormat),
    ],
)
def test_an_unsound_definition_is_refused(
    brand: Brand, definition: AttributeDefinition, error: type[DomainError]
) -> None:
    refused(brand, error, lambda: defined(brand, definition))


def test_by_newest_the_time_counts_before_the_source(brand: Brand, node: UUID) -> None:
    defined(brand, AttributeDefinition("mood", AttributeType.TEXT, pii=False, merge_policy=MergePolicy.NEWEST))
    told(brand, node, says("mood", "low", DECLARED, NOON - DAY), says("mood", "high", INFERRED, NOON))
    assert value(brand, node, "mood") == "high"


def test_what_is_sensitive_is_inferred_only_with_consent(brand: Brand, node: UUID) -> None:
    defined(brand, SKIN)
    told(brand, node, says("skin", "DRY", DECLARED, NOON - DAY))
    refused(brand, ConsentMissing, lambda: told(brand, node, says("skin", "OILY", INFERRED)))
    brand.do(RecordConsent(node, Purpose.SENSITIVE_INFERENCE, "", ConsentState.GRANTED, "v1", "FORM"))
    told(brand, node, says("skin", "OILY", INFERRED))
    assert len(resolved(brand, node)["skin"].of) == 1
    assert len(kept(brand, node).of_nodes[0].values) == 2


def test_a_batch_takes_as_many_queries_as_one_item(postgres_brand: Brand, monkeypatch: pytest.MonkeyPatch) -> None:
    store = postgres_brand.bus.store
    assert isinstance(store, PostgresEventStore)
    nodes = [postgres_brand.resolve(phone(it)).customer_id for it in range(41)]
    asked: list[str] = []
    ask = PostgresTransaction._ask

    def noted(self: PostgresTransaction, query: Any, of: Any) -> Any:
        asked.append(query)
        return ask(self, query, of)

    monkeypatch.setattr(PostgresTransaction, "_ask", noted)
    sa.event.listen(store.engine, "before_cursor_execute", lambda *it: asked.append(it[2]))

    def batch(*of: UUID) -> list[str]:
        brand = Brand(store)  # one that remembers nothing
        asked.clear()
        said = (says("name", "Ann"), says("city", "Suzhou"), says("nickname", "Leo", WECHAT))
        results = told_all(brand, *(UpsertAttributes(it, said) for it in of))
        assert not any(isinstance(it, DomainError) for it in results)
        return list(asked)

    assert batch(nodes[0]) == batch(*nodes[1:])
