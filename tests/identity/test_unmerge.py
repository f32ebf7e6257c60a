"""Merges on request and taking merges back (ID-4)."""

from datetime import timedelta
from uuid import UUID, uuid4

from services.identity.application.merge_commands import Side
from services.identity.domain.customer import CustomerState
from services.identity.domain.errors import (
    AlreadyUnmerged,
    CustomerNotFound,
    IdentifierLimit,
    IdentifierNotFound,
    MemberConflict,
    MergeNotFound,
    NeverMerge,
    SameCustomer,
    SurvivorNotKnown,
)
from tests.identity.brand import Brand, anonymous, device, email, member, phone, refused, unionid


def known(brand: Brand, number: int) -> UUID:
    return brand.resolve(phone(number)).customer_id


def shape(brand: Brand, *ids: UUID) -> list[tuple[CustomerState, set[UUID], set[tuple[str, str, bytes]]]]:
    """What there is to see of customers."""
    found = [brand.customer(it) for it in ids]
    return [(it.state, set(it.nodes), set(it.identifiers)) for it in found]


# Merging


def test_two_customers_are_one_on_request(brand: Brand) -> None:
    a, b = known(brand, 1), known(brand, 2)

    brand.merge(a, b)

    assert brand.customer(b).id == a
    assert brand.owner(*phone(2)) == a
    (told,) = brand.published("CustomersMerged")
    assert (told.survivor_id, told.loser_id, told.reason) == (str(a), str(b), "SAME_PERSON")  # type: ignore[attr-defined]


def test_requests_by_the_id_of_a_merged_customer_reach_the_survivor(brand: Brand) -> None:
    a, b, c = (known(brand, it) for it in range(3))
    brand.merge(a, b)

    brand.merge(b, c)

    assert brand.customer(c).id == a


def test_what_must_not_be_merged_isrefused(brand: Brand) -> None:
    a, b = known(brand, 1), known(brand, 2)
    visitor = brand.resolve(anonymous("a")).customer_id
    brand.merge(a, b)

    refused(brand, SameCustomer, lambda: brand.merge(a, b))
    refused(brand, CustomerNotFound, lambda: brand.merge(a, uuid4()))
    refused(brand, SurvivorNotKnown, lambda: brand.merge(visitor, a))


def test_two_member_numbers_are_merged_by_a_steward_only(brand: Brand) -> None:
    a, b = brand.resolve(member(1)).customer_id, brand.resolve(member(2)).customer_id

    refused(brand, MemberConflict, lambda: brand.merge(a, b))
    brand.merge(a, b, by_steward=True)

    assert brand.owner(*member(2)) == a


def test_what_is_too_much_after_a_merge_goes_with_the_next_call_and_not_before(brand: Brand) -> None:
    def crowd(name: str, number: int) -> UUID:
        id = brand.resolve(phone(number)).customer_id
        for part in range(14):
            brand.resolve(phone(number), anonymous(f"{name}{part}"))
            brand.clock.set(brand.clock.now() + timedelta(minutes=1))
        for part in range(10):
            brand.resolve(phone(number), device(f"{name}{part}"))
        return id

    a, b = crowd("a", 1), crowd("b", 2)
    brand.resolve(phone(2), email("one"))

    brand.merge(a, b)
    assert len(brand.customer(a).identifiers) == 51
    brand.resolve(phone(1), email("two"))

    assert len(brand.customer(a).identifiers) == 50
    assert brand.owner(*anonymous("a0")) is None, "the oldest weak one is nobody's"


# Taking back


def test_taking_back_leaves_both_as_if_the_merge_had_never_happened(brand: Brand) -> None:
    a = brand.resolve(phone(1), unionid(1), device("a")).customer_id
    b = brand.resolve(phone(2), email("b")).customer_id
    before = shape(brand, a, b)

    brand.unmerge(brand.merge(a, b))

    assert shape(brand, a, b) == before
    assert brand.owner(*email("b")) == brand.owner(*phone(2)) == b


def test_a_merge_that_identity_made_is_taken_back_like_any_other(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a")).customer_id
    a = brand.resolve(unionid(1)).customer_id
    brand.resolve(anonymous("a"), unionid(1))
    (told,) = brand.published("CustomersMerged")

    brand.unmerge(UUID(told.merge_id))  # type: ignore[attr-defined]

    assert brand.customer(visitor).state is CustomerState.ANONYMOUS
    assert brand.owner(*anonymous("a")) == visitor
    assert brand.owner(*unionid(1)) == a


def test_what_came_after_the_merge_stays_with_the_survivor(brand: Brand) -> None:
    a, b = known(brand, 1), known(brand, 2)
    merge = brand.merge(a, b)
    brand.resolve(phone(2), email("later"))

    brand.unmerge(merge)

    assert brand.owner(*email("later")) == a
    assert brand.owner(*phone(2)) == b


def test_identifiers_go_where_whoever_takes_back_says(brand: Brand) -> None:
    a, b = known(brand, 1), known(brand, 2)
    merge = brand.merge(a, b)
    brand.resolve(phone(2), email("later"))

    brand.unmerge(merge, (email("later"), Side.RESTORED), (phone(2), Side.SURVIVOR))

    assert brand.owner(*email("later")) == b
    assert brand.owner(*phone(2)) == a
    (told,) = brand.published("CustomerUnmerged")
    assert {(it.from_node_id, it.to_node_id) for it in told.identifier_moves} == {  # type: ignore[attr-defined]
        (str(a), str(b)),
        (str(b), str(a)),
    }


def test_an_anonymous_customer_that_gets_something_strong_back_is_known(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a")).customer_id
    a = known(brand, 1)
    merge = brand.merge(a, visitor)
    brand.resolve(phone(1), email("later"))

    brand.unmerge(merge, (email("later"), Side.RESTORED))

    assert brand.customer(visitor).state is CustomerState.KNOWN


def test_identifiers_must_be_there_and_have_room_where_they_are_to_go(brand: Brand) -> None:
    a = brand.resolve(phone(1), unionid(1)).customer_id
    b = brand.resolve(phone(2), unionid(2)).customer_id
    merge = brand.merge(a, b)

    refused(brand, IdentifierNotFound, lambda: brand.unmerge(merge, (email("nobodys"), Side.RESTORED)))
    refused(brand, IdentifierLimit, lambda: brand.unmerge(merge, (unionid(1), Side.RESTORED)))


def test_ac_7_a_part_is_restored_with_its_own_parts(brand: Brand) -> None:
    a, b, c = (known(brand, it) for it in range(3))
    inner = brand.merge(b, c)
    outer = brand.merge(a, b)

    brand.unmerge(outer)
    assert brand.customer(c).id == brand.customer(b).id == b
    assert set(brand.customer(b).nodes) == {b, c}

    brand.unmerge(inner)
    assert {it.id for it in brand.customers()} == {a, b, c}


def test_a_part_of_a_part_is_restored_wherever_its_survivor_is(brand: Brand) -> None:
    a, b, c = (known(brand, it) for it in range(3))
    inner = brand.merge(b, c)
    outer = brand.merge(a, b)

    brand.unmerge(inner)
    assert brand.customer(c).id == c
    assert brand.owner(*phone(2)) == c
    assert brand.customer(b).id == a

    brand.unmerge(outer)
    assert set(brand.customer(b).nodes) == {b}
    assert brand.owner(*phone(1)) == b


def test_a_merge_is_taken_back_once(brand: Brand) -> None:
    merge = brand.merge(known(brand, 1), known(brand, 2))
    brand.unmerge(merge)

    refused(brand, AlreadyUnmerged, lambda: brand.unmerge(merge))
    refused(brand, MergeNotFound, lambda: brand.unmerge(uuid4()))


def test_ever_limits_follow_their_nodes(brand: Brand) -> None:
    """A lost unionid of the loser counts for the survivor while they are one, and for the loser afterwards."""
    a = brand.resolve(phone(1)).customer_id
    b = brand.resolve(phone(2), unionid(2)).customer_id
    brand.unlink(b, unionid(2))
    merge = brand.merge(a, b)
    refused(brand, IdentifierLimit, lambda: brand.link(a, unionid(1)))

    brand.unmerge(merge)

    assert brand.link(a, unionid(1)).id == a
    refused(brand, IdentifierLimit, lambda: brand.link(b, unionid(3)))


# Never again


def test_the_two_are_not_joined_again_by_what_they_show(brand: Brand) -> None:
    a, b = known(brand, 1), known(brand, 2)
    brand.unmerge(brand.merge(a, b))

    found = brand.resolve(phone(1), phone(2))

    assert found.customer_id == a
    assert brand.owner(*phone(2)) == b
    refused(brand, NeverMerge, lambda: brand.merge(a, b))


def test_even_proof_does_not_join_them(brand: Brand) -> None:
    a = brand.resolve(unionid(1)).customer_id
    b = brand.resolve(email("b")).customer_id
    brand.keep_apart(a, b)

    found = brand.resolve(unionid(1), email("b"), authenticated=True)

    assert found.outcome == "CONFLICT_RESOLVED"
    assert brand.customer(b).merged_into is None
    (told,) = brand.published("IdentityConflictDetected")
    assert told.rule == "NEVER_MERGE"  # type: ignore[attr-defined]


def test_they_stay_apart_as_parts_of_others(brand: Brand) -> None:
    a, b, c = (known(brand, it) for it in range(3))
    brand.keep_apart(a, b)
    merge = brand.merge(c, a)

    refused(brand, NeverMerge, lambda: brand.merge(c, b))
    brand.unmerge(merge)
    brand.merge(c, b)
    refused(brand, NeverMerge, lambda: brand.merge(a, b))


def test_what_keeps_them_apart_can_be_revoked(brand: Brand) -> None:
    a, b = known(brand, 1), known(brand, 2)
    brand.unmerge(brand.merge(a, b))

    brand.allow_reunion(b, a)

    assert brand.resolve(phone(1), phone(2), authenticated=True).outcome == "MERGED"
