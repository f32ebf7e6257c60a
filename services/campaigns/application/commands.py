"""What people do with broadcasts: prepare, approve, cancel, roll out; and the global control group."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import Handlers, handler
from chassis.due_times import Timer
from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.flow_ports import FlowBook
from services.campaigns.application.ports import OrderBook, PermissionBook, Roster
from services.campaigns.domain.broadcast import Broadcast
from services.campaigns.domain.crediting import Window
from services.campaigns.domain.design import Design
from services.campaigns.domain.errors import (
    BroadcastNotFound,
    EtagMismatch,
    ExperimentIdTaken,
    ScheduleInPast,
)
from services.campaigns.domain.experiment import Experiment
from services.campaigns.domain.global_control import (
    DEFAULT_BUCKETS,
    GlobalControl,
)

OPEN_TIMER = "broadcast.open"


@dataclass(frozen=True, slots=True)
class Tables:
    """How to reach the tables that are truth from within a unit of work."""

    roster: Callable[[UnitOfWork], Roster]
    orders: Callable[[UnitOfWork], OrderBook]
    flows: Callable[[UnitOfWork], FlowBook]
    permissions: Callable[[UnitOfWork], PermissionBook]


@dataclass(frozen=True, slots=True)
class CreateBroadcast:
    """Prepare a broadcast to a segment or to a snapshot; `experiment` is None for one plain text."""

    title: str
    design: Design
    experiment: str | None
    segment: UUID | None
    snapshot: UUID | None
    schedule_at: datetime | None


def create_broadcast(command: CreateBroadcast, work: UnitOfWork) -> Broadcast:
    if command.schedule_at is not None and command.schedule_at < work.now:
        raise ScheduleInPast(field="schedule_time")
    id, tenant = work.new_id(), work.context.tenant
    if command.experiment is not None:
        command.design.check()
        claim = Experiment.id_of(tenant, command.experiment)
        if work.find(Experiment, claim):
            raise ExperimentIdTaken(field="experiment.experiment_id")
        work.add(Experiment(claim, tenant, command.experiment, id))
    broadcast = Broadcast(
        id,
        tenant,
        command.title,
        command.design,
        command.experiment,
        command.segment,
        command.snapshot,
        command.schedule_at,
        work.now,
    )
    work.add(broadcast)
    return broadcast


@dataclass(frozen=True, slots=True)
class UpdateExperiment:
    """Replace the design of a broadcast that is not approved yet."""

    broadcast: UUID
    design: Design
    etag: str = ""


def update_experiment(command: UpdateExperiment, work: UnitOfWork) -> Broadcast:
    broadcast = broadcast_of(work, command.broadcast, command.etag)
    broadcast.redesign(command.design)
    return broadcast


@dataclass(frozen=True, slots=True)
class ApproveBroadcast:
    """Release a broadcast to be sent at its instant, or at once."""

    broadcast: UUID
    etag: str = ""


def approve_broadcast(command: ApproveBroadcast, work: UnitOfWork, tables: Tables) -> Broadcast:
    broadcast = broadcast_of(work, command.broadcast, command.etag)
    at = broadcast.approve(work.now)
    work.schedule(Timer(OPEN_TIMER, str(broadcast.id), at))
    tables.orders(work).open(window_of(broadcast))
    return broadcast


@dataclass(frozen=True, slots=True)
class CancelBroadcast:
    """Send nothing more."""

    broadcast: UUID
    reason: str = ""
    etag: str = ""


def cancel_broadcast(command: CancelBroadcast, work: UnitOfWork, tables: Tables) -> Broadcast:
    broadcast = broadcast_of(work, command.broadcast, command.etag)
    broadcast.cancel(work.now, command.reason)
    work.unschedule(OPEN_TIMER, str(broadcast.id))
    if broadcast.opens_at is None:
        tables.orders(work).close(broadcast.id)
    return broadcast


@dataclass(frozen=True, slots=True)
class RollOutArm:
    """Send the text of `arm` to the remainder."""

    broadcast: UUID
    arm: str
    reason: str
    etag: str = ""


def roll_out_arm(command: RollOutArm, work: UnitOfWork, tables: Tables) -> Broadcast:
    broadcast = broadcast_of(work, command.broadcast, command.etag)
    broadcast.roll_out(command.arm, command.reason, work.now)
    tables.roster(work).queue(broadcast.id)
    return broadcast


@dataclass(frozen=True, slots=True)
class SetGlobalControl:
    """Keep this many of the 10,000 buckets out of every broadcast that starts from now on."""

    buckets: int


def set_global_control(command: SetGlobalControl, work: UnitOfWork) -> int:
    tenant = work.context.tenant
    control = work.find(GlobalControl, GlobalControl.id_of(tenant))
    if control is None:
        work.add(GlobalControl(GlobalControl.id_of(tenant), tenant, command.buckets))
    else:
        control.change(command.buckets)
    return command.buckets


def global_control_buckets(work: UnitOfWork) -> int:
    """The size of the group now; the default until somebody sets it."""
    control = work.find(GlobalControl, GlobalControl.id_of(work.context.tenant))
    return control.buckets if control else DEFAULT_BUCKETS


def broadcast_of(work: UnitOfWork, id: UUID, etag: str = "") -> Broadcast:
    """The broadcast; refused when it is not what the caller has seen."""
    broadcast = work.find(Broadcast, id)
    if broadcast is None:
        raise BroadcastNotFound
    if etag and etag != etag_of(broadcast):
        raise EtagMismatch(field="etag")
    return broadcast


def etag_of(broadcast: Broadcast) -> str:
    return f"v{broadcast.version}"


def window_of(broadcast: Broadcast) -> Window:
    """When orders count for a broadcast whose instant is known."""
    opens = broadcast.opens_at or broadcast.schedule_at
    closes, final = broadcast.closes_at, broadcast.final_at
    if opens is None or closes is None or final is None:
        raise ValueError("the broadcast has no instant yet")
    return Window(broadcast.id, opens, closes, final)


def people_handlers(tables: Tables) -> Handlers:
    """The handlers of the commands in this module."""
    return [
        handler(CreateBroadcast, create_broadcast),
        handler(UpdateExperiment, update_experiment, loads=_broadcast),
        handler(ApproveBroadcast, lambda c, w: approve_broadcast(c, w, tables), loads=_broadcast),
        handler(CancelBroadcast, lambda c, w: cancel_broadcast(c, w, tables), loads=_broadcast),
        handler(RollOutArm, lambda c, w: roll_out_arm(c, w, tables), loads=_broadcast),
        handler(SetGlobalControl, set_global_control),
    ]


def _broadcast(
    command: UpdateExperiment | ApproveBroadcast | CancelBroadcast | RollOutArm,
) -> list[UUID]:
    return [command.broadcast]
