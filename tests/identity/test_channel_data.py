"""What a person let an official account know is destroyed when the person leaves it (0.8)."""

from datetime import timedelta
from uuid import UUID

import pytest

from chassis.commands import Unit
from chassis.errors import VersionConflict
from services.identity.application.attribute_upsert import UpsertAttributes
from services.identity.application.consent_commands import SetChannelReachability
from services.identity.domain.attribute_values import AttributeValues
from tests.identity.brand import NOON, Brand, phone
from tests.identity.people import DECLARED, WECHAT, forgotten, kept, said_of, says, told, value

DAY = timedelta(days=1)


@pytest.fixture
def node(brand: Brand) -> UUID:
    return brand.resolve(phone(1)).customer_id


def unfollows(node: UUID, reason: str = "UNFOLLOWED", channel: str = "OA", days: int = 0) -> SetChannelReachability:
    return SetChannelReachability(node, channel, False, reason, NOON + days * DAY)


def seals(brand: Brand) -> list[str | None]:
    """Everything that was ever sealed, opened."""
    return [
        brand.opened(it.new.sealed_for, f"attribute.{it.key}", it.new.sealed)
        for event in brand.events(AttributeValues.Changed)
        for it in event.changed
        if it.new.sealed and it.new.sealed_for
    ]


def test_whoever_leaves_the_official_account_takes_along_what_it_knew(brand: Brand, node: UUID) -> None:
    told(brand, node, says("nickname", "Leo", WECHAT), says("city", "Suzhou", WECHAT), says("name", "Ann", DECLARED))
    assert seals(brand) == ["Leo", "Suzhou", "Ann"]

    brand.do(unfollows(node))

    assert seals(brand) == [None, None, "Ann"]
    assert [value(brand, node, it) for it in ("nickname", "city", "name")] == [None, None, "Ann"]
    told_of = brand.published("AttributesChanged")[-1]
    assert [(it.key, it.cleared) for it in told_of.changed] == [("city", True), ("nickname", True)]  # type: ignore[attr-defined]


def test_what_wechat_said_is_never_told_to_others(brand: Brand, node: UUID) -> None:
    told(brand, node, says("city", "Suzhou", WECHAT))
    assert b"Suzhou" not in b"".join(it.SerializeToString() for it in brand.published("AttributesChanged"))


def test_what_was_so_before_and_is_heard_of_later_is_not_taken_up(brand: Brand, node: UUID) -> None:
    brand.do(unfollows(node))
    told(brand, node, says("nickname", "Leo", WECHAT, NOON - DAY))
    assert value(brand, node, "nickname") is None


def test_whoever_comes_back_is_known_again(brand: Brand, node: UUID) -> None:
    told(brand, node, says("nickname", "Leo", WECHAT))
    brand.do(unfollows(node))
    brand.clock.set(NOON + 3 * DAY)
    brand.do(SetChannelReachability(node, "OA", True, "FOLLOWED", NOON + DAY))
    told(brand, node, says("nickname", "Leo II", WECHAT, NOON + DAY))
    assert value(brand, node, "nickname") == "Leo II"
    brand.do(unfollows(node, days=2))
    assert value(brand, node, "nickname") is None
    assert seals(brand) == [None, None]


def test_an_unfollow_older_than_what_is_known_destroys_nothing(brand: Brand, node: UUID) -> None:
    brand.do(SetChannelReachability(node, "OA", True, "FOLLOWED", NOON))
    told(brand, node, says("nickname", "Leo", WECHAT))
    brand.do(unfollows(node, days=-1))
    assert value(brand, node, "nickname") == "Leo"


@pytest.mark.parametrize(("reason", "channel"), [("BLOCKED", "OA"), ("UNFOLLOWED", "SMS")])
def test_nothing_else_destroys_it(brand: Brand, node: UUID, reason: str, channel: str) -> None:
    told(brand, node, says("nickname", "Leo", WECHAT))
    brand.do(unfollows(node, reason, channel))
    assert value(brand, node, "nickname") == "Leo"


def test_only_the_node_that_left_loses_anything(brand: Brand, node: UUID) -> None:
    other = brand.resolve(phone(2)).customer_id
    told(brand, node, says("nickname", "Leo", WECHAT))
    told(brand, other, says("nickname", "Lea", WECHAT, NOON - DAY))
    brand.merge(node, other)
    brand.do(unfollows(node))
    assert value(brand, node, "nickname") == "Lea"


def test_a_child_by_wechat_alone_is_one_no_longer(brand: Brand, node: UUID) -> None:
    told(brand, node, says("birthdate", "2015-01-01", WECHAT))
    assert kept(brand, node).minor
    brand.do(unfollows(node))
    assert not kept(brand, node).minor


def test_forgetting_a_node_forgets_what_its_channels_knew(brand: Brand, node: UUID) -> None:
    told(brand, node, says("nickname", "Leo", WECHAT, NOON - DAY), says("name", "Ann"))
    told(brand, node, says("nickname", None, WECHAT, NOON))
    forgotten(brand, node)
    assert seals(brand) == [None, None]
    assert [it for values in kept(brand, node).of_nodes for it in said_of(brand, values)] == []


def test_a_key_made_in_the_same_commit_is_destroyed_after_it(brand: Brand, node: UUID) -> None:
    said = UpsertAttributes(node, (says("nickname", "Leo", WECHAT),))
    outcomes = brand.bus.run_now(Unit([(brand.context(), said), (brand.context(), unfollows(node))]))
    assert [type(it.error) for it in outcomes] == [type(None), VersionConflict]
    brand.do(unfollows(node))
    assert seals(brand) == [None]
