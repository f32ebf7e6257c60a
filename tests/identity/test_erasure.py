"""Being forgotten: from the request to the moment at which nothing is known any more, and what happens to who returns."""

from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from chassis.unit_of_work import replay
from services.identity.adapters.open_business import open_urgent_work_order
from services.identity.application.consent_commands import RecordConsent, WithdrawConsent
from services.identity.application.credit_commands import CreditOrder
from services.identity.application.match_policy import match_work
from services.identity.application.work_order_commands import About, CreateWorkOrder, TransitionWorkOrder
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.consent import ConsentState, Permissions, Purpose, permissions_id, strictest
from services.identity.domain.customer import Customer, CustomerState, UnlinkReason
from services.identity.domain.erasure import LONGEST_DELAY, SERVICES, CaseState, ErasureCase
from services.identity.domain.errors import (
    CustomerErased,
    CustomerNotFound,
    ErasureCaseNotFound,
    ErasureOpen,
    ErasureStarted,
    VerificationRequired,
)
from services.identity.domain.resolution import Outcome
from services.identity.domain.work_order import Priority, WorkOrderState
from services.identity.read_models.attribute_values import minors_among, values_of
from services.identity.read_models.device_use import devices_of
from tests.identity.brand import GRACE, NOON, Brand, anonymous, device, email, phone, refused, unionid
from tests.identity.people import WECHAT, kept, says, told
from tests.identity.test_read_models import Reading, reading  # noqa: F401 (a fixture)
from tests.identity.uncredited import stored_orders


def test_ac_15_after_an_erasure_nobody_is_found_by_what_the_customer_had(brand: Brand) -> None:
    made = brand.resolve(phone(1), email("ann"))
    case = brand.erase(made.customer_id)
    assert case.state is CaseState.ERASED
    assert (case.identifiers, case.keys) == (2, 1)
    assert brand.owner(*phone(1)) is None
    assert brand.owner(*email("ann")) is None
    assert brand.data_key(made.customer_id) is None
    (erased,) = brand.published("CustomerErased")
    assert erased.node_ids == [str(made.customer_id)]  # type: ignore[attr-defined]
    assert {it.reason for it in brand.events(Customer.IdentifiersUnlinked)} == {UnlinkReason.ERASED}


def test_ac_102_a_case_is_cancelled_before_it_begins_and_not_afterwards(brand: Brand) -> None:
    made = brand.resolve(phone(1))
    case = brand.request_erasure(made.customer_id)
    assert brand.cancel_erasure(case.id).state is CaseState.REJECTED
    refused(brand, CustomerNotFound, lambda: brand.request_erasure(uuid4()))
    assert brand.resolve(phone(1)).customer_id == made.customer_id, "everything is as before"
    before = brand.bus.store.head()
    brand.cancel_erasure(case.id)
    brand.begin_erasure(case.id)
    assert brand.bus.store.head() == before, "what is over stays as it is"

    second = brand.request_erasure(made.customer_id)
    brand.begin_erasure(second.id)
    refused(brand, ErasureStarted, lambda: brand.cancel_erasure(second.id))
    for service in SERVICES:
        brand.acknowledge(second.id, service)
    refused(brand, ErasureStarted, lambda: brand.cancel_erasure(second.id))


def test_ac_102_whoever_returns_is_a_new_customer(brand: Brand) -> None:
    made = brand.resolve(phone(1), unionid(1))
    brand.erase(made.customer_id)
    brand.clock.set(brand.clock.now() + timedelta(days=1))
    back = brand.resolve(phone(1), unionid(1))
    assert back.outcome is Outcome.CREATED
    assert back.customer_id != made.customer_id
    assert brand.link(back.customer_id, email("ann")).id == back.customer_id


def said(brand: Brand, node: UUID, channel: str) -> ConsentState | None:
    ids = [permissions_id(brand.tenant, it) for it in brand.customer(node).nodes]
    found = [replay(it) for it in brand.bus.store.load(ids).values()]
    statement = strictest(it for it in found if isinstance(it, Permissions)).get((Purpose.MARKETING, channel))
    return statement.state if statement else None


def test_whoever_returns_is_still_not_asked_for_what_was_refused(brand: Brand) -> None:
    made = brand.resolve(phone(1), email("ann"), device("d1")).customer_id
    brand.do(RecordConsent(made, Purpose.MARKETING, "OA", ConsentState.GRANTED, "v1", "FORM"))
    brand.do(WithdrawConsent(made, Purpose.MARKETING, "SMS", "SMS_REPLY"))
    brand.erase(made)

    back, elsewhere = brand.resolve(phone(1)).customer_id, brand.resolve(device("d1")).customer_id
    assert said(brand, back, "SMS") is ConsentState.WITHDRAWN
    assert said(brand, back, "OA") is None, "a yes is not kept"
    assert said(brand, elsewhere, "SMS") is None, "a device is not a person"
    (_, told) = brand.published("ConsentChanged")[-2:]
    assert told.consent.source == "SUPPRESSION_LIST"  # type: ignore[attr-defined]

    brand.clock.set(brand.clock.now() + timedelta(minutes=1))
    brand.do(RecordConsent(back, Purpose.MARKETING, "SMS", ConsentState.GRANTED, "v1", "FORM"))
    assert said(brand, back, "SMS") is ConsentState.GRANTED
    brand.link(back, email("ann"))
    assert said(brand, back, "SMS") is ConsentState.GRANTED, "the person said yes since"


def test_nothing_is_kept_of_who_refused_nothing(brand: Brand) -> None:
    made = brand.resolve(phone(1)).customer_id
    brand.do(RecordConsent(made, Purpose.MARKETING, "SMS", ConsentState.GRANTED, "v1", "FORM"))
    brand.erase(made)
    assert said(brand, brand.resolve(phone(1)).customer_id, "SMS") is None
    assert not brand.events(IdentifierClaim.Suppressed)


def test_an_unverified_request_and_a_second_open_case_are_refused(brand: Brand) -> None:
    made = brand.resolve(phone(1))
    refused(brand, VerificationRequired, lambda: brand.request_erasure(made.customer_id, verified_by=""))
    brand.request_erasure(made.customer_id)
    refused(brand, ErasureOpen, lambda: brand.request_erasure(made.customer_id))
    refused(brand, ErasureCaseNotFound, lambda: brand.cancel_erasure(uuid4()))
    other = Brand(brand.bus.store, "globex")
    refused(other, CustomerNotFound, lambda: other.request_erasure(made.customer_id))


def test_a_second_case_is_refused_also_for_another_node_of_the_customer(brand: Brand) -> None:
    one, other = brand.resolve(phone(1)), brand.resolve(phone(2))
    brand.request_erasure(other.customer_id)
    brand.merge(one.customer_id, other.customer_id)
    refused(brand, ErasureOpen, lambda: brand.request_erasure(one.customer_id))


def test_every_command_on_somebody_who_is_being_erased_is_refused(brand: Brand) -> None:
    made, other = brand.resolve(phone(1), device("d1")), brand.resolve(phone(2))
    id = made.customer_id
    case = brand.request_erasure(id)
    brand.begin_erasure(case.id)
    consent = RecordConsent(id, Purpose.MARKETING, "SMS", ConsentState.GRANTED, "v1", "FORM")
    for _ in range(2):
        for attempt in (
            lambda: brand.link(id, email("ann")),
            lambda: brand.unlink(id, phone(1)),
            lambda: brand.merge(other.customer_id, id),
            lambda: brand.merge(id, other.customer_id),
            lambda: brand.keep_apart(id, other.customer_id),
            lambda: brand.request_erasure(id),
            lambda: brand.do(consent),
            lambda: brand.resolve(anonymous("a"), customer_id=id),
        ):
            refused(brand, CustomerErased, attempt)
        for service in SERVICES:  # and the second time, of somebody who is erased
            brand.acknowledge(case.id, service)


def test_what_is_heard_of_somebody_while_they_are_erased_is_dropped(brand: Brand) -> None:
    made = brand.resolve(phone(1), device("d1"))
    case = brand.request_erasure(made.customer_id)
    brand.begin_erasure(case.id)
    refused(brand, CustomerErased, lambda: brand.resolve(phone(1)))
    refused(brand, CustomerErased, lambda: brand.resolve(device("d1"), anonymous("a1")))
    results = brand.batch(brand.call(phone(1)), brand.call(phone(2)))
    assert isinstance(results[0], CustomerErased)
    assert not isinstance(results[1], CustomerErased)


def test_all_nodes_of_a_customer_are_erased_and_no_merge_of_theirs_can_be_taken_back(brand: Brand) -> None:
    one, other, third = brand.resolve(phone(1)), brand.resolve(phone(2)), brand.resolve(email("cleo"))
    merges = [brand.merge(one.customer_id, other.customer_id), brand.merge(third.customer_id, one.customer_id)]
    case = brand.request_erasure(other.customer_id)
    assert case.customer == third.customer_id
    brand.begin_erasure(case.id)
    (message,) = brand.published("CustomerErasing")
    everybody = {str(it.customer_id) for it in (one, other, third)}
    assert set(message.node_ids) == everybody  # type: ignore[attr-defined]
    for merge in merges:
        refused(brand, CustomerErased, partial(brand.unmerge, merge))
    for service in SERVICES:
        brand.acknowledge(case.id, service)
    assert not any(brand.data_key(UUID(it)) for it in everybody)
    for merge in merges:
        refused(brand, CustomerErased, partial(brand.unmerge, merge))
    assert brand.resolve(phone(2)).outcome is Outcome.CREATED


def test_the_survivor_of_a_merge_made_meanwhile_is_erased(brand: Brand) -> None:
    one, other = brand.resolve(phone(1)), brand.resolve(phone(2))
    case = brand.request_erasure(other.customer_id)
    brand.merge(one.customer_id, other.customer_id)
    assert brand.begin_erasure(case.id).customer == one.customer_id


def test_two_cases_that_became_one_person_s_end_in_one_erasure(brand: Brand) -> None:
    one, other = brand.resolve(phone(1)), brand.resolve(phone(2))
    cases = [brand.request_erasure(it.customer_id).id for it in (one, other)]
    brand.merge(one.customer_id, other.customer_id)
    brand.begin_erasure(cases[0])
    assert brand.begin_erasure(cases[1]).closing_reason == "ALREADY_ERASED"


def test_the_keys_are_destroyed_when_the_last_service_is_done_and_each_is_heard_once(brand: Brand) -> None:
    made = brand.resolve(phone(1))
    case = brand.request_erasure(made.customer_id)
    brand.acknowledge(case.id, "tracking")
    assert not brand.case(case.id).removals, "nobody can be done before it began"
    brand.begin_erasure(case.id)
    for service in reversed(SERVICES):
        assert brand.data_key(made.customer_id)
        brand.acknowledge(case.id, service, rows=3)
        head = brand.bus.store.head()
        brand.acknowledge(case.id, service, rows=4)
        assert brand.bus.store.head() == head
    brand.acknowledge(uuid4(), "tracking")
    assert brand.data_key(made.customer_id) is None
    assert {it.removed["rows"] for it in brand.case(case.id).removals.values()} == {3}
    assert len(brand.events(ErasureCase.Completed)) == 1


def test_orders_that_are_nobodys_are_forgotten_with_the_customer(brand: Brand) -> None:
    gone, stays = brand.resolve(phone(1)).customer_id, brand.resolve(phone(2)).customer_id
    kept = {node: uuid4() for node in (gone, stays)}
    for node, order in kept.items():
        brand.credit(CreditOrder(node, order, "", "", 100, "CNY", NOON))
    assert stored_orders(brand.bus.store, brand.tenant).keys() == set(kept.values())
    case = brand.request_erasure(gone)
    brand.begin_erasure(case.id)
    for service in SERVICES:
        brand.acknowledge(case.id, service)
    brand.credit(CreditOrder(gone, uuid4(), "", "", 100, "CNY", NOON))
    assert list(stored_orders(brand.bus.store, brand.tenant)) == [kept[stays]]


def test_open_business_puts_it_off_but_not_for_ever(brand: Brand) -> None:
    made = brand.resolve(phone(1))
    brand.waits.append(lambda customer, work: "OPEN_TICKET" if customer.id == made.customer_id else None)
    case = brand.request_erasure(made.customer_id)
    assert case.due_at == brand.clock.now() + GRACE
    found = brand.begin_erasure(case.id)
    assert (found.state, found.postponed_for) == (CaseState.VERIFIED, "OPEN_TICKET")
    brand.clock.set(brand.clock.now() + LONGEST_DELAY)
    assert brand.begin_erasure(case.id).state is CaseState.ERASING


def test_a_known_customer_of_another_tenant_is_not_touched(brand: Brand) -> None:
    other = Brand(brand.bus.store, "globex")
    theirs = other.resolve(phone(1))
    brand.erase(brand.resolve(phone(1)).customer_id)
    assert other.resolve(phone(1)).customer_id == theirs.customer_id


@pytest.mark.parametrize("state", [CustomerState.ERASING, CustomerState.ERASED])
def test_an_erased_customer_counts_no_more_as_a_user_of_a_device(brand: Brand, state: CustomerState) -> None:
    """Four known customers make a device a shared one; one of the four is erased."""
    people = [brand.resolve(phone(number), device("tablet")).customer_id for number in range(3)]
    case = brand.request_erasure(people[1])
    brand.begin_erasure(case.id)
    if state is CustomerState.ERASED:
        for service in SERVICES:
            brand.acknowledge(case.id, service)
    brand.resolve(phone(9), device("tablet"))
    assert brand.claim(*device("tablet")).is_claimed


def test_what_sources_said_can_be_opened_by_nobody_and_nothing_new_can_be_said(brand: Brand) -> None:
    node = brand.resolve(phone(1)).customer_id
    told(brand, node, says("name", "Ann"), says("nickname", "Annie", WECHAT))
    (values,) = kept(brand, node).of_nodes
    sealed = [it.held for it in values.values.values()]
    under = {it.sealed_for for it in sealed if it.sealed_for is not None}
    assert len(under) == 2, "what WeChat told has a key of its own"
    assert all(brand.data_key(it) for it in under)
    brand.erase(node)
    assert not any(brand.data_key(it) for it in under)
    refused(brand, CustomerErased, lambda: told(brand, node, says("city", "Suzhou")))


def test_the_read_model_of_attributes_forgets_the_nodes(reading: Reading) -> None:  # noqa: F811
    brand = reading.brand
    node, other = (brand.resolve(phone(it)).customer_id for it in range(2))
    for it in (node, other):
        told(brand, it, says("name", "Ann"), says("city", "Suzhou"), says("birthdate", "2020-01-01"))
    reading.follow()
    brand.erase(node)
    reading.follow()

    def left(rows: sa.Connection) -> tuple[set[UUID], set[UUID]]:
        return {it.node for it in values_of(rows, [node, other])}, minors_among(rows, [node, other])

    assert reading.read_models.query_now(left, "acme") == ({other}, {other})
    hashes = reading.hashes()
    reading.rebuild()
    assert reading.hashes() == hashes


def test_an_open_work_order_of_the_highest_priority_is_waited_for(reading: Reading) -> None:  # noqa: F811
    brand = reading.brand
    one, other = (brand.resolve(phone(it)).customer_id for it in range(2))
    brand.merge(one, other)
    brand.waits.append(open_urgent_work_order)
    urgent = brand.do(CreateWorkOrder(About(other, "COMPLAINT", Priority.P1, (), "", ""))).id
    brand.do(CreateWorkOrder(About(other, "COMPLAINT", Priority.P2, (), "", "")))
    reading.follow()
    case = brand.request_erasure(one)
    assert brand.begin_erasure(case.id).postponed_for == "OPEN_WORK_ORDER"
    for state in (WorkOrderState.ASSIGNED, WorkOrderState.IN_PROGRESS, WorkOrderState.RESOLVED):
        brand.do(TransitionWorkOrder(urgent, state, uuid4(), ""))
    reading.follow()
    assert brand.begin_erasure(case.id).state is CaseState.ERASING


def test_devices_forget_the_nodes_and_the_matcher_learns_of_all_of_them(reading: Reading) -> None:  # noqa: F811
    brand = reading.brand
    one, other = brand.resolve(phone(1), device("d1")), brand.resolve(phone(2), device("d2"))
    brand.merge(one.customer_id, other.customer_id)
    nodes = {one.customer_id, other.customer_id}
    reading.follow()
    assert reading.read_models.query_now(lambda rows: devices_of(rows, nodes).keys(), "acme") == nodes
    before = brand.bus.store.head()
    brand.erase(one.customer_id)
    reading.follow()
    assert not reading.read_models.query_now(lambda rows: devices_of(rows, nodes), "acme")
    work = match_work(brand.recorded(before))["acme"]
    assert set(work.changed) == nodes, "whose keys have to go"
    assert set(work.unsettled) == nodes
