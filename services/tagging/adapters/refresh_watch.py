"""Finding sets anew as their times come: whom to look at is found out beside the writer, and only that they are looked at is a command."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.due_times import Timer
from chassis.read_models import ReadModels
from services.tagging.adapters.due_watch import DueWatch
from services.tagging.application.refresh_commands import REFRESH, RefreshSets, SkipRefresh
from services.tagging.read_models.refreshing import suspects


class Drift:
    """The metric of customers who were found in a wrong set at night, each time one; it should never rise."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._count = Counter(
            "scrm_tagging_drift", "Customers who were in a wrong set of a rule, found at night.", registry=registry
        )

    def add(self, customers: int) -> None:
        self._count.inc(customers)


def command_for(rows: sa.Connection, tenant: str, timer: Timer, now: datetime) -> RefreshSets:
    """What is to be done as a timer of sets comes due. Raises what definitions name and is not found."""
    found = suspects(rows, tenant, map(UUID, timer.payload["segments"]), now)
    return RefreshSets(timer.key, found, now)


def refresh_watch(
    bus: CommandBus, read_models: ReadModels, engine: sa.Engine, clock: Clock, drift: Drift, **pace: Any
) -> DueWatch:
    """The loop "refreshes"; `pace` is that of a DueWatch."""

    async def refresh(timer: Timer) -> None:
        tenant, now = contexts.current().tenant, clock.now()
        command = await read_models.query(lambda rows: command_for(rows, tenant, timer, now))
        drift.add(await bus.execute(command))

    async def pass_over(timer: Timer) -> None:
        """What cannot be found is left as it is until the next time."""
        await bus.execute(SkipRefresh(timer.key))

    return DueWatch("refreshes", REFRESH, refresh, pass_over, engine, clock, **pace)
