"""Preset tags for the habits of customers: when and where they come, when they buy, whether they got money back (TG-3)."""

from datetime import timedelta

from services.tagging.application.tag_rule_commands import EnableFactTag
from services.tagging.domain.fact_tags import FactParameters
from tests.tagging.test_tag_rules import DAY, A, B, local, tell, value
from tests.tagging.world import World, behaved, created, merged, paid, refunded, unmerged


def test_active_hours_are_the_quarter_of_the_local_day_with_most_of_90_days_and_move_by_the_clock(world: World) -> None:
    world.do(EnableFactTag("active_hours", FactParameters()))
    world.at(local(6, 3, 23))
    mornings = [behaved(A, local(6, day, 7)) for day in (1, 2)]
    evenings = [behaved(A, local(6, day, 20)) for day in (1, 2, 3)]
    tell(world, created(A), created(B), *mornings, *evenings)
    assert value(world, A, "active_hours") == "18–24"
    tell(world, behaved(A, local(6, 3, 6)))  # as many, but the last of all is in the evening
    assert value(world, A, "active_hours") == "18–24"
    tell(world, behaved(A, local(6, 3, 23), offset=-420))  # eight in the morning where the device is
    assert value(world, A, "active_hours") == "06–12"
    tell(world, merged(A, B), *(behaved(B, local(6, 3, 19, minute)) for minute in (1, 2)))
    assert value(world, A, "active_hours") == "18–24"
    tell(world, unmerged(A, B))
    assert (value(world, A, "active_hours"), value(world, B, "active_hours")) == ("06–12", "18–24")
    assert world.rebuild() == {}
    world.at(local(6, 3, 0) + 90 * DAY - timedelta(seconds=1))
    assert value(world, A, "active_hours") == "06–12"
    world.at(local(6, 3, 0) + 90 * DAY)
    assert (value(world, A, "active_hours"), value(world, B, "active_hours")) == (None, None)
    assert world.rebuild() == {}


def test_the_favourite_channel_is_the_one_that_is_used_most(world: World) -> None:
    world.do(EnableFactTag("favourite_channel", FactParameters(values=("oa", "mini_program"))))
    world.at(local(6, 3, 23))
    tell(world, created(A), behaved(A, local(6, 1), channel="oa"), behaved(A, local(6, 2), channel="mini_program"))
    assert value(world, A, "favourite_channel") == "mini_program"
    tell(world, behaved(A, local(6, 1, 8), channel="oa"))
    assert value(world, A, "favourite_channel") == "oa"
    tell(world, *(behaved(A, local(6, 3, hour), channel="web") for hour in (1, 2, 3)))  # none of the values there are
    assert value(world, A, "favourite_channel") is None
    assert world.rebuild() == {}


def test_the_preferred_time_to_buy_forgets_what_was_given_back_whole_which_makes_one_refunded(world: World) -> None:
    for key in ("purchase_hours", "refunded"):
        world.do(EnableFactTag(key, FactParameters()))
    world.at(local(6, 3, 23))
    tell(world, created(A), paid(A, 1, local(6, 1, 23), 100), paid(A, 2, local(6, 2, 5, 59), 100))
    assert (value(world, A, "purchase_hours"), value(world, A, "refunded")) == ("00–06", None)
    tell(world, paid(A, 3, local(6, 2, 18), 100))
    assert value(world, A, "purchase_hours") == "18–24"
    tell(world, refunded(A, 3, "r1", local(6, 3), 100), refunded(A, 1, "r2", local(6, 3), 100))
    assert (value(world, A, "purchase_hours"), value(world, A, "refunded")) == ("00–06", "")
    assert world.rebuild() == {}


def test_days_since_the_last_activity_move_to_the_next_band_by_the_clock_and_back_with_a_fact(world: World) -> None:
    world.do(EnableFactTag("last_active_days", FactParameters()))
    tell(world, created(A), behaved(A, local(6, 1)))
    world.at(local(6, 1))
    assert value(world, A, "last_active_days") == "0–7"
    for days, before, after in ((8, "0–7", "8–30"), (31, "8–30", "31–90"), (91, "31–90", "91+")):
        midnight = local(6, 1, 0) + days * DAY
        world.at(midnight - timedelta(seconds=1))
        assert value(world, A, "last_active_days") == before
        world.at(midnight)
        assert value(world, A, "last_active_days") == after
    assert world.rebuild() == {}
    tell(world, behaved(A, local(6, 1, 0) + 91 * DAY))
    assert value(world, A, "last_active_days") == "0–7"
