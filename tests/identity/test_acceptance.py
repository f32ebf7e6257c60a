"""The acceptance examples of the specification for identity, AC-1 to AC-4, on both stores."""

import asyncio
from uuid import uuid4

import pytest

from chassis.context import entered
from services.identity.application.resolving import Resolution
from services.identity.domain.claim import ClaimState
from services.identity.domain.customer import Customer, CustomerState
from services.identity.domain.errors import NoUsableIdentifier
from services.identity.domain.identifiers import DropReason
from tests.identity.brand import Brand, drops

UNIONID = ("wechat_unionid", "U1-0123456789abcdefghi")
PHONE = ("phone", "+8613800000001")


def test_ac_1_a_second_member_number_keeps_the_shared_email_with_the_first(brand: Brand) -> None:
    jane = brand.resolve(("member_no", "M1-00"), ("email", "jane@x.com"))

    found = brand.resolve(("member_no", "M2-00"), ("email", "jane@x.com"), authenticated=False)

    assert (found.outcome, found.customer_id != jane.customer_id) == ("CREATED", True)
    assert drops(found) == [("email", DropReason.LIMIT)]
    assert brand.owner("member_no", "M2-00") == found.customer_id
    assert brand.owner("email", "jane@x.com") == jane.customer_id
    assert len(brand.published("IdentityConflictDetected")) == 1


def test_ac_2_an_anonymous_visitor_becomes_known_and_the_second_device_joins(brand: Brand) -> None:
    opens = [brand.resolve(("anonymous_id", "A")) for _ in range(3)]

    bound = brand.resolve(("anonymous_id", "A"), UNIONID, PHONE)

    assert (bound.outcome, bound.state) == ("EXTENDED", CustomerState.KNOWN)
    assert {it.customer_id for it in opens} == {bound.customer_id}

    view = brand.resolve(("anonymous_id", "B"))
    joined = brand.resolve(("anonymous_id", "B"), UNIONID)

    assert (joined.outcome, joined.customer_id) == ("MERGED", bound.customer_id)
    trail = [it.node_id for it in (*opens, view)]
    assert set(trail) == brand.customer(bound.customer_id).nodes.keys(), "all four opens are on one trail"


@pytest.mark.parametrize("authenticated", [False, True])
def test_ac_3_a_store_tablet_joins_nobody_and_is_shared_after_the_fourth(brand: Brand, authenticated: bool) -> None:
    tablet = ("device_id", "ipad:1")
    found: list[Resolution] = []
    for number in range(7):
        found.append(brand.resolve(("phone", f"+861380000000{number}"), tablet, authenticated=authenticated))
        shared = brand.claim(*tablet).state is ClaimState.SHARED
        assert shared is (number >= 3)

    assert len({it.customer_id for it in found}) == 7
    assert not brand.events(Customer.Merged)
    assert [drops(it) for it in found[4:]] == [[("device_id", DropReason.SHARED)]] * 3
    assert len(brand.published("IdentifierMarkedShared")) == 1


@pytest.mark.parametrize("authenticated", [False, True])
def test_ac_3_a_second_person_on_a_phone_bound_device_is_a_new_customer(brand: Brand, authenticated: bool) -> None:
    device, second = ("device_id", "D"), ("phone", "+8613800000002")
    visits = brand.resolve(device)
    first = brand.resolve(PHONE, device)
    assert first.customer_id == visits.customer_id

    found = brand.resolve(second, device, authenticated=authenticated)

    assert found.outcome == "CREATED"
    assert brand.owner(*device) == (found if authenticated else first).customer_id
    assert brand.customer(visits.node_id).id == first.customer_id, "the first one's history is untouched"


def test_ac_4_parallel_first_sights_make_one_customer(brand: Brand) -> None:
    async def call() -> Resolution:
        with entered(brand.context(str(uuid4()))):
            found: Resolution = await brand.bus.execute(brand.call(PHONE))
            return found

    async def calls() -> list[Resolution]:
        return await asyncio.gather(*(call() for _ in range(200)))

    brand.bus.start()
    try:
        found = asyncio.new_event_loop().run_until_complete(calls())
    finally:
        brand.bus.stop()

    outcomes = [it.outcome.value for it in found]
    assert (outcomes.count("CREATED"), outcomes.count("MATCHED")) == (1, 199)
    assert len({it.customer_id for it in found}) == len(brand.customers()) == 1


def test_ac_4_parallel_first_sights_through_two_replicas_make_one_customer(brand: Brand) -> None:
    """Each replica has its own cache and writer; only the store decides who was first."""
    replicas = [brand, Brand(brand.bus.store)]

    async def call(number: int) -> Resolution:
        replica = replicas[number % 2]
        with entered(replica.context(str(uuid4()))):
            found: Resolution = await replica.bus.execute(replica.call(PHONE))
            return found

    async def calls() -> list[Resolution]:
        return await asyncio.gather(*(call(number) for number in range(200)))

    for it in replicas:
        it.bus.start()
    try:
        found = asyncio.new_event_loop().run_until_complete(calls())
    finally:
        for it in replicas:
            it.bus.stop()

    outcomes = [it.outcome.value for it in found]
    assert (outcomes.count("CREATED"), outcomes.count("MATCHED")) == (1, 199)
    assert len({it.customer_id for it in found}) == len(brand.customers()) == 1


def test_ac_4_a_placeholder_user_id_makes_no_customer(brand: Brand) -> None:
    for number in range(10):
        with pytest.raises(NoUsableIdentifier):
            brand.resolve(("user_id", "null"), request_id=str(number))

    assert brand.customers() == []
