"""How much one customer can have, and when an identifier stops telling who somebody is (ID-1, guards of ID-2)."""

from datetime import timedelta

import pytest

from chassis.event_store import MemoryEventStore
from services.identity.domain.claim import ClaimState
from services.identity.domain.customer import Customer
from services.identity.domain.identifiers import DropReason, GivenIdentifier
from services.identity.domain.namespaces import NAMESPACES, Namespace
from tests.identity.brand import NOON, Brand, anonymous, device, drops, email, member, phone, unionid

DAY = timedelta(days=1)


# Limits


def test_a_third_phone_is_dropped_and_found_free(brand: Brand) -> None:
    known = brand.resolve(unionid(1), phone(1), phone(2))

    found = brand.resolve(unionid(1), phone(3), authenticated=True)

    assert (found.outcome, found.customer_id) == ("CONFLICT_RESOLVED", known.customer_id)
    assert drops(found) == [("phone", DropReason.LIMIT)]
    assert brand.owner(*phone(3)) is None


def test_a_recycled_phone_goes_to_its_new_holder_when_authenticated(brand: Brand) -> None:
    old = brand.resolve(phone(1), unionid(1), email("old"))
    visitor = brand.resolve(anonymous("a"))

    found = brand.resolve(anonymous("a"), phone(1), unionid(2), authenticated=True)

    assert found.customer_id == visitor.customer_id
    assert brand.owner(*phone(1)) == found.customer_id
    assert brand.owner(*unionid(1)) == brand.owner(*email("old")) == old.customer_id
    assert drops(found) == []


def test_a_recycled_phone_stays_where_it_is_when_not_authenticated(brand: Brand) -> None:
    old = brand.resolve(phone(1), unionid(1))

    found = brand.resolve(phone(1), unionid(2))

    assert drops(found) == [("phone", DropReason.LIMIT)]
    assert brand.owner(*phone(1)) == old.customer_id
    assert brand.owner(*unionid(2)) == found.customer_id


def test_only_what_breaks_a_limit_is_put_aside(brand: Brand) -> None:
    brand.resolve(member(1), email("jane"))

    found = brand.resolve(member(2), email("jane"), device("new"))

    assert drops(found) == [("email", DropReason.LIMIT)]
    assert brand.owner(*device("new")) == found.customer_id


@pytest.mark.parametrize("namespace", NAMESPACES.values(), ids=NAMESPACES)
def test_every_namespace_has_room_up_to_its_limit_and_no_further(namespace: Namespace) -> None:
    brand = Brand(MemoryEventStore())
    room = [value_of(namespace, number) for number in range(namespace.limit.count + 1)]
    known = brand.resolve(("weibo_uid", "anchor") if namespace.name != "weibo_uid" else phone(99)).customer_id

    dropped = [drops(brand.resolve(it, customer_id=known)) for it in room]

    assert dropped == [[]] * namespace.limit.count + [[(namespace.name, DropReason.LIMIT)]]
    assert brand.owner(*room[0]) == known
    assert brand.owner(*room[-1]) is None


def value_of(namespace: Namespace, number: int) -> tuple[str, str]:
    match namespace.name:
        case "phone":
            return phone(number)
        case "email":
            return email(f"e{number}")
    return namespace.name, f"value-{number:020}"


def test_limits_hold_for_each_scope_by_itself(brand: Brand) -> None:
    openids = [GivenIdentifier("mp_openid", f"o{number}", f"app{number}") for number in range(3)]

    assert brand.resolve(*openids).outcome == "CREATED"
    found = brand.resolve(openids[0], GivenIdentifier("mp_openid", "o9", "app0"))
    assert drops(found) == [("mp_openid", DropReason.LIMIT)]


def test_a_limit_with_a_window_counts_recent_identifiers_only(brand: Brand) -> None:
    brand.resolve(phone(1), *(anonymous(f"old{number}") for number in range(19)), occurred_at=NOON - 31 * DAY)
    brand.resolve(phone(1), *(anonymous(f"new{number}") for number in range(19)))

    assert drops(brand.resolve(phone(1), anonymous("the 20th"))) == []
    assert drops(brand.resolve(phone(1), anonymous("the 21st"))) == [("anonymous_id", DropReason.LIMIT)]


def test_beyond_fifty_identifiers_the_oldest_weak_one_goes(brand: Brand) -> None:
    for month in range(3):
        names = (anonymous(f"v{month}-{number:02}") for number in range(16))
        brand.resolve(phone(1), *names, occurred_at=NOON - (3 - month) * 31 * DAY)
    known = brand.resolve(phone(1), device("d"))
    assert len(brand.customer(known.customer_id).identifiers) == 50

    found = brand.resolve(phone(1), email("jane"))

    customer = brand.customer(found.customer_id)
    gone = [f"v0-{number:02}" for number in range(16) if brand.owner(*anonymous(f"v0-{number:02}")) is None]
    assert len(customer.identifiers) == 50
    assert len(gone) == 1
    assert brand.claim(*anonymous(gone[0])).state is ClaimState.FREE
    assert brand.resolve(anonymous(gone[0])).outcome == "CREATED"
    assert brand.claim(*anonymous(gone[0])).state is ClaimState.CLAIMED


def test_the_same_conflict_is_told_once(brand: Brand) -> None:
    brand.resolve(phone(1), device("d"))
    brand.resolve(phone(2), device("d"))

    again = brand.resolve(phone(2), device("d"))

    assert again.outcome == "CONFLICT_RESOLVED"
    assert len(brand.events(Customer.ConflictDetected)) == 1


# Guards


def test_a_phone_in_ten_hands_within_a_day_is_blocked(brand: Brand) -> None:
    for number in range(9):
        brand.resolve(phone(1), unionid(number), authenticated=True)
    assert brand.claim(*phone(1)).state is ClaimState.CLAIMED

    brand.resolve(phone(1), unionid(9), authenticated=True)

    assert brand.claim(*phone(1)).state is ClaimState.BLOCKED
    assert drops(brand.resolve(phone(1), unionid(0))) == [("phone", DropReason.BLOCKED)]
    assert len(brand.published("IdentifierBlocked")) == 1


def test_a_phone_in_ten_hands_over_weeks_is_not_blocked(brand: Brand) -> None:
    for number in range(12):
        brand.resolve(phone(1), unionid(number), authenticated=True, occurred_at=NOON - (20 - number) * DAY)

    assert brand.claim(*phone(1)).state is ClaimState.CLAIMED


def test_a_device_seen_with_four_known_customers_years_apart_is_not_shared(brand: Brand) -> None:
    for number in range(6):
        at = NOON - (6 - number) * 200 * DAY
        brand.resolve(phone(number), device("d"), authenticated=True, occurred_at=at)

    assert brand.claim(*device("d")).state is ClaimState.CLAIMED


def test_customers_who_turn_out_to_be_one_count_once_for_a_shared_device(brand: Brand) -> None:
    for number in range(3):
        brand.resolve(phone(number), device("d"))
        brand.resolve(phone(number), email(f"e{number}"))
    brand.resolve(phone(1), email("e2"), authenticated=True)
    found = brand.resolve(phone(7), device("d"))

    assert brand.claim(*device("d")).state is ClaimState.CLAIMED, "0, 1 = 2 and 7 are three"
    assert drops(found) == [("device_id", DropReason.FOREIGN)]
