"""The loop that runs models of value for the first day of each month: fitting takes longer than a commit, and is done beside the writer."""

import asyncio
from datetime import date
from typing import Final, NamedTuple

import sqlalchemy as sa

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.leadership import leading, persevere
from chassis.loops import Progress
from chassis.pulse import Pulse
from chassis.quick_look import QuickLook
from chassis.read_models import ReadModels
from services.tagging.adapters.value_methods import Valuing
from services.tagging.application.value_commands import VALUE_MONTH
from services.tagging.domain.value_models import ValueModel, value_model_id

_DUE: Final = sa.text(
    "SELECT tenant, key, payload ->> 'as_of' AS as_of FROM timers WHERE kind = :kind AND due_at <= :now"
    " ORDER BY due_at LIMIT 1"
)
_COUNT: Final = "SELECT count(*) FROM timers WHERE kind = %(kind)s AND due_at <= %(now)s"


class _Due(NamedTuple):
    tenant: str
    key: str
    as_of: date


class ValueWatch:
    """`runs` counts what it ran."""

    name = "valuations"

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
        self.runs = 0
        self._bus = bus
        self._valuing = Valuing(bus, read_models, clock)
        self._engine = engine
        self._clock = clock
        self._poll = poll
        self._news = (pulse or Pulse()).listener()

    async def run(self) -> None:
        """Run what is due whenever this watch leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        values = {"kind": VALUE_MONTH, "now": self._clock.now()}
        waiting = await QuickLook.of(self._engine).ask_scalar(_COUNT, values)
        return [Progress("loop", self.name, self.runs, waiting or 0)]

    async def step(self) -> bool:
        """Run the model that has waited longest; whether there was any."""
        due = await asyncio.to_thread(self._due)
        if due is None:
            return False
        with contexts.entered(Context.system(due.tenant, self.name)):
            model = await self._bus.load(ValueModel, value_model_id(due.tenant, due.key))
            await self._valuing.run(model, due.as_of, monthly=True)
        self.runs += 1
        return True

    async def _lead(self) -> None:
        async with leading(self._engine, "tagging/valuations") as leadership:
            await leadership.work(self.step, lambda: self._news.wait(self._poll))

    def _due(self) -> _Due | None:
        with self._engine.connect() as rows:
            found = rows.execute(_DUE, {"kind": VALUE_MONTH, "now": self._clock.now()}).one_or_none()
        return None if found is None else _Due(found.tenant, found.key, date.fromisoformat(found.as_of))
