"""Running models of value for the first day of each month: fitting takes longer than a commit, and is done beside the writer."""

from datetime import date
from typing import Any

import sqlalchemy as sa

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.due_times import Timer
from chassis.read_models import ReadModels
from services.tagging.adapters.due_watch import DueWatch
from services.tagging.adapters.value_methods import Valuing
from services.tagging.application.value_commands import VALUE_MONTH
from services.tagging.domain.value_models import ValueModel, value_model_id


def value_watch(bus: CommandBus, read_models: ReadModels, engine: sa.Engine, clock: Clock, **pace: Any) -> DueWatch:
    """The loop "valuations"; `pace` is that of a DueWatch."""
    valuing = Valuing(bus, read_models, clock)

    async def value(timer: Timer) -> None:
        model = await bus.load(ValueModel, value_model_id(contexts.current().tenant, timer.key))
        await valuing.run(model, date.fromisoformat(timer.payload["as_of"]), monthly=True)

    return DueWatch("valuations", VALUE_MONTH, value, engine, clock, **pace)
