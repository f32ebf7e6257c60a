"""Values that a brand never takes for identifiers (ID-1, tenant list): dropped like placeholders, wherever they come."""

from time import perf_counter

import pytest

from chassis.event_store import MemoryEventStore
from services.identity.domain.errors import (
    BadIdentifier,
    BlockedValueNotFound,
    BlockPatternTooBroad,
    IdentifierUnusable,
    NoUsableIdentifier,
    TooManyBlockedValues,
    UnknownNamespace,
)
from services.identity.domain.identifiers import DropReason
from services.identity.domain.namespace_settings import MOST_BLOCKED, NamespaceSettings
from services.identity.domain.patterns import Pattern
from tests.identity.brand import Brand, device, drops, email, phone, refused, unionid
from tests.identity.settings import block, rules, unblock

BLOCKED = [("phone", DropReason.BLOCKED)]


def test_a_blocked_value_is_dropped_however_it_is_written(brand: Brand) -> None:
    block(brand, "phone", "138 0000 0001")
    brand.reader.learn(brand.tenant, rules(brand))

    assert drops(brand.resolve(phone(1), unionid(1))) == BLOCKED
    refused(brand, NoUsableIdentifier, lambda: brand.resolve(("phone", "+86 138-0000-0001")))
    refused(brand, IdentifierUnusable, lambda: brand.link(brand.resolve(unionid(1)).node_id, phone(1)))
    assert drops(brand.resolve(phone(2), unionid(1))) == []


def test_a_value_blocked_on_another_replica_is_dropped_at_once(brand: Brand) -> None:
    block(brand, "phone", "+8613800000001")

    assert drops(brand.resolve(phone(1), unionid(1))) == BLOCKED
    refused(brand, IdentifierUnusable, lambda: brand.link(brand.resolve(unionid(1)).node_id, phone(1)))


def test_whoever_has_a_blocked_value_keeps_it_but_is_not_found_by_it(brand: Brand) -> None:
    had = brand.resolve(phone(1), unionid(1))

    blocked = block(brand, "phone", "+8613800000001")
    assert drops(brand.resolve(phone(1), unionid(2))) == BLOCKED
    unblock(brand, blocked.block_id)

    assert brand.resolve(phone(1)).customer_id == had.customer_id


@pytest.mark.parametrize(
    ("pattern", "given"),
    [
        ("+86170*", "170 1234 5678"),
        ("170*5678", "17012345678"),
        ("TEST-?-[0-9][0-9]*", "test-a-12 and more"),
    ],
)
def test_a_pattern_fits_what_is_given_and_what_is_looked_up(brand: Brand, pattern: str, given: str) -> None:
    """The last one could never be a phone number."""
    block(brand, "phone", pattern)
    brand.reader.learn(brand.tenant, rules(brand))

    assert drops(brand.resolve(("phone", given), unionid(1), email("jane"), phone(2))) == BLOCKED


def test_the_record_has_no_blocked_value_but_patterns_as_they_are(brand: Brand) -> None:
    block(brand, "email", "jane@example.com")
    block(brand, "email", "*@example.org")

    one, other = brand.events(NamespaceSettings.ValueBlocked)
    assert one.blocked.pattern is None
    assert one.blocked.value_hmac is not None
    assert b"jane" not in one.blocked.value_hmac
    assert (other.blocked.pattern, other.blocked.value_hmac) == ("*@example.org", None)
    told = brand.published("IdentifierBlocked")
    assert [bool(it.value_hmac) for it in told] == [True, False]  # type: ignore[attr-defined]
    assert not any(b"example" in it.SerializeToString() for it in told)


def test_the_same_is_blocked_once(brand: Brand) -> None:
    first = block(brand, "phone", "+8613800000001")
    pattern = block(brand, "phone", "+86170*")

    assert block(brand, "phone", "13800000001").block_id == first.block_id
    assert block(brand, "phone", "+86170*").block_id == pattern.block_id
    assert block(brand, "email", "+86170*").block_id != pattern.block_id
    assert len(brand.events(NamespaceSettings.ValueBlocked)) == 3


def test_what_is_not_blocked_cannot_be_unblocked(brand: Brand) -> None:
    blocked = block(brand, "phone", "+86170*")
    unblock(brand, blocked.block_id)

    refused(brand, BlockedValueNotFound, lambda: unblock(brand, blocked.block_id))
    globex = Brand(brand.bus.store, "globex")
    other = block(brand, "phone", "+86171*")
    refused(globex, BlockedValueNotFound, lambda: unblock(globex, other.block_id))


def test_another_brand_blocks_nothing_by_it() -> None:
    acme = Brand(MemoryEventStore())
    globex = Brand(acme.bus.store, "globex")
    block(acme, "phone", "+8613800000001")
    block(acme, "phone", "+86138*")

    globex.reader.learn("globex", rules(globex))
    assert drops(globex.resolve(phone(1))) == []


@pytest.mark.parametrize("pattern", ["*", "*1*", "??*", "[0-9][0-9][0-9][0-9]*", "ab*"])
def test_a_pattern_that_says_next_to_nothing_is_refused(pattern: str) -> None:
    brand = Brand(MemoryEventStore())

    refused(brand, BlockPatternTooBroad, lambda: block(brand, "phone", pattern))


def test_only_what_could_be_an_identifier_is_blocked_as_a_value() -> None:
    brand = Brand(MemoryEventStore())

    refused(brand, BadIdentifier, lambda: block(brand, "phone", "n/a"))
    refused(brand, UnknownNamespace, lambda: block(brand, "passport", "A1234567"))
    refused(brand, UnknownNamespace, lambda: block(brand, "passport", "A12*"))


def test_a_brand_blocks_so_many_and_no_more() -> None:
    brand = Brand(MemoryEventStore())
    for number in range(MOST_BLOCKED):
        block(brand, "device_id", f"d{number}")

    refused(brand, TooManyBlockedValues, lambda: block(brand, "device_id", "one more"))
    assert block(brand, "device_id", "d7").blocked_at == brand.clock.now()
    assert drops(brand.resolve(device("d999"), phone(1))) == [("device_id", DropReason.BLOCKED)]


def test_no_pattern_takes_long_whatever_it_is_compared_with() -> None:
    """Patterns on which an engine that goes back again and again would not come to an end, over the longest value."""
    long = "a" * 1024
    began = perf_counter()

    for text in ("a*" * 63 + "b", "*a?" * 42 + "b", "[a-z]*" * 21 + "b", "*" + "a?" * 62 + "b*"):
        assert not Pattern(text).fits(long)

    assert perf_counter() - began < 0.5
