"""What leaves identity (contract) and what never does: every event is accounted for, and no message tells a value."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from chassis.aggregate import Event, event_classes
from chassis.errors import DomainError
from chassis.event_store import MemoryEventStore
from chassis.log import Recorded, StoredContext
from chassis.testing import recorded
from scrm.identity.v1 import error_reason_pb2, events_pb2
from services.identity.application.consent_commands import SetChannelReachability, WithdrawConsent
from services.identity.application.expiry_commands import ExpireAnonymous
from services.identity.application.matching_commands import (
    DecideMatchCandidate,
    FinishMatchRun,
    Proposal,
    ProposeCandidates,
    RunMatching,
    SetMatchModel,
    SettleCandidates,
)
from services.identity.application.namespace_commands import SetAnonymousLifetime
from services.identity.application.published_events import PRIVATE, partition_key, publish
from services.identity.domain import errors
from services.identity.domain.consent import Purpose
from services.identity.domain.customer import Customer
from services.identity.domain.match_candidate import candidate_id, weighed_finding
from services.identity.domain.match_model import DEFAULT
from services.identity.domain.match_run import Tally
from tests.identity.brand import Brand
from tests.identity.engagements import engage
from tests.identity.people import everything_told
from tests.identity.settings import block, config, configure, unblock
from tests.identity.staffing import everything_organised
from tests.identity.test_name_index import index as index_names

SECRETS = (
    "13800000001",
    "13800000002",
    "jane@x.com",
    "visitor-1",
    "tablet-1",
    "unionid-00",
    "Ann Lee",
    "2015-01-0",
    "Leo",
    "Mei Lan",
)


@pytest.fixture
def eventful() -> Brand:
    """A brand to which everything has happened once."""
    brand = Brand(MemoryEventStore())
    phone, other, jane = ("phone", "+8613800000001"), ("phone", "+8613800000002"), ("email", "jane@x.com")
    tablet = ("device_id", "tablet-1")
    brand.resolve(("anonymous_id", "visitor-1"), tablet)
    brand.resolve(("anonymous_id", "visitor-1"), phone, request_id="bind")
    brand.resolve(("anonymous_id", "visitor-2"))
    brand.resolve(("anonymous_id", "visitor-2"), phone)
    for number in range(5):
        brand.resolve(("phone", f"+861390000000{number}"), tablet)
    brand.resolve(other, ("anonymous_id", "visitor-1"), authenticated=True, request_id="login")
    for number in range(12):
        brand.resolve(jane, ("wechat_unionid", f"unionid-{number:020}"), authenticated=True)
    for number in range(60):
        at = brand.clock.now().replace(year=2020 + number // 12, month=1 + number % 12)
        brand.resolve(other, ("anonymous_id", f"old-{number}"), occurred_at=at)
    brand.resolve(("anonymous_id", "old-0"))
    one, another = (brand.resolve(("phone", f"+861370000000{number}")).customer_id for number in range(2))
    brand.unmerge(brand.merge(one, another))
    brand.allow_reunion(one, another)
    brand.do(WithdrawConsent(one, Purpose.MARKETING, "SMS", "SMS_REPLY"))
    brand.do(SetChannelReachability(one, "OA", True, "FOLLOWED"))
    configure(brand, config("phone", limit=3))
    brand.do(SetAnonymousLifetime(30))
    visitor = brand.resolve(("anonymous_id", "visitor-3"))
    brand.clock.set(brand.clock.now() + timedelta(days=2))
    brand.resolve(("anonymous_id", "visitor-3"))
    brand.clock.set(brand.clock.now() + timedelta(days=30))
    brand.do(ExpireAnonymous(visitor.customer_id))
    unblock(brand, block(brand, "email", "jane@x.com").block_id)
    everything_told(brand, one)
    index_names(brand)
    engage(brand, one, words="13800000001 jane@x.com")
    matched(brand)
    everything_organised(brand, one)
    case = brand.request_erasure(one)
    brand.waits.append(lambda customer, work: "OPEN_TICKET")
    brand.begin_erasure(case.id)
    brand.waits.clear()
    brand.cancel_erasure(case.id)
    brand.erase(one)
    return brand


def matched(brand: Brand) -> None:
    """A pair that is found, decided, found again and overtaken; a model, and a run."""
    one, other = (brand.resolve(("phone", f"+861360000000{number}")).customer_id for number in range(2))
    id = candidate_id(brand.tenant, *sorted((one, other)))
    brand.resolve(("phone", "+8613600000000"), ("phone", "+8613600000001"))
    brand.do(DecideMatchCandidate(id, accept=False, note="jane@x.com"))
    weighed = weighed_finding(DEFAULT.weigh((0, 0, 0, 0, 0)), 0)
    brand.do(ProposeCandidates((Proposal(one, other, weighed),)))
    brand.merge(one, other)
    brand.do(SettleCandidates((id,)))
    brand.do(SetMatchModel(replace(DEFAULT, high=0.9)))
    run = brand.do(RunMatching((one,)))
    brand.do(FinishMatchRun(run.id, Tally()))


def unaccounted(classes: set[type[Event]], happened: list[Recorded]) -> set[str]:
    """The events that are neither private nor have been seen to become a message."""
    told = {type(it.event) for it in happened if publish(it)}
    return {it.__qualname__ for it in classes if it not in told and it not in PRIVATE}


def of_identity() -> set[type[Event]]:
    return {it for topic, it in event_classes().items() if topic.startswith("identity.")}


def test_every_domain_event_is_published_or_listed_private(eventful: Brand) -> None:
    assert unaccounted(of_identity(), recorded(eventful.bus)) == set()


def test_an_event_that_is_neither_is_noticed(eventful: Brand) -> None:
    class Forgotten(Event):
        TOPIC = "identity.Forgotten"

    assert unaccounted({*of_identity(), Forgotten}, recorded(eventful.bus)) == {
        "test_an_event_that_is_neither_is_noticed.<locals>.Forgotten"
    }


def test_no_private_event_is_published(eventful: Brand) -> None:
    private = [it for it in recorded(eventful.bus) if type(it.event) in PRIVATE]

    assert {type(it.event) for it in private} == PRIVATE
    assert not any(publish(it) for it in private)


def test_every_message_of_the_contract_is_published(eventful: Brand) -> None:
    told = {message.DESCRIPTOR.name for it in recorded(eventful.bus) for message in publish(it) or ()}

    assert told == set(events_pb2.DESCRIPTOR.message_types_by_name)


def test_neither_messages_nor_stored_events_nor_receipts_hold_values(eventful: Brand) -> None:
    everything = recorded(eventful.bus)
    messages = [message.SerializeToString() for it in everything for message in publish(it) or ()]
    store = eventful.bus.store
    assert isinstance(store, MemoryEventStore)
    stored = [bytes(it.state) for it in store._recorder.select_notifications(1, 10_000)]

    assert len(stored) == len(everything)
    for content in (*messages, *stored):
        assert not any(secret.encode() in content for secret in SECRETS)


def test_events_of_a_customer_share_a_partition_and_a_merge_is_the_survivors(eventful: Brand) -> None:
    for it in recorded(eventful.bus):
        if isinstance(it.event, Customer.Merged):
            (message,) = published(it)
            assert str(partition_key(it)) == message.survivor_id
        for message in published(it):
            if "customer_id" in message.DESCRIPTOR.fields_by_name:
                assert str(partition_key(it)) == message.customer_id


def test_a_conflict_names_the_request_that_showed_it(eventful: Brand) -> None:
    (conflict,) = [it for it in recorded(eventful.bus) if it.context.call_id == "login" and _is_conflict(it)]

    (message,) = published(conflict)
    assert message.call_id == "login"
    assert len(message.owner_ids) == 2


def test_a_conflict_outside_of_a_request_names_none(eventful: Brand) -> None:
    conflict = next(it for it in recorded(eventful.bus) if _is_conflict(it))
    anonymous = Recorded(conflict.position, conflict.event, StoredContext("acme", "test"))

    (message,) = published(anonymous)
    assert message.call_id == ""


def test_the_reasons_of_the_contract_are_those_of_the_domain() -> None:
    defined = {
        it.reason
        for it in vars(errors).values()
        if isinstance(it, type) and issubclass(it, DomainError) and it.__module__ == errors.__name__
    }

    names = {it.removeprefix("ERROR_REASON_") for it in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert names == defined | {"UNSPECIFIED"}


def published(it: Recorded) -> list[Any]:
    messages: list[Message] = list(publish(it) or ())
    return messages


def _is_conflict(it: Recorded) -> bool:
    return isinstance(it.event, Customer.ConflictDetected)
