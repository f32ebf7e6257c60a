"""The steps by which a broadcast is carried out: open, freeze, assign, reserve, settle, expire.

Each is one transaction. The dispatcher does the calls between them, and after a crash goes on
with whatever step is next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from chassis.commands import Handlers, handler
from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.commands import (
    Tables,
    broadcast_of,
    global_control_buckets,
    window_of,
)
from services.campaigns.application.gates import Planned, refusals
from services.campaigns.application.ports import Outbound, Unit
from services.campaigns.domain.broadcast import Broadcast, State
from services.campaigns.domain.buckets import buckets, global_control_seed
from services.campaigns.domain.delivery_batch import ByKey, DeliveryBatch, delivery_id
from services.campaigns.domain.permissions import MessageClass
from services.campaigns.domain.templates import VariableMissing, render

DUPLICATE = "DUPLICATE"
"""The person has a message of this broadcast already, or is about to get one."""


@dataclass(frozen=True, slots=True)
class OpenBroadcast:
    """The instant of a broadcast has come."""

    broadcast: UUID


def open_broadcast(command: OpenBroadcast, work: UnitOfWork, tables: Tables) -> None:
    broadcast = broadcast_of(work, command.broadcast)
    if broadcast.state is not State.APPROVED:
        return
    broadcast.open(work.now, global_control_buckets(work))
    tables.orders(work).open(window_of(broadcast))
    tables.roster(work).queue(broadcast.id)


@dataclass(frozen=True, slots=True)
class FreezeAudience:
    """The units are the members of this snapshot."""

    broadcast: UUID
    snapshot: UUID
    size: int


def freeze_audience(command: FreezeAudience, work: UnitOfWork) -> None:
    broadcast_of(work, command.broadcast).freeze_audience(command.snapshot, command.size, work.now)


@dataclass(frozen=True, slots=True)
class AssignUnits:
    """One page of the audience: customers with their assignment keys."""

    broadcast: UUID
    page: str
    next_page: str
    members: tuple[tuple[UUID, str], ...]


def assign_units(command: AssignUnits, work: UnitOfWork, tables: Tables) -> None:
    """Whoever is erased since the audience was frozen is nobody's unit."""
    broadcast = broadcast_of(work, command.broadcast)
    gone = tables.roster(work).erased([customer for customer, _ in command.members])
    members = [it for it in command.members if it[0] not in gone]
    control = buckets(global_control_seed(broadcast.tenant), (key for _, key in members))
    reached = [member for member, bucket in zip(members, control, strict=True) if bucket >= broadcast.global_control]
    units = _split(broadcast, reached)
    variants: dict[str, list[UUID]] = {}
    for unit in units:
        variants.setdefault(unit.variant, []).append(unit.customer)
    number = broadcast.assign_page(
        command.page,
        command.next_page,
        {variant: len(customers) for variant, customers in variants.items()},
        removed=len(members) - len(reached),
        outside=len(reached) - len(units),
    )
    frozen = {variant: tuple(customers) for variant, customers in variants.items()}
    id = DeliveryBatch.id_of(broadcast.tenant, broadcast.id, number)
    work.add(DeliveryBatch(id, broadcast.tenant, broadcast.id, number, frozen, work.now))
    tables.roster(work).enrol(broadcast.id, units, work.now)
    tables.orders(work).recall([it.customer for it in units])


def _split(broadcast: Broadcast, members: list[tuple[UUID, str]]) -> list[Unit]:
    split = buckets(broadcast.seed, (key for _, key in members))
    return [
        Unit(customer, variant, bucket)
        for (customer, _), bucket, variant in zip(members, split, broadcast.design.variants(split), strict=True)
        if variant is not None
    ]


@dataclass(frozen=True, slots=True)
class StartSending:
    """Every page is assigned."""

    broadcast: UUID


def start_sending(command: StartSending, work: UnitOfWork) -> None:
    broadcast_of(work, command.broadcast).start_sending(work.now)


@dataclass(frozen=True, slots=True)
class ReserveDeliveries:
    """Claim what a batch has to send now, for a call that ends before `lease_until`."""

    broadcast: UUID
    number: int
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """What to send. Without messages nothing is left to do in the batch."""

    attempt: int
    messages: tuple[Outbound, ...] = ()


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Somebody has reserved the batch until `lease_until`."""

    attempt: int
    lease_until: datetime


def reserve_deliveries(command: ReserveDeliveries, work: UnitOfWork, tables: Tables) -> Reservation | Outstanding:
    broadcast = broadcast_of(work, command.broadcast)
    broadcast.require_sending()
    batch = _batch(work, broadcast, command.number)
    if batch.lease_until is not None:
        return Outstanding(batch.attempt, batch.lease_until)
    arms = {v: arm for v in batch.variants if (arm := broadcast.arm_of(v)) is not None}
    waiting = batch.waiting(arms)
    if not waiting:
        broadcast.finish_batch(command.number, work.now)
        return Reservation(batch.attempt)
    units = {unit: arms[variant] for variant, them in waiting.items() for unit in them}
    plan = _plan(work, tables, broadcast, units)
    attempt = batch.reserve(plan.arms, plan.suppressed, plan.failed, command.lease_until)
    if not plan.messages:
        broadcast.finish_batch(command.number, work.now)
    return Reservation(attempt, plan.messages)


@dataclass(frozen=True, slots=True)
class _Plan:
    arms: ByKey
    suppressed: ByKey
    failed: ByKey
    messages: tuple[Outbound, ...]


def _plan(work: UnitOfWork, tables: Tables, broadcast: Broadcast, units: Mapping[UUID, str]) -> _Plan:
    """Who of `units` (with their arms) gets which text, and why the others get none. A broadcast is marketing."""
    roster, (texts, faults) = tables.roster(work), _texts(broadcast)
    channels = {arm.key: arm.channel for arm in broadcast.design.arms}
    persons = roster.persons(units)
    moved = {person for unit, person in persons.items() if person != unit}
    stands = roster.enrolled(broadcast.id, moved) if moved else set()
    planned = {it: Planned(it, persons[it], MessageClass.MARKETING, channels[arm]) for it, arm in units.items()}
    refused = refusals(planned, work, tables, stands)
    suppressed: dict[str, list[UUID]] = {}
    failed: dict[str, list[UUID]] = {}
    open_to: dict[UUID, UUID] = {}
    for unit, arm in units.items():
        if unit in refused:
            suppressed.setdefault(refused[unit], []).append(unit)
        elif arm in faults:
            failed.setdefault(faults[arm], []).append(unit)
        else:
            open_to[unit] = persons[unit]
    claimed = roster.contact(broadcast.id, open_to)
    arms: dict[str, list[UUID]] = {}
    messages: list[Outbound] = []
    for unit, person in open_to.items():
        if unit not in claimed:
            suppressed.setdefault(DUPLICATE, []).append(unit)
            continue
        arm = units[unit]
        arms.setdefault(arm, []).append(unit)
        delivery = delivery_id(broadcast.tenant, broadcast.id, unit)
        messages.append(Outbound(delivery, broadcast.id, unit, person, arm, texts[arm], channels[arm]))
    return _Plan(_frozen(arms), _frozen(suppressed), _frozen(failed), tuple(messages))


def _texts(broadcast: Broadcast) -> tuple[dict[str, str], dict[str, str]]:
    """The text of each arm, or the reason why it has none. No customer data is known here."""
    texts: dict[str, str] = {}
    faults: dict[str, str] = {}
    for arm in broadcast.design.arms:
        try:
            texts[arm.key] = render(arm.text, {})
        except VariableMissing as missing:
            faults[arm.key] = f"RENDER:{missing.variable}"
    return texts, faults


@dataclass(frozen=True, slots=True)
class SettleDeliveries:
    """What the provider answered to an attempt; units it does not mention are unknown."""

    broadcast: UUID
    number: int
    attempt: int
    sent: frozenset[UUID] = frozenset()
    failed: Mapping[UUID, str] = field(default_factory=dict)


def settle_deliveries(command: SettleDeliveries, work: UnitOfWork) -> None:
    broadcast = broadcast_of(work, command.broadcast)
    batch = _batch(work, broadcast, command.number)
    batch.settle(command.attempt, command.sent, dict(command.failed), work.now)
    _finish_if_done(broadcast, batch, work)


@dataclass(frozen=True, slots=True)
class ExpireLease:
    """The holder of an attempt is gone; its deliveries are unknown."""

    broadcast: UUID
    number: int
    attempt: int


def expire_lease(command: ExpireLease, work: UnitOfWork) -> tuple[UUID, ...]:
    broadcast = broadcast_of(work, command.broadcast)
    batch = _batch(work, broadcast, command.number)
    if batch.attempt == command.attempt:
        batch.expire(work.now)
    _finish_if_done(broadcast, batch, work)
    return tuple(batch.unknown())


@dataclass(frozen=True, slots=True)
class LeaveQueue:
    """Nothing can be done for the broadcast until somebody decides something."""

    broadcast: UUID


def leave_queue(command: LeaveQueue, work: UnitOfWork, tables: Tables) -> None:
    broadcast = broadcast_of(work, command.broadcast)
    if broadcast.state not in (State.ASSIGNING, State.SENDING):
        tables.roster(work).unqueue(broadcast.id)


def dispatch_handlers(tables: Tables) -> Handlers:
    """The handlers of the commands in this module."""
    return [
        handler(OpenBroadcast, lambda c, w: open_broadcast(c, w, tables)),
        handler(FreezeAudience, freeze_audience),
        handler(AssignUnits, lambda c, w: assign_units(c, w, tables)),
        handler(StartSending, start_sending),
        handler(ReserveDeliveries, lambda c, w: reserve_deliveries(c, w, tables)),
        handler(SettleDeliveries, settle_deliveries),
        handler(ExpireLease, expire_lease),
        handler(LeaveQueue, lambda c, w: leave_queue(c, w, tables)),
    ]


def _batch(work: UnitOfWork, broadcast: Broadcast, number: int) -> DeliveryBatch:
    return work.get(DeliveryBatch, DeliveryBatch.id_of(broadcast.tenant, broadcast.id, number))


def _finish_if_done(broadcast: Broadcast, batch: DeliveryBatch, work: UnitOfWork) -> None:
    arms = {it for it in batch.variants if broadcast.arm_of(it) is not None}
    if not batch.is_reserved and not batch.waiting(arms):
        broadcast.finish_batch(batch.number, work.now)


def _frozen(groups: Mapping[str, list[UUID]]) -> ByKey:
    return {key: tuple(units) for key, units in groups.items()}
