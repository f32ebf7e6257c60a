"""Killed anywhere, the dispatcher sends no message twice and assigns nobody anew."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.campaigns.application import dispatching
from services.campaigns.application.commands import CancelBroadcast, RollOutArm
from services.campaigns.application.dispatcher import Dispatcher
from services.campaigns.application.dispatching import (
    AssignUnits,
    ExpireLease,
    FreezeAudience,
    Outstanding,
    Reservation,
    ReserveDeliveries,
    SettleDeliveries,
    StartSending,
)
from services.campaigns.application.ports import Outbound, Outcomes
from services.campaigns.domain.broadcast import State
from services.campaigns.domain.buckets import bucket
from services.campaigns.domain.delivery_batch import DeliveryBatch, Status
from tests.campaigns.world import DESIGN, START, World, customer, people


class Killed(BaseException):
    """The process is gone: nothing after this is carried out."""


class Fuse:
    """Kills the dispatcher before or after the n-th command, or inside the n-th call of the provider."""

    def __init__(self, world: World, place: str, countdown: int) -> None:
        self._world = world
        self._place = place
        self._countdown = countdown
        self.execute = world.bus.execute
        self.send = world.provider.send

    def __enter__(self) -> "Fuse":
        self._world.bus.execute = self._execute  # type: ignore[method-assign]
        self._world.provider.send = self._send  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._world.bus.execute = self.execute  # type: ignore[method-assign]
        self._world.provider.send = self.send  # type: ignore[method-assign]

    async def _execute(self, command: Any, reply: Any = None) -> Any:
        self._burn("before command")
        found = await self.execute(command, reply)
        self._burn("after command")
        return found

    async def _send(self, tenant: str, messages: Sequence[Outbound]) -> Outcomes:
        self._burn("before call")
        found = await self.send(tenant, messages)
        self._burn("after call")
        return found

    def _burn(self, place: str) -> None:
        if place == self._place:
            self._countdown -= 1
            if self._countdown < 0:
                raise Killed


def restarts_until_done(world: World, place: str) -> int:
    """Kill the dispatcher at each occurrence of `place` in turn, each time with a new process after it."""
    kills = 0
    for countdown in range(12):
        with Fuse(world, place, countdown % 4):
            try:
                world.settle(world.dispatcher(page=20))
            except Killed:
                kills += 1
        world.lease_clock.set(world.lease_clock.now() + timedelta(seconds=6))
    world.settle()
    return kills


@pytest.mark.parametrize("place", ["before command", "after command", "before call", "after call"])
def test_no_kill_doubles_a_message_or_moves_a_unit(world: World, place: str) -> None:
    id = world.started()
    assert restarts_until_done(world, place) >= 3
    broadcast = world.broadcast(id)
    assert broadcast.state is State.COMPLETED
    assert max(Counter(it.customer for it in world.provider.calls).values()) == 1
    assigned = [u for it in world.events(DeliveryBatch.UnitsAssigned) for us in it.variants.values() for u in us]
    assert len(assigned) == len(set(assigned)) == sum(broadcast.counts.values())
    assert broadcast.targeted == len(world.audience.members)


def test_killed_between_reserving_and_calling_is_unknown_and_never_sent(world: World) -> None:
    id, batch = prepared(world)
    reserved = world.execute(ReserveDeliveries(id, 0, world.lease_clock.now() + timedelta(seconds=5)))
    assert reserved.messages
    world.settle()
    assert world.provider.calls == []  # the lease holds
    world.lease_clock.set(START + timedelta(seconds=6))
    world.settle()
    statuses = Counter(stored_batch(world, batch).status.values())
    assert statuses[Status.UNKNOWN] == len(reserved.messages)
    assert (statuses[Status.SENT], statuses[Status.RESERVED]) == (0, 0)
    assert world.provider.calls == []
    assert world.broadcast(id).state is State.COMPLETED


def test_killed_between_calling_and_settling_is_sent_where_the_provider_remembers(world: World) -> None:
    id, batch = prepared(world)
    with pytest.raises(Killed), Fuse(world, "after call", 0):
        world.settle()
    world.lease_clock.set(START + timedelta(seconds=6))
    world.settle()
    assert Counter(stored_batch(world, batch).status.values())[Status.SENT] == len(world.provider.calls) > 0
    assert world.broadcast(id).state is State.COMPLETED


def test_killed_between_calling_and_settling_stays_unknown_where_it_does_not(world: World) -> None:
    id, batch = prepared(world)
    world.provider.remembers = False
    with pytest.raises(Killed), Fuse(world, "after call", 0):
        world.settle()
    calls = len(world.provider.calls)
    world.lease_clock.set(START + timedelta(seconds=6))
    world.settle()
    assert Counter(stored_batch(world, batch).status.values())[Status.UNKNOWN] == calls
    world.execute(RollOutArm(id, "A", "go on"))
    world.settle()
    assert max(Counter(it.customer for it in world.provider.calls).values()) == 1


def test_a_call_that_fails_without_an_answer_is_unknown(world: World) -> None:
    world.provider.fault, world.provider.remembers = TimeoutError(), False
    id, batch = prepared(world)
    world.settle()
    statuses = Counter(stored_batch(world, batch).status.values())
    assert statuses[Status.UNKNOWN] == len(world.provider.calls) > 0
    assert world.broadcast(id).state is State.COMPLETED


def test_a_late_answer_settles_what_was_unknown(world: World) -> None:
    id, batch = prepared(world)
    reserved = world.execute(ReserveDeliveries(id, 0, world.lease_clock.now()))
    world.execute(ExpireLease(id, 0, reserved.attempt))
    sent = frozenset(it.unit for it in reserved.messages)
    world.execute(SettleDeliveries(id, 0, reserved.attempt, sent))
    world.execute(SettleDeliveries(id, 0, reserved.attempt, sent))
    assert Counter(stored_batch(world, batch).status.values())[Status.SENT] == len(sent)
    assert len(world.events(DeliveryBatch.Reconciled)) == 1


def test_two_dispatchers_side_by_side_send_each_message_once(world: World) -> None:
    world.started()

    async def race() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(keep_turning(world.dispatcher(page=20)))

    world.run(race())
    assert max(Counter(it.customer for it in world.provider.calls).values()) == 1
    assert [it for it in world.events() if type(it).__name__ == "Completed"]


def test_a_reservation_of_somebody_else_is_left_alone(world: World) -> None:
    id, _ = prepared(world)
    until = world.lease_clock.now() + timedelta(seconds=5)
    assert isinstance(world.execute(ReserveDeliveries(id, 0, until)), Reservation)
    assert world.execute(ReserveDeliveries(id, 0, until)) == Outstanding(1, until)


def test_nothing_more_is_sent_after_a_cancellation(world: World) -> None:
    id, _ = prepared(world)
    world.execute(CancelBroadcast(id, "stop"))
    world.settle()
    assert world.provider.calls == []
    assert world.run(world.work.pending()).broadcasts == []


def test_units_that_become_one_person_before_sending_get_one_message(world: World) -> None:
    """The survivor's assignment stands; two losers of an outsider share one message."""
    in_arms = arm_units(world)
    survivor, loser, third, fourth = in_arms[:4]
    id, _ = prepared(world)
    world.tell(world.merged(survivor, loser, START))
    world.tell(world.merged("outsider", third, START), world.merged("outsider", fourth, START))
    world.settle()
    suppressed = {
        reason: len(units) for it in world.events(DeliveryBatch.Reserved) for reason, units in it.suppressed.items()
    }
    assert suppressed == {"MERGED": 1, "DUPLICATE": 1}
    assert len(world.provider.calls) == len(in_arms) - 2
    assert max(Counter(it.customer for it in world.provider.calls).values()) == 1
    assert world.broadcast(id).state is State.COMPLETED


def test_who_got_a_message_as_one_customer_gets_none_as_another(world: World) -> None:
    """First A's arm is sent; then its receiver is merged into somebody of the remainder, which is rolled out."""
    waiting = [key for unit, key in people(200) if unit in units_of(world, "remainder")]
    loser = arm_units(world)[0]
    id = world.dispatched()
    world.tell(world.merged(waiting[0], loser, START))
    world.execute(RollOutArm(id, "A", "won"))
    world.settle()
    suppressed = [it.suppressed for it in world.events(DeliveryBatch.Reserved) if it.suppressed]
    assert [list(it) for it in suppressed] == [["DUPLICATE"]]


def test_who_got_a_message_while_merged_gets_none_on_either_side_of_the_unmerge(world: World) -> None:
    """A unit gets it as part of an outsider; then either side is one with somebody of the remainder, which is rolled out."""
    first, second = [key for unit, key in people(200) if unit in units_of(world, "remainder")][:2]
    receiver = arm_units(world)[0]
    id, _ = prepared(world)
    world.tell(world.merged("outsider", receiver, START))
    world.settle()
    sent = len(world.provider.calls)
    world.tell(world.unmerged("outsider", receiver, START))
    world.tell(world.merged("another", receiver, START), world.merged("another", first, START))
    world.tell(world.merged("outsider", second, START))
    world.execute(RollOutArm(id, "A", "won"))
    world.settle()
    suppressed = [it.suppressed for it in world.events(DeliveryBatch.Reserved) if it.suppressed]
    reasons = {unit: reason for it in suppressed for reason, units in it.items() for unit in units}
    assert reasons == {customer(first): "DUPLICATE", customer(second): "DUPLICATE"}
    assert len(world.provider.calls) > sent


def test_negative_control_a_dispatcher_that_plans_expired_leases_again_doubles(
    memory_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = memory_world

    def plan_again(batch: DeliveryBatch, *_: object) -> tuple[UUID, ...]:
        units = [it for it, its in batch.status.items() if its is Status.RESERVED]
        batch.status.update(dict.fromkeys(units, Status.ASSIGNED))
        batch.lease_until = None
        return ()

    monkeypatch.setattr(DeliveryBatch, "expire", plan_again)
    monkeypatch.setattr(dispatching, "_finish_if_done", lambda *_: None)
    tables: Any = world.work
    monkeypatch.setattr(type(tables), "contact", lambda self, broadcast, persons: set(persons))
    world.provider.remembers = False
    world.started()
    restarts_until_done(world, "after call")
    assert max(Counter(it.customer for it in world.provider.calls).values()) > 1


def prepared(world: World) -> tuple[UUID, UUID]:
    """A broadcast whose units are all assigned, in one batch, and nothing sent; with the id of the batch."""
    id = world.started()
    world.execute(FreezeAudience(id, id, len(world.audience.members)))
    world.execute(AssignUnits(id, "", "", tuple(world.audience.members)))
    world.execute(StartSending(id))
    return id, DeliveryBatch.id_of("cdnow-demo", id, 0)


def stored_batch(world: World, id: UUID) -> DeliveryBatch:
    return world.stored(DeliveryBatch, id)


def units_of(world: World, *variants: str) -> set[UUID]:
    """Who falls into `variants` of the design, without the global control group."""
    ranges = [DESIGN.ranges[it] for it in variants]
    return {
        unit
        for unit, key in world.audience.members
        if bucket("gcg:cdnow-demo", key) >= 500
        and any(it.start <= bucket("exp:winback-9801", key) < it.end for it in ranges)
    }


def arm_units(world: World) -> list[str]:
    """The keys of the units in A and B, those of A first."""
    first, second = units_of(world, "A"), units_of(world, "B")
    keys = dict(world.audience.members)
    return [*sorted(keys[it] for it in first), *sorted(keys[it] for it in second)]


async def keep_turning(dispatcher: Dispatcher) -> None:
    while await dispatcher.turn():
        pass
