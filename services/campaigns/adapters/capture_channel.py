"""The capture channel: a provider that keeps every message instead of sending it, each delivery once."""

import asyncio
from collections.abc import Collection, Sequence
from uuid import UUID

import sqlalchemy as sa

from chassis.clock import Clock
from chassis.postgres import columns, driver_cursor
from services.campaigns.application.ports import Outbound, Outcomes

_CAPTURE = (
    "INSERT INTO captured_messages (tenant, broadcast, delivery, arm, customer, body, channel, captured_at)"
    " SELECT %s, m.broadcast, m.delivery, m.arm, m.customer, m.body, m.channel, %s"
    " FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::text[])"
    " AS m(broadcast, delivery, arm, customer, body, channel) ON CONFLICT DO NOTHING"
)
_TAKEN = "SELECT delivery FROM captured_messages WHERE tenant = %s AND broadcast = %s AND delivery = ANY(%s)"


class CaptureChannel:
    """Keeps messages in a transaction of its own, as a provider somewhere else would."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def send(self, tenant: str, messages: Sequence[Outbound]) -> Outcomes:
        await asyncio.to_thread(self._capture, tenant, messages)
        return Outcomes(sent=frozenset(it.unit for it in messages))

    async def taken(self, tenant: str, broadcast: UUID, deliveries: Collection[UUID]) -> set[UUID]:
        return await asyncio.to_thread(self._taken, tenant, broadcast, deliveries)

    def _capture(self, tenant: str, messages: Sequence[Outbound]) -> None:
        table = columns((it.broadcast, it.delivery, it.arm, it.customer, it.text, it.channel) for it in messages)
        with self._engine.begin() as rows, driver_cursor(rows) as cursor:
            cursor.execute(_CAPTURE, [tenant, self._clock.now(), *table])

    def _taken(self, tenant: str, broadcast: UUID, deliveries: Collection[UUID]) -> set[UUID]:
        if not deliveries:
            return set()
        with self._engine.begin() as rows, driver_cursor(rows) as cursor:
            cursor.execute(_TAKEN, [tenant, broadcast, list(deliveries)])
            return {it[0] for it in cursor.fetchall()}
