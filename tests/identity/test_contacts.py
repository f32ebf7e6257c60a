"""Follow-ups and contacts through commands (ID-8): records that stay as they are."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.errors import BadFormat, DomainError, ValueOutOfRange
from services.identity.application.contact_commands import RecordContact, RecordFollowUp
from services.identity.domain.errors import CustomerNotFound, FollowUpNotFound, FollowUpSuperseded, FutureTimestamp
from services.identity.domain.follow_up import CONTENT, Contact, Direction, FollowUp, FollowUpType
from tests.identity.brand import NOON, Brand, phone, refused

DAY = timedelta(days=1)
STAFF = UUID(int=1)


@pytest.fixture
def customer(brand: Brand) -> UUID:
    return brand.resolve(phone(1)).customer_id


def follow_up(brand: Brand, node: UUID, **details: Any) -> UUID:
    found: FollowUp = brand.do(RecordFollowUp(node, FollowUpType.CALL, **details))
    return found.id


def test_a_follow_up_tells_others_all_but_its_words(brand: Brand, customer: UUID) -> None:
    id = follow_up(
        brand,
        customer,
        content="Her sister marries in June",
        stage="INTERESTED",
        next_follow_at=NOON + DAY,
        topics=("Leaking cap",),
        product="cup",
        staff=STAFF,
        occurred_at=NOON - DAY,
    )

    (told,) = brand.published("FollowUpRecorded")
    assert (told.follow_up_id, told.node_id, told.staff_id) == (str(id), str(customer), str(STAFF))  # type: ignore[attr-defined]
    assert (told.type, told.stage, list(told.topics)) == (2, "INTERESTED", ["leaking cap"])  # type: ignore[attr-defined]
    assert b"sister" not in told.SerializeToString()
    (recorded,) = brand.events(FollowUp.Recorded)
    assert recorded.notes.content is not None
    assert brand.opened(customer, CONTENT, recorded.notes.content) == "Her sister marries in June"


def test_a_contact_is_told_to_others(brand: Brand, customer: UUID) -> None:
    brand.do(RecordContact(customer, "PHONE", Direction.INBOUND, "REACHED", duration_seconds=0))
    (told,) = brand.published("ContactRecorded")
    assert (told.channel, told.direction, told.result) == ("PHONE", 1, "REACHED")  # type: ignore[attr-defined]
    assert told.HasField("duration_seconds")
    assert brand.events(Contact.Recorded)[0].occurred_at == NOON


def test_a_follow_up_is_corrected_once_by_another(brand: Brand, customer: UUID) -> None:
    wrong = follow_up(brand, customer)
    right = follow_up(brand, customer, supersedes=wrong)
    refused(brand, FollowUpSuperseded, lambda: follow_up(brand, customer, supersedes=wrong))
    follow_up(brand, customer, supersedes=right)


def test_a_follow_up_of_any_node_of_the_customer_is_corrected(brand: Brand, customer: UUID) -> None:
    other = brand.resolve(phone(2)).customer_id
    theirs, also_theirs = follow_up(brand, other), follow_up(brand, other)
    refused(brand, FollowUpNotFound, lambda: follow_up(brand, customer, supersedes=theirs))
    merge = brand.merge(customer, other)
    follow_up(brand, customer, supersedes=theirs)
    brand.unmerge(merge)
    refused(brand, FollowUpNotFound, lambda: follow_up(brand, customer, supersedes=also_theirs))


def test_what_came_to_a_merged_customer_stays_with_that_node(brand: Brand, customer: UUID) -> None:
    other = brand.resolve(phone(2)).customer_id
    brand.merge(customer, other)
    follow_up(brand, other)
    assert [it.node for it in brand.events(FollowUp.Recorded)] == [other]


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        (lambda brand, _: follow_up(brand, uuid4()), CustomerNotFound),
        (lambda brand, node: follow_up(brand, node, occurred_at=NOON + DAY), FutureTimestamp),
        (lambda brand, node: follow_up(brand, node, next_follow_at=NOON - timedelta(seconds=1)), ValueOutOfRange),
        (lambda brand, node: follow_up(brand, node, topics=("a@b",)), BadFormat),
        (lambda brand, node: follow_up(brand, node, supersedes=uuid4()), FollowUpNotFound),
        (lambda brand, node: follow_up(brand, node, supersedes=node), FollowUpNotFound),
        (lambda brand, _: brand.do(RecordContact(uuid4(), "PHONE", Direction.INBOUND, "REACHED")), CustomerNotFound),
        (
            lambda brand, node: brand.do(
                RecordContact(node, "PHONE", Direction.INBOUND, "REACHED", occurred_at=NOON + DAY)
            ),
            FutureTimestamp,
        ),
    ],
)
def test_what_cannot_be_is_refused(
    brand: Brand, customer: UUID, attempt: Callable[[Brand, UUID], object], error: type[DomainError]
) -> None:
    refused(brand, error, lambda: attempt(brand, customer))
