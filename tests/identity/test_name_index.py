"""People are found by name though nobody can read their names off the index: words, sounds, and what changes them."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from google.protobuf.message import Message

from chassis.commands import Effect, Unit
from chassis.envelope import Incoming
from services.identity.application.attribute_upsert import Observation, UpsertAttributes
from services.identity.application.name_indexing import NameIndexing
from services.identity.domain.attributes import AttributeSource
from services.identity.domain.name_index import NameHashes, NameIndex, searchable, words_of
from tests.identity.brand import NOON, SECRET, Brand, phone

DECLARED, IMPORT = AttributeSource.CUSTOMER_DECLARED, AttributeSource.IMPORT
HASHES = NameHashes(SECRET)
SECOND = timedelta(seconds=1)


def say(brand: Brand, node: UUID, name: str | None, source: AttributeSource = DECLARED, key: str = "name") -> None:
    brand.clock.set(brand.clock.now() + SECOND)
    brand.do(UpsertAttributes(node, (Observation(key, source, name),)))
    index(brand)


def index(brand: Brand) -> None:
    """Follow everything that was ever told of attributes, as often as that happens."""
    batch = [heard(brand, it) for it in brand.published("AttributesChanged")]
    indexing = NameIndexing(brand.vault, HASHES)
    for outcome in brand.bus.run_now(Unit([(brand.context(), Effect(lambda work: indexing.follow(batch, work)))])):
        assert outcome.error is None


def heard(brand: Brand, message: Message) -> Incoming:
    """A message of identity as identity itself hears it."""
    return Incoming(
        "identity", 1, 1, 0, 1, brand.tenant, message.DESCRIPTOR.full_name, "", 0, "identity/1/1", NOON, brand.context(),
        message.SerializeToString(),
    )  # fmt: skip


def found(brand: Brand, query: str) -> bool:
    """Whether the last index of anybody has every word of `query`."""
    indexed = brand.events(NameIndex.Indexed)[-1]
    return set(HASHES.of(brand.tenant, words_of(query))) <= set(indexed.hashes)


@pytest.mark.parametrize(
    ("name", "queries"),
    [
        ("李伟", ["李伟", "li wei", "Wei Li", "liwei", "LI"]),
        ("Anne-Marie Müller", ["anne", "müller", "muller", "Anne Marie", "annemariemüller"]),
        ("Ｌｅｏ", ["leo"]),
    ],
)
def test_a_name_is_found_as_it_is_written_and_as_it_sounds(name: str, queries: Sequence[str]) -> None:
    for query in queries:
        assert set(words_of(query)) <= searchable(name)
    assert "anna" not in searchable(name)


def test_words_of_another_brand_have_other_hashes() -> None:
    assert not set(HASHES.of("acme", ["li"])) & set(HASHES.of("globex", ["li"]))
    assert HASHES.of("acme", []) == ()


def test_a_person_is_found_by_every_name_that_anybody_knows(brand: Brand) -> None:
    customer = brand.resolve(phone(1)).customer_id
    say(brand, customer, "李伟")
    assert found(brand, "li wei")
    assert not found(brand, "leo")

    say(brand, customer, "Leo", IMPORT, "nickname")
    assert found(brand, "leo")
    assert found(brand, "李伟")

    say(brand, customer, None)
    assert not found(brand, "李伟")
    assert found(brand, "leo")


def test_what_was_told_before_changes_nothing(brand: Brand) -> None:
    customer = brand.resolve(phone(1)).customer_id
    say(brand, customer, "李伟")
    before = brand.bus.store.head()

    index(brand)
    assert brand.bus.store.head() == before


def test_other_attributes_are_no_names(brand: Brand) -> None:
    customer = brand.resolve(phone(1)).customer_id
    say(brand, customer, "Shanghai", key="city")

    assert brand.events(NameIndex.Indexed) == []


def test_no_word_stands_in_the_log(brand: Brand) -> None:
    customer = brand.resolve(phone(1)).customer_id
    say(brand, customer, "Leopold")

    logged = repr(brand.events(NameIndex.Indexed))
    assert "leopold" not in logged.lower()
    assert b"leopold".hex() not in logged


def test_an_erased_person_is_found_no_more(brand: Brand) -> None:
    customer = brand.resolve(phone(1)).customer_id
    say(brand, customer, "Leo")
    brand.bus.run_now(Unit([(brand.context(), Effect(lambda work: brand.vault.destroy(work, [customer])))]))

    index(brand)
    assert brand.events(NameIndex.Indexed)[-1].hashes == ()
