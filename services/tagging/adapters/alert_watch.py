"""Judging the periods of alerts as they end: each is read beside the writer, and only what it says is a command."""

from datetime import date
from typing import Any

import sqlalchemy as sa

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.due_times import Timer
from chassis.read_models import ReadModels
from services.tagging.adapters.alert_reading import read_period
from services.tagging.adapters.due_watch import DueWatch
from services.tagging.application.alert_commands import READ_ALERT, JudgePeriod, PassOver
from services.tagging.domain.asset_alerts import AssetAlert, alert_id
from services.tagging.domain.periods import Span, last_whole


def alert_watch(bus: CommandBus, read_models: ReadModels, engine: sa.Engine, clock: Clock, **pace: Any) -> DueWatch:
    """The loop "alerts"; `pace` is that of a DueWatch."""

    async def judge(timer: Timer) -> None:
        alert = await alert_of(timer)
        read = await read_period(alert, span_of(alert, timer), bus, read_models)
        await bus.execute(JudgePeriod(timer.key, alert.alert_version, read, by_timer=True))

    async def pass_over(timer: Timer) -> None:
        """The next period is judged all the same."""
        await bus.execute(PassOver(timer.key, span_of(await alert_of(timer), timer)))

    async def alert_of(timer: Timer) -> AssetAlert:
        return await bus.load(AssetAlert, alert_id(contexts.current().tenant, timer.key))

    def span_of(alert: AssetAlert, timer: Timer) -> Span:
        return last_whole(alert.terms.period, date.fromisoformat(timer.payload["end"]))

    return DueWatch("alerts", READ_ALERT, judge, pass_over, engine, clock, **pace)
