"""The loop that judges the periods of alerts as they end: each is read beside the writer, and only what it says is a command."""

import asyncio
from datetime import date
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.errors import TRANSIENT, DomainError
from chassis.leadership import leading, persevere
from chassis.loops import Progress
from chassis.pulse import Pulse
from chassis.quick_look import QuickLook
from chassis.read_models import ReadModels
from services.tagging.adapters.alert_reading import read_period
from services.tagging.application.alert_commands import READ_ALERT, JudgePeriod, PassOver
from services.tagging.domain.asset_alerts import AssetAlert, alert_id
from services.tagging.domain.periods import last_whole

_DUE: Final = sa.text(
    "SELECT tenant, key, payload ->> 'end' AS ending FROM timers WHERE kind = :kind AND due_at <= :now"
    " ORDER BY due_at LIMIT 1"
)
_COUNT: Final = "SELECT count(*) FROM timers WHERE kind = %(kind)s AND due_at <= %(now)s"

_log = structlog.get_logger(__name__)


class _Due(NamedTuple):
    tenant: str
    key: str
    end: date


class AlertWatch:
    """`judged` counts periods."""

    name = "alerts"

    def __init__(
        self,
        bus: CommandBus,
        read_models: ReadModels,
        engine: sa.Engine,
        clock: Clock,
        *,
        poll: float = 0.05,
        pulse: Pulse | None = None,
    ) -> None:
        self.judged = 0
        self._bus = bus
        self._read_models = read_models
        self._engine = engine
        self._clock = clock
        self._poll = poll
        self._news = (pulse or Pulse()).listener()

    async def run(self) -> None:
        """Judge what has ended whenever this watch leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        values = {"kind": READ_ALERT, "now": self._clock.now()}
        waiting = await QuickLook.of(self._engine).ask_scalar(_COUNT, values)
        return [Progress("loop", self.name, self.judged, waiting or 0)]

    async def step(self) -> bool:
        """Judge the period that has waited longest; whether there was any."""
        due = await asyncio.to_thread(self._due)
        if due is None:
            return False
        with contexts.entered(Context.system(due.tenant, self.name)):
            await self._judge(due)
        self.judged += 1
        return True

    async def _judge(self, due: _Due) -> None:
        """What is refused for good is passed over, so that the next period is judged all the same."""
        alert = await self._bus.load(AssetAlert, alert_id(due.tenant, due.key))
        span = last_whole(alert.terms.period, due.end)
        try:
            read = await read_period(alert, span, self._bus, self._read_models)
            await self._bus.execute(JudgePeriod(due.key, alert.alert_version, read, by_timer=True))
        except TRANSIENT:
            raise
        except DomainError as refusal:
            _log.warning("alert.refused", alert=due.key, reason=refusal.reason)
            await self._bus.execute(PassOver(due.key, span))

    async def _lead(self) -> None:
        async with leading(self._engine, "tagging/alerts") as leadership:
            await leadership.work(self.step, lambda: self._news.wait(self._poll))

    def _due(self) -> _Due | None:
        with self._engine.connect() as rows:
            found = rows.execute(_DUE, {"kind": READ_ALERT, "now": self._clock.now()}).one_or_none()
        return None if found is None else _Due(found.tenant, found.key, date.fromisoformat(found.ending))
