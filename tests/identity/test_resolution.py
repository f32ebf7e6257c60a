"""Who a call is about (ID-2): whose identifiers lead to whom, and who goes on for whom; on both stores."""

from datetime import timedelta

from services.identity.domain.customer import ConflictRule, Customer, CustomerState
from services.identity.domain.identifiers import DropReason
from tests.identity.brand import NOON, Brand, anonymous, device, drops, email, member, phone, unionid, verified

DAY = timedelta(days=1)


# Nobody, one, several owners


def test_an_unseen_strong_identifier_makes_a_known_customer(brand: Brand) -> None:
    found = brand.resolve(phone(1))

    assert (found.outcome, found.state, found.node_id) == ("CREATED", CustomerState.KNOWN, found.customer_id)
    assert brand.owner(*phone(1)) == found.customer_id
    assert [it.DESCRIPTOR.name for it in brand.published("CustomerBecameKnown")] == ["CustomerBecameKnown"]


def test_an_unseen_device_makes_an_anonymous_customer(brand: Brand) -> None:
    found = brand.resolve(anonymous("a"))

    assert (found.outcome, found.state) == ("CREATED", CustomerState.ANONYMOUS)
    assert not brand.published("CustomerBecameKnown")


def test_a_known_identifier_changes_nothing(brand: Brand) -> None:
    first = brand.resolve(phone(1), anonymous("a"))
    head = brand.bus.store.head()

    again = brand.resolve(anonymous("a"))

    assert (again.outcome, again.customer_id) == ("MATCHED", first.customer_id)
    assert brand.bus.store.head() == head


def test_more_identifiers_extend_the_customer_under_the_own_node(brand: Brand) -> None:
    first = brand.resolve(phone(1))

    found = brand.resolve(phone(1), email("jane"), anonymous("a"))

    assert (found.outcome, found.customer_id) == ("EXTENDED", first.customer_id)
    linked = brand.published("IdentifierLinked")
    assert [it.namespace for it in linked] == ["phone", "email", "anonymous_id"]  # type: ignore[attr-defined]
    assert {it.node_id for it in linked} == {str(first.customer_id)}  # type: ignore[attr-defined]


def test_the_first_strong_identifier_makes_an_anonymous_customer_known_once(brand: Brand) -> None:
    first = brand.resolve(anonymous("a"))

    brand.resolve(anonymous("a"), unionid(1), phone(1))
    brand.resolve(anonymous("a"), unionid(1), email("jane"))

    (event,) = brand.events(Customer.BecameKnown)
    assert (event.originator_id, event.via_namespace) == (first.customer_id, "wechat_unionid")


def test_anonymous_customers_are_merged_into_the_known_one(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a"))
    known = brand.resolve(phone(1))

    found = brand.resolve(anonymous("a"), phone(1))

    assert (found.outcome, found.customer_id, found.node_id) == ("MERGED", known.customer_id, known.customer_id)
    (merged,) = brand.published("CustomersMerged")
    assert (merged.survivor_id, merged.loser_id) == (str(known.customer_id), str(visitor.customer_id))  # type: ignore[attr-defined]
    assert list(merged.node_ids) == [str(visitor.customer_id)]  # type: ignore[attr-defined]
    assert not brand.events(Customer.BecameKnown)


def test_facts_of_a_merged_device_stay_with_its_node(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a"))
    known = brand.resolve(phone(1))
    brand.resolve(anonymous("a"), phone(1))

    found = brand.resolve(anonymous("a"))

    assert (found.customer_id, found.node_id) == (known.customer_id, visitor.customer_id)


def test_a_chain_of_merges_moves_all_nodes_and_leads_to_the_last_survivor(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a"), occurred_at=NOON - 3 * DAY)
    junior = brand.resolve(phone(1), occurred_at=NOON - DAY)
    senior = brand.resolve(unionid(1), occurred_at=NOON - 2 * DAY)
    brand.resolve(anonymous("a"), phone(1))

    found = brand.resolve(phone(1), unionid(1), authenticated=True)

    assert (found.outcome, found.customer_id) == ("MERGED", senior.customer_id)
    last = brand.events(Customer.Merged)[-1]
    assert (last.loser_id, set(last.node_ids)) == (junior.customer_id, {junior.customer_id, visitor.customer_id})
    assert brand.resolve(anonymous("a")).customer_id == senior.customer_id


def test_known_customers_are_merged_when_authenticated(brand: Brand) -> None:
    one, other = brand.resolve(phone(1)), brand.resolve(unionid(1))

    found = brand.resolve(phone(1), unionid(1), authenticated=True)

    assert found.outcome == "MERGED"
    assert {one.customer_id, other.customer_id} > {found.customer_id}


def test_known_customers_are_merged_when_everything_that_points_to_them_is_verified(brand: Brand) -> None:
    brand.resolve(phone(1))
    brand.resolve(unionid(1))

    assert brand.resolve(verified(phone(1)), verified(unionid(1))).outcome == "MERGED"


def test_known_customers_who_meet_without_proof_stay_apart(brand: Brand) -> None:
    brand.resolve(phone(1))
    best = brand.resolve(unionid(1))
    brand.resolve(anonymous("a"))

    found = brand.resolve(verified(phone(1)), unionid(1), email("new"), anonymous("a"))

    assert (found.outcome, found.customer_id) == ("CONFLICT_RESOLVED", best.customer_id)
    assert drops(found) == [(it, DropReason.CONFLICT) for it in ("phone", "email", "anonymous_id")]
    assert [it.rule for it in brand.events(Customer.ConflictDetected)] == [ConflictRule.KNOWN_MEETS_KNOWN]
    assert brand.owner(*email("new")) is None
    assert len(brand.customers()) == 3


def test_devices_never_join_two_known_customers(brand: Brand) -> None:
    one = brand.resolve(phone(1), device("d1"))
    brand.resolve(phone(2), device("d2"))

    found = brand.resolve(device("d1"), device("d2"), authenticated=True)

    assert (found.outcome, found.customer_id) == ("CONFLICT_RESOLVED", one.customer_id)
    assert brand.owner(*device("d2")) != one.customer_id


def test_a_new_login_on_somebody_elses_device_is_a_new_person(brand: Brand) -> None:
    owner = brand.resolve(phone(1), device("d"))

    found = brand.resolve(phone(2), device("d"))

    assert (found.outcome, found.state) == ("CREATED", CustomerState.KNOWN)
    assert drops(found) == [("device_id", DropReason.FOREIGN)]
    assert brand.owner(*device("d")) == owner.customer_id


def test_the_newest_authenticated_login_gets_the_device_but_not_its_history(brand: Brand) -> None:
    owner = brand.resolve(anonymous("a"), phone(1))

    found = brand.resolve(phone(2), anonymous("a"), authenticated=True)

    assert drops(found) == []
    assert brand.resolve(anonymous("a")).node_id == found.customer_id
    assert brand.customer(owner.customer_id).nodes.keys() == {owner.customer_id}
    assert len(brand.published("IdentifierReassigned")) == 1
    assert len(brand.published("IdentifierUnlinked")) == 1


def test_the_customer_whom_the_caller_knows_counts_as_the_best_identifier(brand: Brand) -> None:
    brand.resolve(phone(1), device("d"))
    known = brand.resolve(phone(2))

    found = brand.resolve(device("d"), anonymous("new"), customer_id=known.customer_id)

    assert (found.customer_id, found.node_id) == (known.customer_id, known.customer_id)
    assert drops(found) == [("device_id", DropReason.FOREIGN)]
    assert brand.owner(*anonymous("new")) == known.customer_id


def test_a_customer_without_identifiers_in_the_call_is_matched(brand: Brand) -> None:
    known = brand.resolve(phone(2))

    assert brand.resolve(customer_id=known.customer_id).outcome == "MATCHED"


# Survivors


def test_the_one_with_a_member_number_survives(brand: Brand) -> None:
    brand.resolve(phone(1), occurred_at=NOON - 2 * DAY)
    junior = brand.resolve(member(1), occurred_at=NOON - DAY)

    assert brand.resolve(phone(1), member(1), authenticated=True).customer_id == junior.customer_id


def test_the_known_one_survives_an_older_anonymous_one(brand: Brand) -> None:
    brand.resolve(anonymous("a"), occurred_at=NOON - 2 * DAY)
    junior = brand.resolve(phone(1), occurred_at=NOON - DAY)

    assert brand.resolve(anonymous("a"), phone(1)).customer_id == junior.customer_id


def test_the_earlier_one_survives_and_else_the_smaller_id(brand: Brand) -> None:
    brand.resolve(anonymous("a"))
    earlier = brand.resolve(anonymous("b"), occurred_at=NOON - DAY)
    assert brand.resolve(anonymous("a"), anonymous("b")).customer_id == earlier.customer_id

    ids = [brand.resolve(anonymous(it)).customer_id for it in ("c", "d")]
    assert brand.resolve(anonymous("d"), anonymous("c")).customer_id == min(ids)
