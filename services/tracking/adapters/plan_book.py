"""The tracking plans of all brands, as far as this process needs them for every batch.

A plan is looked at again after two seconds, so a change holds everywhere by then; where it was made it holds at once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Final

from chassis.log import EventStore
from chassis.unit_of_work import replay
from services.tracking.domain.plan import PRESET_PLAN, Plan, TrackingPlan, plan_id

FRESH_SECONDS: Final = 2.0
MOST_KNOWN: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Known:
    """A plan after so many events, as of `since`."""

    plan: Plan
    version: int
    since: float


class PlanBook:
    """Plans by tenant; `seconds` is a clock that only runs on."""

    def __init__(self, store: EventStore, seconds: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._seconds = seconds
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def of(self, tenant: str) -> Plan:
        """The plan as of at most two seconds ago."""
        known = self._known.get(tenant)
        if known and self._seconds() - known.since < FRESH_SECONDS:
            return known.plan
        return await asyncio.to_thread(self.look_up, tenant)

    async def covering(self, tenant: str, names: Collection[str]) -> Plan:
        """The plan, looked up anew where it does not know one of these types, which were taken in by some plan."""
        plan = await self.of(tenant)
        if all(map(plan.knows, names)):
            return plan
        return await asyncio.to_thread(self.look_up, tenant)

    def look_up(self, tenant: str) -> Plan:
        """The plan as of now; the same object while nothing has changed, because what is known of properties hangs on it."""
        since = self._seconds()
        id = plan_id(tenant)
        stream = self._store.load([id]).get(id, ())
        known = self._known.get(tenant)
        if known is None or known.version != len(stream):
            found = replay(stream) if stream else None
            plan = Plan.of(found) if isinstance(found, TrackingPlan) else PRESET_PLAN
        else:
            plan = known.plan
        self._known[tenant] = _Known(plan, len(stream), since)
        self._known.move_to_end(tenant)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return plan

    def forget(self, tenant: str) -> None:
        """Look the plan up anew next time."""
        self._known.pop(tenant, None)
