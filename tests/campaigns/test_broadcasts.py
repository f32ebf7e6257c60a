"""Broadcasts from their design to the last message."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from chassis.errors import DomainError, FieldRequired, ValueOutOfRange
from services.campaigns.application.commands import (
    OPEN_TIMER,
    ApproveBroadcast,
    CancelBroadcast,
    RollOutArm,
    SetGlobalControl,
    UpdateExperiment,
)
from services.campaigns.application.dispatching import AssignUnits, OpenBroadcast
from services.campaigns.domain import errors
from services.campaigns.domain.broadcast import EMPTY_AUDIENCE, State
from services.campaigns.domain.buckets import bucket
from services.campaigns.domain.delivery_batch import DeliveryBatch
from services.campaigns.domain.design import HOLDOUT, REMAINDER, Arm, BucketRange, Design
from services.campaigns.domain.global_control import buckets_of
from tests.campaigns.world import DESIGN, START, ListedAudience, World, customer, people


def arms(*ranges: tuple[int, int]) -> tuple[Arm, ...]:
    return tuple(Arm(f"arm{i}", BucketRange(*it), "text") for i, it in enumerate(ranges))


@pytest.mark.parametrize(
    ("design", "error"),
    [
        (Design(arms((0, 5000), (4000, 9000))), errors.RangeOverlap),  # AC-123
        (Design(arms((0, 100), (100, 200)), holdout=BucketRange(199, 300)), errors.RangeOverlap),
        (Design(arms((0, 100), (100, 200)), remainder=BucketRange(0, 1)), errors.RangeOverlap),
        (Design(arms((0, 5000), (5000, 10_001))), ValueOutOfRange),
        (Design(arms((-1, 10), (10, 20))), ValueOutOfRange),
        (Design(arms((10, 10), (10, 20))), ValueOutOfRange),
        (Design(arms((0, 100), (100, 200)), holdout=BucketRange(300, 300)), ValueOutOfRange),
        (Design(arms((0, 10))), ValueOutOfRange),
        (Design(arms(*((10 * i, 10 * i + 10) for i in range(9)))), ValueOutOfRange),
        (Design(arms((0, 10), (10, 20)), window_seconds=0), ValueOutOfRange),
        (Design(arms((0, 10), (10, 20)), window_seconds=86_400, observation_seconds=60), ValueOutOfRange),
        (Design((Arm("A", BucketRange(0, 1), "x"), Arm("a", BucketRange(1, 2), "y"))), errors.ArmKeyNotUsable),
        (Design((Arm("A", BucketRange(0, 1), "x"), Arm("holdout", BucketRange(1, 2), "y"))), errors.ArmKeyNotUsable),
        (Design((Arm("A", BucketRange(0, 1), "x"), Arm("B", BucketRange(1, 2), " "))), FieldRequired),
        (Design((Arm("A", BucketRange(0, 1), "x"), Arm("B", BucketRange(1, 2), "{{name"))), errors.TemplateMalformed),
    ],
)
def test_a_design_that_cannot_run_is_refused(memory_world: World, design: Design, error: type[DomainError]) -> None:
    with pytest.raises(error):
        memory_world.create(design)
    assert memory_world.events() == []


def test_eight_arms_that_touch_are_accepted(memory_world: World) -> None:
    memory_world.create(Design(arms(*((1250 * i, 1250 * i + 1250) for i in range(8)))))


def test_an_experiment_id_names_one_broadcast_for_ever(world: World) -> None:
    world.create()
    with pytest.raises(errors.ExperimentIdTaken):
        world.create()
    world.create(experiment="winback-9802")


def test_the_design_is_frozen_once_the_broadcast_is_approved(world: World) -> None:  # AC-123
    id = world.create(at=START + timedelta(hours=1))
    longer = replace(DESIGN, window_seconds=86_400 * 14, observation_seconds=86_400 * 14)
    assert world.execute(UpdateExperiment(id, longer)).design == longer
    world.execute(ApproveBroadcast(id))
    with pytest.raises(errors.DesignFrozen):
        world.execute(UpdateExperiment(id, DESIGN))


def test_a_plain_broadcast_has_no_design_to_update(memory_world: World) -> None:
    id = memory_world.create(Design.plain("hello"), None)
    with pytest.raises(errors.NoExperiment):
        memory_world.execute(UpdateExperiment(id, DESIGN))


def test_another_state_than_the_one_seen_is_refused(memory_world: World) -> None:
    id = memory_world.create()
    with pytest.raises(errors.EtagMismatch):
        memory_world.execute(ApproveBroadcast(id, etag="v7"))
    memory_world.execute(ApproveBroadcast(id, etag="v1"))


def test_an_instant_in_the_past_is_refused_at_creation_and_at_approval(memory_world: World) -> None:
    with pytest.raises(errors.ScheduleInPast):
        memory_world.create(at=START - timedelta(seconds=1))
    id = memory_world.create(at=START + timedelta(seconds=1))
    memory_world.clock.set(START + timedelta(seconds=2))
    with pytest.raises(errors.ScheduleInPast):
        memory_world.execute(ApproveBroadcast(id))


def test_a_broadcast_is_approved_once(memory_world: World) -> None:
    id = memory_world.create()
    memory_world.execute(ApproveBroadcast(id))
    with pytest.raises(errors.BroadcastNotDraft):
        memory_world.execute(ApproveBroadcast(id))


def test_conversions_count_from_the_scheduled_instant_and_from_now_when_approved_late(memory_world: World) -> None:
    at = START + timedelta(hours=1)
    planned, prompt = memory_world.create(at=at), memory_world.create(experiment="other")
    memory_world.execute(ApproveBroadcast(planned))
    memory_world.execute(ApproveBroadcast(prompt))
    memory_world.clock.set(at + timedelta(minutes=3))
    for id in (planned, prompt):
        memory_world.execute(OpenBroadcast(id))
    assert memory_world.broadcast(planned).opens_at == at
    assert memory_world.broadcast(prompt).opens_at == at + timedelta(minutes=3)


def test_a_cancelled_broadcast_never_starts(world: World) -> None:
    id = world.create(at=START + timedelta(hours=1))
    world.execute(ApproveBroadcast(id))
    world.execute(CancelBroadcast(id, "changed our minds"))
    world.execute(CancelBroadcast(id))
    world.execute(OpenBroadcast(id))
    world.settle()
    assert world.broadcast(id).state is State.CANCELLED
    assert world.provider.calls == []


def test_every_unit_is_assigned_by_its_bucket_before_anything_is_sent(world: World) -> None:
    id = world.dispatched()
    order = [type(it).__name__ for it in world.events()]
    assert max(i for i, it in enumerate(order) if it == "UnitsAssigned") < order.index("Reserved")
    variants: dict[UUID, str] = {}
    for event in world.events(DeliveryBatch.UnitsAssigned):
        for variant, units in event.variants.items():
            variants |= dict.fromkeys(units, variant)
    for unit, key in people(200):
        if bucket("gcg:cdnow-demo", key) < 500:
            assert unit not in variants
            continue
        slot = bucket("exp:winback-9801", key)
        expected = next(v for v, it in DESIGN.ranges.items() if it.start <= slot < it.end)
        assert variants[unit] == expected
    assert world.broadcast(id).targeted == 200


def test_the_first_two_customers_of_the_demo_wait_in_the_remainder(memory_world: World) -> None:  # AC-84
    memory_world.dispatched()
    [first, *_] = memory_world.events(DeliveryBatch.UnitsAssigned)
    assert {customer("cdnow:00001"), customer("cdnow:00002")} <= set(first.variants[REMAINDER])


def test_arms_get_their_text_and_holdout_and_remainder_nothing(world: World) -> None:
    id = world.dispatched()
    broadcast = world.broadcast(id)
    assert broadcast.state is State.COMPLETED
    assert len(world.provider.calls) == broadcast.counts["A"] + broadcast.counts["B"]
    texts = {(it.arm, it.text) for it in world.provider.calls}
    assert texts == {("A", "Hi friend, we miss you"), ("B", "Hi friend, 20 % off")}
    assert len({it.delivery for it in world.provider.calls}) == len(world.provider.calls)
    assert broadcast.counts[HOLDOUT] > 0


def test_the_remainder_gets_the_arm_that_is_rolled_out_and_nobody_twice(world: World) -> None:
    id = world.dispatched()
    world.execute(RollOutArm(id, "B", "won"))
    world.settle()
    broadcast = world.broadcast(id)
    assert broadcast.state is State.COMPLETED
    assert len({it.customer for it in world.provider.calls}) == len(world.provider.calls)
    assert len(world.provider.calls) == sum(n for v, n in broadcast.counts.items() if v != HOLDOUT)
    with pytest.raises(errors.NoRemainder):
        world.execute(RollOutArm(id, "A", "again"))


def test_an_arm_that_is_not_there_is_not_rolled_out(memory_world: World) -> None:
    id = memory_world.dispatched()
    with pytest.raises(errors.ArmUnknown):
        memory_world.execute(RollOutArm(id, "C", "won"))


def test_a_plain_broadcast_reaches_everybody_but_the_global_control_group(world: World) -> None:
    world.execute(SetGlobalControl(buckets_of(10)))
    world.dispatched(Design.plain("hello"), None)
    expected = {unit for unit, key in people(200) if bucket("gcg:cdnow-demo", key) >= 1000}
    assert {it.customer for it in world.provider.calls} == expected


@pytest.mark.parametrize("percent", [-0.01, 50.01, 101, 0.001])
def test_a_global_control_group_of_more_than_half_is_out_of_range(percent: float) -> None:
    with pytest.raises(ValueOutOfRange) as refusal:
        buckets_of(percent)
    assert refusal.value.reason == "OUT_OF_RANGE"


def test_the_global_control_group_of_a_started_broadcast_stays_as_it_was(memory_world: World) -> None:
    id = memory_world.started()
    memory_world.execute(SetGlobalControl(buckets_of(50)))
    memory_world.settle()
    assert memory_world.broadcast(id).removed == sum(bucket("gcg:cdnow-demo", key) < 500 for _, key in people(200))


def test_an_empty_audience_ends_the_broadcast(world: World) -> None:
    world.audience = ListedAudience([])
    id = world.dispatched()
    broadcast = world.broadcast(id)
    assert (broadcast.state, broadcast.cancel_reason) == (State.CANCELLED, EMPTY_AUDIENCE)
    assert world.run(world.work.pending()).broadcasts == []


def test_an_audience_that_is_all_in_the_global_control_group_sends_nothing_and_completes(world: World) -> None:
    control = [(unit, key) for unit, key in people(200) if bucket("gcg:cdnow-demo", key) < 500]
    world.audience = ListedAudience(control)
    id = world.dispatched()
    assert world.broadcast(id).state is State.COMPLETED
    assert world.provider.calls == []


def test_a_page_is_assigned_in_its_turn_and_once(world: World) -> None:
    id = world.started()
    world.execute_freeze(id)
    first = AssignUnits(id, "", "50", tuple(people(50)))
    world.execute(first)
    with pytest.raises(errors.PageOutOfTurn):
        world.execute(first)
    with pytest.raises(errors.PageOutOfTurn):
        world.execute(AssignUnits(id, "100", "", tuple(people(50, 101))))
    world.settle()
    assert world.broadcast(id).targeted == 200


def test_a_text_without_fallback_fails_and_is_never_sent_blank(world: World) -> None:  # AC-121
    id = world.dispatched(Design.plain("Hi {{name}}"), None)
    assert world.provider.calls == []
    failed = [reason for it in world.events(DeliveryBatch.Reserved) for reason in it.failed]
    assert set(failed) == {"RENDER:name"}
    assert world.broadcast(id).state is State.COMPLETED


def test_what_the_provider_refuses_is_failed_with_its_reason(world: World) -> None:
    refused = people(200)[7][0]
    world.provider.refuses = {refused: "BLOCKED"}
    world.execute(SetGlobalControl(0))
    world.dispatched(Design.plain("hello"), None)
    failed = [it.failed for it in world.events(DeliveryBatch.Settled) if it.failed]
    assert failed == [{"BLOCKED": (refused,)}]


def test_the_start_is_a_timer_at_the_scheduled_instant(postgres_world: World) -> None:
    world, at = postgres_world, START + timedelta(hours=1)
    id = world.create(at=at)
    world.execute(ApproveBroadcast(id))
    assert world.timers() == [(OPEN_TIMER, str(id), at)]
    world.execute(CancelBroadcast(id))
    assert world.timers() == []
