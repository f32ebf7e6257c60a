"""Judging the periods of alerts as they end: each is read beside the writer, and only what it says is a command."""

from datetime import date
from typing import Any

import sqlalchemy as sa
import structlog

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.due_times import Timer
from chassis.errors import TRANSIENT, DomainError
from chassis.read_models import ReadModels
from services.tagging.adapters.alert_reading import read_period
from services.tagging.adapters.due_watch import DueWatch
from services.tagging.application.alert_commands import READ_ALERT, JudgePeriod, PassOver
from services.tagging.domain.asset_alerts import AssetAlert, alert_id
from services.tagging.domain.periods import last_whole

_log = structlog.get_logger(__name__)


def alert_watch(bus: CommandBus, read_models: ReadModels, engine: sa.Engine, clock: Clock, **pace: Any) -> DueWatch:
    """The loop "alerts"; `pace` is that of a DueWatch."""

    async def judge(timer: Timer) -> None:
        """What is refused for good is passed over, so that the next period is judged all the same."""
        alert = await bus.load(AssetAlert, alert_id(contexts.current().tenant, timer.key))
        span = last_whole(alert.terms.period, date.fromisoformat(timer.payload["end"]))
        try:
            read = await read_period(alert, span, bus, read_models)
            await bus.execute(JudgePeriod(timer.key, alert.alert_version, read, by_timer=True))
        except TRANSIENT:
            raise
        except DomainError as refusal:
            _log.warning("alert.refused", alert=timer.key, reason=refusal.reason)
            await bus.execute(PassOver(timer.key, span))

    return DueWatch("alerts", READ_ALERT, judge, engine, clock, **pace)
