"""Tags that are defined, and who has them: by hand, by imports, flows and models, for a while, and for many at once."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection

from chassis.errors import DomainError
from scrm.identity.v1 import events_pb2 as identity
from services.tagging.application.segment_commands import SnapshotSegment
from services.tagging.application.tag_batch_commands import GiveRows, Row, RowOutcome, StartTagBatch
from services.tagging.application.tag_commands import AssignTags, Giver, RemoveTags
from services.tagging.application.taxonomy_commands import (
    ArchiveCategory,
    ArchiveTag,
    CreateCategory,
    CreateTag,
    MergeTags,
    MoveCategory,
    RenameCategory,
    UpdateTag,
)
from services.tagging.domain.claims import Cause
from services.tagging.domain.conditions import HasTag, that
from services.tagging.domain.errors import (
    CategoryCycle,
    CategoryInUse,
    ConsentMissing,
    CustomerErased,
    CustomerNotFound,
    DepthExceeded,
    NameTaken,
    SensitivityFixed,
    StaffScope,
    TagExists,
    TagInUse,
    TagNotActive,
    TagNotManual,
    TagsNotAlike,
    ValueNotAllowed,
)
from services.tagging.domain.segments import Definition
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.tags import CustomerTags
from services.tagging.domain.taxonomy import preset_id
from services.tagging.read_models import tag_history
from tests.tagging.world import (
    START,
    TENANT,
    ZONE,
    World,
    behaved,
    consented,
    created,
    guided,
    merged,
    person,
    unmerged,
)

A, B, C = (person(name) for name in "ABC")
CUSTOM = preset_id(TENANT, "Custom")
DAY = timedelta(days=1)


def local(month: int, day: int, hour: int = 12) -> datetime:
    return datetime(2025, month, day, hour, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def define(
    world: World,
    key: str,
    mode: ValueMode = ValueMode.FLAG,
    values: Sequence[str] = (),
    *,
    kind: TagKind = TagKind.MANUAL,
    category: UUID = CUSTOM,
    ttl_days: int = 0,
    group: str = "",
) -> None:
    definition = TagDefinition(key, key.title(), category, mode, kind, tuple(values), ttl_days, group)
    world.do(CreateTag(definition))


def values(world: World, who: UUID) -> dict[str, str]:
    return {key: it.value for key, it in world.assignments(who).items()}


def test_ac_34_a_category_does_not_go_below_itself_and_values_imply_what_is_above_them(world: World) -> None:
    skincare = world.do(CreateCategory("Skincare", None, False)).id
    serum = world.do(CreateCategory("Serum", skincare, False)).id
    child = world.do(CreateCategory("Night serum", serum, False)).id
    with pytest.raises(CategoryCycle):
        world.do(MoveCategory(serum, child))
    world.tell(*(created(it) for it in (A, B)))
    define(world, "buys", ValueMode.MULTI_CHOICE, ["Skincare > Serum", "Haircare"], category=serum)
    world.do(AssignTags(A, [("buys", "Skincare > Serum")]))
    world.do(AssignTags(B, [("buys", "Haircare")]))
    segment = world.define("skincare", Definition(condition=that(HasTag("buys", "Skincare"))))
    assert world.members(segment) == {A}
    assert world.tagged("buys") == {A, B}
    assert world.tagged("buys=Skincare > Serum") == {A}
    assert world.rebuild() == {}


def test_ac_34_a_merged_tag_takes_its_assignments_along_and_duplicates_collapse(world: World) -> None:
    people = [person(n) for n in range(120)]
    world.tell(*(created(it) for it in people))
    define(world, "dance")
    define(world, "dancing")
    for key, who in (("dance", people), ("dancing", people[:20])):
        outcomes = world.do(GiveRows([Row(it, key, "") for it in who]))
        assert all(it.changed for it in outcomes)
    world.do(MergeTags("dance", "dancing"))
    world.fire()
    assert (world.tagged("dance"), world.tagged("dancing")) == (set(), set(people))
    assert all(world.tags(it) == {"dancing"} for it in people)
    moved = [it.event for it in world.events(CustomerTags.Removed)]
    assert len([it for it in moved if isinstance(it, CustomerTags.Removed) and it.cause is Cause.TAG_MERGE]) == 120
    with pytest.raises(TagNotActive):
        world.do(AssignTags(people[0], [("dance", "")]))
    assert world.rebuild() == {}


def test_ac_35_what_staff_say_outranks_a_newer_model_for_90_days(world: World) -> None:
    define(world, "decision", ValueMode.SINGLE_CHOICE, ["price-sensitive", "kol-influenced"])
    world.tell(created(A))
    world.at(local(5, 1))
    for _ in range(2):
        world.do(AssignTags(A, [("decision", "price-sensitive")]))
    assert len(world.events(CustomerTags.Assigned)) == 1
    world.at(local(5, 10))
    for _ in range(2):
        world.do(AssignTags(A, [("decision", "kol-influenced")], Giver(model="decision")))
    assert values(world, A) == {"decision": "price-sensitive"}
    world.at(local(7, 30) - timedelta(seconds=1))
    assert values(world, A) == {"decision": "price-sensitive"}
    world.at(local(7, 30))
    assert values(world, A) == {"decision": "kol-influenced"}
    assert world.assignments(A)["decision"].source == "MODEL:decision"
    assert world.tagged("decision=kol-influenced") == {A}
    assert world.rebuild() == {}


def test_ac_109_a_tag_for_30_days_ends_at_local_midnight(world: World) -> None:
    define(world, "trial", ttl_days=30)
    world.tell(created(A))
    world.at(local(3, 1, 15))
    world.do(AssignTags(A, [("trial", "")]))
    world.at(local(3, 31, 0) - timedelta(seconds=1))
    assert world.tags(A) == {"trial"}
    world.at(local(3, 31, 0))
    assert world.tags(A) == set()
    (gone,) = [it.event for it in world.events(CustomerTags.Removed)]
    assert isinstance(gone, CustomerTags.Removed)
    assert (gone.cause, gone.at) == (Cause.EXPIRED, local(3, 31, 0))
    assert world.rows("SELECT count(*) FROM timers") == [(0,)]
    world.do(AssignTags(A, [("trial", "")]))
    assert world.tags(A) == {"trial"}


def test_ac_109_a_segment_of_1200_is_tagged_in_one_call_but_for_those_who_are_erased(world: World) -> None:
    people = [person(n) for n in range(1200)]
    world.tell(*(created(it) for it in people))
    segment = world.listed("audience", *people)
    snapshot, _ = world.do(SnapshotSegment(segment))
    world.tell(*(erasing(it) for it in people[:3]))
    world.do(AssignTags(people[5], [("invited", "")]))
    _, batch = world.do(StartTagBatch([("invited", "")], snapshot_id=snapshot))
    assert (batch.size, batch.assigned, batch.unchanged) == (1200, 1196, 1)
    assert (batch.skipped, batch.done) == ({"CUSTOMER_ERASED": 3}, True)
    assert world.tagged("invited") == set(people[3:])
    _, again = world.do(StartTagBatch([("invited", "")], segment_id=segment))
    assert (again.size, again.assigned, again.unchanged, again.skipped) == (1197, 0, 1197, {})
    assert world.rebuild() == {}


def test_ac_109_staff_of_another_store_are_refused(world: World) -> None:
    ours, theirs = uuid4(), uuid4()
    world.tell(created(A), created(B), created(C), guided(A, uuid4(), START, store=ours))
    world.tell(guided(B, uuid4(), START, store=theirs))
    world.do(AssignTags(A, [("vip", "")]), stores=frozenset({ours}))
    for who in (B, C, person("nobody")):
        with pytest.raises(StaffScope):
            world.do(AssignTags(who, [("vip", "")]), stores=frozenset({ours}))
        with pytest.raises(StaffScope):
            world.do(RemoveTags(who, ["vip"]), stores=frozenset({ours}))
    rows = [Row(it, "regular", "") for it in (A, B, person("nobody"))]
    assert reasons(world.do(GiveRows(rows), stores=frozenset({ours}))) == ["", "STAFF_SCOPE", "STAFF_SCOPE"]
    segment = world.listed("all", A, B, C)
    _, batch = world.do(StartTagBatch([("invited", "")], segment_id=segment), stores=frozenset({theirs}))
    assert (batch.assigned, batch.skipped) == (1, {"STAFF_SCOPE": 2})
    assert world.tagged("invited") == {B}


def test_a_large_segment_is_tagged_page_by_page(world: World) -> None:
    people = [person(n) for n in range(2100)]
    world.tell(*(created(it) for it in people))
    segment = world.listed("audience", *people)
    _, batch = world.do(StartTagBatch([("invited", "")], segment_id=segment))
    assert (batch.assigned, batch.done) == (2000, False)
    world.fire()
    assert len(world.tagged("invited")) == 2100


def erasing(who: UUID) -> identity.CustomerErasing:
    return identity.CustomerErasing(case_id=str(uuid4()), customer_id=str(who), node_ids=[str(who)])


def reasons(outcomes: Sequence[RowOutcome]) -> list[str]:
    return [it.error.reason if it.error else "" for it in outcomes]


def test_rows_of_an_import_are_taken_or_refused_one_by_one(world: World) -> None:
    define(world, "size", ValueMode.SINGLE_CHOICE, ["S", "M"])
    define(world, "first_visit", ValueMode.DATE)
    define(world, "weight", ValueMode.NUMBER)
    world.tell(created(A), created(B), erasing(B))
    rows = [
        Row(A, "size", "M"),
        Row(A, "size", "XXL"),
        Row(person("nobody"), "size", "S"),
        Row(B, "size", "S"),
        Row(A, "night_owl", ""),
        Row(A, "first_visit", "2025-02-30"),
        Row(A, "weight", "70.50"),
        Row(A, "size", "M"),
    ]
    found = world.do(GiveRows(rows, Giver(imported=True)))
    assert reasons(found) == [
        "",
        "VALUE_NOT_ALLOWED",
        "CUSTOMER_NOT_FOUND",
        "CUSTOMER_ERASED",
        "TAG_NOT_MANUAL",
        "VALUE_NOT_ALLOWED",
        "",
        "",
    ]
    assert [it.changed for it in found] == [True, False, False, False, False, False, True, False]
    assert values(world, A) == {"size": "M", "weight": "70.5"}
    assert world.assignments(A)["size"].source == "IMPORT"
    assert world.rebuild() == {}


def test_several_values_stay_side_by_side_and_go_one_by_one(world: World) -> None:
    define(world, "likes", ValueMode.MULTI_CHOICE, ["Tea > Green", "Tea > Black", "Coffee"])
    world.tell(created(A))
    world.do(AssignTags(A, [("likes", "Tea > Green"), ("likes", "Tea > Black"), ("likes", "Coffee")]))
    assert (world.tagged("likes=Tea"), world.tagged("likes=Coffee")) == ({A}, {A})
    world.do(RemoveTags(A, [("likes", "Tea > Green")]))
    assert world.tagged("likes=Tea") == {A}
    world.do(RemoveTags(A, [("likes", "Tea")]))
    assert (world.tagged("likes=Tea"), world.tagged("likes")) == (set(), {A})
    world.do(RemoveTags(A, ["likes"]))
    assert world.tagged("likes") == set()
    assert world.rebuild() == {}


def test_tags_of_one_group_exclude_each_other(world: World) -> None:
    define(world, "gold", group="level")
    define(world, "silver", group="level")
    world.tell(created(A))
    world.do(AssignTags(A, [("silver", "")]))
    world.do(AssignTags(A, [("gold", "")]))
    assert (world.tagged("silver"), world.tagged("gold")) == (set(), {A})
    world.do(RemoveTags(A, ["gold"]))
    assert world.tagged("gold") == set()
    assert world.rebuild() == {}


def test_a_rule_does_not_bring_back_for_30_days_what_was_removed_by_hand(world: World) -> None:
    nights = [local(6, day, 23) for day in range(1, 6)]
    world.clock.set(nights[-1])
    world.tell(created(A), *(behaved(A, it) for it in nights))
    assert world.tags(A) == {"night_owl"}
    world.do(RemoveTags(A, ["night_owl"]))
    world.at(local(6, 20, 23))
    more = [local(6, day, 23) for day in range(6, 21)]
    world.tell(*(behaved(A, it) for it in more))
    assert world.tags(A) == set()
    world.at(nights[-1] + 30 * DAY)
    assert world.tags(A) == {"night_owl"}
    assert world.tagged("night_owl") == {A}
    assert world.rebuild() == {}


def test_a_sensitive_tag_needs_consent_and_goes_when_it_is_withdrawn(world: World) -> None:
    define(world, "insomnia", category=preset_id(TENANT, "Health"))
    world.tell(created(A), created(B))
    with pytest.raises(ConsentMissing):
        world.do(AssignTags(A, [("vip", ""), ("insomnia", "")]))
    assert world.tags(A) == set()
    world.tell(consented(A, "SENSITIVE_INFERENCE", "GRANTED", START))
    world.do(AssignTags(A, [("insomnia", "")]))
    assert world.tagged("insomnia") == {A}
    world.tell(consented(A, "SENSITIVE_INFERENCE", "WITHDRAWN", START + DAY))
    assert (world.tagged("insomnia"), world.tags(A)) == (set(), set())
    (gone,) = [it.event for it in world.events(CustomerTags.Removed)]
    assert isinstance(gone, CustomerTags.Removed)
    assert gone.cause is Cause.CONSENT
    world.tell(consented(A, "SENSITIVE_INFERENCE", "GRANTED", START + 2 * DAY))
    assert world.tags(A) == set()
    assert world.rebuild() == {}


def test_a_merge_unites_what_sources_said_and_its_undoing_divides_it_again(world: World) -> None:
    define(world, "size", ValueMode.SINGLE_CHOICE, ["S", "M", "L"])
    define(world, "likes", ValueMode.MULTI_CHOICE, ["Tea", "Coffee"])
    world.tell(created(A), created(B))
    world.do(AssignTags(A, [("size", "S"), ("likes", "Tea")]))
    world.at(START + DAY)
    world.do(AssignTags(B, [("size", "M"), ("likes", "Coffee")], Giver(flow="f-1")))
    before = values(world, A), values(world, B)
    world.tell(merged(A, B))
    assert values(world, A) == {"size": "S", "likes=Tea": "Tea", "likes=Coffee": "Coffee"}
    assert world.rebuild() == {}
    world.at(START + 90 * DAY)
    assert values(world, A)["size"] == "M"  # what staff said has aged
    world.tell(unmerged(A, B))
    assert (values(world, A), values(world, B)) == before
    assert world.rebuild() == {}


def test_erasing_forgets_claims_that_did_not_hold_too(world: World) -> None:
    define(world, "size", ValueMode.SINGLE_CHOICE, ["S", "M"])
    world.tell(created(A))
    world.do(AssignTags(A, [("size", "S")]))
    world.at(START + DAY)
    world.do(AssignTags(A, [("size", "M")], Giver(imported=True)))
    world.tell(erasing(A))
    world.project()
    assert world.rows("SELECT count(*) FROM timers") == [(0,)]
    assert world.rows(f"SELECT count(*) FROM {schema(world)}.tag_periods") == [(0,)]
    assert world.rebuild() == {}


def schema(world: World) -> str:
    found: str = world.rows("SELECT schema FROM projections WHERE name = 'tag_history' AND live")[0][0]
    return found


def test_a_tag_in_use_is_not_archived_and_an_archived_one_not_assigned(world: World) -> None:
    define(world, "vip")
    define(world, "old")
    world.tell(created(A))
    world.do(AssignTags(A, [("vip", ""), ("old", "")]))
    world.define("our vips", Definition(condition=that(HasTag("vip"))))
    for refused in (ArchiveTag("vip"), MergeTags("vip", "old")):
        with pytest.raises(TagInUse) as caught:
            world.do(refused)
        assert caught.value.metadata["users"] == "our vips"
    world.do(ArchiveTag("old"))
    with pytest.raises(TagNotActive):
        world.do(AssignTags(A, [("old", "")]))
    assert world.tags(A) == {"vip", "old"}
    with pytest.raises(TagExists):
        define(world, "vip")


def test_the_tree_of_categories_keeps_its_shape(world: World) -> None:
    level = None
    for name in ("one", "two", "three", "four"):
        level = world.do(CreateCategory(name, level, False)).id
    world.do(RenameCategory(level or CUSTOM, "Custom"))  # the same name elsewhere does not matter
    refusals: list[tuple[object, type[DomainError]]] = [
        (CreateCategory("five", level, False), DepthExceeded),
        (MoveCategory(preset_id(TENANT, "Lifestyle"), level), DepthExceeded),
        (CreateCategory("custom", None, False), NameTaken),
        (ArchiveCategory(preset_id(TENANT, "Lifestyle")), CategoryInUse),
    ]
    for command, error in refusals:
        with pytest.raises(error):
            world.do(command)
    define(world, "hobby_horse", category=preset_id(TENANT, "Interests", "Hobbies"))
    with pytest.raises(SensitivityFixed):
        world.do(MoveCategory(preset_id(TENANT, "Interests", "Hobbies"), preset_id(TENANT, "Health")))
    with pytest.raises(SensitivityFixed):
        world.do(UpdateTag("hobby_horse", category=preset_id(TENANT, "Health")))
    with pytest.raises(CategoryInUse):
        world.do(ArchiveCategory(preset_id(TENANT, "Interests", "Hobbies")))
    with pytest.raises(DepthExceeded):
        define(world, "deep", ValueMode.MULTI_CHOICE, ["a > b > c > d"])
    define(world, "shallow", ValueMode.MULTI_CHOICE, ["a > b"])
    with pytest.raises(TagsNotAlike):
        world.do(MergeTags("hobby_horse", "shallow"))


def test_what_only_rules_or_others_may_assign_staff_may_not(world: World) -> None:
    define(world, "cluster", ValueMode.SINGLE_CHOICE, ["1", "2"], kind=TagKind.MODEL)
    world.do(UpdateTag("cluster", manual_allowed=False))
    define(world, "loyal", kind=TagKind.RULE)
    world.tell(created(A))
    for key, value in (("cluster", "1"), ("loyal", ""), ("night_owl", "")):
        with pytest.raises(TagNotManual):
            world.do(AssignTags(A, [(key, value)]))
    world.do(AssignTags(A, [("cluster", "1")], Giver(model="clusters")))
    assert values(world, A) == {"cluster": "1"}
    with pytest.raises(ValueNotAllowed):
        world.do(AssignTags(A, [("cluster", "3")], Giver(model="clusters")))
    with pytest.raises(CustomerNotFound):
        world.do(AssignTags(B, [("cluster", "1")], Giver(model="clusters")))
    world.tell(erasing(A))
    with pytest.raises(CustomerErased):
        world.do(AssignTags(A, [("cluster", "1")], Giver(model="clusters")))


def asked(world: World, ask: Callable[[Connection], Any]) -> Any:
    return world.read_models.query_now(ask, TENANT)


def test_history_and_daily_figures_follow_from_the_events(world: World) -> None:
    define(world, "size", ValueMode.SINGLE_CHOICE, ["S", "M"])
    world.tell(created(A), created(B))
    world.at(local(3, 1))
    world.do(AssignTags(A, [("size", "S")]))
    world.do(AssignTags(B, [("size", "S")]))
    world.at(local(3, 2))
    world.do(AssignTags(A, [("size", "M")]))
    world.at(local(3, 4))
    world.do(RemoveTags(A, ["size"]))
    world.project()
    first, last = date(2025, 3, 1), date(2025, 3, 4)
    periods = asked(world, lambda it: tag_history.history(it, TENANT, A, "", 2**62, 10))
    assert [(it[1], it[3], it[6]) for it in periods] == [("M", "MANUAL", "MANUAL"), ("S", "MANUAL", "SUPERSEDED")]
    assert [it[4:6] for it in periods] == [(local(3, 2), local(3, 4)), (local(3, 1), local(3, 2))]
    days = asked(world, lambda it: tag_history.trend(it, TENANT, "size", None, first, last))
    assert [it[1:] for it in days] == [(2, 0, 2), (1, 1, 2), (0, 0, 2), (0, 1, 1)]
    smaller = asked(world, lambda it: tag_history.trend(it, TENANT, "size", "S", date(2025, 3, 3), last))
    assert [it[1:] for it in smaller] == [(0, 0, 1), (0, 0, 1)]
    assert asked(world, lambda it: tag_history.activity(it, TENANT, first, last, "", 10)) == [("system/test", 3, 1)]
    assert asked(world, lambda it: tag_history.activity(it, "other", first, last, "", 10)) == []
