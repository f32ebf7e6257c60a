"""Running models that are due, for everybody at once: that takes longer than a commit, and is done beside the writer."""

from datetime import date
from typing import Any

import sqlalchemy as sa

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.due_times import Timer
from chassis.read_models import ReadModels
from services.tagging.adapters.due_watch import DueWatch
from services.tagging.adapters.running import Running
from services.tagging.application.model_schedules import MODEL_DUE, PassOverRun


def value_watch(bus: CommandBus, read_models: ReadModels, engine: sa.Engine, clock: Clock, **pace: Any) -> DueWatch:
    """The loop "valuations"; `pace` is that of a DueWatch."""
    running = Running(bus, read_models, clock)

    async def value(timer: Timer) -> None:
        await bus.execute(await running.command(timer.key, _as_of(timer), due=True))

    async def pass_over(timer: Timer) -> None:
        await bus.execute(PassOverRun(timer.key, _as_of(timer)))

    return DueWatch("valuations", MODEL_DUE, value, pass_over, engine, clock, **pace)


def _as_of(timer: Timer) -> date:
    return date.fromisoformat(timer.payload["as_of"])
