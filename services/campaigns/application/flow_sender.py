"""Carries the messages of flows to the provider: what is planned is reserved, sent and settled, a page at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from chassis.clock import Clock
from services.campaigns.application.flow_ports import OpenSend
from services.campaigns.application.flow_sending import LapsedSends, ReservedSends, ReserveSends, SettleSends
from services.campaigns.application.ports import Channel, Outcomes

_log = structlog.get_logger(__name__)


class FlowSender:
    """Keeps nothing in memory: killed anywhere, what was reserved is in doubt after its lease."""

    def __init__(
        self,
        execute: Callable[[object], Awaitable[Any]],
        channel: Channel,
        lease_clock: Clock,
        lease: timedelta,
        call: timedelta,
    ) -> None:
        self._execute = execute
        self._channel = channel
        self._lease_clock = lease_clock
        self._lease = lease
        self._call = call

    async def turn(self, tenant: str) -> bool:
        """Send one page of what the tenant's flows plan; False if all that is left is reserved by somebody else."""
        lapsed = await self._execute(LapsedSends(self._lease_clock.now()))
        if lapsed:
            await self._ask_about(tenant, lapsed)
        reserved: ReservedSends = await self._execute(ReserveSends(self._lease_clock.now() + self._lease))
        if reserved.messages:
            await self._deliver(tenant, reserved)
        return bool(lapsed) or reserved.looked_at > 0

    async def _deliver(self, tenant: str, reserved: ReservedSends) -> None:
        """Call the provider and settle; after a call that fails or takes too long it is asked what it took."""
        try:
            async with asyncio.timeout(self._call.total_seconds()):
                outcomes = await self._channel.send(tenant, reserved.messages)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the call may have been made
            _log.error("flow_sender.ambiguous", exc_info=failure)
            await self._ask_about(tenant, reserved.sends)
            return
        await self._settle(reserved.sends, outcomes)

    async def _ask_about(self, tenant: str, sends: Sequence[OpenSend]) -> None:
        by_flow: dict[UUID, list[UUID]] = defaultdict(list)
        for it in sends:
            by_flow[it.flow].append(it.delivery)
        taken = [await self._channel.taken(tenant, flow, deliveries) for flow, deliveries in by_flow.items()]
        await self._settle(sends, Outcomes(frozenset(it for its in taken for it in its)))

    async def _settle(self, sends: Sequence[OpenSend], outcomes: Outcomes) -> None:
        await self._execute(SettleSends(tuple(sends), outcomes.sent, dict(outcomes.failed or {})))
