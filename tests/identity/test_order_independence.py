"""Whatever the order in which calls arrive, the same people come out, as a naive reference says (ID-2, order independence).

Calls come from people whom the generator knows. Each has several logins, and devices of which each is used with one login.
No limit is hit, and every call is authenticated; under these conditions the rules promise the connected components of the
identifiers that came together in a call, which is all the reference computes.
"""

from collections.abc import Iterable, Sequence
from random import Random
from uuid import UUID

import pytest

from chassis.event_store import MemoryEventStore
from services.identity.application.resolving import Resolution
from services.identity.domain.customer import Customer
from tests.identity.brand import Brand

Known = tuple[str, str]
Partition = frozenset[frozenset[Known]]

SHUFFLES = 200
SEEDS = range(20)


def person(random: Random, number: int) -> list[list[Known]]:
    """Calls of one person: devices with their login, logins together, and devices of one login by themselves."""
    logins: list[Known] = [("phone", f"+8613{number:03}00000{it}") for it in range(random.randint(1, 2))]
    logins += [("email", f"p{number}-{it}@x.com") for it in range(random.randint(0, 2))]
    if random.random() < 0.5:
        logins.append(("wechat_unionid", f"unionid-of-person-{number:05}"))
    calls: list[list[Known]] = []
    for place, login in enumerate(logins):
        devices: list[Known] = [("anonymous_id", f"a{number}-{place}-{it}") for it in range(random.randint(0, 2))]
        devices += [("device_id", f"d{number}-{place}-{it}") for it in range(random.randint(0, 1))]
        for _ in range(random.randint(1, 3)):
            seen = random.sample(devices, random.randint(0, len(devices)))
            others = random.sample(logins, 1) if random.random() < 0.3 else []
            calls.append([*seen, login, *others])
            if seen:
                calls.append(random.sample(seen, random.randint(1, len(seen))))
    return calls


def reference(calls: Iterable[Sequence[Known]]) -> Partition:
    """The connected components of identifiers that came together."""
    groups: list[set[Known]] = []
    for call in calls:
        joined = set(call).union(*(it for it in groups if it & set(call)))
        groups = [it for it in groups if not it & set(call)] + [joined]
    return frozenset(frozenset(it) for it in groups)


def outcome(calls: Sequence[Sequence[Known]]) -> Partition:
    """Which identifiers lead to one customer after all calls."""
    brand = Brand(MemoryEventStore())
    for start in range(0, len(calls), 7):
        results = brand.batch(*(brand.call(*call, authenticated=True) for call in calls[start : start + 7]))
        assert all(isinstance(it, Resolution) and not it.dropped for it in results)
    people: dict[UUID | None, set[Known]] = {}
    for identifier in {it for call in calls for it in call}:
        people.setdefault(brand.owner(*identifier), set()).add(identifier)
    assert None not in people
    assert_consistent(brand)
    return frozenset(frozenset(it) for it in people.values())


def assert_consistent(brand: Brand) -> None:
    """Every identifier and node has exactly one customer, and claims and customers agree."""
    customers = brand.customers()
    nodes = [node for it in customers for node in it.nodes]
    assert len(nodes) == len(set(nodes)) == len(brand.events(Customer.Registered))
    held = [(key, it) for it in customers for key in it.identifiers]
    assert len(held) == len({key for key, _ in held})
    for it in customers:
        assert all(identifier.node in it.nodes for identifier in it.identifiers.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_people_do_not_depend_on_the_order_of_calls(seed: int) -> None:
    random = Random(seed)
    calls = [call for number in range(4) for call in person(random, number)]
    expected = reference(calls)

    for _ in range(SHUFFLES // len(SEEDS)):
        random.shuffle(calls)
        assert outcome(calls) == expected


def test_the_order_matters_where_a_device_changes_hands() -> None:
    """The condition of the property is needed: with one device under two logins the last one has it."""
    calls: list[list[Known]] = [
        [("device_id", "d"), ("phone", "+8613800000001")],
        [("device_id", "d"), ("phone", "+8613800000002")],
    ]

    assert outcome(calls) != outcome(calls[::-1])


def test_the_reference_joins_what_came_together() -> None:
    given: list[list[Known]] = [[("a", "1"), ("a", "2")], [("a", "3")], [("a", "2"), ("a", "4")]]

    assert reference(given) == {frozenset({("a", "1"), ("a", "2"), ("a", "4")}), frozenset({("a", "3")})}
