"""A brand has rules of its own for its identifiers (ID-1 `cfg`), which hold from the next decision on and change no history."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from chassis.errors import DomainError, ValueOutOfRange, VersionConflict
from chassis.event_store import MemoryEventStore
from chassis.log import EventStore
from services.identity.application.namespace_commands import SetNamespaceConfig
from services.identity.domain.customer import Customer, CustomerState
from services.identity.domain.errors import (
    NamespaceFixed,
    NamespacePriorityClash,
    TooManyNamespaces,
    UnknownNamespace,
)
from services.identity.domain.forms import FormName
from services.identity.domain.identifiers import DropReason, GivenIdentifier
from services.identity.domain.namespace_settings import MOST_NAMESPACES, NamespaceConfig, NamespaceSettings
from tests.identity.brand import Brand, anonymous, device, drops, email, phone, refused, unionid
from tests.identity.histories import STEPS, History, compare
from tests.identity.settings import CARD, config, configure


def card(number: int) -> tuple[str, str]:
    return "loyalty_card", f"card-{number}"


def test_a_brand_may_allow_more_of_a_kind(brand: Brand) -> None:
    brand.resolve(unionid(1), phone(1), phone(2))
    assert drops(brand.resolve(unionid(1), phone(3))) == [("phone", DropReason.LIMIT)]

    configure(brand, config("phone", limit=3))

    assert drops(brand.resolve(unionid(1), phone(3))) == []
    assert drops(brand.resolve(unionid(1), phone(4))) == [("phone", DropReason.LIMIT)]


def test_a_lower_limit_takes_nothing_away(brand: Brand) -> None:
    known = brand.resolve(unionid(1), phone(1), phone(2)).customer_id

    configure(brand, config("phone", limit=1))

    assert brand.owner(*phone(1)) == brand.owner(*phone(2)) == known
    assert drops(brand.resolve(unionid(1), phone(3))) == [("phone", DropReason.LIMIT)]


def test_a_window_counts_recent_identifiers_only(brand: Brand) -> None:
    configure(brand, config("email", limit=1, window_days=7))
    brand.resolve(phone(1), email("old"))
    assert drops(brand.resolve(phone(1), email("new"))) == [("email", DropReason.LIMIT)]

    brand.clock.set(brand.clock.now().replace(day=9))

    assert drops(brand.resolve(phone(1), email("new"))) == []


def test_what_counts_for_ever_counts_also_what_was_lost_since(brand: Brand) -> None:
    known = brand.resolve(unionid(1), email("before")).customer_id
    brand.unlink(known, email("before"))
    configure(brand, config("email", limit=1, ever=True))
    brand.link(known, email("lost"))
    brand.unlink(known, email("lost"))

    assert drops(brand.resolve(unionid(1), email("next"))) == [("email", DropReason.LIMIT)]
    assert drops(brand.resolve(unionid(1), email("lost"))) == []


def test_what_no_longer_counts_for_ever_makes_room(brand: Brand) -> None:
    known = brand.resolve(phone(1), unionid(1)).customer_id
    brand.unlink(known, unionid(1))
    assert drops(brand.resolve(unionid(2), customer_id=known)) == [("wechat_unionid", DropReason.LIMIT)]

    configure(brand, config("wechat_unionid", ever=False))

    assert drops(brand.resolve(unionid(2), customer_id=known)) == []


def test_what_was_strong_and_is_weak_joins_nobody(brand: Brand) -> None:
    one = brand.resolve(email("jane"), phone(1)).customer_id
    other = brand.resolve(phone(2)).customer_id
    configure(brand, config("email", priority=10, strong=False))

    found = brand.resolve(email("jane"), phone(2))

    assert (found.customer_id, drops(found)) == (other, [("email", DropReason.FOREIGN)])
    assert brand.customer(one).state is CustomerState.KNOWN
    assert brand.resolve(email("new")).state is CustomerState.ANONYMOUS


def test_who_shows_what_is_strong_only_since_is_known_from_then_on(brand: Brand) -> None:
    weak = config("weibo_uid", priority=10, strong=False)
    configure(brand, weak)
    visitor = brand.resolve(("weibo_uid", "w"), anonymous("a"))
    assert visitor.state is CustomerState.ANONYMOUS

    configure(brand, replace(weak, priority=6, strong=True))
    assert brand.customer(visitor.customer_id).state is CustomerState.ANONYMOUS

    again = brand.resolve(("weibo_uid", "w"))
    assert (again.customer_id, again.state) == (visitor.customer_id, CustomerState.KNOWN)
    assert [it.via_namespace for it in brand.events(Customer.BecameKnown)] == ["weibo_uid"]


def test_a_kind_that_may_move_goes_to_whoever_proves_it(brand: Brand) -> None:
    configure(brand, config("alipay_uid", transferable=True))
    old = brand.resolve(("alipay_uid", "a"), unionid(1)).customer_id

    found = brand.resolve(("alipay_uid", "a"), unionid(2), authenticated=True)

    assert brand.owner("alipay_uid", "a") == found.customer_id != old


def test_a_brand_may_know_people_by_kinds_of_its_own(brand: Brand) -> None:
    with pytest.raises(UnknownNamespace):
        brand.call(card(1))
    configure(brand, CARD)

    known = brand.resolve(card(1), anonymous("a"))

    assert known.state is CustomerState.KNOWN
    assert brand.resolve(("loyalty_card", " card-1 ")).customer_id == known.customer_id
    assert drops(brand.resolve(phone(1), card(1))) == []
    assert drops(brand.resolve(phone(1), card(2))) == [("loyalty_card", DropReason.LIMIT)]


def test_another_brand_goes_by_its_own_rules() -> None:
    store = MemoryEventStore()
    acme, globex = Brand(store), Brand(store, "globex")
    configure(acme, CARD)
    configure(acme, config("phone", limit=3))

    with pytest.raises(UnknownNamespace):
        globex.call(card(1))
    found = [drops(it.resolve(unionid(1), phone(1), phone(2), phone(3))) for it in (acme, globex)]
    assert found == [[], [("phone", DropReason.LIMIT)]]


def test_decisions_are_by_the_rules_as_of_the_last_write_whoever_read_the_call(brand: Brand) -> None:
    """The replica that read it had not heard of the change."""
    brand.resolve(unionid(1), phone(1), phone(2))
    stale = brand.call(email("jane"), unionid(1), phone(3))
    replica = Brand(brand.bus.store)
    configure(replica, config("phone", limit=3))
    configure(replica, config("email", limit=3, priority=10, strong=False))

    found = brand.do(stale)

    assert drops(found) == []
    assert brand.customer(found.customer_id).identifiers.keys() >= {brand.claim(*phone(3)).key}


def test_a_replica_that_knows_the_rules_notices_that_they_changed(brand: Brand) -> None:
    replica = Brand(brand.bus.store)
    configure(replica, config("phone", limit=3))
    brand.resolve(unionid(1), phone(1), phone(2), phone(3))
    configure(replica, config("phone", limit=4))

    assert drops(brand.resolve(unionid(1), phone(4))) == []


def test_rules_change_between_calls_however_many_decide_at_once(store: EventStore) -> None:
    """Each thread has a bus of its own, as each replica has; nobody ends up with more than some rules allowed."""
    replicas = [Brand(store) for _ in range(3)]
    replicas[0].resolve(unionid(1))

    def calls(replica: Brand, first: int) -> None:
        for number in range(first, first + 8):
            until_won(lambda it=number: replica.resolve(unionid(1), email(f"e{it}")))  # type: ignore[misc]

    def changes() -> None:
        for limit in (4, 5, 6, 5):
            until_won(lambda it=limit: replicas[2].do(SetNamespaceConfig(config("email", limit=it))))  # type: ignore[misc]

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(calls, replicas[0], 0), pool.submit(calls, replicas[1], 20), pool.submit(changes)]
        for it in running:
            it.result()

    (customer,) = replicas[0].customers()
    assert 3 <= sum(it.namespace == "email" for it in customer.identifiers.values()) <= 6


def until_won(attempt: Callable[[], object]) -> None:
    """Again whenever others were first five times in a row, as callers do."""
    while True:
        try:
            attempt()
        except VersionConflict:
            continue
        return


def test_the_same_rules_again_are_no_change(brand: Brand) -> None:
    configure(brand, config("phone", limit=3))
    again = configure(brand, config("phone", limit=3))
    configure(brand, config("email"))

    assert again.revision == 1
    assert len(brand.events(NamespaceSettings.ConfigChanged)) == 1
    assert [(it.config.namespace, it.config.limit.count, it.config.version) for it in changes(brand)] == [
        ("phone", 3, 1)
    ]


def changes(brand: Brand) -> list[Any]:
    return brand.published("NamespaceConfigChanged")


def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused(brand: Brand) -> None:
    configure(brand, config("phone", limit=3), revision=0)

    refused(brand, VersionConflict, lambda: configure(brand, config("email", limit=4), revision=0))

    configure(brand, config("email", limit=4), revision=1)


@pytest.mark.parametrize(
    ("wanted", "error", "field"),
    [
        (config("phone", form=FormName.AS_IS), NamespaceFixed, "form"),
        (config("phone", scoped=True), NamespaceFixed, "scoped"),
        (config("member_no", priority=20, strong=False), NamespaceFixed, "strong"),
        (config("member_no", transferable=True), NamespaceFixed, "transferable"),
        (config("device_id", priority=7, strong=True), NamespaceFixed, "strong"),
        (config("anonymous_id", priority=7, strong=True), NamespaceFixed, "strong"),
        (config("email", strong=False), NamespacePriorityClash, "priority"),
        (config("device_id", priority=7), NamespacePriorityClash, "priority"),
        (config("phone", priority=8), NamespacePriorityClash, "priority"),
        (config("phone", ever=True, window_days=7), ValueOutOfRange, "limit.window_days"),
    ],
)
def test_rules_that_make_no_sense_are_refused(wanted: NamespaceConfig, error: type[DomainError], field: str) -> None:
    brand = Brand(MemoryEventStore())
    with pytest.raises(error) as refusal:
        configure(brand, wanted)

    assert refusal.value.field == field
    assert brand.bus.store.head() == 0


def test_kinds_of_ones_own_are_limited_in_number() -> None:
    brand = Brand(MemoryEventStore())
    for number in range(MOST_NAMESPACES):
        configure(brand, replace(CARD, name=f"card_{number}"))

    refused(brand, TooManyNamespaces, lambda: configure(brand, CARD))
    configure(brand, replace(CARD, name="card_0", limit=2))


def test_what_was_recorded_means_what_it_meant_then(brand: Brand) -> None:
    known = brand.resolve(phone(1), unionid(1)).customer_id
    configure(brand, config("wechat_unionid", ever=False))
    configure(brand, config("weibo_uid", priority=10, strong=False))
    brand.unlink(known, unionid(1))
    configure(brand, config("wechat_unionid"))

    replica = Brand(brand.bus.store)
    assert drops(replica.resolve(unionid(2), customer_id=known)) == [], "it was lost while that did not count"


@pytest.mark.parametrize("seed", range(60))
def test_customers_are_what_the_record_says_also_while_rules_change(seed: int) -> None:
    brand = Brand(MemoryEventStore())
    history = History(brand, seed)
    for wanted in (
        config("phone", limit=1 + seed % 4),
        config("email", priority=10, strong=False),
        config("wechat_unionid", limit=2, ever=seed % 2 == 0, transferable=True),
        config("email"),
        config("anonymous_id", limit=1, window_days=None),
    ):
        configure(brand, wanted)
        history.run(STEPS // 2)
    compare(brand)


def test_a_device_of_a_scoped_kind_keeps_its_scope(brand: Brand) -> None:
    configure(brand, replace(CARD, name="pos_card", scoped=True, per_scope=True))

    found = brand.resolve(GivenIdentifier("pos_card", "1", "store-1"), GivenIdentifier("pos_card", "1", "store-2"))

    assert drops(found) == []
    assert drops(brand.resolve(GivenIdentifier("pos_card", "1", "store-1"), device("d"))) == []
