"""The dispatcher: carries broadcasts from their start to the last message, sends what flows plan, and credits orders.

It keeps nothing in memory that matters. Every step is a command; between reserving and settling
it calls the provider. Killed anywhere, it goes on with the next step; what was reserved then is
unknown after its lease and never planned again. Several may run side by side: the store lets one
of them take each step.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import structlog

from chassis.aggregate import natural_id
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import Context, current, entered
from chassis.errors import DomainError
from chassis.loops import Progress
from chassis.pulse import Pulse
from services.campaigns.application.commands import CancelBroadcast
from services.campaigns.application.crediting import CreditOrders
from services.campaigns.application.dispatching import (
    AssignUnits,
    ExpireLease,
    FreezeAudience,
    LeaveQueue,
    Outstanding,
    Reservation,
    ReserveDeliveries,
    SettleDeliveries,
    StartSending,
)
from services.campaigns.application.flow_sender import FlowSender
from services.campaigns.application.ports import Audience, Channel, Outcomes, WorkList
from services.campaigns.domain.broadcast import Broadcast, State
from services.campaigns.domain.delivery_batch import delivery_id
from services.campaigns.domain.errors import AudienceNotFound

_log = structlog.get_logger(__name__)

Step = Callable[[Broadcast], Awaitable[bool]]

_FLOWS = UUID(int=0)
"""Stands for the flows of a tenant where the id of a broadcast is asked for."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How large a page of the audience is, how long a reservation holds, how often to look."""

    page: int = 1000
    lease: timedelta = timedelta(seconds=5)
    call: timedelta = timedelta(seconds=3)
    poll_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A step that failed: how long it rests, and until when."""

    seconds: float = 0.05
    until: float = 0.0

    def again(self) -> "_Trouble":
        seconds = min(self.seconds * 2, 5.0)
        return _Trouble(seconds, monotonic() + seconds)


class Dispatcher:
    """A loop. `lease_clock` is real time also in a replay: a lease measures the life of a process."""

    name = "dispatch"

    def __init__(
        self,
        bus: CommandBus,
        work: WorkList,
        audience: Audience,
        channel: Channel,
        lease_clock: Clock,
        pace: Pace | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._bus = bus
        self._work = work
        self._audience = audience
        self._channel = channel
        self._lease_clock = lease_clock
        self._pace = pace or Pace()
        self._news = (pulse or Pulse()).listener()
        self._flows = FlowSender(self._execute, channel, lease_clock, self._pace.lease, self._pace.call)
        self._steps = 0
        self._busy = 0
        self._troubles: dict[tuple[str, UUID | None], _Trouble] = {}
        self._by_state: dict[State, Step] = {State.ASSIGNING: self._assign, State.SENDING: self._send}

    async def run(self) -> None:
        while True:
            if not await self.turn():
                await self._news.wait(self._pace.poll_seconds)

    async def progress(self) -> list[Progress]:
        backlog = await self._work.pending()
        return [Progress("loop", self.name, self._steps, len(backlog) + self._busy)]

    async def turn(self) -> bool:
        """Do what waits, once around; whether something was done."""
        self._busy = 1
        try:
            backlog = await self._work.pending()
            done = [await self._guarded(self._credit, tenant, None) for tenant in backlog.tenants]
            done += [await self._guarded(self._advance, *it) for it in backlog.broadcasts]
            done += [await self._guarded(self._send_of_flows, tenant, _FLOWS) for tenant in backlog.senders]
            return any(done)
        finally:
            self._busy = 0

    async def _guarded(self, step: Callable[[UUID | None], Awaitable[bool]], tenant: str, id: UUID | None) -> bool:
        """One broadcast's trouble must not stop the others: it rests for a while, longer each time."""
        trouble = self._troubles.get((tenant, id))
        if trouble is not None and monotonic() < trouble.until:
            return False
        with entered(Context.system(tenant, self.name)):
            try:
                done = await step(id)
            except Exception as failure:  # noqa: BLE001 - a loop goes on
                self._troubles[tenant, id] = (trouble or _Trouble()).again()
                self._report(failure, id)
                return False
        self._troubles.pop((tenant, id), None)
        return done

    @staticmethod
    def _report(failure: Exception, id: UUID | None) -> None:
        """A refusal means that another dispatcher was faster; anything else is worth a look."""
        if isinstance(failure, DomainError):
            _log.info("dispatch.refused", broadcast=str(id), reason=failure.reason)
        else:
            _log.error("dispatch.failed", broadcast=str(id), exc_info=failure)

    async def _credit(self, _: UUID | None) -> bool:
        credited: int = await self._execute(CreditOrders())
        return credited > 0

    async def _send_of_flows(self, _: UUID | None) -> bool:
        return await self._flows.turn(current().tenant)

    async def _advance(self, id: UUID | None) -> bool:
        broadcast = await self._bus.load(Broadcast, id or UUID(int=0))
        step = self._by_state.get(broadcast.state)
        if step is None:
            await self._execute(LeaveQueue(broadcast.id))
            return True
        return await step(broadcast)

    async def _assign(self, broadcast: Broadcast) -> bool:
        """Freeze the audience and assign all of it, page by page; goes on where it was cut off."""
        snapshot = broadcast.snapshot
        if broadcast.size is None or snapshot is None:
            try:
                snapshot, size = await self._frozen(broadcast)
            except AudienceNotFound as missing:
                await self._execute(CancelBroadcast(broadcast.id, missing.reason))
                return True
            await self._execute(FreezeAudience(broadcast.id, snapshot, size))
            if not size:
                return True
        page, pages = broadcast.next_page, broadcast.pages
        while page or not pages:
            found = await self._audience.page(snapshot, page, self._pace.page)
            members = tuple(found.members)
            await self._execute(AssignUnits(broadcast.id, page, found.next_page, members))
            page, pages = found.next_page, pages + 1
        await self._execute(StartSending(broadcast.id))
        return True

    async def _frozen(self, broadcast: Broadcast) -> tuple[UUID, int]:
        if broadcast.segment is not None:
            request = natural_id(broadcast.tenant, "snapshot_request", broadcast.id)
            return await self._audience.freeze(broadcast.segment, request)
        snapshot = broadcast.snapshot or UUID(int=0)
        return snapshot, await self._audience.size(snapshot)

    async def _send(self, broadcast: Broadcast) -> bool:
        """Send every batch that is open; False if all that is left is reserved by somebody else."""
        done = [await self._send_batch(broadcast, number) for number in sorted(broadcast.unfinished)]
        return any(done)

    async def _send_batch(self, broadcast: Broadcast, number: int) -> bool:
        until = self._lease_clock.now() + self._pace.lease
        match await self._execute(ReserveDeliveries(broadcast.id, number, until)):
            case Outstanding(attempt=attempt, lease_until=lease_until):
                if self._lease_clock.now() < lease_until:
                    return False
                await self._expire(broadcast, number, attempt)
            case Reservation(messages=()):
                pass
            case Reservation() as reservation:
                await self._deliver(broadcast, number, reservation)
        return True

    async def _deliver(self, broadcast: Broadcast, number: int, reservation: Reservation) -> None:
        """Call the provider and settle; a call that fails or takes too long leaves units unknown."""
        try:
            async with asyncio.timeout(self._pace.call.total_seconds()):
                outcomes = await self._channel.send(broadcast.tenant, reservation.messages)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the call may have been made
            _log.error("dispatch.ambiguous", broadcast=str(broadcast.id), exc_info=failure)
            outcomes = Outcomes()
        await self._settle(broadcast, number, reservation.attempt, outcomes)
        if len(outcomes.sent) + len(outcomes.failed or {}) < len(reservation.messages):
            await self._expire(broadcast, number, reservation.attempt)

    async def _expire(self, broadcast: Broadcast, number: int, attempt: int) -> None:
        """Make what is still reserved unknown, then ask the provider what it took of it."""
        unknown = await self._execute(ExpireLease(broadcast.id, number, attempt))
        deliveries = {delivery_id(broadcast.tenant, broadcast.id, unit): unit for unit in unknown}
        taken = await self._channel.taken(broadcast.tenant, broadcast.id, deliveries)
        if taken:
            sent = frozenset(deliveries[it] for it in taken)
            await self._settle(broadcast, number, attempt, Outcomes(sent))

    async def _settle(self, broadcast: Broadcast, number: int, attempt: int, outcomes: Outcomes) -> None:
        failed = dict(outcomes.failed or {})
        await self._execute(SettleDeliveries(broadcast.id, number, attempt, outcomes.sent, failed))

    async def _execute(self, command: object) -> Any:
        self._steps += 1
        return await self._bus.execute(command)
