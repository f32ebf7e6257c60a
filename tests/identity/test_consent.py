"""What people allow and how they can be reached (ID-10)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from chassis.errors import DomainError
from chassis.unit_of_work import replay
from scrm.identity.v1 import consent_pb2
from services.identity.application.consent_commands import RecordConsent, SetChannelReachability, WithdrawConsent
from services.identity.domain.consent import (
    ConsentState,
    Permissions,
    Purpose,
    permissions_id,
    reachable,
    strictest,
)
from services.identity.domain.errors import CustomerNotFound
from tests.identity.brand import NOON, Brand, phone

DAY = timedelta(days=1)
GRANTED, DENIED, WITHDRAWN = ConsentState.GRANTED, ConsentState.DENIED, ConsentState.WITHDRAWN


def say(brand: Brand, node: UUID, state: ConsentState, channel: str = "SMS", at: datetime | None = None) -> None:
    if state is WITHDRAWN:
        brand.do(WithdrawConsent(node, Purpose.MARKETING, channel, "SMS_REPLY", at))
    else:
        brand.do(RecordConsent(node, Purpose.MARKETING, channel, state, "v1", "FORM", at))


def permissions(brand: Brand, node: UUID) -> list[Permissions]:
    ids = [permissions_id(brand.tenant, it) for it in brand.customer(node).nodes]
    found = [replay(it) for it in brand.bus.store.load(ids).values()]
    assert all(isinstance(it, Permissions) for it in found)
    return found  # type: ignore[return-value]


def consent(brand: Brand, node: UUID, channel: str = "SMS") -> ConsentState | None:
    found = strictest(permissions(brand, node)).get((Purpose.MARKETING, channel))
    return found.state if found else None


@pytest.fixture
def two(brand: Brand) -> tuple[UUID, UUID]:
    return brand.resolve(phone(1)).customer_id, brand.resolve(phone(2)).customer_id


def test_who_said_nothing_has_no_consent(brand: Brand, two: tuple[UUID, UUID]) -> None:
    assert consent(brand, two[0]) is None


def test_what_was_said_last_counts(brand: Brand, two: tuple[UUID, UUID]) -> None:
    for number, state in enumerate((GRANTED, DENIED, GRANTED, WITHDRAWN)):
        say(brand, two[0], state, at=NOON - DAY + timedelta(hours=number))
        assert consent(brand, two[0]) is state
    assert consent(brand, two[0], "OA") is None


def test_what_was_said_earlier_and_is_heard_of_late_changes_nothing(brand: Brand, two: tuple[UUID, UUID]) -> None:
    say(brand, two[0], WITHDRAWN, at=NOON)
    say(brand, two[0], GRANTED, at=NOON - DAY)
    assert consent(brand, two[0]) is WITHDRAWN


def test_withdrawing_twice_is_as_good_as_once(brand: Brand, two: tuple[UUID, UUID]) -> None:
    say(brand, two[0], GRANTED, at=NOON - DAY)
    say(brand, two[0], WITHDRAWN, at=NOON)
    before = brand.bus.store.head()
    say(brand, two[0], WITHDRAWN, at=NOON)
    assert brand.bus.store.head() == before


def test_what_is_said_again_is_said_later(brand: Brand, two: tuple[UUID, UUID]) -> None:
    say(brand, two[0], WITHDRAWN, at=NOON - 3 * DAY)
    say(brand, two[0], WITHDRAWN, at=NOON - DAY)
    say(brand, two[0], GRANTED, at=NOON - 2 * DAY)
    assert consent(brand, two[0]) is WITHDRAWN


def test_of_one_moment_the_stricter_counts(brand: Brand, two: tuple[UUID, UUID]) -> None:
    for state in (GRANTED, WITHDRAWN, GRANTED):
        say(brand, two[0], state, at=NOON)
    assert consent(brand, two[0]) is WITHDRAWN


def test_what_is_said_of_all_channels_counts_for_each(brand: Brand, two: tuple[UUID, UUID]) -> None:
    say(brand, two[0], GRANTED, "SMS", at=NOON - 2 * DAY)
    say(brand, two[0], WITHDRAWN, "", at=NOON - DAY)
    assert consent(brand, two[0], "SMS") is WITHDRAWN

    say(brand, two[0], GRANTED, "SMS", at=NOON)
    assert consent(brand, two[0], "SMS") is GRANTED
    assert consent(brand, two[0], "") is WITHDRAWN


def test_a_withdrawal_counts_whatever_was_said_for_the_other_part_before(brand: Brand, two: tuple[UUID, UUID]) -> None:
    a, b = two
    brand.merge(a, b)
    say(brand, a, WITHDRAWN, at=NOON - 2 * DAY)
    say(brand, b, GRANTED, at=NOON - DAY)
    say(brand, a, WITHDRAWN, at=NOON)
    assert consent(brand, a) is consent(brand, b) is WITHDRAWN


def test_statements_of_one_moment_do_not_cancel_each_other(brand: Brand, two: tuple[UUID, UUID]) -> None:
    a, b = two
    brand.merge(a, b)
    say(brand, a, GRANTED, at=NOON)
    say(brand, b, WITHDRAWN, at=NOON)
    assert consent(brand, a) is WITHDRAWN


def test_ac_101_the_most_restrictive_counts_while_two_are_one(brand: Brand, two: tuple[UUID, UUID]) -> None:
    a, b = two
    say(brand, a, GRANTED)
    say(brand, b, WITHDRAWN, at=NOON - DAY)
    merge = brand.merge(a, b)
    assert consent(brand, a) is consent(brand, b) is WITHDRAWN

    brand.unmerge(merge)

    assert consent(brand, a) is GRANTED
    assert consent(brand, b) is WITHDRAWN


def test_ac_14_stop_by_sms_withdraws_marketing_on_sms_and_leaves_the_channel_open_for_service(
    brand: Brand, two: tuple[UUID, UUID]
) -> None:
    """Others are told both, so that whoever sends can hold marketing back and let service through."""
    a, _ = two
    brand.do(SetChannelReachability(a, "SMS", True, "VERIFIED", NOON - DAY))
    say(brand, a, GRANTED, at=NOON - DAY)
    say(brand, a, WITHDRAWN, at=NOON)

    assert consent(brand, a) is WITHDRAWN
    assert consent(brand, a, "OA") is None, "other channels are as before"
    assert reachable(permissions(brand, a))["SMS"].reachable
    told = [it.consent for it in brand.published("ConsentChanged")]  # type: ignore[attr-defined]
    withdrawn = consent_pb2.CONSENT_STATE_WITHDRAWN
    assert (told[-1].state, told[-1].channel, told[-1].source) == (withdrawn, "SMS", "SMS_REPLY")

    brand.do(SetChannelReachability(a, "SMS", False, "STOPPED", NOON))
    assert not reachable(permissions(brand, a))["SMS"].reachable


def test_what_is_said_for_both_together_counts_for_both(brand: Brand, two: tuple[UUID, UUID]) -> None:
    a, b = two
    say(brand, b, WITHDRAWN, at=NOON - DAY)
    merge = brand.merge(a, b)

    say(brand, a, GRANTED)
    assert consent(brand, b) is GRANTED

    brand.unmerge(merge)
    assert consent(brand, a) is GRANTED
    assert consent(brand, b) is WITHDRAWN


def test_whoever_can_be_reached_as_one_of_the_two_can_be_reached(brand: Brand, two: tuple[UUID, UUID]) -> None:
    a, b = two
    brand.do(SetChannelReachability(a, "OA", True, "FOLLOWED", NOON - DAY))
    brand.do(SetChannelReachability(b, "OA", False, "UNFOLLOWED", NOON))
    brand.merge(a, b)
    assert reachable(permissions(brand, a))["OA"].reachable

    brand.do(SetChannelReachability(a, "OA", False, "UNFOLLOWED", NOON))
    assert not reachable(permissions(brand, a))["OA"].reachable


def test_others_are_told_of_what_was_said_once(brand: Brand, two: tuple[UUID, UUID]) -> None:
    a, _ = two
    for _ in range(2):
        say(brand, a, GRANTED, at=NOON)
        brand.do(SetChannelReachability(a, "OA", True, "FOLLOWED", NOON))
    (changed,) = brand.published("ConsentChanged")
    assert (changed.node_id, changed.consent.policy_version) == (str(a), "v1")  # type: ignore[attr-defined]
    (reached,) = brand.published("ReachabilityChanged")
    assert reached.reachability.reachable  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda brand, node: say(brand, node, GRANTED),
        lambda brand, node: say(brand, node, WITHDRAWN),
        lambda brand, node: brand.do(SetChannelReachability(node, "OA", True, "FOLLOWED")),
    ],
)
def test_nobody_says_nothing(brand: Brand, attempt: Callable[[Brand, UUID], None]) -> None:
    with pytest.raises(CustomerNotFound):
        attempt(brand, uuid4())
    assert brand.bus.store.head() == 0


def test_nobody_says_anything_in_the_future(brand: Brand, two: tuple[UUID, UUID]) -> None:
    with pytest.raises(DomainError) as refused:
        say(brand, two[0], GRANTED, at=NOON + DAY)
    assert refused.value.reason == "FUTURE_TIMESTAMP"
