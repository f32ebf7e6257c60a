"""Personas: ready rules that a brand adopts with one call (TG-5)."""

from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from services.tagging.application.persona_commands import AdoptPersona
from services.tagging.application.taxonomy_commands import CreateTag
from services.tagging.domain.conditions.checking import check_words
from services.tagging.domain.conditions.vocabulary import Vocabulary
from services.tagging.domain.errors import TagExists, TagNotFound
from services.tagging.domain.history import Line
from services.tagging.domain.personas import PERSONAS
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.tag_rules import TagRules
from services.tagging.domain.taxonomy import preset_id
from tests.tagging.calling import Caller, Serve
from tests.tagging.world import TENANT, ZONE, World, behaved, consented, created_at, paid, person, placed, refunded

A, B = person("A"), person("B")


def local(month: int, day: int, hour: int = 12) -> datetime:
    return datetime(2025, month, day, hour, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def bought(world: World, who: object, number: int, at: datetime, *, quantity: int = 1, cents: int = 10_000) -> None:
    """An order of articles that cost 100.00 together by their list prices."""
    line = Line(f"s{number}", "tea", "b", quantity, 10_000, cents)
    world.tell(placed(who, number, at, line), paid(who, number, at, cents))  # type: ignore[arg-type]
    world.fire()


def test_every_persona_is_within_the_limits_and_words_that_any_brand_has() -> None:
    for it in PERSONAS.values():
        for condition in (it.enter, it.exit):
            condition.check()
            check_words(condition.placed("definition."), Vocabulary())


def test_a_bargain_hunter_buys_only_at_half_the_price_or_less(world: World) -> None:
    world.at(local(6, 1))
    world.do(AdoptPersona("bargain_hunter"))
    world.tell(created_at(A, local(1, 1)), created_at(B, local(1, 1)))
    for number, day in enumerate((2, 3, 4)):
        world.at(local(6, day))
        bought(world, A, number, local(6, day), cents=5_000)
        bought(world, B, 10 + number, local(6, day), cents=5_001 if number else 4_000)
    assert world.tagged("bargain_hunter") == {A}
    world.at(local(6, 5))
    bought(world, A, 5, local(6, 5), cents=9_000)  # 3 of 4: below 80 in a hundred
    assert world.tagged("bargain_hunter") == set()
    assert world.rebuild() == {}


def test_a_weekend_shopper_goes_by_the_calendar_and_a_refund_takes_an_order_away(world: World) -> None:
    world.at(local(6, 1))
    world.do(AdoptPersona("weekend_shopper"))
    world.tell(created_at(A, local(1, 1)))
    for number, day in enumerate((6, 7, 8)):  # a Friday, Saturday and Sunday
        world.at(local(6, day))
        bought(world, A, number, local(6, day))
    assert world.tagged("weekend_shopper") == {A}
    world.tell(refunded(A, 1, "r1", local(6, 8), 10_000), refunded(A, 2, "r2", local(6, 8), 10_000))
    world.fire()
    assert world.tagged("weekend_shopper") == set()


def test_a_bulk_buyer_and_a_lunch_break_reader(world: World) -> None:
    world.at(local(6, 2))
    world.do(AdoptPersona("bulk_buyer"))
    world.do(AdoptPersona("lunch_break_reader"))
    world.tell(created_at(A, local(1, 1)), created_at(B, local(1, 1)))
    for number, day in enumerate((2, 3, 4)):  # from Monday on
        world.at(local(6, day, 14))
        bought(world, A, number, local(6, day), quantity=10 if number else 1)
        world.tell(*(behaved(B, local(6, day, hour)) for hour in (12, 13)), behaved(A, local(6, day, 11)))
        world.fire()
    assert (world.tagged("bulk_buyer"), world.tagged("lunch_break_reader")) == ({A}, {B})
    world.at(local(7, 3, 0))  # two readings are left
    assert world.tagged("lunch_break_reader") == set()
    assert world.rebuild() == {}


def test_a_coupon_lover_uses_coupons_for_three_orders_of_five(world: World) -> None:
    world.at(local(6, 1))
    world.do(AdoptPersona("coupon_lover"))
    world.tell(created_at(A, local(1, 1)))
    line = Line("s", "tea", "b", 1, 10_000, 10_000)
    for number, coupons in enumerate((1, 0, 2, 0, 1)):
        at = local(6, 2 + number)
        world.at(at)
        world.tell(placed(A, number, at, line, coupons=coupons), paid(A, number, at, 10_000))
        world.fire()
        assert (world.tagged("coupon_lover") == {A}) is (number in (2, 4))
    assert world.rebuild() == {}


def test_a_possible_sleep_problem_is_told_of_only_who_agreed_to_be_told_of_it(world: World) -> None:
    world.at(local(6, 1))
    world.do(AdoptPersona("possible_sleep_problem"))
    world.tell(created_at(A, local(1, 1)), created_at(B, local(1, 1)))
    world.tell(consented(A, "SENSITIVE_INFERENCE", "GRANTED", local(1, 1)))
    nights = [day for week in (2, 9, 16) for day in range(week, week + 4)]  # Monday to Thursday
    for who in (A, B):
        world.tell(*(behaved(who, local(6, day, 3)) for day in nights))
    world.at(local(6, 20))
    assert world.tagged("possible_sleep_problem") == {A}
    world.at(local(7, 1, 0))  # the first Monday is out of the window
    assert world.tagged("possible_sleep_problem") == set()


def test_a_persona_is_adopted_once_and_not_over_another_tag(world: World) -> None:
    world.do(AdoptPersona("bulk_buyer"))
    world.do(AdoptPersona("bulk_buyer"))
    assert len(world.events(TagRules.Activated)) == 1
    custom = TagDefinition("weekend_shopper", "w", preset_id(TENANT, "Custom"), ValueMode.FLAG, TagKind.MANUAL)
    world.do(CreateTag(custom))
    with pytest.raises(TagExists):
        world.do(AdoptPersona("weekend_shopper"))
    with pytest.raises(TagNotFound):
        world.do(AdoptPersona("night_owl"))


def test_personas_are_listed_and_adopted_by_callers(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        rule = (await caller.call("AdoptPersona", tag_key="bargain_hunter")).rule
        assert (rule.tag_key, rule.version) == ("bargain_hunter", 1)
        found = {it.tag_key: it for it in (await caller.call("ListPersonas")).personas}
        assert set(found) == set(PERSONAS)
        assert [key for key, it in found.items() if it.adopted] == ["bargain_hunter"]
        for it in found.values():
            assert (await caller.call("FormatCondition", text=it.enter)).text == it.enter
        refused = await caller.refused("AdoptPersona", tag_key="nobody", request_id=str(uuid4()))
        assert refused.reason == "TAG_NOT_FOUND"

    serve(check)
