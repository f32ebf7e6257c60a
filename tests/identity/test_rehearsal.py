"""Other rules rehearsed on the recorded past (ID-1 `cfg`): whom they would have joined, divided or changed; nothing is written."""

import asyncio
from threading import Event as Flag
from typing import Any
from uuid import UUID

import pytest

from chassis import context as contexts
from chassis.event_store import MemoryEventStore
from chassis.log import EventStore, Recorded
from scrm.identity.v1 import namespace_pb2 as ns
from services.identity.application.rehearsing import Rehearsals, Rehearsed
from services.identity.domain.errors import NamespaceFixed, RehearsalRunning
from services.identity.domain.forms import FormName
from services.identity.domain.namespace_settings import NamespaceConfig
from tests.identity import test_grpc
from tests.identity.brand import Brand, anonymous, device, email, phone, unionid, verified
from tests.identity.histories import STEPS, History
from tests.identity.settings import CARD, config, configure
from tests.identity.test_grpc import Caller, Serve, resolve

serve = test_grpc.serve


def rehearse(brand: Brand, wanted: NamespaceConfig, most_events: int = 1_000_000) -> Rehearsed:
    """Nothing is recorded by it."""
    head = brand.bus.store.head()

    async def preview() -> Rehearsed:
        with contexts.entered(brand.context()):
            return await Rehearsals(brand.bus).preview(wanted, most_events, 10)

    found = asyncio.run(preview())
    assert brand.bus.store.head() == head
    return found


def gist(it: Rehearsed) -> tuple[set[UUID], set[UUID], set[UUID]]:
    """Who would merge, split and change; all of them are among the samples."""
    report = it.report
    for finding in (report.merging, report.splitting, report.changing):
        assert finding.count == len(finding.samples)
    return set(report.merging.samples), set(report.splitting.samples), set(report.changing.samples)


def test_more_room_joins_whom_only_a_limit_kept_apart(brand: Brand) -> None:
    one = brand.resolve(unionid(1), phone(1)).customer_id
    other = brand.resolve(unionid(2), phone(2)).customer_id
    brand.resolve(phone(9))
    brand.resolve(unionid(1), verified(phone(2)), authenticated=False)
    assert brand.resolve(unionid(1)).customer_id != brand.resolve(unionid(2)).customer_id
    brand.resolve(verified(unionid(1)), verified(unionid(2)))

    found = rehearse(brand, config("wechat_unionid", limit=2))

    assert gist(found) == ({one, other}, set(), set())
    assert (found.report.customers, found.report.unexplained, found.complete) == (3, 0, True)


def test_a_phone_that_moved_would_have_joined_both(brand: Brand) -> None:
    old = brand.resolve(phone(1), unionid(1)).customer_id
    new = brand.resolve(phone(1), unionid(2), authenticated=True).customer_id

    assert gist(rehearse(brand, config("wechat_unionid", limit=2))) == ({old, new}, set(), set())
    assert gist(rehearse(brand, config("phone", transferable=False))) == (set(), set(), {old, new})


def test_less_room_divides_whom_identifiers_joined(brand: Brand) -> None:
    brand.resolve(phone(1), email("a"))
    brand.resolve(phone(2), email("b"))
    one = brand.resolve(email("a"), email("b"), authenticated=True).customer_id
    assert brand.owner(*phone(1)) == brand.owner(*phone(2)) == one

    found = rehearse(brand, config("phone", limit=1))

    assert gist(found) == (set(), {one}, set())


def test_what_people_joined_stays_joined(brand: Brand) -> None:
    one, other = brand.resolve(phone(1)).customer_id, brand.resolve(phone(2)).customer_id
    brand.merge(one, other)

    assert gist(rehearse(brand, config("phone", limit=1))) == (set(), set(), set())


def test_a_weak_kind_makes_nobody_known_and_joins_nobody(brand: Brand) -> None:
    visitor = brand.resolve(email("v")).customer_id
    brand.resolve(email("a"), phone(1))
    brand.resolve(email("b"), phone(2))
    one = brand.resolve(email("a"), email("b"), authenticated=True).customer_id

    assert gist(rehearse(brand, config("email", priority=10, strong=False))) == (set(), {one}, {visitor})


def test_a_lower_limit_changes_what_customers_are_known_by(brand: Brand) -> None:
    many = brand.resolve(phone(1), email("a"), email("b")).customer_id
    brand.resolve(phone(2), email("c"))

    assert gist(rehearse(brand, config("email", limit=1))) == (set(), set(), {many})


def test_a_kind_that_is_new_changes_nothing_of_the_past(brand: Brand) -> None:
    brand.resolve(phone(1), email("a"))

    assert gist(rehearse(brand, CARD)) == (set(), set(), set())


def test_only_the_past_of_the_brand_itself_counts(store: EventStore) -> None:
    acme, globex = Brand(store), Brand(store, "globex")
    for it in (acme, globex):
        it.resolve(phone(1), email("a"), email("b"))

    assert rehearse(acme, config("email", limit=1)).report.changing.count == 1
    assert rehearse(acme, config("email", limit=1)).report.customers == 1


def test_it_goes_as_far_as_it_is_told_and_says_so(brand: Brand) -> None:
    for number in range(5):
        brand.resolve(phone(number))

    found = rehearse(brand, config("email", limit=1), most_events=3)

    assert (found.events, found.report.customers, found.complete) == (3, 3, False)
    assert rehearse(brand, config("email", limit=1), most_events=5).complete


def test_what_setting_would_refuse_is_refused(brand: Brand) -> None:
    with pytest.raises(NamespaceFixed):
        rehearse(brand, config("phone", form=FormName.AS_IS))


@pytest.mark.parametrize("seed", range(40))
def test_the_rules_of_today_change_nothing_and_explain_almost_everybody(seed: int) -> None:
    brand = Brand(MemoryEventStore())
    configure(brand, config("email", limit=2))
    History(brand, seed).run(STEPS)

    found = rehearse(brand, config("email", limit=2))

    assert gist(found) == (set(), set(), set())
    assert found.report.unexplained <= 2


@pytest.mark.parametrize("seed", range(10))
def test_the_rehearsal_foretells_what_the_same_calls_lead_to_under_the_other_rules(seed: int) -> None:
    """Calls that all leave a trace, of people with a card each; the other rules are then really set for a twin."""
    wanted = config("phone", limit=1 + seed % 3)
    brand, twin = Brand(MemoryEventStore()), Brand(MemoryEventStore(), "twin")
    configure(twin, wanted)
    for it in (brand, twin):
        it.resolve(*(anonymous(f"a{seed}-{n}") for n in range(2)), device("d"))
        for number in range(4):
            it.resolve(unionid(number), phone(number), phone(number + 10), authenticated=True)
        for number in range(4):
            it.resolve(unionid(number), phone(number + 20), authenticated=True)

    found = rehearse(brand, wanted)

    counts = [sorted(len(it.identifiers) for it in one.customers()) for one in (brand, twin)]
    different = sum(mine != theirs for mine, theirs in zip(*counts, strict=True))
    assert found.report.changing.count == different
    assert found.report.unexplained == 0


def test_one_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    brand = Brand(MemoryEventStore())
    brand.resolve(phone(1))
    began, go_on = Flag(), Flag()
    exact = brand.bus.store.read_log

    def slow(*given: Any) -> list[Recorded]:
        began.set()
        go_on.wait(10)
        return exact(*given)

    monkeypatch.setattr(brand.bus.store, "read_log", slow)

    async def check() -> None:
        rehearsals = Rehearsals(brand.bus)
        with contexts.entered(brand.context()):
            first = asyncio.create_task(rehearsals.preview(CARD, 10, 10))
            await asyncio.to_thread(began.wait, 10)
            with pytest.raises(RehearsalRunning):
                await rehearsals.preview(CARD, 10, 10)
            go_on.set()
            assert (await first).complete
            assert (await rehearsals.preview(CARD, 10, 10)).complete

    asyncio.run(check())


def test_callers_are_told_in_their_words(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        names = [test_grpc.identifier("email", f"{it}@x.com") for it in "abc"]
        made = await caller.call("ResolveIdentity", resolve(test_grpc.phone(1), *names))
        await caller.call("ResolveIdentity", resolve(test_grpc.phone(2)))
        rules = (await caller.call("GetNamespaceConfig", ns.GetNamespaceConfigRequest(namespace="email"))).config
        rules.limit.count = 1

        found = await caller.call("PreviewNamespaceConfig", ns.PreviewNamespaceConfigRequest(config=rules))

        assert (found.customers, found.unexplained, found.complete) == (2, 0, True)
        assert (found.changing.count, list(found.changing.sample_customer_ids)) == (1, [made.customer_id])
        assert (found.merging.count, found.splitting.count) == (0, 0)

    serve(check)
