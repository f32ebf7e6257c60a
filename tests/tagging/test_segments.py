"""Segments on the database: lists, conditions that follow the facts, combinations, snapshots."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from chassis.errors import VersionConflict
from services.tagging.application.model_commands import DefineModel, KeepModelRun
from services.tagging.application.segment_commands import (
    ComputeSetOperation,
    CreateSegment,
    MemberChange,
    MemberOutcome,
    SnapshotSegment,
    UpdateSegment,
    UpdateStaticMembers,
)
from services.tagging.application.tag_commands import AssignTags, RemoveTags
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import (
    Condition,
    HasTag,
    InLayer,
    InSegment,
    RfmScores,
    SetOperation,
    SetOperator,
    Universe,
    all_of,
    any_of,
    no,
    that,
)
from services.tagging.domain.errors import (
    ConditionTooComplex,
    CustomerNotFound,
    LayerNotFound,
    NameTaken,
    RunNotFound,
    SegmentCycle,
    SegmentKindFixed,
    SegmentNotFound,
    SegmentNotStatic,
    TagNotManual,
)
from services.tagging.domain.model_schedules import NIGHTLY
from services.tagging.domain.models import ModelRun, RfmModel, Window, model_id
from services.tagging.domain.rfm_params import RfmParams
from services.tagging.domain.rules import RULE_TAGS
from services.tagging.domain.segments import Definition
from services.tagging.domain.tags import CustomerTags
from services.tagging.read_models import audiences, directory, purchases
from tests.tagging.test_erasure import erasing
from tests.tagging.world import TENANT, ZONE, World, became_known, created, merged, paid, person

VIP = that(HasTag("vip"))
P = [person(n) for n in range(201)]


def inside(segment: UUID) -> Condition:
    return that(InSegment(segment))


def combined(operator: SetOperator, *operands: Condition, save_as: str = "") -> ComputeSetOperation:
    return ComputeSetOperation(SetOperation(operator, operands), Universe.KNOWN, save_as)


def test_ac_41_intersection_union_and_difference_of_lists(world: World) -> None:
    world.tell(*(created(P[n]) for n in range(1, 201)))
    a, b = inside(world.listed("A", *P[1:61])), inside(world.listed("B", *P[41:101]))
    c = inside(world.listed("C", *P[51:56]))
    assert world.do(combined(SetOperator.INTERSECT, a, b)).count == 20
    union = world.do(combined(SetOperator.UNION, a, b, save_as="A or B"))
    assert union.count == union.saved.size == 100
    assert world.do(combined(SetOperator.DIFFERENCE, inside(union.saved.id), c)).count == 95
    assert world.do(combined(SetOperator.DIFFERENCE, a, b)).count == 40
    assert world.do(combined(SetOperator.DIFFERENCE, b, a)).count == 40
    with pytest.raises(ConditionTooComplex):
        world.do(combined(SetOperator.UNION, *[a] * 9))


def test_a_list_answers_for_each_customer_and_follows_merges(world: World) -> None:
    world.tell(created(P[1]), created(P[2]), created(P[3]), merged(P[1], P[3]), created(P[5]), erasing(P[5]))
    segment = world.define("list")
    changes = [
        MemberChange(True, P[2]),
        MemberChange(True, uuid4()),
        MemberChange(True, P[5]),
        MemberChange(True, P[3]),
        MemberChange(True, P[1]),
        MemberChange(False, P[2]),
        MemberChange(False, P[2]),
        MemberChange(True, P[2]),
    ]
    result = world.do(UpdateStaticMembers(segment, changes))
    assert result.outcomes == [
        (MemberOutcome.CHANGED, P[2]),
        (MemberOutcome.NOT_FOUND, None),
        (MemberOutcome.ERASED, None),
        (MemberOutcome.CHANGED, P[1]),  # the survivor
        (MemberOutcome.UNCHANGED, P[1]),
        (MemberOutcome.CHANGED, P[2]),
        (MemberOutcome.UNCHANGED, P[2]),
        (MemberOutcome.CHANGED, P[2]),
    ]
    assert world.members(segment) == {P[1], P[2]}
    world.tell(created(P[4]), merged(P[4], P[1]))
    assert world.members(segment) == {P[4], P[2]}
    world.do(UpdateStaticMembers(segment, [MemberChange(False, P[1])]))  # now stands for the survivor
    assert world.members(segment) == {P[2]}
    assert world.rebuild() == {}


def test_a_condition_on_tags_follows_tags_and_recognition_at_once(world: World) -> None:
    vips = world.define("vips", Definition(condition=VIP))
    others = world.define("others", Definition(condition=no(VIP)))
    anybody = world.define("anybody", Definition(condition=no(VIP)), Universe.ALL)
    world.tell(created(P[1]), created(P[2], known=False), created(P[3]))
    world.do(AssignTags(P[1], [("vip", "")]))
    assert (world.members(vips), world.members(others)) == ({P[1]}, {P[3]})
    assert world.members(anybody) == {P[2], P[3]}
    world.tell(became_known(P[2], "k2"))
    assert world.members(others) == {P[2], P[3]}
    world.do(RemoveTags(P[1], ["vip", "unknown"]))
    assert (world.members(vips), world.members(others)) == (set(), {P[1], P[2], P[3]})
    world.tell(merged(P[2], P[3]))
    assert world.members(others) == {P[1], P[2]}
    assert world.rebuild() == {}


def test_the_same_tag_twice_is_one_event_and_rules_keep_their_tags_to_themselves(world: World) -> None:
    world.tell(created(P[1]))
    for _ in range(2):
        world.do(AssignTags(P[1], [("vip", "gold")]))
    world.do(RemoveTags(P[1], ["other"]))
    assert len(world.events(CustomerTags.Assigned)) == 1
    for tag in RULE_TAGS:
        with pytest.raises(TagNotManual):
            world.do(AssignTags(P[1], [("new", ""), (tag, "")]))
    assert world.tags(P[1]) == {"vip"}
    assert world.tagged("new") == set()
    with pytest.raises(CustomerNotFound):
        world.do(AssignTags(uuid4(), [("vip", "")]))


def test_another_tenant_sees_nothing_of_it(world: World) -> None:
    world.tell(created(P[1]))
    segment = world.listed("list", P[1])
    with pytest.raises(CustomerNotFound):
        world.do(AssignTags(P[1], [("vip", "")]), tenant="other")
    with pytest.raises(SegmentNotFound):
        world.do(SnapshotSegment(segment), tenant="other")
    with pytest.raises(SegmentNotFound):
        world.do(CreateSegment("x", Definition(condition=inside(segment)), Universe.KNOWN), tenant="other")
    mine = world.read_models.query_now(lambda rows: directory.by_ordinal(rows, TENANT, [0]), TENANT)
    stolen = world.read_models.query_now(lambda rows: directory.by_ordinal(rows, TENANT, [0]), "other")
    assert ([it.id for it in mine], stolen) == ([P[1]], [])


def test_definitions_are_checked(world: World) -> None:
    a = world.define("a", Definition(condition=VIP))
    b = world.define("b", Definition(condition=inside(a)))
    with pytest.raises(SegmentCycle):
        world.do(UpdateSegment(a, Definition(condition=inside(b)), None))
    with pytest.raises(SegmentCycle):
        world.do(UpdateSegment(a, Definition(condition=inside(a)), None))
    with pytest.raises(SegmentKindFixed):
        world.do(UpdateSegment(a, Definition(), None))
    with pytest.raises(SegmentNotStatic):
        world.do(UpdateStaticMembers(a, [MemberChange(True, P[1])]))
    with pytest.raises(NameTaken):
        world.define("a")
    with pytest.raises(SegmentNotFound):
        world.define("c", Definition(condition=inside(uuid4())))
    with pytest.raises(RunNotFound):
        world.define("d", Definition(condition=that(InLayer("rfm", "LOYAL"))))
    with pytest.raises(LayerNotFound):
        world.define("e", Definition(condition=that(InLayer("rfm", "LOYALS"))))
    with pytest.raises(VersionConflict):
        world.do(UpdateSegment(a, Definition(condition=no(VIP)), 7))
    assert world.do(UpdateSegment(a, Definition(condition=no(VIP)), 1)).segment.revision == 2
    assert world.rebuild() == {}


def test_a_definition_that_was_refused_leaves_nothing_behind_for_the_next_one(world: World) -> None:
    world.tell(created(P[1]), created(P[2]))
    a = world.define("a", Definition(condition=VIP))
    with pytest.raises(RunNotFound):
        world.do(UpdateSegment(a, Definition(condition=that(InLayer("rfm", "LOYAL"))), None))
    assert world.do(UpdateSegment(a, Definition(condition=no(VIP)), None)).size == 2


def test_a_snapshot_stays_as_it_was(world: World) -> None:
    world.tell(created(P[1], key="k1"), created(P[2], key="k2"))
    segment = world.listed("list", P[1], P[2])
    id, snapshot = world.do(SnapshotSegment(segment))
    again, same = world.do(SnapshotSegment(segment))
    assert (snapshot.size, snapshot.digest) == (2, same.digest)
    assert id != again
    world.do(UpdateStaticMembers(segment, [MemberChange(False, P[1])]))
    world.tell(merged(P[1], P[2]))
    with world.engine.connect() as rows:
        members = audiences.snapshot(rows, TENANT, id)
        assert members is not None
        assert [it.assignment_key for it in directory.by_ordinal(rows, TENANT, members)] == ["k1", "k2"]


def run_model(world: World, as_of: date) -> tuple[UUID, ModelRun]:
    """What the RPC does, in one thread."""
    window = Window.before(as_of, 0, Calendar.of(ZONE), world.clock.now())
    with world.engine.connect() as rows:
        population = purchases.bought(rows, TENANT, window, ZONE, "USD")
        position = audiences.input_position(rows, TENANT)
    model = RfmModel(model_id(TENANT, "rfm"), TENANT, "rfm", RfmParams(), NIGHTLY, world.clock.now())
    result: tuple[UUID, ModelRun] = world.do(KeepModelRun.of(model, as_of, ZONE, "USD", population, position))
    return result


def test_layers_of_runs_are_sets_like_others_and_ac_97_a_run_is_repeatable(world: World) -> None:
    noon = datetime(2025, 2, 1, 4, tzinfo=UTC)
    world.clock.set(noon + timedelta(days=100))
    world.do(DefineModel("rfm"))
    world.tell(*(created(P[n]) for n in range(10)))
    orders = [(n, k) for n in range(10) for k in range(n + 1)]
    world.tell(*(paid(P[n], f"{n}/{k}", noon + timedelta(days=n + k), 1000 + n) for n, k in orders))
    id, run = run_model(world, date(2025, 3, 1))
    again, same = run_model(world, date(2025, 3, 1))
    assert (run.summary, run.params_hash, run.input_position) == (same.summary, same.params_hash, 65)
    assert world.rows(f"SELECT count(*) FROM rfm_rows WHERE run IN ('{id}', '{again}')") == [(20,)]
    differing = "SELECT ordinal, recency, frequency, monetary, type, segment FROM rfm_rows WHERE run = '{}'"
    assert world.rows(f"{differing.format(id)} EXCEPT {differing.format(again)}") == []

    sizes = {layer: it.customers for layer, it in run.summary.segments.items()}
    layers = [that(InLayer("rfm", layer, as_of=date(2025, 3, 1))) for layer in sizes]
    union = world.do(combined(SetOperator.UNION, *layers, save_as="scored"))
    assert union.count == sum(sizes.values()) == 10
    best = world.define("best", Definition(condition=that(RfmScores("rfm", recency=(5, 5), frequency=(5, 5)))))
    assert world.members(best) == {P[8], P[9]}
    old = all_of(inside(best), no(that(InLayer("rfm", "CHAMPIONS", run=id))))
    assert world.members(world.define("none", Definition(condition=any_of(old, old)))) == set()
    world.do(AssignTags(P[9], [("vip", "")]))
    assert world.members(world.define("vip best", Definition(condition=all_of(inside(best), VIP)))) == {P[9]}
    assert world.rebuild() == {}
