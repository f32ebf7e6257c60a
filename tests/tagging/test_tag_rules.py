"""Tags that follow conditions and facts: they come and go with facts and with time, and agree with a rebuild."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from chassis.errors import UnknownEnum
from services.tagging.application.condition_commands import UpdateConditionLimits
from services.tagging.application.tag_commands import AssignTags, RemoveTags
from services.tagging.application.tag_rule_commands import (
    ActivateRule,
    BackfillRule,
    DefineRule,
    EnableFactTag,
    PauseRule,
)
from services.tagging.application.taxonomy_commands import ArchiveTag, CreateTag
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.claims import Cause
from services.tagging.domain.conditions import (
    AttributeTest,
    Comparison,
    EventTest,
    Figure,
    Happening,
    HasTag,
    Operator,
    all_of,
    last_days,
    no,
    that,
)
from services.tagging.domain.errors import (
    BandOverlap,
    ConditionTooComplex,
    RuleCycle,
    RuleNotFound,
    TagExists,
    TagInUse,
    TagNotActive,
    TagNotManual,
    TagsNotAlike,
    UnknownDimension,
)
from services.tagging.domain.fact_tags import FACT_TAGS, FactParameters, bands
from services.tagging.domain.rules import RULES, Course, follow
from services.tagging.domain.segments import Definition
from services.tagging.domain.sessions import event, sessions
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.tag_rules import RuleStatus
from services.tagging.domain.tags import CustomerTags
from services.tagging.domain.taxonomy import preset_id
from services.tagging.read_models.rule_preview import preview
from tests.tagging.world import (
    TENANT,
    ZONE,
    World,
    behaved,
    consented,
    created,
    knows,
    merged,
    paid,
    person,
    refunded,
    unmerged,
)

A, B, C = (person(name) for name in "ABC")
DAY = timedelta(days=1)
NIGHT_OWL = next(it for it in RULES if it.tag == "night_owl")


def local(month: int, day: int, hour: int = 12, minute: int = 0, zone: str = ZONE) -> datetime:
    return datetime(2025, month, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def value(world: World, who: UUID, tag: str) -> str | None:
    found = world.assignments(who).get(tag)
    return found.value if found else None


def tell(world: World, *messages: object) -> None:
    world.tell(*messages)  # type: ignore[arg-type]
    world.fire()


def test_ac_36_the_third_day_with_a_visit_moves_the_band_and_time_moves_it_back(world: World) -> None:
    world.do(EnableFactTag("visit_freq_30d", FactParameters()))
    world.at(local(6, 3))
    tell(world, created(A), *(behaved(A, local(6, day)) for day in (1, 2, 2)))
    assert value(world, A, "visit_freq_30d") == "1–2"
    tell(world, behaved(A, local(6, 3)))
    assert value(world, A, "visit_freq_30d") == "3–5"
    assert world.tagged("visit_freq_30d=3–5") == {A}
    assert world.rebuild() == {}
    world.at(local(7, 1, 0) - timedelta(seconds=1))
    assert value(world, A, "visit_freq_30d") == "3–5"
    world.at(local(7, 1, 0))  # 1 June leaves
    assert value(world, A, "visit_freq_30d") == "1–2"
    world.at(local(7, 3, 0))
    assert (value(world, A, "visit_freq_30d"), world.tagged("visit_freq_30d")) == (None, set())
    assert world.rebuild() == {}


def test_ac_110_a_cent_moves_the_band_of_spend_and_a_refund_moves_it_back(world: World) -> None:
    world.do(EnableFactTag("total_spend", FactParameters(edges=(0.01, 500.0, 1000.0))))
    world.at(local(6, 3))
    tell(world, created(A), paid(A, 1, local(6, 1), 99_998), paid(A, 2, local(6, 2), 1))
    assert value(world, A, "total_spend") == "500–999.99"
    tell(world, paid(A, 3, local(6, 3), 1))
    assert value(world, A, "total_spend") == "1,000+"
    tell(world, refunded(A, 3, "r1", local(6, 3), 1))
    assert value(world, A, "total_spend") == "500–999.99"
    tell(world, refunded(A, 1, "r2", local(6, 3), 99_998))
    assert value(world, A, "total_spend") == "0.01–499.99"
    assert world.rebuild() == {}


def test_bands_have_names_and_their_edges_rise() -> None:
    assert [it[0] for it in bands((1, 3, 6), "1")] == ["1–2", "3–5", "6+"]
    assert [it[0] for it in bands((0, 1, 7), "1")] == ["0", "1–6", "7+"]
    for edges in ((1, 1), (3, 2), (1, 5, 4)):
        with pytest.raises(BandOverlap):
            bands(edges, "1")


def test_other_bands_take_the_place_of_those_before(world: World) -> None:
    world.at(local(6, 4))
    world.do(EnableFactTag("visit_freq_30d", FactParameters()))
    tell(world, created(A), created(B))
    came(world, A, (1,))
    came(world, B, (1, 2, 3))
    world.do(EnableFactTag("visit_freq_30d", FactParameters(edges=(2, 4))))
    world.fire()
    assert (value(world, A, "visit_freq_30d"), value(world, B, "visit_freq_30d")) == (None, "2–3")
    assert world.tagged("visit_freq_30d") == {B}
    world.do(EnableFactTag("visit_freq_30d", FactParameters()))
    world.fire()
    assert (value(world, A, "visit_freq_30d"), value(world, B, "visit_freq_30d")) == ("1–2", "3–5")
    assert world.rebuild() == {}


def test_every_preset_fact_tag_can_be_enabled(world: World) -> None:
    with pytest.raises(UnknownEnum):
        world.do(EnableFactTag("gender", FactParameters(values=("a",))))
    for key in FACT_TAGS:
        values = {"gender": ("FEMALE", "MALE"), "age_band": ("AGE_18_24",)}.get(key, ("a", "b"))
        world.do(EnableFactTag(key, FactParameters(values=values)))
    world.fire()
    tell(world, created(A), knows(A, "city", "a", local(1, 1)), behaved(A, local(1, 2), kind="content_shared"))
    assert {"city", "shared", "last_active_days"} <= world.tags(A)
    with pytest.raises(TagNotManual):
        world.do(AssignTags(A, [("city", "b")]))
    with pytest.raises(TagNotManual):
        world.do(RemoveTags(A, ["city"]))
    tell(world, knows(A, "city", "b", local(1, 3)))
    assert value(world, A, "city") == "b"
    assert world.rebuild() == {}


def visits(least: float) -> EventTest:
    return EventTest(Happening(), Figure.COUNT, Comparison.with_plain(Operator.GE, least), last_days(30))


def rule(world: World, tag: str, *, category: str = "Custom", **more: object) -> None:
    flag = TagDefinition(tag, tag, preset_id(TENANT, category), ValueMode.FLAG, TagKind.RULE, manual_allowed=False)
    world.do(CreateTag(flag))
    world.do(DefineRule(tag, [("", that(visits(3)))], **more))  # type: ignore[arg-type]


def came(world: World, who: UUID, days: Iterable[int], month: int = 6) -> None:
    tell(world, *(behaved(who, local(month, day)) for day in days))


def test_a_rule_enters_and_leaves_by_different_conditions_and_says_nothing_before_it_is_active(world: World) -> None:
    world.at(local(6, 4))
    tell(world, created(A), created(B))
    rule(world, "regular", exit=no(that(visits(2))))
    came(world, A, (1, 2, 3))
    assert world.tags(A) == set()
    draft = world.do(DefineRule("regular", [("", that(visits(3)))], no(that(visits(2)))))
    found = world.read_models.query_now(lambda rows: preview(rows, TENANT, draft), TENANT)
    assert found == (1, 1, 0, [A], [])
    asked = world.read_models.query_now(lambda rows: preview(rows, TENANT, draft, {A, B, C}), TENANT)
    assert asked.verdicts == [(A, False, True), (B, False, False)]  # nobody knows of C
    assert world.do(ActivateRule("regular")).status is RuleStatus.ACTIVE
    world.fire()
    assert world.tagged("regular") == {A}
    came(world, B, (3,))
    assert world.tags(B) == set()
    world.at(local(7, 1, 0))  # two are left: no reason to come, but to stay
    assert world.tags(A) == {"regular"}
    world.at(local(7, 2, 0))
    assert world.tags(A) == set()
    (gone,) = [it.event for it in world.events(CustomerTags.Removed)]
    assert isinstance(gone, CustomerTags.Removed)
    assert (gone.cause, gone.source) == (Cause.TIME, "RULE:regular")
    assert world.rebuild() == {}


def test_a_tag_is_held_for_the_days_it_is_to_be_held(world: World) -> None:
    world.at(local(6, 4))
    tell(world, created(A))
    rule(world, "regular", min_hold_days=40)
    world.do(ActivateRule("regular"))
    came(world, A, (1, 2, 3))
    world.at(local(7, 10))
    assert world.tags(A) == {"regular"}
    world.at(local(7, 14))  # 40 days after 4 June
    assert world.tags(A) == set()
    assert world.rebuild() == {}


def test_a_new_version_tags_anew_and_a_paused_rule_leaves_everything_as_it_is(world: World) -> None:
    world.at(local(6, 4))
    tell(world, created(A), created(B))
    rule(world, "regular")
    world.do(ActivateRule("regular"))
    came(world, A, (1, 2))
    came(world, B, (1, 2, 3))
    assert world.tagged("regular") == {B}
    assert world.do(DefineRule("regular", [("", that(visits(2)))])).version == 2
    world.fire()
    assert world.tagged("regular") == {B}
    world.do(ActivateRule("regular"))
    world.fire()
    assert world.tagged("regular") == {A, B}
    world.do(PauseRule("regular"))
    world.at(local(8, 1))
    assert world.tagged("regular") == {A, B}
    world.do(ActivateRule("regular"))
    world.fire()
    assert world.tagged("regular") == set()
    world.do(BackfillRule("regular"))
    world.fire()
    assert world.rebuild() == {}


def test_a_rule_follows_merges_and_their_undoing(world: World) -> None:
    world.at(local(6, 4))
    tell(world, created(A), created(B))
    rule(world, "regular")
    world.do(ActivateRule("regular"))
    came(world, A, (1, 2))
    came(world, B, (3,))
    tell(world, merged(A, B))
    assert world.tagged("regular") == {A}
    assert world.rebuild() == {}
    tell(world, unmerged(A, B))
    assert world.tagged("regular") == set()
    assert world.rebuild() == {}


def test_a_sensitive_rule_speaks_only_of_those_who_agreed(world: World) -> None:
    world.at(local(6, 4))
    tell(world, created(A), created(B), consented(A, "SENSITIVE_INFERENCE", "GRANTED", local(6, 1)))
    rule(world, "restless", category="Health")
    world.do(ActivateRule("restless"))
    came(world, A, (1, 2, 3))
    came(world, B, (1, 2, 3))
    assert world.tagged("restless") == {A}
    tell(world, consented(B, "SENSITIVE_INFERENCE", "GRANTED", local(6, 4)))
    assert world.tagged("restless") == {A, B}
    tell(world, consented(A, "SENSITIVE_INFERENCE", "WITHDRAWN", local(6, 4, 13)))
    assert world.tagged("restless") == {B}
    assert world.rebuild() == {}


def test_a_segment_may_be_made_of_a_tag_that_a_rule_gives(world: World) -> None:
    world.at(local(6, 4))
    tell(world, created(A))
    rule(world, "regular")
    segment = world.define("regulars", Definition(condition=that(HasTag("regular"))))
    world.do(ActivateRule("regular"))
    came(world, A, (1, 2, 3))
    assert world.members(segment) == {A}
    world.do(RemoveTags(A, ["regular"]))
    world.fire()
    assert world.members(segment) == set()
    world.at(local(7, 1, 0))
    assert world.rebuild() == {}


def test_rules_do_not_depend_on_themselves_and_are_for_tags_of_rules(world: World) -> None:
    rule(world, "one")
    rule(world, "two")
    world.do(DefineRule("two", [("", all_of(that(HasTag("one")), that(visits(1))))]))
    for tag in ("one", "two"):
        with pytest.raises(RuleCycle):
            world.do(DefineRule("one", [("", that(HasTag(tag)))]))
    world.do(CreateTag(TagDefinition("hand", "Hand", preset_id(TENANT, "Custom"), ValueMode.FLAG, TagKind.MANUAL)))
    with pytest.raises(TagsNotAlike):
        world.do(DefineRule("hand", [("", that(visits(1)))]))
    world.do(CreateTag(TagDefinition("city", "City", preset_id(TENANT, "Custom"), ValueMode.FLAG, TagKind.MANUAL)))
    with pytest.raises(TagExists):
        world.do(EnableFactTag("city", FactParameters(values=("a",))))
    with pytest.raises(RuleNotFound):
        world.do(ActivateRule("hand"))


def test_the_rule_of_an_archived_tag_stays_out_of_force(world: World) -> None:
    rule(world, "regular")
    world.do(ActivateRule("regular"))
    with pytest.raises(TagInUse):
        world.do(ArchiveTag("regular"))
    world.do(PauseRule("regular"))
    world.do(ArchiveTag("regular"))
    with pytest.raises(TagNotActive):
        world.do(ActivateRule("regular"))


def test_the_conditions_of_a_rule_are_held_to_the_words_and_limits_of_the_brand(world: World) -> None:
    rule(world, "one")
    with pytest.raises(UnknownDimension):
        world.do(DefineRule("one", [("", that(AttributeTest("no_such_word", Comparison(Operator.EXISTS))))]))
    many = all_of(*(that(HasTag(f"t{n}")) for n in range(9)))
    with pytest.raises(ConditionTooComplex):
        world.do(DefineRule("one", [("", many)]))
    world.do(UpdateConditionLimits(16, 4))
    world.do(DefineRule("one", [("", many)]))


def course(at: datetime, *starts: datetime, zone: str = ZONE) -> Course:
    opened = sessions([event("h5", it, None) for it in starts if it <= at])
    return follow(NIGHT_OWL, opened, Calendar.of(zone), at)


def test_ac_39_a_night_owl_stays_one_until_the_share_falls_below_40_percent() -> None:
    nights = [
        local(6, 1, 23, 30),
        local(6, 3, 23, 30),
        local(6, 4, 1),
        local(6, 5, 2),
        local(6, 7, 23, 40),
        local(6, 8, 3),
    ]
    by_day = [local(6, day) for day in (2, 9, 10, 11)]
    assert course(local(6, 12), *nights, *by_day).assigned  # 6 of 10, on 4 nights
    later = [local(6, day) for day in (14, 16, 20, 24)]
    assert course(local(6, 25), *nights, *by_day, *later).assigned  # 6 of 14
    last = local(7, 1, 10)  # 1 June has left the window
    gone = course(last, *nights, *by_day, *later, last)
    assert not gone.assigned  # 5 of 14
    assert gone.first is not None


def test_ac_40_a_session_in_the_night_of_the_change_to_summer_time_counts_once_for_that_night() -> None:
    zone = "America/New_York"
    start = datetime(2025, 3, 9, 7, 10, tzinfo=UTC)  # 03:10, ten minutes after 01:59:59
    assert start.astimezone(ZoneInfo(zone)).hour == 3
    calendar = Calendar.of(zone)
    assert NIGHT_OWL.night(calendar.local(start, None)) == datetime(2025, 3, 8).toordinal()  # noqa: DTZ001
    before = [local(3, day, 23, 30, zone) for day in (5, 6, 7)]
    same_night = local(3, 8, 23, 30, zone)
    found = course(start, *before, same_night, start, zone=zone)
    assert found.assigned
    assert (found.evidence.sessions, found.evidence.matching, found.evidence.days) == (5, 5, 4)
